//! The truth file: a line of JSON for each anomaly, written before its first line or sample.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::schedule::Anomaly;
use super::text::Stamp;

/// The line of an anomaly on the host of this name.
pub(super) fn line(anomaly: &Anomaly, host: &str, start_ns: i64) -> String {
    let (kind, data, what) = anomaly.name.about();
    let mut stamp = Stamp::default();
    let mut time = |offset_ns: i64| {
        let mut text = Vec::new();
        stamp.iso(&mut text, start_ns.saturating_add(offset_ns));
        String::from_utf8_lossy(&text).into_owned()
    };
    let (start, end) = (time(anomaly.begin_ns), time(anomaly.end_ns));
    let (target, size) = (data.as_str(), anomaly.size);
    let host: String = host.chars().flat_map(escaped).collect();
    format!(
        "{{\"start\":\"{start}\",\"end\":\"{end}\",\"kind\":\"{kind}\",\"target\":\"{target}\",\
         \"host\":\"{host}\",\"size\":{size},\"what\":\"{what}\"}}\n"
    )
}

/// A character within a JSON string.
fn escaped(c: char) -> Vec<char> {
    match c {
        '"' | '\\' => vec!['\\', c],
        c if c.is_control() => format!("\\u{:04x}", c as u32).chars().collect(),
        c => vec![c],
    }
}

/// The file, open for appending: what earlier runs told stays.
#[derive(Debug)]
pub struct Truth(File);

impl Truth {
    /// Opens or makes it.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).create(true).open(path).map(Truth)
    }

    /// Appends a line.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        self.0.write_all(line.as_bytes())
    }
}
