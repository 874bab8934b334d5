//! Random orders of everything at once: the books balance after every step, nothing that can be read again is lost, and
//! each lane keeps its order.

use std::collections::BTreeSet;
use std::time::Duration;

use sentinel_contract::Fate;

use super::{DiskOptions, Folders, WhenFull, line_of, options, rig};
use crate::disk::tests::simulated::Dice;

#[test]
fn in_any_order_of_events_the_books_balance_and_every_line_is_delivered_or_counted() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let folders = Folders::default();
        let mut agent = rig(&folders, &options(WhenFull::Block));
        let (mut next, mut taken) = (0, Vec::new());
        let mut delivered: Vec<String> = Vec::new();
        for _ in 0..400 {
            match dice.roll(12) {
                0..=3 => {
                    let kept = dice.one_in(2);
                    let line = format!("{} {next:05}", if kept { "kept" } else { "direct" });
                    if kept {
                        agent.keep(&line);
                    } else {
                        agent.direct(&line);
                    }
                    next += 1;
                }
                4 | 5 => taken.extend(agent.queue.pop()),
                6..=8 if !taken.is_empty() => {
                    delivered.push(agent.settle(taken.remove(0), Fate::Delivered));
                }
                9 => agent.turn(),
                _ => agent.after(Duration::from_millis(dice.roll(3_000) as u64)),
            }
            agent.balances();
        }
        for entry in taken {
            delivered.push(agent.settle(entry, Fate::Delivered));
        }
        for _ in 0..3 {
            agent.after(Duration::from_secs(3));
            delivered.extend(agent.deliver());
        }
        agent.balances();
        let unique: BTreeSet<&String> = delivered.iter().collect();
        assert_eq!(unique.len(), delivered.len(), "seed {seed}: none twice");
        for lane in ["kept", "direct"] {
            let of_it: Vec<&String> =
                delivered.iter().filter(|line| line.starts_with(lane)).collect();
            assert!(of_it.is_sorted(), "seed {seed}: {lane} in order");
        }
        let dropped: u64 = agent.counters.drops().values().sum();
        assert_eq!(delivered.len() as u64 + dropped, next, "seed {seed}");
        let kept = agent.fates();
        assert!(kept.iter().all(|(_, fate)| *fate == Fate::Delivered), "seed {seed}");
        assert_eq!(kept.len(), kept.iter().map(|(line, _)| line).collect::<BTreeSet<_>>().len());
    }
}

#[test]
fn agents_that_are_killed_at_any_step_lose_no_line_that_its_source_was_told_of() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut folders = Folders::default();
        let (mut next, mut told, mut written) = (0, BTreeSet::new(), BTreeSet::new());
        let mut delivered: BTreeSet<String> = BTreeSet::new();
        for _agent in 0..4 {
            // Room enough: what is dropped because it is full is another test's.
            let roomy = DiskOptions { bytes: 256 << 10, ..options(WhenFull::Block) };
            let mut agent = rig(&folders, &roomy);
            for _ in 0..dice.roll(150) {
                match dice.roll(8) {
                    0..=2 => {
                        agent.keep(&format!("kept {next:05}"));
                        next += 1;
                    }
                    3 | 4 => {
                        let line = format!("direct {next:05}");
                        agent.direct(&line);
                        agent.turn();
                        written.insert(line);
                        next += 1;
                    }
                    5 => {
                        if let Some(entry) = agent.queue.pop() {
                            let line = line_of(&entry);
                            assert!(next < 5 || delivered.len() < next);
                            agent.settle(entry, Fate::Delivered);
                            delivered.insert(line);
                        }
                    }
                    6 => agent.turn(),
                    _ => agent.after(Duration::from_secs(3)),
                }
            }
            told.extend(agent.fates().into_iter().map(|(line, _)| line));
            assert!(agent.counters.drops().is_empty());
            folders = Folders { kept: folders.kept.killed(), direct: folders.direct.killed() };
        }
        delivered.extend(rig(&folders, &options(WhenFull::Block)).deliver());
        let lost: Vec<_> = told.union(&written).filter(|line| !delivered.contains(*line)).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    }
}
