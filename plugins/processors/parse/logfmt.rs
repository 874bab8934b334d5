//! logfmt: `level=info msg="it started" took=3ms`. A word without `=` is passed over; a line without any pair is none.
//!
//! https://brandur.org/logfmt, and github.com/go-logfmt/logfmt for its quoting (that of JSON strings).

use sentinel_contract::{Field, Value};

use super::names::Names;

/// Fields of one line; the rest is left in the line.
const MAX_FIELDS: usize = 256;

/// Reads a line.
pub(super) fn parse(line: &[u8], names: &mut Names) -> Option<Vec<Field>> {
    let mut fields = Vec::with_capacity(12);
    let mut at = 0;
    while fields.len() < MAX_FIELDS {
        at += line[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if at >= line.len() {
            break;
        }
        let end = at + line[at..].iter().take_while(|byte| is_key(**byte)).count();
        if line.get(end) != Some(&b'=') || end == at {
            at = end.max(at) + 1; // a bare word, or a stray quote or equals sign
            at = at.min(line.len());
            continue;
        }
        let name = &line[at..end];
        let (value, next) = value(line, end + 1)?;
        fields.push(Field { name: names.get(name), value });
        at = next;
    }
    (!fields.is_empty()).then_some(fields)
}

fn is_key(byte: u8) -> bool {
    byte > b' ' && byte != b'=' && byte != b'"'
}

/// The value at `at` and where it ends; `None` when its quote is never closed: the line was cut.
fn value(line: &[u8], at: usize) -> Option<(Value, usize)> {
    if line.get(at) != Some(&b'"') {
        let end = at + line[at..].iter().take_while(|byte| **byte > b' ').count();
        return Some((Value::Slice(at as u32, end as u32), end));
    }
    let start = at + 1;
    let mut end = start;
    let mut is_escaped = false;
    loop {
        match *line.get(end)? {
            b'"' => break,
            b'\\' => {
                is_escaped = true;
                end += 2;
            }
            _ => end += 1,
        }
    }
    if is_escaped && let Ok(text) = serde_json::from_slice::<String>(&line[at..=end]) {
        return Some((Value::Text(text.into()), end + 1));
    }
    Some((Value::Slice(start as u32, end as u32), end + 1))
}
