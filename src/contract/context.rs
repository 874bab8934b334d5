//! What a plugin is given when it is built.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::desk::Desk;
use crate::event::Labels;
use crate::history::History;
use crate::trainer::Trainer;

/// Where a plugin finds itself. Holding it touches nothing.
#[derive(Clone)]
pub struct Context {
    /// The plugin's alias: the option `alias`, else its name, with a number when several share it.
    pub alias: Arc<str>,
    /// The host's name.
    pub host: Arc<str>,
    /// `[agent] tags`, the plugin's own `tags`, and `host`: on every event an input makes.
    pub tags: Arc<Labels>,
    /// How often the engine gathers this input, or a detector frames.
    pub interval: Duration,
    /// Where state lives. Exists once the agent runs; not touched in `build`.
    pub state_dir: PathBuf,
    /// The embedded store.
    pub history: Arc<dyn History>,
    /// The training thread.
    pub trainer: Trainer,
    /// What all detectors know together of calls and open incidents.
    pub desk: Desk,
}
