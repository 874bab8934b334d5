//! The labels of a stream as Loki wants them: a few in the stream's name, the rest as structured metadata.
//!
//! From Loki's `pkg/push/push.proto`, `pkg/logql/syntax` (names, quoting) and its default limit of 2048 bytes a value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sentinel_contract::Labels;
use sentinel_transport::formats::names;
use sentinel_transport::protobuf::{field_len, put_bytes, put_head};

/// Field `structuredMetadata` of an `EntryAdapter`.
const METADATA: u64 = 3;

/// Loki's default `max_label_value_length`.
const LONGEST_VALUE: usize = 2048;

/// The name of the stream: `{host="a", job="b"}`, of the labels that `keep` names.
pub(super) fn stream_name(labels: &Labels, keep: &[String], host: &str) -> String {
    let kept = labels.iter().filter(|(name, _)| keep.iter().any(|keep| keep == name));
    let mut pairs = BTreeMap::new();
    for (name, value) in kept {
        pairs.entry(names::label(name)).or_insert(value);
    }
    if pairs.is_empty() {
        pairs.insert("host".into(), host); // Loki refuses a stream without labels
    }
    render(pairs.iter().map(|(name, value)| (&**name, *value)))
}

/// The name of a stream of exactly these labels, whose names are clean and sorted.
pub(super) fn render<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (index, (name, value)) in pairs.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _infallible = write!(out, "{comma}{name}=\"");
        let value = &value[..value.floor_char_boundary(LONGEST_VALUE)];
        for c in value.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                c if c.is_control() => {
                    let _infallible = write!(out, "\\u{:04x}", c as u32);
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out.push('}');
    out
}

/// The encoded structured metadata that every entry of the stream carries: the labels that are not in its name.
pub(super) fn metadata(labels: &Labels, keep: &[String]) -> Box<[u8]> {
    let mut out = Vec::new();
    for (name, value) in labels.iter().filter(|(name, _)| !keep.iter().any(|keep| keep == name)) {
        put_metadata(&mut out, &names::label(name), value);
    }
    out.into()
}

/// Appends one pair of structured metadata.
pub(super) fn put_metadata(out: &mut Vec<u8>, name: &str, value: &str) {
    put_head(out, METADATA, field_len(name.len()) + field_len(value.len()));
    put_bytes(out, 1, name.as_bytes());
    put_bytes(out, 2, value.as_bytes());
}

/// The labels of a stream's name as they are in it and in Loki's messages (Go's quoting); `None` for anything else.
/// Those that Loki adds by itself (`service_name`, `__stream_shard__`) are told apart by [`same_stream`].
pub(super) fn parse(name: &str) -> Option<Vec<(String, String)>> {
    let mut rest = name.trim().strip_prefix('{')?;
    let mut pairs = Vec::new();
    while !rest.starts_with('}') {
        let (label, value) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut chars = value.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(unescape(&mut chars)?),
                plain => text.push(plain),
            }
        }
        if !text.is_empty() {
            pairs.push((label.trim_start_matches([',', ' ']).to_owned(), text)); // an empty label is none
        }
        rest = chars.as_str();
    }
    Some(pairs)
}

fn unescape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let digits = match chars.next()? {
        'n' => return Some('\n'),
        't' => return Some('\t'),
        'r' => return Some('\r'),
        'a' => return Some('\u{7}'),
        'b' => return Some('\u{8}'),
        'f' => return Some('\u{c}'),
        'v' => return Some('\u{b}'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        plain => return Some(plain),
    };
    let hex = chars.as_str().get(..digits)?;
    *chars = chars.as_str().get(digits..)?.chars();
    char::from_u32(u32::from_str_radix(hex, 16).ok()?)
}

/// Whether Loki means our stream by what it names.
pub(super) fn same_stream(named: &[(String, String)], ours: &[(String, String)]) -> bool {
    let added = |name: &str| name == "service_name" || name.starts_with("__");
    ours.iter().all(|pair| named.contains(pair))
        && named.iter().all(|pair| ours.contains(pair) || added(&pair.0))
}
