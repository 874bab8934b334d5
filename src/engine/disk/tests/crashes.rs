//! Ten thousand crashes: a random run of the queue is cut at a random call, by power or by `kill -9`, and what a new
//! process finds is held against a model of what was promised.

use std::collections::{BTreeMap, BTreeSet};

use super::simulated::{Dice, Simulated};
use super::{append, id_of, open};
use crate::disk::{AppendError, Disk, Place, Record};

/// What the run knows of each record it appended.
#[derive(Default)]
struct Model {
    next: u64,
    /// Appended, in order; in memory until `promised` (a lane that reads only what is synced appends them again).
    unsynced: Vec<u64>,
    /// A sync succeeded after them.
    promised: BTreeSet<u64>,
    /// Given up by `drop_oldest`, or settled: may come again until the position is saved.
    over: BTreeSet<u64>,
    /// Settled and in a position that is on disk: must not come again.
    never_again: BTreeSet<u64>,
    /// Settled and noted: must not come again after `kill -9`.
    noted: BTreeSet<u64>,
    appended: BTreeSet<u64>,
    places: BTreeMap<u64, Place>,
}

struct Run {
    disk: Disk,
    model: Model,
    dice: Dice,
    read: Vec<Record>,
    only_synced: bool,
}

impl Run {
    /// One random step; errors are what a disk does, and the step after them what the keeper does.
    fn step(&mut self) {
        match self.dice.roll(16) {
            0..=5 => self.append(),
            6 | 7 => self.sync(),
            8..=10 => self.read.extend(self.disk.read().ok().flatten()),
            11..=14 => self.settle(),
            _ => {
                if self.disk.save().is_ok() {
                    self.model.never_again = self.settled_prefix();
                }
            }
        }
    }

    fn append(&mut self) {
        let id = self.model.next;
        let size = self.dice.roll(400);
        self.model.next += 1;
        match append(&mut self.disk, id, size, 1 + (id % 3) as u32) {
            Ok(place) => {
                self.model.appended.insert(id);
                self.model.unsynced.push(id);
                self.model.places.insert(id, place);
            }
            Err(AppendError::Full) => {
                // What the oldest segment held may be gone from now on, whatever else happens.
                let before: Vec<u64> = self.unread_of_oldest();
                self.model.over.extend(before);
                let _fails_now_and_then = self.disk.drop_oldest();
            }
            Err(_) => {}
        }
    }

    fn unread_of_oldest(&self) -> Vec<u64> {
        let Some(oldest) = self.disk.segments.front() else { return Vec::new() };
        let end = self.disk.segments.get(1).map_or(u64::MAX, |next| next.first.number);
        assert!(oldest.first.number < end);
        let of_it = self.model.places.iter().filter(|(_, place)| place.mark.number < end);
        of_it.map(|(id, _)| *id).collect()
    }

    fn sync(&mut self) {
        if self.disk.sync().is_ok() {
            self.model.promised.extend(self.model.unsynced.drain(..));
            return;
        }
        self.disk.sync_failed();
        let again = std::mem::take(&mut self.model.unsynced);
        if !self.only_synced {
            return; // not promised: the page cache may have lost them
        }
        for id in again {
            self.model.places.remove(&id);
            match append(&mut self.disk, id, 5, 1 + (id % 3) as u32) {
                Ok(place) => {
                    self.model.unsynced.push(id);
                    self.model.places.insert(id, place);
                }
                Err(_) => drop(self.model.appended.remove(&id)), // may be on disk, and may not
            }
        }
    }

    fn settle(&mut self) {
        if self.read.is_empty() {
            return;
        }
        let at = self.dice.roll(self.read.len().min(4));
        let record = self.read.remove(at);
        let noted = self.disk.settled.settle(&record.place).is_ok();
        self.model.over.insert(id_of(&record));
        // A failed overwrite may have damaged it: then `position` counts.
        self.model.noted = if noted { self.settled_prefix() } else { BTreeSet::new() };
    }

    /// What is before the position.
    fn settled_prefix(&self) -> BTreeSet<u64> {
        let settled = self.disk.settled.until().number;
        let before = self.model.places.iter().filter(|(_, place)| place.mark.number < settled);
        before.map(|(id, _)| *id).filter(|id| self.model.over.contains(id)).collect()
    }
}

/// Runs, cuts, opens and judges; then the next generation goes on with what is there.
fn generations(seed: u64, only_synced: bool) -> (usize, usize) {
    let mut dice = Dice(seed);
    let mut folder = Simulated::default();
    let mut model = Model::default();
    let (mut cuts, mut promised) = (0, 0);
    for _generation in 0..5 {
        if dice.one_in(3) {
            folder.fail_one_in(4 + dice.roll(20), dice.next());
        }
        let disk = open_failing(&folder, only_synced);
        let mut run = Run { disk, model, dice: dice.clone(), read: Vec::new(), only_synced };
        folder.cut_in(1 + dice.roll(250));
        for _ in 0..2_000 {
            run.step();
            if folder.is_cut() {
                break;
            }
        }
        cuts += 1;
        let powered = dice.one_in(2);
        let left = if powered { folder.powered_off(&mut dice) } else { folder.killed() };
        promised += run.model.promised.len();
        model = judge(&left, run.model, powered, only_synced, seed);
        folder = left;
        dice.next();
    }
    (cuts, promised)
}

fn open_failing(folder: &Simulated, only_synced: bool) -> Disk {
    loop {
        let opened = Disk::open(Box::new(folder.clone()), super::LIMITS, only_synced);
        match opened {
            Ok(disk) => return disk,
            Err(error) => assert!(error.to_string().contains("failed"), "{error}"),
        }
    }
}

/// What must be there is there, in order and once; what must not be is not.
fn judge(left: &Simulated, model: Model, powered: bool, only_synced: bool, seed: u64) -> Model {
    let mut disk = open(left, only_synced);
    let (mut found, mut places) = (Vec::new(), BTreeMap::new());
    while let Some(record) = disk.read().unwrap() {
        found.push(id_of(&record));
        places.insert(id_of(&record), record.place);
        disk.settled.pass(record.place.mark, record.place.next);
    }
    assert_eq!(disk.settled.until(), disk.next, "seed {seed}: all of it can be settled");
    let what = format!("seed {seed}, {}", if powered { "power" } else { "kill" });
    let once: BTreeSet<u64> = found.iter().copied().collect();
    assert!(once.len() == found.len() && found.is_sorted(), "{what}: {found:?}");
    assert!(once.iter().all(|id| *id < model.next), "{what}: unknown");
    let kept = if powered { &model.promised } else { &model.appended };
    let missing: Vec<&u64> =
        kept.iter().filter(|id| !model.over.contains(id) && !once.contains(id)).collect();
    let excused = if powered || only_synced { 0 } else { model.unsynced.len() };
    assert!(missing.len() <= excused, "{what}: lost {missing:?} of {found:?}");
    let again: Vec<&u64> = once.iter().filter(|id| model.never_again.contains(id)).collect();
    assert!(again.is_empty(), "{what}: again {again:?}");
    if !powered {
        assert!(once.is_disjoint(&model.noted), "{what}: noted and read again");
    }
    // The next generation begins with what is there: it is on disk. What was settled once may be seen as settled again, when
    // an older overwrite of `recent` reaches the disk late.
    Model {
        next: model.next,
        promised: once.clone(),
        appended: once,
        never_again: model.never_again,
        over: model.over,
        places,
        ..Model::default()
    }
}

#[test]
fn ten_thousand_crashes_lose_nothing_that_was_promised() {
    let (mut cuts, mut promised) = (0, 0);
    for seed in 0..1_000 {
        for only_synced in [false, true] {
            let (more, kept) = generations(seed * 2 + u64::from(only_synced), only_synced);
            (cuts, promised) = (cuts + more, promised + kept);
        }
    }
    assert_eq!(cuts, 10_000);
    assert!(promised > 100_000, "the cuts met queues with something in them: {promised}");
}
