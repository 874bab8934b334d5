//! How short the host is, as far as the agent makes room for it: model work waits first, then what may be left out.
//!
//! One handle, shared by cloning. The agent measures and sets the level; the training thread waits at it, and the engine
//! skips the collectors that may be left out. Log delivery and the host's own metrics never look at it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What makes room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing: the host has enough.
    #[default]
    None,
    /// Model work: trainings, and reading the past.
    Models,
    /// And metrics of single processes.
    Processes,
}

impl Level {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Models => "models",
            Level::Processes => "processes",
        }
    }
}

/// The level, shared by cloning.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    level: Level,
    waiting: usize,
}

impl Pressure {
    /// The level now.
    pub fn level(&self) -> Level {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).level
    }

    /// Threads that wait for it to fall.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).waiting
    }

    /// Sets it; those that wait look again.
    pub fn set(&self, level: Level) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).level = level;
        self.0.changed.notify_all();
    }

    /// Blocks this thread while the level is `level` or more, until `end` at the latest. False: it still is.
    pub fn wait_below(&self, level: Level, end: Instant) -> bool {
        let left = || end.saturating_duration_since(Instant::now());
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        while state.level >= level && left() > Duration::ZERO {
            let woken = self.0.changed.wait_timeout(state, left());
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting -= 1;
        state.level < level
    }
}
