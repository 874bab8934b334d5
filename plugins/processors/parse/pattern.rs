//! `regex` and `grok`: a pattern with named parts, matched anywhere in the line.
//!
//! Grok is regex with names for its parts: `%{PATTERN}`, `%{PATTERN:field}`, `%{PATTERN:field:int}` (or `float`). It is
//! expanded once, when the plugin is built. The engine is Rust's, linear in the line: no look-around, no backreference.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::bytes::{CaptureLocations, Regex, RegexBuilder};
use sentinel_contract::{Field, Name, Value};

use super::grok;
use super::time::digits;

/// Compiled size allowed; the default of the crate, 10 MB, is more than the agent is.
const MAX_COMPILED: usize = 4 << 20;

/// Patterns within patterns; deeper is a pattern that contains itself.
const MAX_DEPTH: usize = 32;

/// What an expanded pattern may be long.
const MAX_EXPANDED: usize = 1 << 20;

/// What becomes of the text that matched.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Text,
    Number,
}

#[derive(Debug)]
struct Group {
    index: usize,
    name: Arc<str>,
    kind: Type,
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    groups: Vec<Group>,
    places: CaptureLocations,
}

impl Pattern {
    /// A regex; its named groups are the fields.
    pub(super) fn regex(pattern: &str) -> Result<Self, String> {
        Pattern::compile(pattern, &[])
    }

    /// A grok expression; `own` come before the usual names.
    pub(super) fn grok(pattern: &str, own: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut typed = Vec::new();
        let mut expanded = String::new();
        expand(pattern, own, 0, &mut typed, &mut expanded)?;
        Pattern::compile(&expanded, &typed)
    }

    fn compile(pattern: &str, typed: &[(String, Type)]) -> Result<Self, String> {
        let regex = RegexBuilder::new(pattern)
            .size_limit(MAX_COMPILED)
            .build()
            .map_err(|error| format!("does not compile: {error}"))?;
        let groups = regex.capture_names().enumerate().filter_map(|(index, name)| {
            let name = name?;
            let given = name.strip_prefix("grok__").and_then(|number| number.parse::<usize>().ok());
            let (name, kind) = match given.and_then(|number| typed.get(number)) {
                Some((name, kind)) => (name.as_str(), *kind),
                None => (name, Type::Text),
            };
            Some(Group { index, name: name.into(), kind })
        });
        let groups: Vec<Group> = groups.collect();
        if groups.is_empty() {
            return Err("names no field: write (?<name>...) or %{PATTERN:name}".to_owned());
        }
        let places = regex.capture_locations();
        Ok(Pattern { regex, groups, places })
    }

    /// The fields of a line; `None` when it does not match.
    pub(super) fn parse(&mut self, line: &[u8]) -> Option<Vec<Field>> {
        self.regex.captures_read(&mut self.places, line)?;
        let mut fields = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let Some((start, end)) = self.places.get(group.index) else { continue };
            let number = (group.kind == Type::Number).then(|| number(&line[start..end])).flatten();
            let value = number.map_or(Value::Slice(start as u32, end as u32), Value::Number);
            fields.push(Field { name: Name::Shared(Arc::clone(&group.name)), value });
        }
        Some(fields)
    }
}

fn number(text: &[u8]) -> Option<f64> {
    if let Some(number) = digits(text) {
        return Some(number as f64);
    }
    std::str::from_utf8(text).ok()?.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

fn expand(
    pattern: &str,
    own: &BTreeMap<String, String>,
    depth: usize,
    typed: &mut Vec<(String, Type)>,
    out: &mut String,
) -> Result<(), String> {
    let mut rest = pattern;
    while let Some(start) = rest.find("%{") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or("has a %{ that is not closed")?;
        rest = &inner[end + 1..];
        let mut parts = inner[..end].split(':');
        let name = parts.next().unwrap_or_default().trim();
        let known = own.get(name).map(String::as_str).or_else(|| grok::pattern(name));
        let known = known.ok_or_else(|| {
            format!("uses %{{{name}}}, which is neither a usual grok name nor in `patterns`")
        })?;
        if depth >= MAX_DEPTH || out.len() > MAX_EXPANDED {
            return Err(format!("uses %{{{name}}}, which contains itself"));
        }
        match parts.next().map(str::trim).filter(|field| !field.is_empty()) {
            Some(field) => {
                let kind = match parts.next().map(str::trim) {
                    None | Some("" | "string") => Type::Text,
                    Some("int" | "integer" | "float" | "number") => Type::Number,
                    Some(other) => {
                        return Err(format!(
                            "gives {field} the type {other}; there are int, float and string"
                        ));
                    }
                };
                out.push_str("(?<grok__");
                out.push_str(&typed.len().to_string());
                out.push('>');
                typed.push((field.to_owned(), kind));
            }
            None => out.push_str("(?:"),
        }
        expand(known, own, depth + 1, typed, out)?;
        out.push(')');
    }
    out.push_str(rest);
    Ok(())
}
