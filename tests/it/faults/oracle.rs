//! What every fault is judged by: lines that tell their source, their number, and by a rule what else must be in them, so
//! that a lost, doubled, changed, invented or displaced line is seen by whoever reads it.
//!
//! From the oracle with obligations of Vector's antithesis tests (reference/reliability-and-performance.md, C). Only what was
//! seen of each number is kept, not the lines: long runs are millions of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::live::load::Put;

/// Letters from which the rest of a line is made.
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
/// Strange lines that are kept to be looked at.
const MOST_STRANGE: usize = 200;

/// Appends line `number` of a source, without its end.
pub(crate) fn put_line(source: &str, number: u64, text: &mut String) {
    let start = source.bytes().fold(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut mixed = (start ^ (start >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    write!(text, "{source} {number:09} {mixed:016x} ").unwrap();
    for nth in 0..8 + mixed % 64 {
        mixed = mixed.rotate_left(7).wrapping_mul(0x94d0_49bb_1331_11eb) ^ nth;
        text.push(char::from(LETTERS[(mixed >> 58) as usize]));
    }
}

/// The lines of a source for a [`crate::live::load::Writer`].
pub(crate) fn lines(source: &str) -> Put {
    let source = source.to_owned();
    Box::new(move |written, text| {
        put_line(&source, written.numbered, text);
        text.push('\n');
        written.numbered += 1;
    })
}

/// Some lines of a source, with their ends.
pub(crate) fn text(source: &str, numbers: std::ops::Range<u64>) -> String {
    let mut text = String::new();
    for number in numbers {
        put_line(source, number, &mut text);
        text.push('\n');
    }
    text
}

/// What came of one source.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often each number came.
    times: Vec<u8>,
    lines: u64,
    newest: Option<u64>,
    backwards: u64,
}

/// What came of all sources.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    sources: BTreeMap<String, Seen>,
    /// Lines that no rule made, at most [`MOST_STRANGE`], and how many there were.
    pub(crate) strange: Vec<String>,
    pub(crate) strangers: u64,
    /// Lines that begin with `#`: headers, which are the same in many files.
    pub(crate) headers: u64,
    line: String,
}

impl Oracle {
    /// A line came.
    pub(crate) fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let named = words.next().zip(words.next().and_then(|number| number.parse::<u64>().ok()));
        if let Some((source, number)) = named.filter(|(_, number)| *number < 100_000_000) {
            self.line.clear();
            put_line(source, number, &mut self.line);
            if self.line == line {
                if !self.sources.contains_key(source) {
                    self.sources.insert(source.to_owned(), Seen::default());
                }
                return self.sources.get_mut(source).unwrap().take(number);
            }
        }
        if line.starts_with('#') {
            self.headers += 1;
            return;
        }
        self.strangers += 1;
        if self.strange.len() < MOST_STRANGE {
            self.strange.push(line.to_owned());
        }
    }

    /// How many lines came of a source, those that came again included.
    pub(crate) fn lines(&self, source: &str) -> u64 {
        self.sources.get(source).map_or(0, |seen| seen.lines)
    }

    /// How many different lines came of a source.
    pub(crate) fn distinct(&self, source: &str) -> u64 {
        let seen = self.sources.get(source);
        seen.map_or(0, |seen| seen.times.iter().filter(|times| **times > 0).count() as u64)
    }

    /// Whether this line came.
    pub(crate) fn has(&self, source: &str, number: u64) -> bool {
        let times = self.sources.get(source).and_then(|seen| seen.times.get(number as usize));
        times.is_some_and(|times| *times > 0)
    }

    /// What is to be said of a source that wrote `written` lines.
    pub(crate) fn verdict(&self, source: &str, written: u64) -> Verdict {
        let nothing = Seen::default();
        let seen = self.sources.get(source).unwrap_or(&nothing);
        let came = |number: &u64| seen.times.get(*number as usize).is_some_and(|times| *times > 0);
        let lost = (0..written).filter(|number| !came(number));
        Verdict {
            written,
            lost: lost.clone().count() as u64,
            first_lost: lost.take(10).collect(),
            again: seen.lines - self.distinct(source),
            backwards: seen.backwards,
            unknown: self.strangers + (seen.times.len() as u64).saturating_sub(written),
        }
    }
}

impl Seen {
    fn take(&mut self, number: u64) {
        let place = number as usize;
        if self.times.len() <= place {
            self.times.resize(place + 1, 0);
        }
        self.times[place] = self.times[place].saturating_add(1);
        self.lines += 1;
        self.backwards += u64::from(self.newest.is_some_and(|newest| number < newest));
        self.newest = Some(number);
    }
}

/// What became of the lines of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) written: u64,
    pub(crate) lost: u64,
    /// The first few of them.
    pub(crate) first_lost: Vec<u64>,
    /// Lines that came more than once, each time counted.
    pub(crate) again: u64,
    /// Lines that came after a later one of their source.
    pub(crate) backwards: u64,
    /// Lines of any source that were never written so.
    pub(crate) unknown: u64,
}

impl Verdict {
    /// Every line at least once, and nothing else.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost == 0 && self.unknown == 0
    }

    /// Every line once and in order, and nothing else.
    pub(crate) fn is_exact(&self) -> bool {
        self.is_whole() && self.again == 0 && self.backwards == 0
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Verdict { written, lost, again, backwards, unknown, .. } = self;
        write!(f, "{written} written, {lost} lost, {again} again")?;
        if *backwards > 0 {
            write!(f, ", {backwards} backwards")?;
        }
        if *unknown > 0 { write!(f, ", {unknown} unknown") } else { Ok(()) }
    }
}

#[test]
fn the_oracle_sees_what_is_lost_doubled_displaced_changed_and_invented() {
    let mut oracle = Oracle::default();
    for line in text("a", 0..10).lines() {
        oracle.take(line);
    }
    assert!(oracle.verdict("a", 10).is_exact());
    assert_eq!(oracle.verdict("a", 12).first_lost, [10, 11]);
    assert_eq!(oracle.verdict("a", 9).unknown, 1, "one was never written");
    oracle.take(text("a", 3..4).trim_end());
    let verdict = oracle.verdict("a", 10);
    assert_eq!((verdict.again, verdict.backwards, verdict.lost), (1, 1, 0));
    for changed in
        [text("a", 4..5).trim_end().replace("a 0", "b 0"), text("a", 4..5)[..30].to_owned()]
    {
        oracle.take(&changed);
    }
    assert_eq!(oracle.verdict("a", 10).unknown, 2);
}
