//! What a person must do so that the agent may read a file: the words of the note and of the log line.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Why a path is not read, and the command that mends it.
pub(super) fn explain(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return format!("cannot be read: {error}");
    }
    let user = name_in("/etc/passwd", rustix::process::geteuid().as_raw());
    let user = user.unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string());
    let group = fs::metadata(path).ok().and_then(|meta| {
        let by_group = meta.mode() & 0o040 != 0 && meta.gid() != 0;
        by_group.then(|| name_in("/etc/group", meta.gid())).flatten()
    });
    let hidden = path
        .ancestors()
        .skip(1)
        .find(|folder| fs::read_dir(folder).is_ok() || folder.parent().is_none());
    let obstacle = if fs::metadata(path).is_ok() {
        path
    } else {
        // The folder that may not be searched: the first below the deepest one that may.
        let depth = hidden.map_or(0, |folder| folder.components().count());
        path.ancestors().find(|folder| folder.components().count() == depth + 1).unwrap_or(path)
    };
    format!("no permission; as root: {}", mend(obstacle, obstacle == path, &user, group.as_deref()))
}

/// The command that lets `user` read: membership of the group when the group may read, else an access list.
pub(super) fn mend(path: &Path, is_file: bool, user: &str, group: Option<&str>) -> String {
    match group {
        Some(group) => format!("usermod -aG {group} {user}, then restart the agent"),
        None if is_file => format!("setfacl -m u:{user}:r '{}'", path.display()),
        None => format!("setfacl -m u:{user}:rx '{}'", path.display()),
    }
}

/// The name of a number in `/etc/passwd` or `/etc/group`.
fn name_in(table: &str, id: u32) -> Option<String> {
    let text = fs::read_to_string(table).ok()?;
    text.lines().find_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next()?;
        (columns.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}
