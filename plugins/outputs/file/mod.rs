//! Events to a file or to standard output, one a line, as JSON or text.
//!
//! The file is opened again when its name leads to another file, so that logrotate can rename it. Does not rotate,
//! does not sync: what the kernel has taken is delivered. Writes run on the blocking pool: a disk or a pipe may wait.

mod format;

#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sentinel_contract::{
    Cause, ConfigError, Context, Events, Kinds, Output, Piece, Plugin, WriteError,
};
use serde::Deserialize;

/// The path that means standard output.
const STDOUT: &str = "stdout";

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to; "stdout" is standard output.
    pub path: String,
    /// How an event is written.
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Config { path: STDOUT.to_owned(), format: Format::Json }
    }
}

/// How an event is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The output.
pub struct File {
    path: PathBuf,
    format: Format,
    open: Option<fs::File>,
    lines: Vec<u8>,
}

impl Plugin for File {
    type Kind = Box<dyn Output>;
    type Config = Config;
    const NAME: &'static str = "file";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, _context: &Context) -> Result<Self::Kind, Vec<ConfigError>> {
        let path = config.path;
        if path != STDOUT && !Path::new(&path).is_absolute() {
            let reason = "must be \"stdout\" or an absolute path such as \"/var/log/events.json\"";
            return Err(vec![ConfigError::value("path", reason)]);
        }
        let (path, format) = (path.into(), config.format);
        Ok(Box::new(File { path, format, open: None, lines: Vec::new() }))
    }
}

#[async_trait::async_trait]
impl Output for File {
    fn accepts(&self) -> Kinds {
        Kinds::METRICS.and(Kinds::LOGS).and(Kinds::INCIDENTS)
    }

    async fn write(&mut self, pieces: &[Piece]) -> Result<(), WriteError> {
        self.lines.clear();
        let refused = self.format(pieces).map_err(|cause| WriteError::Refuse { cause })?;
        let path = self.path.clone();
        let mut open = self.open.take();
        let lines = std::mem::take(&mut self.lines);
        let written = tokio::task::spawn_blocking(move || {
            let result = append(&path, &mut open, &lines);
            (result, open, lines)
        });
        let (result, open, lines) = written
            .await
            .map_err(|error| WriteError::Retry { after: None, cause: error.into() })?;
        (self.open, self.lines) = (open, lines);
        sentinel_transport::compress::shrink(&mut self.lines);
        result.map_err(|error| failed(error, &self.path))?;
        if refused.is_empty() {
            return Ok(());
        }
        let cause = anyhow::anyhow!("the value is not a finite number");
        Err(WriteError::Reject { events: refused, cause })
    }

    async fn probe(&mut self) -> Result<String, Cause> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || probe(&path)).await?
    }
}

impl File {
    /// Writes the lines into the buffer; returns the indices of samples that are not finite.
    fn format(&mut self, pieces: &[Piece]) -> Result<Vec<usize>, Cause> {
        let (json, out) = (self.format == Format::Json, &mut self.lines);
        let mut refused = Vec::new();
        let mut index = 0;
        for piece in pieces {
            match &piece.batch.events {
                Events::Metrics(_) => {
                    for (nth, metric) in piece.metrics().iter().enumerate() {
                        match json {
                            _ if !metric.value.is_finite() => refused.push(index + nth),
                            true => format::metric_json(out, metric)?,
                            false => format::metric_text(out, metric)?,
                        }
                    }
                }
                Events::Logs(_) => {
                    for log in piece.logs() {
                        if json { format::log_json(out, log)? } else { format::log_text(out, log) }
                    }
                }
                Events::Incidents(_) => {
                    for incident in piece.incidents() {
                        if json {
                            format::incident_json(out, incident)?;
                        } else {
                            format::incident_text(out, incident)?;
                        }
                    }
                }
                Events::Evidence(_) => (), // not accepted
            }
            index += piece.range.len();
        }
        Ok(refused)
    }
}

/// Appends all of `lines`, or none of it when the disk is full.
fn append(path: &Path, open: &mut Option<fs::File>, lines: &[u8]) -> io::Result<()> {
    if path == Path::new(STDOUT) {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines)?;
        return stdout.flush();
    }
    let file = match open.take().filter(|file| same(file, path)) {
        Some(file) => open.insert(file),
        None => open.insert(OpenOptions::new().append(true).create(true).open(path)?),
    };
    let before = file.metadata().ok().filter(fs::Metadata::is_file).map(|data| data.len());
    let written = file.write_all(lines);
    if let (Err(_), Some(before)) = (&written, before) {
        let _half_a_line_stays = file.set_len(before);
    }
    written
}

fn same(file: &fs::File, path: &Path) -> bool {
    let identity = |data: fs::Metadata| (data.dev(), data.ino());
    let opened = file.metadata().ok().map(identity);
    opened.is_some() && opened == fs::metadata(path).ok().map(identity)
}

fn failed(error: io::Error, path: &Path) -> WriteError {
    let kind = error.kind();
    let cause = anyhow::Error::from(error).context(format!("cannot write {}", path.display()));
    match kind {
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem => WriteError::Hold { cause },
        _ => WriteError::Retry { after: None, cause },
    }
}

fn probe(path: &Path) -> Result<String, Cause> {
    if path == Path::new(STDOUT) {
        return Ok("writes to standard output".to_owned());
    }
    let there = path.exists();
    append(path, &mut None, b"").map_err(|error| failed(error, path))?;
    if !there {
        fs::remove_file(path)?;
    }
    Ok(format!("{} can be written", path.display()))
}
