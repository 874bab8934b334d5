//! A line as masked tokens, in buffers that are used again: a line of a known template allocates nothing.
//!
//! What stands before the message is not mined: a leading time, and syslog's host name. The program that syslog names
//! stays as the first token. Neighbours that are masked to the same text count once, so that lists of any length are
//! one template. A double-quoted text is one token, `<str>`. What is read of a line is bounded.

use super::level::Level;
use super::mask::{self, CLASS, EQUALS, SLASH, SPACE};

/// Bytes of a line that are read.
pub(super) const MAX_LINE: usize = 4096;
/// Tokens of a line that are read: as many as a word has bits.
pub(super) const MAX_TOKENS: usize = 64;
/// Among so many first tokens a word of severity is looked for.
const LEVEL_TOKENS: usize = 8;
/// A quoted text longer than this is no parameter.
const MAX_QUOTED: usize = 2048;

/// What stands at a place of a template where lines differ.
pub(super) const WILD_TEXT: &str = "<*>";
/// Its hash.
pub(super) const WILD: u64 = 0;

/// One token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    start: u32,
    end: u32,
    /// Of its masked text; never `WILD`.
    pub(super) hash: u64,
    /// Nothing but masks, a program or a severity: it does not tell one message from another.
    pub(super) is_plain: bool,
    /// Some of it is masked.
    pub(super) is_masked: bool,
}

/// A line's masked tokens.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: Vec<u8>,
    pub(super) tokens: Vec<Token>,
    /// Of all tokens in their order.
    pub(super) hash: u64,
    /// Of the program, when one is named before the message.
    pub(super) program: u64,
    /// What the words say, when they were asked.
    pub(super) level: Option<Level>,
    /// It was longer than what is read.
    pub(super) is_cut: bool,
}

/// The hash of a token's masked text. It is in snapshots, so no library's: eight bytes at a time, multiplied and folded.
fn hash(text: &[u8]) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| {
        let hash = (hash ^ word).wrapping_mul(K);
        hash ^ (hash >> 29)
    };
    let (words, rest) = text.as_chunks::<8>();
    let whole =
        words.iter().fold(text.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let rest = rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    let hash = mix(whole, rest);
    hash.max(1)
}

impl Line {
    /// Reads a line; `asks_level` looks for words of severity too.
    pub(super) fn read(&mut self, line: &[u8], asks_level: bool) {
        self.start();
        self.is_cut = line.len() > MAX_LINE;
        let line = &line[..line.len().min(MAX_LINE)];
        let (mut at, mut program_at) = message(line);
        let is_json = line.get(at) == Some(&b'{');
        loop {
            while at < line.len() && CLASS[line[at] as usize] & SPACE != 0 {
                at += 1;
            }
            if at >= line.len() {
                return;
            }
            if self.tokens.len() == MAX_TOKENS {
                self.is_cut = true;
                return;
            }
            if line[at] == b'"'
                && !is_json
                && let Some(end) = quoted(line, at)
            {
                self.push(|text| {
                    text.extend_from_slice(b"<str>");
                    text.extend_from_slice(&line[end..after_signs(line, end)]);
                    true
                });
                at = after_signs(line, end);
                continue;
            }
            let start = at;
            let mut seen = 0;
            while at < line.len() && CLASS[line[at] as usize] & SPACE == 0 {
                seen |= CLASS[line[at] as usize];
                at += 1;
                if CLASS[line[at - 1] as usize] & EQUALS != 0 && seen & SLASH == 0 {
                    break;
                }
            }
            let token = &line[start..at];
            let is_program = std::mem::take(&mut program_at) == Some(start);
            let is_level = asks_level && self.tokens.len() < LEVEL_TOKENS && self.ask_level(token);
            self.push(|text| mask::token(token, seen, text) || is_program || is_level);
            if is_program {
                self.program = self.hash;
            }
        }
    }

    /// A request instead of a line.
    pub(super) fn request(&mut self, method: &[u8], status: &[u8]) {
        self.start();
        for (word, is_plain) in [(&b"request"[..], true), (method, false), (status, false)] {
            self.push(|text| {
                text.extend_from_slice(word);
                is_plain
            });
        }
    }

    fn start(&mut self) {
        self.text.clear();
        self.tokens.clear();
        (self.hash, self.program, self.level, self.is_cut) = (0, 0, None, false);
    }

    fn ask_level(&mut self, token: &[u8]) -> bool {
        let names_level = self.tokens.last().is_some_and(|last| {
            let name = &self.text[last.start as usize..last.end as usize];
            [&b"level="[..], b"lvl=", b"severity="].contains(&name)
        });
        let found = if names_level { Level::of_value(token) } else { Level::of_word(token) };
        self.level = self.level.max(found);
        found.is_some()
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.text.len();
        let is_plain = write(&mut self.text);
        let hash = hash(&self.text[start..]);
        if is_plain && self.tokens.last().is_some_and(|last| last.is_plain && last.hash == hash) {
            self.text.truncate(start);
            return;
        }
        let end = self.text.len() as u32;
        let is_masked = is_plain || self.text[start..].contains(&b'<');
        self.tokens.push(Token { start: start as u32, end, hash, is_plain, is_masked });
        self.hash = (self.hash.rotate_left(23) ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    /// The masked text of a token.
    pub(super) fn token(&self, token: usize) -> &[u8] {
        let Token { start, end, .. } = self.tokens[token];
        &self.text[start as usize..end as usize]
    }
}

/// Behind the closing quote of a quoted text that begins at `at`; `None` when it does not look like one.
fn quoted(line: &[u8], at: usize) -> Option<usize> {
    let rest = &line[at + 1..];
    let close = memchr::memchr(b'"', &rest[..rest.len().min(MAX_QUOTED)])?;
    let end = at + close + 2;
    let next = line.get(end);
    let ends =
        next.is_none_or(|byte| CLASS[*byte as usize] & SPACE != 0 || b",;.:)]".contains(byte));
    ends.then_some(end)
}

fn after_signs(line: &[u8], mut at: usize) -> usize {
    while at < line.len() && b",;.:)]".contains(&line[at]) {
        at += 1;
    }
    at
}

/// Where the message begins, and where the program that stands before it, if syslog put one there.
fn message(line: &[u8]) -> (usize, Option<usize>) {
    if let Some(host) = syslog_time(line) {
        let program = next_word(line, host);
        return (program, Some(program));
    }
    let after = leading_time(line);
    let host_end = word_end(line, after);
    let program = next_word(line, host_end);
    let word = &line[program..word_end(line, program)];
    // RFC 5424 time, host, `program[pid]:`
    if after > 0 && host_end > after && word.ends_with(b"]:") {
        return (program, Some(program));
    }
    (after, None)
}

/// Behind `Jan 31 12:30:05 `.
fn syslog_time(line: &[u8]) -> Option<usize> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let head = line.get(..16)?;
    let shape = |at: usize| head[at].is_ascii_digit();
    let is_time = MONTHS.chunks_exact(3).any(|month| month == &head[..3])
        && head[3] == b' '
        && shape(5)
        && head[6] == b' '
        && shape(7)
        && head[9] == b':'
        && head[12] == b':'
        && head[15] == b' ';
    is_time.then(|| word_end(line, 16))
}

/// Behind a time that the line begins with: at least a date or a time of day, in brackets or not.
fn leading_time(line: &[u8]) -> usize {
    let start = usize::from(line.first() == Some(&b'['));
    let mut at = start;
    let (mut digits, mut signs) = (0, 0);
    while let Some(byte) = line.get(at) {
        let next_is_digit = line.get(at + 1).is_some_and(u8::is_ascii_digit);
        match byte {
            b'0'..=b'9' => digits += 1,
            b':' | b'-' | b'/' | b'T' if next_is_digit => signs += 1,
            b'.' | b',' | b'+' | b' ' if next_is_digit => {}
            b'Z' => {}
            _ => break,
        }
        at += 1;
    }
    if digits < 6 || signs < 2 {
        return 0;
    }
    let close = usize::from(start == 1 && line.get(at) == Some(&b']'));
    let at = at + close;
    // `2026-01-31T12:30:05-host`: not a time alone.
    if line.get(at).is_some_and(|byte| CLASS[*byte as usize] & SPACE == 0) {
        0
    } else {
        next_word(line, at)
    }
}

fn word_end(line: &[u8], at: usize) -> usize {
    let rest = &line[at.min(line.len())..];
    at + rest.iter().position(|byte| CLASS[*byte as usize] & SPACE != 0).unwrap_or(rest.len())
}

fn next_word(line: &[u8], at: usize) -> usize {
    let rest = &line[at.min(line.len())..];
    at + rest.iter().position(|byte| CLASS[*byte as usize] & SPACE == 0).unwrap_or(rest.len())
}
