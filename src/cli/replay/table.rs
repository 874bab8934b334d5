//! A table of series: a CSV, plain or gzip, whose first column is `timestamp` in whole seconds since 1970 UTC.
//!
//! An empty cell is a missing sample. A last column named `label` says what people think of the row: it is not a signal,
//! and it is never looked at, not even parsed. Cells are not quoted. Times may repeat, but not go back. A table is read
//! into memory, 8 bytes a cell.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::MultiGzDecoder;

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// A line is cut off here: what is longer is no table.
const MAX_LINE: u64 = 1 << 20;
/// 2 GB of cells.
const MAX_CELLS: usize = 250_000_000;

/// Rows of numbers in time order.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    /// The file it came from.
    pub path: PathBuf,
    /// The columns between the time and the label.
    pub names: Vec<String>,
    /// Seconds since 1970 UTC, one a row.
    pub times: Vec<i64>,
    /// One value a row and column, row after row; NaN where the sample is missing.
    pub cells: Vec<f64>,
}

impl Table {
    /// Reads a file. Errors name it and the line.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut lines = Lines { input: open(path)?, path, number: 0, line: Vec::new() };
        let Some(header) = lines.next()? else { bail!("{}: the file is empty", path.display()) };
        let header: Vec<&str> = header.split(',').collect();
        let columns = header.len();
        let labelled = columns > 1 && header.last() == Some(&"label");
        let names = header[1..columns - usize::from(labelled)].iter();
        let names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
        let problem = wrong_header(&header, &names);
        if let Some(problem) = problem {
            bail!("{}:1: {problem}", path.display());
        }
        let (path, mut times, mut cells) = (path.to_owned(), Vec::new(), Vec::new());
        loop {
            let number = lines.number + 1;
            let Some(line) = lines.next()? else { break };
            if line.is_empty() {
                continue;
            }
            let last = times.last().copied();
            let time = row(line, columns, names.len(), last, &mut cells)
                .with_context(|| format!("{}:{number}", path.display()))?;
            times.push(time);
            ensure!(cells.len() <= MAX_CELLS, "{}: is too large; split it", path.display());
        }
        ensure!(!times.is_empty(), "{}: there are no rows below the header", path.display());
        Ok(Table { path, names, times, cells })
    }

    /// One row's cells.
    pub(crate) fn row(&self, at: usize) -> &[f64] {
        &self.cells[at * self.names.len()..(at + 1) * self.names.len()]
    }

    /// The same rows with the columns in this order. Error: other columns.
    pub(crate) fn in_order(self, names: &[String]) -> Result<Self> {
        if self.names == names {
            return Ok(self);
        }
        let place = |name: &String| self.names.iter().position(|own| own == name);
        let places: Option<Vec<usize>> = names.iter().map(place).collect();
        let Some(places) = places.filter(|places| places.len() == self.names.len()) else {
            bail!(
                "{}:1: its columns are not those of the series to be replayed",
                self.path.display()
            );
        };
        let rows = 0..self.times.len();
        let cells = rows.flat_map(|row| places.iter().map(move |at| (row, *at)));
        let cells = cells.map(|(row, at)| self.cells[row * places.len() + at]).collect();
        Ok(Table { names: names.to_vec(), cells, ..self })
    }
}

/// Opens a file, and unpacks it when it is gzip.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let cannot = || format!("{}: cannot be read", path.display());
    let file = File::open(path).with_context(cannot)?;
    ensure!(!file.metadata().with_context(cannot)?.is_dir(), "{}: is a folder", path.display());
    let mut file = BufReader::with_capacity(1 << 16, file);
    let packed = file.fill_buf().with_context(cannot)?.starts_with(&GZIP);
    Ok(if packed {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

/// What is wrong with the names of the columns.
fn wrong_header(header: &[&str], names: &[String]) -> Option<String> {
    if header.first() != Some(&"timestamp") {
        let found = header.first().copied().unwrap_or_default();
        return Some(format!("the first column must be `timestamp` (it is `{found}`)"));
    }
    if names.is_empty() {
        return Some("there is no column beside `timestamp` and `label`".to_owned());
    }
    if let Some(at) = names.iter().position(String::is_empty) {
        return Some(format!("column {} has no name", at + 2));
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(format!("two columns are called `{}`", twice[0]))
}

/// Reads a row: its cells are added to `cells`, its time returned.
fn row(
    line: &str,
    columns: usize,
    wanted: usize,
    last: Option<i64>,
    cells: &mut Vec<f64>,
) -> Result<i64> {
    let found = line.bytes().filter(|byte| *byte == b',').count() + 1;
    ensure!(found == columns, "the row has {found} cells, the header {columns}");
    let mut texts = line.split(',');
    let time = texts.next().unwrap_or_default();
    let Ok(time) = time.parse::<i64>() else {
        bail!("`{}` is no timestamp in whole seconds since 1970", shown(time));
    };
    ensure!(
        time.checked_mul(1_000_000).is_some(),
        "`{time}` is no timestamp in seconds since 1970"
    );
    if let Some(last) = last.filter(|last| *last > time) {
        bail!(
            "the timestamp {time} is before that of the row above, {last}; sort the file by time"
        );
    }
    for (at, text) in texts.take(wanted).enumerate() {
        cells.push(match text.parse::<f64>() {
            _ if text.is_empty() => f64::NAN,
            Ok(value) if !value.is_infinite() => value,
            _ => bail!("column {}: `{}` is no number", at + 2, shown(text)),
        });
    }
    Ok(time)
}

/// The beginning of a text that may be anything.
fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

struct Lines<'p> {
    input: Box<dyn BufRead>,
    path: &'p Path,
    number: usize,
    line: Vec<u8>,
}

impl Lines<'_> {
    /// The next line without its end.
    fn next(&mut self) -> Result<Option<&str>> {
        self.line.clear();
        self.number += 1;
        let at = || format!("{}:{}", self.path.display(), self.number);
        let mut limited = (&mut self.input).take(MAX_LINE);
        let read = limited.read_until(b'\n', &mut self.line).with_context(at)?;
        if read == 0 {
            return Ok(None);
        }
        ensure!((read as u64) < MAX_LINE, "{}: the line is longer than 1 MiB", at());
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else { bail!("{}: is not UTF-8 text", at()) };
        Ok(Some(if self.number == 1 { line.trim_start_matches('\u{feff}') } else { line }))
    }
}
