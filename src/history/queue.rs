//! What waits for the thread, in its order. It grows as needed up to a limit, so that a burst of a fleet's frames fits and an
//! idle host pays nothing for it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::thread::Command;
use crate::write::Write;

/// Frames are not taken from here on: two minutes of ten thousand hosts. The rest is for incidents, state and reads.
pub(crate) const FRAMES: usize = 24_576;
const ALL: usize = FRAMES + 256;
/// For a frame that finds no room: whoever reads what has piled up makes frames faster than the disk takes them.
pub(crate) const WAIT: Duration = Duration::from_millis(50);
/// Beyond it the memory goes back once it is empty.
const KEPT: usize = 1024;

pub(crate) struct Queue {
    /// How long one frame may wait for room.
    wait: Duration,
    state: Mutex<State>,
    came: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Command>,
    closed: bool,
    /// A frame found no room in time: none waits again before half is free, or a disk that hangs would hold all who make them.
    behind: bool,
}

/// Why there is nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// Nothing came in time.
    Yet,
    /// Nothing will come any more.
    Ever,
}

impl Queue {
    pub(crate) fn new(wait: Duration) -> Self {
        Queue { wait, state: Mutex::default(), came: Condvar::new(), room: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it; false when there is no room.
    pub(crate) fn push(&self, command: Command) -> bool {
        let is_frame = matches!(command, Command::Write(Write::Frame { .. }));
        let limit = if is_frame { FRAMES } else { ALL };
        let mut state = self.lock();
        if is_frame && !state.behind {
            let full = |state: &mut State| state.commands.len() >= limit && !state.closed;
            let waited = self.room.wait_timeout_while(state, self.wait, full);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.commands.len() >= limit || state.closed {
            state.behind |= is_frame;
            return false;
        }
        state.commands.push_back(command);
        drop(state);
        self.came.notify_one();
        true
    }

    /// The oldest, when there is one in time. What is there at the end is still given.
    pub(crate) fn pop(&self, patience: Duration) -> Result<Command, Nothing> {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(command) = state.commands.pop_front() {
                if state.commands.len() < FRAMES / 2 {
                    state.behind = false;
                }
                if state.commands.is_empty() && state.commands.capacity() > KEPT {
                    state.commands = VecDeque::new();
                }
                drop(state);
                self.room.notify_one();
                return Ok(command);
            }
            let left = until.saturating_duration_since(Instant::now());
            match (state.closed, left.is_zero()) {
                (true, _) => return Err(Nothing::Ever),
                (_, true) => return Err(Nothing::Yet),
                _ => {
                    let waited = self.came.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.came.notify_all();
        self.room.notify_all();
    }
}

/// Closes the queue and empties it when dropped: whoever waits for an answer of a thread that is no more hears so.
pub(crate) struct Ends<'a>(pub(crate) &'a Queue);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.close();
        let left = std::mem::take(&mut self.0.lock().commands);
        drop(left);
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.lock().commands.len()).finish()
    }
}
