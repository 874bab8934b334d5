//! A recorded file gives the lines that tail gives.

use std::io::Read;
use std::path::Path;

use proptest::prelude::*;
use sentinel_contract::Log;
use sentinel_contract::units::Size;

use super::harness::context;
use crate::tail::{Config, Mode, Multiline, Recorded};

fn config(multiline: bool) -> Config {
    Config {
        files: vec!["/nonexistent".to_owned()],
        labels: [("job".to_owned(), "shop".to_owned())].into(),
        max_line_bytes: Size(1024),
        read_chunk: Size(1024),
        multiline: Multiline {
            mode: if multiline { Mode::Indentation } else { Mode::Off },
            ..Multiline::default()
        },
        ..Config::default()
    }
}

/// Gives its bytes in pieces of all sizes.
struct Pieces(Vec<u8>, usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 * 7 % 911 + 1;
        let size = self.1.min(buffer.len()).min(self.0.len());
        buffer[..size].copy_from_slice(&self.0[..size]);
        self.0.drain(..size);
        Ok(size)
    }
}

fn read(text: &[u8], config: Config) -> Vec<Log> {
    let input = Box::new(Pieces(text.to_vec(), 1));
    let context = context(Path::new("/nonexistent"));
    let mut file = Recorded::new(config, &context, Path::new("a.log"), input, 100).unwrap();
    let mut all = Vec::new();
    loop {
        let lines = file.next_lines().unwrap();
        if lines.is_empty() {
            return all;
        }
        all.extend(lines);
    }
}

proptest! {
    #[test]
    fn every_line_comes_once_in_order_cut_at_the_limit(
        lengths in proptest::collection::vec(prop_oneof![0..200_usize, 900..5000_usize], 0..40),
        ended in any::<bool>(),
    ) {
        let lines: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(at, n)| vec![b'a' + (at % 26) as u8; *n]).collect();
        let mut text = lines.join(&b'\n');
        if ended && !lines.is_empty() {
            text.push(b'\n');
        }
        let mut expected = lines.clone();
        if !ended && expected.last().is_some_and(Vec::is_empty) {
            expected.pop(); // nothing after the last line end
        }
        let found = read(&text, config(false));
        prop_assert_eq!(found.len(), expected.len());
        for (at, (log, line)) in found.iter().zip(&expected).enumerate() {
            prop_assert_eq!(&log.body[..], &line[..line.len().min(1024)]);
            prop_assert_eq!(log.fields.is_some(), line.len() > 1024);
            prop_assert_eq!(log.time_ns, 100 + at as i64);
        }
    }
}

#[test]
fn labels_and_groups_are_those_of_the_options() {
    let logs = read(b"one\n  two\nthree\n", config(true));
    let bodies: Vec<&[u8]> = logs.iter().map(|log| &log.body[..]).collect();
    assert_eq!(bodies, [&b"one\n  two"[..], b"three"]);
    assert_eq!(logs[0].stream.get("job"), Some("shop"));
    assert_eq!(logs[0].stream.get("filename"), Some("a.log"));
    assert_eq!(logs[0].stream.get("host"), Some("h"));
    assert!(read(b"", config(true)).is_empty());
}
