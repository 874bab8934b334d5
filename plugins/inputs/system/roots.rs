//! Where the host's trees are. The variables are Telegraf's and gopsutil's: in a container the host's /proc and /sys
//! are mounted elsewhere, and its files below a prefix.

use std::path::{Path, PathBuf};

/// The trees all collectors read.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    /// `HOST_PROC`, else /proc.
    pub(super) proc: PathBuf,
    /// `HOST_SYS`, else /sys.
    pub(super) sys: PathBuf,
    /// `HOST_DEV`, else /dev.
    pub(super) dev: PathBuf,
    /// `HOST_RUN`, else /run.
    pub(super) run: PathBuf,
    /// `HOST_VAR`, else /var.
    pub(super) var: PathBuf,
    /// `HOST_MOUNT_PREFIX`: where the host's file systems are mounted; empty when they are where they say.
    pub(super) mount_prefix: String,
    /// /proc is another host's or container's: what the kernel says of our own interfaces does not apply.
    pub(super) foreign_proc: bool,
}

impl Roots {
    /// As the environment says. Reads no file.
    pub(super) fn from_env() -> Self {
        Roots::from(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// As `variable` says.
    pub(super) fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let root = variable("HOST_ROOT").unwrap_or_else(|| "/".to_owned());
        let tree = |name: &str, folder: &str| {
            variable(name).map_or_else(|| Path::new(&root).join(folder), PathBuf::from)
        };
        Roots {
            proc: tree("HOST_PROC", "proc"),
            sys: tree("HOST_SYS", "sys"),
            dev: tree("HOST_DEV", "dev"),
            run: tree("HOST_RUN", "run"),
            var: tree("HOST_VAR", "var"),
            mount_prefix: variable("HOST_MOUNT_PREFIX").unwrap_or_default(),
            foreign_proc: variable("HOST_PROC").is_some(),
        }
    }
}
