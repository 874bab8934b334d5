//! What changed, by inotify: one watch a folder, not one a file, and events turned into paths.
//!
//! It says where to look, not what is there: the caller looks. Lost events (a full kernel queue, a file system without
//! inotify) are made up for by the caller's slow poll.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The watched folders.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<AsyncFd<Inotify>>,
    folders: HashMap<WatchDescriptor, Vec<PathBuf>>,
    watched: HashMap<PathBuf, What>,
    /// Where a file was moved from, by cookie, until it is seen where it was moved to.
    leaving: HashMap<u32, PathBuf>,
    buffer: Vec<u8>,
}

/// What is to be seen in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Names that come and go.
    Names,
    /// That, and files that change.
    Files,
}

/// What was seen since the last time.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Paths at which something appeared or went.
    pub(super) touched: Vec<PathBuf>,
    /// Where a file was, and where it is now, all its moves followed.
    pub(super) renamed: Vec<(PathBuf, PathBuf)>,
    /// A folder appeared or went: walk again.
    pub(super) folders: bool,
    /// Events were lost: look at everything.
    pub(super) overflow: bool,
}

impl Watch {
    /// Without inotify (a limit of the host, said in the error) there is only the poll.
    pub(super) fn new() -> (Self, io::Result<()>) {
        let fd = Inotify::init().and_then(register);
        let (inotify, started) = match fd {
            Ok(fd) => (Some(fd), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let watch = Watch {
            inotify,
            folders: HashMap::new(),
            watched: HashMap::new(),
            leaving: HashMap::new(),
            buffer: vec![0; 16 << 10],
        };
        (watch, started)
    }

    /// Watches a folder; true when it was not watched before. An error means that it must be polled.
    pub(super) fn add(&mut self, folder: &Path, what: What) -> io::Result<bool> {
        if self.watched.get(folder).is_some_and(|seen| *seen >= what) {
            return Ok(false);
        }
        let Some(inotify) = &self.inotify else { return Err(io::ErrorKind::Unsupported.into()) };
        let mut mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
        mask |= WatchMask::MOVE_SELF | WatchMask::ONLYDIR | WatchMask::MASK_ADD;
        if what == What::Files {
            mask |= WatchMask::MODIFY;
        }
        let descriptor = inotify.get_ref().watches().add(folder, mask)?;
        self.watched.insert(folder.to_owned(), what);
        let paths = self.folders.entry(descriptor).or_default();
        if !paths.iter().any(|path| path == folder) {
            paths.push(folder.to_owned());
        }
        Ok(true)
    }

    /// Whether changes of the files of this folder are seen.
    pub(super) fn sees(&self, folder: &Path) -> bool {
        self.watched.get(folder) == Some(&What::Files)
    }

    /// Waits until there is something to [`Watch::drain`].
    pub(super) async fn changed(&self) {
        match &self.inotify {
            Some(inotify) => match inotify.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_runtime_is_gone) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Takes everything that was seen; calls `modified` with the path of each file that changed.
    pub(super) fn drain(&mut self, mut modified: impl FnMut(&Path)) -> Changes {
        let mut changes = Changes::default();
        let Some(inotify) = &mut self.inotify else { return changes };
        let mut path = PathBuf::new();
        let mut gone = Vec::new();
        while let Ok(events) = inotify.get_mut().read_events(&mut self.buffer) {
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    changes.overflow = true;
                }
                if event.mask.intersects(EventMask::IGNORED | EventMask::MOVE_SELF) {
                    changes.folders = true;
                    gone.push(event.wd.clone());
                }
                let Some(name) = event.name else { continue };
                for folder in self.folders.get(&event.wd).into_iter().flatten() {
                    path.as_mut_os_string().clear();
                    path.push(folder);
                    path.push(name);
                    if event.mask.contains(EventMask::ISDIR) {
                        changes.folders = true;
                    } else if event.mask.contains(EventMask::MODIFY) {
                        modified(&path);
                    } else if event.mask.contains(EventMask::MOVED_FROM) {
                        changes.touched.push(path.clone());
                        self.leaving.insert(event.cookie, path.clone());
                    } else if event.mask.contains(EventMask::MOVED_TO)
                        && let Some(from) = self.leaving.remove(&event.cookie)
                    {
                        changes.moved(from, path.clone());
                    } else {
                        changes.touched.push(path.clone());
                    }
                }
            }
        }
        self.leaving.clear(); // moved to where nobody watches
        for descriptor in gone {
            self.remove(descriptor);
        }
        changes
    }

    fn remove(&mut self, descriptor: WatchDescriptor) {
        for folder in self.folders.remove(&descriptor).unwrap_or_default() {
            self.watched.remove(&folder);
        }
        if let Some(inotify) = &self.inotify {
            let _removed_by_the_kernel = inotify.get_ref().watches().remove(descriptor);
        }
    }
}

#[expect(
    deprecated,
    reason = "the new form is unsafe; the descriptor of an `Inotify` never changes"
)]
fn register(inotify: Inotify) -> io::Result<AsyncFd<Inotify>> {
    AsyncFd::with_interest(inotify, Interest::READABLE)
}

impl Changes {
    /// `a` to `b` and `b` to `c` is `a` to `c`: only the last place can be looked at.
    fn moved(&mut self, from: PathBuf, to: PathBuf) {
        self.touched.push(to.clone());
        match self.renamed.iter_mut().find(|(_, now)| *now == from) {
            Some((_, now)) => *now = to,
            None => self.renamed.push((from, to)),
        }
    }
}
