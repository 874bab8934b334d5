//! Reading a table into a type with all of its mistakes, not just the first.
//!
//! Serde stops at the first error. Its span says which key is to blame: that key is taken out and the table read again,
//! until nothing is left to complain about.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use sentinel_contract::ConfigError;

use super::source::{Problem, Source};
use super::suggest;

/// The entries of a table; empty for anything else.
pub(super) fn entries<'t, 'i>(table: &'t Spanned<DeValue<'i>>) -> Option<&'t DeTable<'i>> {
    match table.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Takes one entry out.
pub(super) fn take<'i>(
    table: &mut Spanned<DeValue<'i>>,
    name: &str,
) -> Option<(Range<usize>, Spanned<DeValue<'i>>)> {
    let DeValue::Table(map) = table.get_mut() else { return None };
    let key = map.keys().find(|key| key.get_ref() == name)?.clone();
    let value = map.remove(&key)?;
    Some((key.span(), value))
}

/// What reading a table left behind.
pub(super) struct Complaints {
    /// The mistakes.
    pub problems: Vec<Problem>,
    /// The options (first segment) that were taken out on the way.
    pub removed: Vec<String>,
}

/// Calls `read` until it no longer complains about a key. `None` when the rest cannot be read either.
pub(super) fn collect<T>(
    table: &Spanned<DeValue<'_>>,
    source: &Source,
    known: &[&str],
    mut read: impl FnMut(Spanned<DeValue<'_>>) -> Result<T, Vec<ConfigError>>,
) -> (Option<T>, Complaints) {
    let mut table = table.clone();
    let mut complaints = Complaints { problems: Vec::new(), removed: Vec::new() };
    loop {
        let errors = match read(table.clone()) {
            Ok(value) => return (Some(value), complaints),
            Err(errors) => errors,
        };
        let mut again = false;
        for error in errors {
            again |= complain(error, &mut table, source, known, &mut complaints);
        }
        if !again {
            return (None, complaints);
        }
    }
}

/// Reads a table into `T`, in the words that [`collect`] understands.
pub(super) fn parse<T: DeserializeOwned>(
    table: Spanned<DeValue<'_>>,
) -> Result<T, Vec<ConfigError>> {
    T::deserialize(toml::de::ValueDeserializer::from(table)).map_err(|error| {
        vec![ConfigError::Shape { message: error.message().to_owned(), span: error.span() }]
    })
}

/// Records one error; true when a key was taken out, so that reading again may tell more.
fn complain(
    error: ConfigError,
    table: &mut Spanned<DeValue<'_>>,
    source: &Source,
    known: &[&str],
    complaints: &mut Complaints,
) -> bool {
    match error {
        ConfigError::Shape { message, span } => {
            let missing =
                message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
            if missing
                .is_some_and(|field| complaints.removed.iter().any(|removed| removed == field))
            {
                return false; // it was given, and complained about
            }
            let whole = table.span();
            let span = span.unwrap_or_else(|| whole.clone());
            let culprit = remove_at(table, &span);
            let (key, nested) = match &culprit {
                Some((path, _)) => (path.last().cloned(), path.len() > 1),
                None => (None, false),
            };
            let shown = match &culprit {
                // An unknown key is underlined itself, a wrong value at its value.
                Some((_, key_span)) if message.starts_with("unknown field") => key_span.clone(),
                _ => span,
            };
            let mut problem =
                source.problem(header(source, shown), reword(&message, key.as_deref()));
            if message.starts_with("unknown field") {
                let word = key.as_deref().unwrap_or_default();
                problem.help = unknown_help(word, &expected(&message), nested, known);
            }
            complaints.problems.push(problem);
            if let Some((path, _)) = &culprit {
                complaints.removed.push(path[0].clone());
            }
            culprit.is_some()
        }
        ConfigError::Value { option, reason } => {
            let first = option.split(['.', '[']).next().unwrap_or_default();
            if !complaints.removed.iter().any(|removed| removed == first) {
                let span = find(table, &option).unwrap_or_else(|| table.span());
                let message = format!("{option}: {reason}");
                complaints.problems.push(source.problem(header(source, span), message));
            }
            false
        }
    }
}

/// A table's span may cover all of it: point at its header line only.
fn header(source: &Source, span: Range<usize>) -> Range<usize> {
    let end = source.text.get(span.clone()).and_then(|text| text.find('\n'));
    span.start..end.map_or(span.end, |at| span.start + at)
}

/// Help for an unknown option: it slid under a sub-table's header, or it is misspelt.
fn unknown_help(word: &str, expected: &[&str], nested: bool, known: &[&str]) -> Option<String> {
    if nested && known.contains(&word) {
        return Some(slid(word));
    }
    let mut all: Vec<&str> = expected.to_vec();
    if !nested {
        all.extend(known);
        all.sort_unstable();
        all.dedup();
    }
    suggest::help(word, &all)
}

/// The advice for an option below the wrong header.
pub(super) fn slid(word: &str) -> String {
    format!(
        "`{word}` is an option of the plugin itself, but the sub-table's header above has swallowed it: move it above that header"
    )
}

/// The words in backticks after "expected" in serde's message.
fn expected(message: &str) -> Vec<&str> {
    let list = message.split_once("expected").map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).collect()
}

/// Serde's message in the words of the configuration.
fn reword(message: &str, key: Option<&str>) -> String {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let word = rest.split('`').next().unwrap_or_default();
        return format!("unknown option `{word}`");
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        let word = rest.split('`').next().unwrap_or_default();
        return format!("option `{word}` must be given");
    }
    let message = without_value(message);
    match key {
        Some(key) => format!("{key}: {message}"),
        None => message,
    }
}

/// Serde quotes the string that it did not expect: it may be a secret (its line is shown, masked). And a struct is a
/// table to everybody else.
fn without_value(message: &str) -> String {
    let mut message = message.to_owned();
    if let (Some(start), Some(end)) = (message.find("string \""), message.rfind("\", expected"))
        && start < end
    {
        message.replace_range(start..=end, "a string");
    }
    if let Some(at) = message.find("expected struct ") {
        message.replace_range(at.., "expected a table");
    }
    message
        .replace("expected a sequence", "expected a list")
        .replace("expected a map", "expected a table")
}

/// Takes out the innermost entry whose key or value covers `span`; returns its path and its key's span.
fn remove_at(
    table: &mut Spanned<DeValue<'_>>,
    span: &Range<usize>,
) -> Option<(Vec<String>, Range<usize>)> {
    let covers = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let DeValue::Table(map) = table.get_mut() else { return None };
    // The innermost match: the entry itself, or one in a table or in a table of an array below it.
    for (key, value) in map.iter_mut() {
        let inner = match value.get_mut() {
            DeValue::Table(_) => remove_at(value, span),
            DeValue::Array(items) => items.iter_mut().find_map(|item| remove_at(item, span)),
            _ => None,
        };
        if let Some((mut path, at)) = inner {
            path.insert(0, key.get_ref().to_string());
            return Some((path, at));
        }
    }
    let key = map
        .iter()
        .find(|(key, value)| {
            covers(&key.span())
                || (covers(&value.span()) && value.span() != *span || value.span() == *span)
        })
        .map(|(key, _)| key.clone())?;
    map.remove(&key);
    Some((vec![key.get_ref().to_string()], key.span()))
}

/// The span of the value (or key, for a table) of a dotted option.
fn find(table: &Spanned<DeValue<'_>>, option: &str) -> Option<Range<usize>> {
    let (first, rest) = option.split_once('.').map_or((option, None), |(a, b)| (a, Some(b)));
    let name = first.split('[').next().unwrap_or(first);
    let index: Option<usize> =
        first.split_once('[').and_then(|(_, tail)| tail.trim_end_matches(']').parse().ok());
    let map = entries(table)?;
    let (_, mut value) = map.iter().find(|(key, _)| key.get_ref() == name)?;
    if let (Some(index), DeValue::Array(items)) = (index, value.get_ref()) {
        value = items.get(index).unwrap_or(value);
    }
    match rest {
        Some(rest) => find(value, rest).or(Some(value.span())),
        None => Some(value.span()),
    }
}
