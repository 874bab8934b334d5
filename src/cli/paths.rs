//! Where things are when no option says so.

use std::path::{Path, PathBuf};

/// The state folder of the system's service.
pub(crate) const SYSTEM_STATE: &str = "/var/lib/sentinelops";

/// The configuration file.
pub(crate) fn config(given: Option<&Path>) -> PathBuf {
    if let Some(given) = given {
        return given.to_owned();
    }
    let here = PathBuf::from("agent.toml");
    if here.exists() { here } else { PathBuf::from("/etc/sentinelops/agent.toml") }
}

/// The folder of more configuration.
pub(crate) fn config_dir(given: Option<&Path>, main: &Path) -> Option<PathBuf> {
    if let Some(given) = given {
        return Some(given.to_owned());
    }
    let beside = main.parent()?.join("agent.d");
    beside.is_dir().then_some(beside)
}

/// The state folder: systemd's, else the user's, else the system's.
pub(crate) fn state_dir(given: Option<&Path>) -> PathBuf {
    if let Some(given) = given {
        return given.to_owned();
    }
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(systemd) = variable("STATE_DIRECTORY") {
        return systemd;
    }
    if let Some(user) = variable("XDG_STATE_HOME") {
        return user.join("sentinelops");
    }
    match variable("HOME") {
        Some(home) => home.join(".local/state/sentinelops"),
        None => PathBuf::from(SYSTEM_STATE),
    }
}
