//! Where the host's trees are. The variables are Telegraf's and gopsutil's, as in `inputs.system`: in a container the
//! host's trees are mounted elsewhere.

use std::path::{Path, PathBuf};

/// The trees.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    /// `HOST_ROOT`, else /.
    pub(super) root: PathBuf,
    /// `HOST_PROC`, else /proc.
    pub(super) proc: PathBuf,
    /// `HOST_SYS`, else /sys.
    pub(super) sys: PathBuf,
    /// `HOST_ETC`, else /etc.
    pub(super) etc: PathBuf,
    /// `HOST_VAR`, else /var.
    pub(super) var: PathBuf,
    /// `HOST_MOUNT_PREFIX`: where the host's file systems are mounted; empty when they are where they say.
    pub(super) mount_prefix: String,
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
            etc: tree("HOST_ETC", "etc"),
            var: tree("HOST_VAR", "var"),
            mount_prefix: variable("HOST_MOUNT_PREFIX").unwrap_or_default(),
            root: root.into(),
        }
    }
}
