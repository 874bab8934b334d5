//! How the commands lay out times, numbers and JSON for a person.
//!
//! The JSON of an incident grows with the detectors: what is not known here by name is laid out by its shape, and the
//! unit by the end of its name (`_ms`, `_s`, `_bytes`, `share`). Nothing printed can speak to the terminal.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

/// A number of milliseconds beyond this is a moment, not a length (it is 1973).
const MOMENT: f64 = 1e11;
/// Columns that come first, in this order; the others by name.
const FIRST: [&str; 23] = [
    "rank",
    "dimension",
    "time_ms",
    "at_ms",
    "started_ms",
    "from_ms",
    "since_ms",
    "until_ms",
    "time",
    "name",
    "signal",
    "feature",
    "what",
    "kind",
    "key",
    "message",
    "value",
    "before",
    "after",
    "expected",
    "lower",
    "upper",
    "share",
];
/// The longest cell of a table; with a longer one the rows become a list.
const CELL: usize = 60;
/// Text is broken here.
const WIDTH: usize = 110;

/// Words of others on one line, at most so many characters.
pub(crate) fn plain(words: &str, most: usize) -> String {
    let mut line: String =
        words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    if words.chars().count() > most {
        line.push_str(" ...");
    }
    line
}

/// A moment in local time, to the second.
pub(crate) fn moment(time_ms: i64) -> String {
    let shown = Timestamp::from_millisecond(time_ms)
        .map(|time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string());
    shown.unwrap_or_else(|_| format!("{time_ms} ms"))
}

/// A length: "45s", "12m 30s", "3h 5m", "2d 4h".
pub(crate) fn length(ms: i64) -> String {
    let (sign, seconds) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs() / 1000);
    let two = |large: u64, large_unit, small: u64, small_unit| match small {
        0 => format!("{sign}{large}{large_unit}"),
        small => format!("{sign}{large}{large_unit} {small}{small_unit}"),
    };
    match seconds {
        0 if ms != 0 => format!("{ms}ms"),
        0..60 => format!("{sign}{seconds}s"),
        60..3600 => two(seconds / 60, 'm', seconds % 60, 's'),
        3600..86_400 => two(seconds / 3600, 'h', seconds % 3600 / 60, 'm'),
        _ => two(seconds / 86_400, 'd', seconds % 86_400 / 3600, 'h'),
    }
}

/// Four digits that matter: "0.075", "12.3", "5,480", "1.234e18"; "-" for what is missing.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let part = part.trim_end_matches('0');
    let digits = whole.trim_start_matches('-');
    let mut grouped = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if part.is_empty() { grouped } else { format!("{grouped}.{part}") }
}

/// "62 %".
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.0} %", share * 100.0) } else { "-".to_owned() }
}

/// A share of at most 1 as a bar of at most 20 characters.
pub(crate) fn bar(share: f64) -> String {
    "#".repeat((share.clamp(0.0, 1.0) * 20.0).round() as usize)
}

/// Whether there is nothing to show.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A field's name for a person: `started_ms` is "started".
pub(crate) fn title(name: &str) -> String {
    let name = name.strip_suffix("_ms").or_else(|| name.strip_suffix("_s")).unwrap_or(name);
    plain(&name.replace('_', " "), CELL)
}

/// A value on one line, its unit by the field's name.
pub(crate) fn inline(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => plain(text, usize::MAX),
        Value::Number(value) => measure(name, value.as_f64().unwrap_or(f64::NAN)),
        Value::Array(items) => {
            items.iter().map(|item| inline(name, item)).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) => {
            let shown = ordered(fields).into_iter().filter(|name| !is_empty(&fields[*name]));
            let shown =
                shown.map(|name| format!("{} {}", title(name), inline(name, &fields[name])));
            shown.collect::<Vec<_>>().join(", ")
        }
    }
}

fn measure(name: &str, value: f64) -> String {
    if name.ends_with("_ms") && value.abs() >= MOMENT {
        moment(value as i64)
    } else if name.ends_with("_ms") {
        length(value as i64)
    } else if name.ends_with("_s") || name.ends_with("_seconds") {
        length((value * 1000.0) as i64)
    } else if name == "share" || name.ends_with("_share") {
        percent(value)
    } else {
        number(value)
    }
}

/// Names in the order in which a person reads them.
fn ordered(fields: &Map<String, Value>) -> Vec<&str> {
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    names.sort_by_key(|name| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    names
}

/// A heading with any value below it; nothing when there is nothing to show.
pub(crate) fn section(out: &mut String, heading: &str, name: &str, value: &Value) {
    if is_empty(value) {
        return;
    }
    let _infallible = writeln!(out, "\n{heading}");
    body(out, name, value);
}

/// Any value, indented.
pub(crate) fn body(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            let names = ordered(fields).into_iter().filter(|name| !is_empty(&fields[*name]));
            let lines: Vec<Vec<String>> =
                names.map(|name| vec![title(name), inline(name, &fields[name])]).collect();
            pairs(out, &lines);
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            objects(out, items);
        }
        // ["name", 1.5] pairs, as the scores of the models are.
        Value::Array(items) if items.iter().all(is_pair) => {
            let cells = |item: &Value| {
                item.as_array().into_iter().flatten().map(|v| inline(name, v)).collect()
            };
            table(out, &[], &items.iter().map(cells).collect::<Vec<_>>());
        }
        Value::Array(items) if items.iter().all(is_word) => {
            paragraph(out, "  ", &inline(name, value));
        }
        Value::Array(items) => {
            for item in items.iter().filter(|item| !is_empty(item)) {
                paragraph(out, "  - ", &inline(name, item));
            }
        }
        one => paragraph(out, "  ", &inline(name, one)),
    }
}

fn is_pair(value: &Value) -> bool {
    matches!(value.as_array().map(Vec::as_slice), Some([Value::String(_), _]))
}

/// Short and without spaces: many fit on a line.
fn is_word(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| text.len() <= 40 && !text.contains(' '))
}

/// A table of objects: a column for each field that one of them has. A list when one has a whole sentence.
fn objects(out: &mut String, items: &[Value]) {
    let mut all = Map::new();
    for (name, value) in items.iter().filter_map(Value::as_object).flatten() {
        if !is_empty(value) {
            all.insert(name.clone(), Value::Null);
        }
    }
    let columns = ordered(&all);
    let heads: Vec<String> = columns.iter().map(|name| title(name).to_uppercase()).collect();
    let row = |item: &Value| {
        let cell = |name: &&str| match &item[*name] {
            value if is_empty(value) => String::new(),
            value => inline(name, value),
        };
        columns.iter().map(cell).collect()
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    if rows.iter().flatten().all(|cell| cell.chars().count() <= CELL) {
        table(out, &heads, &rows);
    } else {
        for item in items {
            paragraph(out, "  - ", &inline("", item));
        }
    }
}

/// Names and values, the values below one another.
pub(crate) fn pairs(out: &mut String, lines: &[Vec<String>]) {
    let width = lines.iter().map(|line| line[0].chars().count()).max().unwrap_or(0);
    for line in lines {
        paragraph(out, &format!("  {:<width$}  ", line[0]), &line[1]);
    }
}

/// Rows below one another, indented; numbers, with a unit or without, to the right.
pub(crate) fn table(out: &mut String, heads: &[String], rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).chain([heads.len()]).max().unwrap_or(0);
    let all = || rows.iter().map(Vec::as_slice).chain([heads]);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            all().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let numbers: Vec<bool> = (0..columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).all(|cell| is_number(cell)))
        .collect();
    let heads = [heads];
    let heads = heads.into_iter().filter(|heads| !heads.is_empty());
    for row in heads.chain(rows.iter().map(Vec::as_slice)) {
        let mut line = String::from(" ");
        for (at, cell) in row.iter().enumerate() {
            let space = " ".repeat(widths[at] - cell.chars().count());
            let (left, right) = if numbers[at] { (&*space, "") } else { ("", &*space) };
            let _infallible = write!(line, " {left}{cell}{right} ");
        }
        let _infallible = writeln!(out, "{}", line.trim_end());
    }
}

fn is_number(cell: &str) -> bool {
    let (figure, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let is_figure = matches!(figure, "-" | "") || figure.replace(',', "").parse::<f64>().is_ok();
    is_figure && !unit.contains(' ')
}

/// Text behind a lead, broken at words; further lines stand below the first.
pub(crate) fn paragraph(out: &mut String, lead: &str, text: &str) {
    let indent = " ".repeat(lead.chars().count());
    let (mut line, mut fresh) = (lead.to_owned(), true);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _infallible = writeln!(out, "{line}");
            line.clone_from(&indent);
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    let _infallible = writeln!(out, "{}", line.trim_end());
}
