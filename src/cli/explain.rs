//! `explain`: everything that is known of one incident, laid out for the person who has to act on it.
//!
//! The fields that every incident has have a place of their own; whatever else a detector says of it (suspects, what
//! changed before, the breakdown) comes below them, by its shape.

use std::fmt::Write as _;
use std::process::ExitCode;

use sentinel_engine::clock::now_ms;
use serde_json::{Value, json};

use super::agent::Agent;
use super::cases::{Case, Source, text};
use super::layout::{
    bar, inline, is_empty, length, moment, number, pairs, paragraph, percent, plain, section,
    table, title,
};
use super::{Options, Output, print};

/// Fields that have a place of their own in the layout.
const PLACED: [&str; 24] = [
    "message",
    "key",
    "detector",
    "host",
    "group",
    "state",
    "time_ms",
    "started_ms",
    "score",
    "reason",
    "contributions",
    "models",
    "normal",
    "severity",
    "joined",
    "held",
    "hit",
    "usual",
    "trend",
    "total",
    "coverage",
    "tier",
    "changes",
    "next",
];
/// Fields of a contribution that have a column of their own.
const COLUMNS: [&str; 8] =
    ["feature", "direction", "value", "expected", "lower", "upper", "share", "unit"];
/// Headings that say more than the field's name. Those named here come first, in this order.
const HEADINGS: [(&str, &str); 6] = [
    ("breakdown", "Where it is"),
    ("sample", "One of the lines"),
    ("suspects", "Suspects, ranked by how much they changed"),
    ("changed", "What changed just before"),
    ("similar", "The last similar incident"),
    ("commands", "What to do next"),
];

/// Prints one incident: by key, a unique part of it, or `last`.
pub(crate) fn explain(options: &Options, id: &str, format: Output) -> anyhow::Result<ExitCode> {
    let agent = Agent::find(options);
    let case = Source::of(&agent)?.find(id)?;
    match format {
        Output::Json => {
            let timeline: Vec<&Value> = case.changes.iter().rev().collect();
            print(&format!("{:#}\n", json!({ "incident": case.newest(), "timeline": timeline })));
        }
        Output::Text => print(&layout(&case, now_ms())),
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest change that says so: an end may leave out what its beginning knew.
fn known<'c>(case: &'c Case, field: &str) -> &'c Value {
    let said = case.changes.iter().map(|change| &change[field]);
    said.into_iter().find(|value| !is_empty(value)).unwrap_or(&Value::Null)
}

pub(super) fn layout(case: &Case, now: i64) -> String {
    let mut out = String::new();
    paragraph(&mut out, "", &plain(text(case.newest(), "message"), usize::MAX));
    out.push('\n');
    facts(&mut out, case, now);
    if !case.is_digest() {
        contributions(&mut out, known(case, "contributions"));
    }
    models(&mut out, known(case, "models"));
    section(&mut out, "Normal all the while", "normal", known(case, "normal"));
    for (field, heading) in others(case) {
        section(&mut out, &heading, &field, known(case, &field));
    }
    timeline(&mut out, case);
    next(&mut out, case);
    out
}

fn facts(out: &mut String, case: &Case, now: i64) {
    let newest = case.newest();
    let began = case.started_ms();
    let lasted = length(case.lasted_ms(now));
    let (host, group) = (text(newest, "host"), text(newest, "group"));
    let place = if group.is_empty() { host.to_owned() } else { format!("{host}, {group}") };
    let when = match case.ended_ms() {
        Some(ended) => format!("{} to {} ({lasted})", moment(began), moment(ended)),
        None => format!("since {} ({lasted} up to now)", moment(began)),
    };
    let reached = case.score();
    let now_at = newest["score"].as_f64().unwrap_or(f64::NAN);
    let score = format!(
        "{} at its highest, {} at its last change; 1 is the boundary",
        number(reached),
        number(now_at)
    );
    let paged = case.changes.iter().find(|change| text(change, "state") == "notified");
    let paged = match paged {
        Some(change) => {
            let time = moment(change["time_ms"].as_i64().unwrap_or(0));
            format!("yes, at {time}: {}", text(change, "reason"))
        }
        None => {
            let decided = |change: &&Value| change["held"] == true || change["joined"].is_string();
            let why = case.changes.iter().rev().find(decided).unwrap_or(newest);
            format!("no: {}", text(why, "reason"))
        }
    };
    let mut lines = vec![
        ("hit", hit(case)),
        ("usual", text(newest, "usual").to_owned()),
        ("state", format!("{} ({})", case.state(), text(newest, "reason"))),
        ("when", when),
        ("where", place),
        ("score", score),
        ("paged", paged),
        ("severity", case.severity().to_owned()),
        ("part of", text(newest, "joined").to_owned()),
        ("seen", seen(case)),
        ("detector", text(newest, "detector").to_owned()),
        ("key", case.key().to_owned()),
    ];
    lines.retain(|(_, words)| !words.is_empty());
    let lines: Vec<Vec<String>> = lines
        .into_iter()
        .map(|(name, words)| vec![name.to_owned(), plain(&words, usize::MAX)])
        .collect();
    pairs(out, &lines);
}

/// What is hit and where it goes; of one that is over, all of it.
fn hit(case: &Case) -> String {
    let total = &case.newest()["total"]; // not that of an end from which it came back
    if let (Some(hit), Some(ms)) = (total["hit"].as_str(), total["lasted_ms"].as_i64()) {
        return format!("{hit}, in {} all told", length(ms));
    }
    match (text(case.newest(), "hit"), text(case.newest(), "trend")) {
        ("", _) => String::new(),
        (hit, "") => hit.to_owned(),
        (hit, trend) => format!("{hit}, {trend}"),
    }
}

/// How much the detector could see.
fn seen(case: &Case) -> String {
    let coverage = known(case, "coverage");
    let count = |name: &str| coverage[name].as_f64().map(number);
    let mut seen = match (count("known"), count("signals")) {
        (Some(known), Some(signals)) => format!("{known} of {signals} signals known"),
        _ => String::new(),
    };
    if let Some(frames) = count("trained_frames") {
        let _infallible = write!(seen, ", trained on {frames} frames");
    }
    let tier = text(case.newest(), "tier");
    if !tier.is_empty() {
        let gap = if seen.is_empty() { "" } else { ", " };
        let _infallible = write!(seen, "{gap}tier {tier}");
    }
    seen
}

/// One row a feature: its value, what is usual, and its share as a bar.
fn contributions(out: &mut String, contributions: &Value) {
    if is_empty(contributions) {
        let _infallible = writeln!(
            out,
            "\nWhat raised the score\n  no feature left its own band: it is the combination"
        );
        return;
    }
    let rows = contributions.as_array().map_or(&[][..], Vec::as_slice);
    let mut extra: Vec<&str> = rows
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|row| row.iter().filter(|(_, value)| !is_empty(value)))
        .map(|(name, _)| name.as_str())
        .filter(|name| !COLUMNS.contains(name))
        .collect();
    extra.sort_unstable();
    extra.dedup();
    let mut heads: Vec<String> =
        ["FEATURE", "", "VALUE", "EXPECTED", "USUAL FROM", "TO"].map(str::to_owned).to_vec();
    heads.extend(extra.iter().map(|name| title(name).to_uppercase()));
    heads.extend(["SHARE".to_owned(), String::new()]);
    let row = |row: &Value| {
        let unit = plain(text(row, "unit"), 12);
        let figure = |name: &str| {
            let value = row[name].as_f64().map_or("-".to_owned(), number);
            if unit.is_empty() || value == "-" { value } else { format!("{value} {unit}") }
        };
        let mut cells = vec![
            plain(text(row, "feature"), 60),
            plain(text(row, "direction"), 12),
            figure("value"),
            figure("expected"),
            figure("lower"),
            figure("upper"),
        ];
        cells.extend(extra.iter().map(|name| plain(&inline(name, &row[*name]), 40)));
        let share = row["share"].as_f64().unwrap_or(f64::NAN);
        cells.extend([percent(share), bar(share)]);
        cells
    };
    let _infallible = writeln!(out, "\nWhat raised the score");
    table(out, &heads, &rows.iter().map(row).collect::<Vec<_>>());
}

/// The models that are beyond their boundary, and those that are not.
fn models(out: &mut String, models: &Value) {
    let row = |model: &Value| {
        let (name, score) = (inline("", &model[0]), model[1].as_f64());
        let says = match score {
            Some(score) if score >= 1.0 => "unusual",
            Some(_) => "usual",
            None => "cannot say",
        };
        vec![name, score.map_or("-".to_owned(), number), says.to_owned()]
    };
    let rows: Vec<Vec<String>> = models.as_array().into_iter().flatten().map(row).collect();
    if !rows.is_empty() {
        let _infallible = writeln!(out, "\nThe models, 1 is the boundary of each");
        table(out, &[], &rows);
    }
}

/// What the incident says beyond the fields that have a place, with headings: first those that are known by name.
fn others(case: &Case) -> Vec<(String, String)> {
    let mut names: Vec<&str> = case
        .changes
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|change| change.keys().map(String::as_str))
        .filter(|name| !PLACED.contains(name))
        .collect();
    let place = |name: &str| HEADINGS.iter().position(|(field, _)| *field == name);
    names.sort_by_key(|name| (place(name).unwrap_or(HEADINGS.len()), *name));
    names.dedup();
    let heading = |name: &str| match place(name) {
        Some(at) => HEADINGS[at].1.to_owned(),
        None => {
            let mut words = title(name);
            if let Some(first) = words.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            words
        }
    };
    names.into_iter().map(|name| (name.to_owned(), heading(name))).collect()
}

/// Its states, and what changed on the host from shortly before it on, in the order in which they came.
fn timeline(out: &mut String, case: &Case) {
    let _infallible = writeln!(out, "\nHow it went");
    let time_of = |value: &Value| value["time_ms"].as_i64().unwrap_or(0);
    let mut told: Vec<(i64, String, String)> = Vec::new();
    for state in case.changes.iter().rev() {
        for change in state["changes"].as_array().into_iter().flatten() {
            let lead = format!("{:<18}", plain(&title(text(change, "kind")), 18));
            let one = (time_of(change), lead, text(change, "text").to_owned());
            if !told.contains(&one) {
                told.push(one);
            }
        }
    }
    for state in case.changes.iter().rev() {
        let score = state["score"].as_f64().unwrap_or(f64::NAN);
        let lead = format!("{:<10}  {:>6}", plain(text(state, "state"), 10), number(score));
        told.push((time_of(state), lead, text(state, "reason").to_owned()));
    }
    told.sort_by_key(|(time_ms, ..)| *time_ms); // stable: states of one time keep their order
    for (time_ms, lead, words) in told {
        paragraph(out, &format!("  {}  {lead}  ", moment(time_ms)), &plain(&words, usize::MAX));
    }
}

/// What may be done with it by command.
fn next(out: &mut String, case: &Case) {
    if let Some(commands) = known(case, "next").as_array() {
        // On one line each, however long: they are there to be copied.
        let _infallible = writeln!(out, "\nWhat to do next");
        for command in commands.iter().filter_map(Value::as_str) {
            let _infallible = writeln!(out, "  {}", plain(command, usize::MAX));
        }
        return;
    }
    let key = plain(case.key(), usize::MAX);
    let lines = if case.ended_ms().is_none() {
        vec![
            vec![format!("sentinelops accept {key}"), "this is the new normal".to_owned()],
            vec![
                format!(
                    "sentinelops maintenance start --detector {}",
                    text(case.newest(), "detector")
                ),
                "be quiet while somebody works on it".to_owned(),
            ],
        ]
    } else if case.state() == "accepted" {
        vec![vec!["sentinelops undo".to_owned(), "it is not the new normal after all".to_owned()]]
    } else {
        return;
    };
    let _infallible = writeln!(out, "\nCommands");
    pairs(out, &lines);
}
