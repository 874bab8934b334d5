//! Reading the configuration again while the agent runs: at SIGHUP, and with `--watch` when a file changes.
//!
//! A configuration with a mistake changes nothing: the old one runs on, the log has every mistake as `check` shows it,
//! and `sentinelops_config_last_reload_successful` is 0 until a good one is read.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sentinel_engine::config::Shared;
use sentinel_engine::pipeline::Running;

use super::{Options, paths, run};

/// Reads it, and goes over to it when it is good.
pub(super) async fn reload(options: &Options, running: &mut Running, shared: &Shared) {
    let plan = match options.plan(&Shared::inert(shared.state_dir.clone())) {
        Ok(plan) => Arc::new(plan),
        Err(problems) => {
            let words = problems.render();
            for line in words.lines().filter(|line| !line.is_empty()) {
                tracing::error!("{line}");
            }
            tracing::error!("the configuration is not taken over: the old one runs on");
            return running.telemetry.reloaded(Err(words
                .lines()
                .next()
                .unwrap_or_default()
                .into()));
        }
    };
    match running.reload(&plan).await {
        Ok(later) => {
            run::end_incidents_of_the_gone(&plan, &*shared.history, &shared.desk);
            if !later.is_empty() {
                tracing::warn!(
                    options = later.join(", "),
                    "changed, and used from the next start on"
                );
            }
            tracing::info!("the configuration was read again and is in use");
            running.telemetry.reloaded(Ok(()));
        }
        Err(error) => {
            let words = format!("{error:#}");
            tracing::error!(error = %words, "the configuration is not taken over: the old one runs on");
            running.telemetry.reloaded(Err(words));
        }
    }
}

/// What is seen of the files without reading them.
type Look = Vec<(PathBuf, u64, i64, i64, u64)>;

/// Looks at the configuration's files.
pub(super) struct Watch {
    main: PathBuf,
    folder: Option<PathBuf>,
    loaded: Look,
    last: Look,
}

impl Watch {
    /// What is there now is what runs.
    pub(super) fn new(options: &Options) -> Self {
        let main = paths::config(options.config.as_deref());
        let folder = paths::config_dir(options.config_dir.as_deref(), &main);
        let now = look(&main, folder.as_deref());
        Watch { main, folder, loaded: now.clone(), last: now }
    }

    /// Whether the files are others than those that were read, and are at rest: an editor writes in steps.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = look(&self.main, self.folder.as_deref());
        let rests = now == self.last;
        self.last = now;
        let changed = rests && self.last != self.loaded;
        if changed {
            self.loaded = self.last.clone();
        }
        changed
    }
}

fn look(main: &Path, folder: Option<&Path>) -> Look {
    let more = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
    let more = more.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        more.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files.insert(0, main.to_owned());
    let seen = |path: PathBuf| {
        let about = std::fs::metadata(&path).ok()?;
        Some((path, about.ino(), about.mtime(), about.mtime_nsec(), about.len()))
    };
    files.into_iter().filter_map(seen).collect()
}
