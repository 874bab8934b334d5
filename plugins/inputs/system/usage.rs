//! How full a file system is: statvfs(3). A file system behind a network or a daemon may never answer, so it is asked on
//! a thread of its own, which is waited for a little and never asked a second time while it has not answered.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long one gather waits for a slow file system.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// What statvfs says, in bytes and inodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) used: u64,
    pub(super) inodes_total: u64,
    pub(super) inodes_free: u64,
}

/// Asks a file system; replaced in tests.
pub(super) type Ask = Arc<dyn Fn(&Path) -> io::Result<Usage> + Send + Sync>;

/// Asks the kernel. Free is what is left for users without privileges, as `df` and Telegraf count it.
pub(super) fn statvfs(path: &Path) -> io::Result<Usage> {
    let stat = rustix::fs::statvfs(path)?;
    let unit = if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize };
    Ok(Usage {
        total: stat.f_blocks.saturating_mul(unit),
        free: stat.f_bavail.saturating_mul(unit),
        used: stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(unit),
        inodes_total: stat.f_files,
        inodes_free: stat.f_ffree,
    })
}

/// Whether the file system may hang.
pub(super) fn may_hang(fstype: &str) -> bool {
    const REMOTE: [&str; 22] = [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "virtiofs",
        "vboxsf",
        "vmhgfs",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "afs",
        "kafs",
        "coda",
        "gpfs",
        "ocfs2",
        "gfs2",
        "orangefs",
        "davfs",
        "ncpfs",
    ];
    fstype.starts_with("fuse") || REMOTE.contains(&fstype)
}

/// A file system that may hang, and the thread that asks it. The thread ends when this is dropped, or, hung, when the
/// kernel lets it go.
#[derive(Debug)]
pub(super) struct Slow {
    questions: SyncSender<()>,
    answers: Receiver<io::Result<Usage>>,
    waiting: bool,
}

impl Slow {
    /// Starts the thread, idle.
    pub(super) fn new(path: PathBuf, ask: Ask) -> io::Result<Self> {
        let (questions, asked) = sync_channel::<()>(1);
        let (sender, answers) = sync_channel(1);
        thread::Builder::new().name("statvfs".to_owned()).stack_size(64 << 10).spawn(
            move || {
                while asked.recv().is_ok() {
                    if sender.send(ask(&path)).is_err() {
                        return;
                    }
                }
            },
        )?;
        Ok(Slow { questions, answers, waiting: false })
    }

    /// Asks, unless the question before is still open.
    pub(super) fn ask(&mut self) {
        if !self.waiting {
            self.waiting = self.questions.try_send(()).is_ok();
        }
    }

    /// The answer, if it comes before `until`; a late one is given to the next gather.
    pub(super) fn answer(&mut self, until: Instant) -> Option<io::Result<Usage>> {
        if !self.waiting {
            return None;
        }
        let left = until.saturating_duration_since(Instant::now());
        let answer = self.answers.recv_timeout(left).ok()?;
        self.waiting = false;
        Some(answer)
    }
}
