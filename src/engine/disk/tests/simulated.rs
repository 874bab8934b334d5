//! A folder in memory that forgets. A power cut keeps, of what was not synced, any part in any order: writes whole, torn or
//! not at all, names new or old. `kill -9` keeps everything that a call had done.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::{Folder, Overwrite};

/// Deterministic numbers (splitmix64, Steele et al. 2014).
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0..below.
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        (self.next() % below.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, of: usize) -> bool {
        self.roll(of) == 0
    }
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

#[derive(Clone, Default)]
struct File {
    seen: Vec<u8>,
    on_disk: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Naming {
    Give(String, usize),
    Move(String, String, usize),
    Take(String),
}

#[derive(Default)]
struct World {
    files: Vec<File>,
    seen: BTreeMap<String, usize>,
    on_disk: BTreeMap<String, usize>,
    pending: Vec<Naming>,
    calls: usize,
    cut_at: Option<usize>,
    /// One in so many writes and syncs fails; 0: none.
    fails: usize,
    /// Bytes that all files may take.
    room: Option<usize>,
    dice: Option<Dice>,
}

/// Cloned handles see the same folder.
#[derive(Clone, Default)]
pub(crate) struct Simulated(Arc<Mutex<World>>);

impl Simulated {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// The machine stops in the middle of this call, counted from now; 0: never.
    pub(crate) fn cut_in(&self, calls: usize) {
        let mut world = self.world();
        world.cut_at = (calls > 0).then(|| world.calls + calls);
    }

    pub(crate) fn is_cut(&self) -> bool {
        let world = self.world();
        world.cut_at.is_some_and(|at| world.calls >= at)
    }

    /// From now on one in `fails` writes and syncs fails.
    pub(crate) fn fail_one_in(&self, fails: usize, seed: u64) {
        let mut world = self.world();
        world.fails = fails;
        world.dice = Some(Dice(seed));
    }

    /// From now on the disk has this much room.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.world().room = room;
    }

    /// What a new process finds after `kill -9`.
    pub(crate) fn killed(&self) -> Simulated {
        let world = self.world();
        let whole = |file: &File| File {
            seen: file.seen.clone(),
            on_disk: file.on_disk.clone(),
            pending: file.pending.clone(),
        };
        Simulated(Arc::new(Mutex::new(World {
            files: world.files.iter().map(whole).collect(),
            seen: world.seen.clone(),
            on_disk: world.on_disk.clone(),
            pending: world.pending.clone(),
            ..World::default()
        })))
    }

    /// What a new process finds after a power cut.
    pub(crate) fn powered_off(&self, dice: &mut Dice) -> Simulated {
        let world = self.world();
        let keep = |dice: &mut Dice, style: usize, at: usize, of: usize| match style {
            0 => false,
            1 => at < of, // a prefix
            2 => dice.one_in(2),
            _ => true,
        };
        let mut names = world.on_disk.clone();
        let (style, of) = (dice.roll(4), dice.roll(world.pending.len() + 1));
        for (at, naming) in world.pending.iter().enumerate() {
            if !keep(dice, style, at, of) {
                continue;
            }
            match naming.clone() {
                Naming::Give(name, file) => drop(names.insert(name, file)),
                Naming::Take(name) => drop(names.remove(&name)),
                Naming::Move(from, to, file) => {
                    names.remove(&from);
                    names.insert(to, file);
                }
            }
        }
        let mut files = Vec::new();
        for file in &world.files {
            let mut left = file.on_disk.clone();
            let (style, of) = (dice.roll(4), dice.roll(file.pending.len() + 1));
            for (at, change) in file.pending.iter().enumerate() {
                if keep(dice, style, at, of) {
                    let torn = dice.one_in(4);
                    apply(&mut left, change, torn.then(|| dice.next() as usize));
                }
            }
            files.push(File { seen: left.clone(), on_disk: left, pending: Vec::new() });
        }
        Simulated(Arc::new(Mutex::new(World {
            files,
            seen: names.clone(),
            on_disk: names,
            ..World::default()
        })))
    }

    /// A copy to damage.
    pub(crate) fn copy(&self) -> Simulated {
        self.killed()
    }

    pub(crate) fn set_content(&self, name: &str, content: Vec<u8>) {
        let mut world = self.world();
        let at = world.seen[name];
        world.files[at] = File { seen: content.clone(), on_disk: content, pending: Vec::new() };
    }

    /// Every file with its content: to see that nothing was touched.
    pub(crate) fn everything(&self) -> Vec<(String, Vec<u8>)> {
        let world = self.world();
        world.seen.iter().map(|(name, at)| (name.clone(), world.files[*at].seen.clone())).collect()
    }
}

fn apply(content: &mut Vec<u8>, change: &Change, torn: Option<usize>) {
    match change {
        Change::Write(offset, bytes) => {
            let length = torn.map_or(bytes.len(), |torn| torn % (bytes.len() + 1));
            if length == 0 {
                return;
            }
            let end = offset + length;
            content.resize(content.len().max(end), 0);
            content[*offset..end].copy_from_slice(&bytes[..length]);
        }
        Change::Cut(size) => content.truncate(*size),
    }
}

impl World {
    /// Counts a call; `Err` when the machine is off. True: it goes off in the middle of this one.
    fn call(&mut self) -> io::Result<bool> {
        self.calls += 1;
        match self.cut_at {
            Some(at) if self.calls > at => Err(io::Error::other("the power is off")),
            Some(at) => Ok(self.calls == at),
            None => Ok(false),
        }
    }

    fn fails(&mut self) -> bool {
        let of = self.fails;
        of > 0 && self.dice.as_mut().is_some_and(|dice| dice.one_in(of))
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.seen.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> usize {
        self.seen.values().map(|at| self.files[*at].seen.len()).sum()
    }
}

fn off() -> io::Error {
    io::Error::other("the power went off")
}

impl Folder for Simulated {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.world().seen.keys().cloned().collect())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let world = self.world();
        Ok(world.files[world.find(name)?].seen.len() as u64)
    }

    fn read(&mut self, name: &str, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let world = self.world();
        let seen = &world.files[world.find(name)?].seen;
        let from = seen.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(room.len());
        room[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        let last = world.call()?;
        match world.find(name) {
            Ok(at) => {
                world.files[at].seen.clear();
                world.files[at].pending.push(Change::Cut(0));
            }
            Err(_) => {
                let at = world.files.len();
                world.files.push(File::default());
                world.seen.insert(name.to_owned(), at);
                world.pending.push(Naming::Give(name.to_owned(), at));
            }
        }
        if last { Err(off()) } else { Ok(()) }
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        let last = world.call()?;
        let at = world.find(name)?;
        let grows = (offset as usize + bytes.len()).saturating_sub(world.files[at].seen.len());
        let full = grows > 0 && world.room.is_some_and(|room| world.used() + grows > room);
        let failed = full || world.fails();
        let part = (last || failed).then_some(bytes.len() / 2);
        let bytes = bytes[..part.unwrap_or(bytes.len())].to_vec();
        let change = Change::Write(offset as usize, bytes);
        apply(&mut world.files[at].seen, &change, None);
        world.files[at].pending.push(change);
        match (last, full, failed) {
            (true, ..) => Err(off()),
            (_, true, _) => Err(io::ErrorKind::StorageFull.into()),
            (.., true) => Err(io::Error::other("a write failed")),
            _ => Ok(()),
        }
    }

    fn overwrites(&mut self, name: &str) -> io::Result<Overwrite> {
        let (mut folder, name) = (self.clone(), name.to_owned());
        Ok(Box::new(move |bytes| folder.write(&name, 0, bytes)))
    }

    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()> {
        let mut world = self.world();
        let last = world.call()?;
        if world.fails() {
            return Err(io::Error::other("a cut failed"));
        }
        let at = world.find(name)?;
        world.files[at].seen.truncate(size as usize);
        world.files[at].pending.push(Change::Cut(size as usize));
        if last { Err(off()) } else { Ok(()) }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        let last = world.call()?;
        let at = world.find(name)?;
        if world.fails() {
            // The pages are dropped from what will be written, and still look right until they are read anew.
            world.files[at].pending.clear();
            return Err(io::Error::other("a sync failed"));
        }
        if last {
            return Err(off());
        }
        let file = &mut world.files[at];
        file.on_disk = file.seen.clone();
        file.pending.clear();
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut world = self.world();
        if world.call()? {
            return Err(off());
        }
        world.on_disk = world.seen.clone();
        world.pending.clear();
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let last = world.call()?;
        let at = world.find(from)?;
        world.seen.remove(from);
        world.seen.insert(to.to_owned(), at);
        world.pending.push(Naming::Move(from.to_owned(), to.to_owned(), at));
        if last { Err(off()) } else { Ok(()) }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        let last = world.call()?;
        world.find(name)?;
        world.seen.remove(name);
        world.pending.push(Naming::Take(name.to_owned()));
        if last { Err(off()) } else { Ok(()) }
    }
}
