//! Which paths match: globs with excludes, walked one folder level a pattern component, so that
//! `/var/log/*/access.log` never lists what lies deeper. Folders that are links are followed, except below `**`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// Deepest folder below `**`: a loop of mounts or links ends.
const MAX_DEPTH: usize = 32;

/// A glob, compiled.
#[derive(Debug)]
struct Pattern {
    whole: GlobMatcher,
    /// The folder that all matches lie in.
    base: PathBuf,
    /// What is below the base, one a level.
    levels: Vec<Level>,
}

#[derive(Debug)]
enum Level {
    /// A name without wildcards.
    Name(PathBuf),
    /// Names that match.
    Match(GlobMatcher),
    /// `**`, or what cannot be told level by level: anything, at any depth.
    Any,
}

/// The globs of one input.
#[derive(Debug)]
pub(super) struct Globs {
    patterns: Vec<Pattern>,
    /// Matched against the whole path.
    exclude_paths: Vec<GlobMatcher>,
    /// Patterns without a slash: matched against the file's name.
    exclude_names: Vec<GlobMatcher>,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Paths that match, files or not.
    pub(super) paths: BTreeSet<PathBuf>,
    /// Folders in which a matching file may appear.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Folders in which only a folder may appear.
    pub(super) crossed: BTreeSet<PathBuf>,
    /// Folders that could not be listed.
    pub(super) failed: Vec<(PathBuf, io::Error)>,
}

fn compile(pattern: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    Ok(glob.map_err(|error| error.to_string())?.compile_matcher())
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

impl Pattern {
    fn new(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("\"{text}\" must be an absolute path"));
        }
        let whole = compile(text)?;
        let mut parts = text.split('/').filter(|part| !part.is_empty()).peekable();
        let mut base = PathBuf::from("/");
        let mut levels = Vec::new();
        while let Some(part) = parts.next_if(|part| !has_wildcard(part)) {
            if parts.peek().is_none() {
                levels.push(Level::Name(PathBuf::from(part)));
            } else {
                base.push(part);
            }
        }
        for part in parts {
            if part.contains("**") || part.matches('{').count() != part.matches('}').count() {
                levels.push(Level::Any); // a `{a/b,c}` spans levels
                break;
            } else if has_wildcard(part) {
                levels.push(Level::Match(compile(part)?));
            } else {
                levels.push(Level::Name(PathBuf::from(part)));
            }
        }
        if levels.is_empty() {
            return Err(format!("\"{text}\" names no file"));
        }
        Ok(Pattern { whole, base, levels })
    }

    fn walk(&self, folder: &Path, depth: usize, globs: &Globs, walk: &mut Walk) {
        let level = self.levels.get(depth).unwrap_or(&Level::Any);
        let deep = matches!(level, Level::Any);
        let last = deep || depth + 1 == self.levels.len();
        let set = if last { &mut walk.folders } else { &mut walk.crossed };
        set.insert(folder.to_owned());
        if let Level::Name(name) = level {
            let path = folder.join(name);
            if last {
                walk.named(path, globs);
            } else {
                self.walk(&path, depth + 1, globs, walk);
            }
            return;
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return walk.fail(folder, error),
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let wanted = match level {
                Level::Match(matcher) => matcher.is_match(entry.file_name()),
                _ => true,
            };
            let path = entry.path();
            let down = if deep { kind.is_dir() } else { !last && !kind.is_file() };
            if !wanted {
                continue;
            }
            if down && depth < MAX_DEPTH {
                self.walk(&path, depth + 1, globs, walk);
            } else if last
                && !kind.is_dir()
                && (!deep || self.whole.is_match(&path))
                && !globs.excludes(&path)
            {
                walk.paths.insert(path);
            }
        }
    }
}

impl Walk {
    /// A path given without a wildcard in its name: it is there whatever it is, so that a folder is refused aloud.
    fn named(&mut self, path: PathBuf, globs: &Globs) {
        match path.symlink_metadata() {
            Ok(_) if globs.excludes(&path) => {}
            Ok(_) => {
                self.paths.insert(path);
            }
            Err(error) => self.fail(&path, error),
        }
    }

    fn fail(&mut self, path: &Path, error: io::Error) {
        let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        if !absent.contains(&error.kind()) {
            self.failed.push((path.to_owned(), error));
        }
    }
}

impl Globs {
    /// Compiles; the error says which list and what is wrong.
    pub(super) fn new(
        files: &[String],
        exclude: &[String],
    ) -> Result<Self, (&'static str, String)> {
        let mut globs =
            Globs { patterns: Vec::new(), exclude_paths: Vec::new(), exclude_names: Vec::new() };
        for text in files {
            globs.patterns.push(Pattern::new(text).map_err(|reason| ("files", reason))?);
        }
        for text in exclude {
            let matcher = compile(text).map_err(|reason| ("exclude", reason))?;
            let list = if text.contains('/') {
                &mut globs.exclude_paths
            } else {
                &mut globs.exclude_names
            };
            list.push(matcher);
        }
        Ok(globs)
    }

    /// Everything that is there now.
    pub(super) fn walk(&self) -> Walk {
        let mut walk = Walk::default();
        for pattern in &self.patterns {
            pattern.walk(&pattern.base, 0, self, &mut walk);
        }
        walk
    }

    /// Whether a path is to be followed.
    pub(super) fn matches(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| pattern.whole.is_match(path)) && !self.excludes(path)
    }

    fn excludes(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.exclude_names.iter().any(|glob| glob.is_match(name))
            || self.exclude_paths.iter().any(|glob| glob.is_match(path))
    }
}

/// Whether a file of this name may be the rotated copy of the other: it lies beside it, and its name begins with the
/// other's stem (`app.log`: `app.log.1`, `app.log-20260101`, `app-1.log`).
pub(super) fn may_be_copy(copy: &Path, original: &Path) -> bool {
    let (Some(name), Some(stem)) = (copy.file_name(), original.file_stem()) else { return false };
    copy != original && copy.parent() == original.parent() && starts_with(name, stem)
}

fn starts_with(name: &OsStr, stem: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(stem.as_encoded_bytes())
}
