//! What the commands make of what they read: cases, layout, what is in the way of a command.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::cases::{Case, Choice, cases, choose, nearest};
use super::control::{refused, user};
use super::layout::{bar, inline, length, number, percent, plain, section};
use super::{explain, maintenance};

/// A change as a detector of some time to come may write it.
fn change(key: &str, state: &str, time_ms: i64) -> Value {
    json!({
        "message": format!("{key} is unusual"), "key": key, "detector": "web", "host": "web01",
        "group": "job=nginx", "state": state, "time_ms": time_ms, "started_ms": 1_000_000,
        "score": time_ms as f64 / 1e6, "models": [["forest", 1.5], ["robust_z", null]],
        "contributions": [], "normal": ["requests", "bytes"], "reason": format!("why {state}"),
    })
}

fn case_of(changes: &[Value]) -> Case {
    Case { changes: changes.to_vec() }
}

#[test]
fn numbers_keep_the_digits_that_matter() {
    for (value, shown) in [
        (0.0, "0"),
        (0.0752, "0.0752"),
        (0.30, "0.3"),
        (12.345, "12.35"),
        (412.0, "412"),
        (5480.4, "5,480"),
        (-1_234_567.0, "-1,234,567"),
        (1.2e18, "1.200e18"),
        (0.000_012, "1.200e-5"),
        (f64::NAN, "-"),
        (f64::INFINITY, "-"),
    ] {
        assert_eq!(number(value), shown);
    }
    assert_eq!((percent(0.624).as_str(), percent(f64::NAN).as_str()), ("62 %", "-"));
    assert_eq!((bar(0.5).len(), bar(2.0).len(), bar(f64::NAN).len()), (10, 20, 0));
}

#[test]
fn lengths_are_in_two_units() {
    for (ms, shown) in [
        (0, "0s"),
        (400, "400ms"),
        (45_000, "45s"),
        (750_000, "12m 30s"),
        (3_600_000, "1h"),
        (11_100_000, "3h 5m"),
        (187_200_000, "2d 4h"),
        (-60_000, "-1m"),
    ] {
        assert_eq!(length(ms), shown);
    }
}

#[test]
fn the_end_of_a_fields_name_says_its_unit() {
    assert_eq!(inline("lasted_ms", &json!(90_000)), "1m 30s");
    assert_eq!(inline("delay_s", &json!(90)), "1m 30s");
    assert_eq!(inline("share", &json!(0.25)), "25 %");
    assert!(inline("at_ms", &json!(1_764_000_000_000_i64)).starts_with("2025-11-2"));
    assert_eq!(inline("x", &json!({"b": [1, 2], "a": true, "none": null})), "a yes, b 1, 2");
}

#[test]
fn what_others_wrote_cannot_speak_to_the_terminal() {
    assert_eq!(plain("a\x1b[2Jb\nc", 100), "a [2Jb c");
    assert_eq!(plain("abcdef", 3), "abc ...");
    let mut evil = change("k", "notified", 2_000_000);
    evil["message"] = json!("\x1b]0;owned\x07");
    evil["reason"] = json!("r\r\n\x1b[31m");
    evil["x\x1b"] = json!({ "y\x1b": "\x1b" });
    let shown = explain::layout(&case_of(&[evil]), 3_000_000);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
}

#[test]
fn what_has_no_place_is_laid_out_by_its_shape() {
    let shown = |value: Value| {
        let mut out = String::new();
        section(&mut out, "Head", "field", &value);
        out
    };
    assert_eq!(shown(json!(null)), "");
    assert_eq!(shown(json!([{}, []])), "");
    assert_eq!(shown(json!("a sentence")), "\nHead\n  a sentence\n");
    assert_eq!(shown(json!(["cpu", "disk"])), "\nHead\n  cpu, disk\n");
    assert_eq!(shown(json!(["a b", "c d"])), "\nHead\n  - a b\n  - c d\n");
    assert_eq!(shown(json!([["x", 1.5], ["yy", 20]])), "\nHead\n  x   1.5\n  yy   20\n");
    assert_eq!(
        shown(json!([{"signal": "cpu", "change": 3.25}, {"signal": "disk", "note": "full"}])),
        "\nHead\n  SIGNAL  CHANGE  NOTE\n  cpu       3.25\n  disk            full\n"
    );
    assert_eq!(
        shown(json!({"key": "a", "lasted_ms": 60_000, "empty": ""})),
        "\nHead\n  key     a\n  lasted  1m\n"
    );
    let long = "word ".repeat(30);
    let list = shown(json!([{"what": long.trim(), "at_s": 60}]));
    assert!(list.starts_with("\nHead\n  - what word") && list.ends_with("at 1m\n"), "{list}");
    assert!(list.lines().all(|line| line.len() <= 112), "{list}");
}

#[test]
fn changes_of_a_key_are_one_case_and_a_blip_is_known() {
    let changes = vec![
        change("a", "resolved", 9),
        change("b", "recovering", 8),
        change("a", "notified", 5),
        change("b", "detected", 3),
    ];
    let all = cases(changes);
    let keys: Vec<&str> = all.iter().map(Case::key).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(all[0].paged() && !all[0].is_blip() && all[0].ended_ms() == Some(9));
    assert!(!all[1].is_blip(), "it is open");
    let blip = case_of(&[change("c", "resolved", 9), change("c", "detected", 8)]);
    assert!(blip.is_blip() && !blip.paged());
    let accepted = case_of(&[change("d", "accepted", 9), change("d", "detected", 8)]);
    assert!(!accepted.is_blip() && accepted.ended_ms().is_some());
}

#[test]
fn an_id_is_the_whole_key_else_an_end_of_it_else_any_part_that_one_has() {
    let found = cases(
        ["web/a/17", "web/a/171", "host/b/18", "web/b/19"]
            .map(|key| change(key, "notified", 1))
            .to_vec(),
    );
    let chosen = |id: &str| choose(id, &found);
    assert_eq!(chosen("web/a/17"), Choice::One(0), "though another begins like it");
    assert_eq!(chosen("host"), Choice::One(2));
    assert_eq!(chosen("/18"), Choice::One(2));
    assert_eq!(chosen("a/171"), Choice::One(1));
    assert_eq!(chosen("st/b/1"), Choice::One(2), "a part from the middle");
    assert_eq!(chosen("web/a"), Choice::Many(vec![0, 1]));
    assert_eq!(chosen("nope"), Choice::None);
    assert_eq!(nearest("web/b/91", &found).map(Case::key), Some("web/b/19"));
    assert!(nearest("something else", &found).is_none());
}

#[test]
fn an_explanation_shows_what_the_end_left_out_and_why_it_paged() {
    let mut paged = change("web/web01/17", "notified", 2_000_000);
    paged["contributions"] = json!([
        {"feature": "error_rate", "share": 0.62, "direction": "up", "value": 0.3,
         "expected": 0.02, "lower": 0.0, "upper": 0.05},
        {"feature": "latency", "share": 0.38, "direction": "up", "value": null,
         "expected": 1.5, "lower": 1.0, "upper": 2.0, "unit": "s", "rank_before": 4},
    ]);
    paged["suspects"] = json!([{"signal": "app.service", "change": "restarted"}]);
    let end = change("web/web01/17", "resolved", 2_600_000);
    let shown = explain::layout(&case_of(&[end, paged]), 9_000_000);
    for part in [
        "web/web01/17 is unusual\n",
        "(26m 40s)",
        "2.6 at its highest",
        "paged     yes, at 1970-01-01",
        ": why notified\n",
        "  error_rate  up",
        "  62 %  ############\n",
        "  latency     up      -     1.5 s         1 s   2 s            4   38 %  ########\n",
        "Suspects, ranked by how much they changed\n  SIGNAL       CHANGE\n  app.service  restarted\n",
        "  forest    1.5  unusual\n  robust_z    -  cannot say\n",
        "Normal all the while\n  requests, bytes\n",
    ] {
        assert!(shown.contains(part), "{part:?} in\n{shown}");
    }
    assert!(!shown.contains("sentinelops accept"), "it is over:\n{shown}");
    let open =
        explain::layout(&case_of(&[change("web/web01/17", "notified", 2_000_000)]), 9_000_000);
    assert!(open.contains("sentinelops accept web/web01/17"), "{open}");
    assert!(open.contains("it is the combination"), "{open}");
}

#[test]
fn an_explanation_shows_what_is_hit_and_puts_changes_among_the_states() {
    let mut open = change("web/web01/17", "notified", 1_300_000);
    for (field, value) in [
        ("hit", json!("412 of 5,480 requests failed")),
        ("trend", json!("rising")),
        ("usual", json!("error rate at most 1.3 %")),
        (
            "breakdown",
            json!([{"dimension": "status", "value": "502", "share": 0.96, "count": 396}]),
        ),
        ("sample", json!("<ip> \"GET /cart\" 502")),
        (
            "similar",
            json!({"key": "web/web01/3", "started_ms": 1, "lasted_ms": 60_000, "ended": "resolved", "hit": "9 of 90 requests failed"}),
        ),
        (
            "next",
            json!([
                "sentinelops explain web/web01/17",
                "df -h | sort --key=5 --reverse --numeric-sort | grep -v tmpfs | grep -v devtmpfs | grep -v overlay | head -n 20"
            ]),
        ),
        ("coverage", json!({"known": 9, "signals": 10, "trained_frames": 1440})),
        ("tier", json!("daily")),
        ("changes", json!([{"time_ms": 990_000, "kind": "unit", "text": "app.service restarted"}])),
    ] {
        open[field] = value;
    }
    let first = change("web/web01/17", "detected", 1_000_000);
    let shown = explain::layout(&case_of(&[open.clone(), first]), 9_000_000);
    for part in [
        "  hit       412 of 5,480 requests failed, rising\n",
        "  usual     error rate at most 1.3 %\n",
        "  seen      9 of 10 signals known, trained on 1,440 frames, tier daily\n",
        "Where it is\n  DIMENSION  VALUE  SHARE  COUNT\n  status       502   96 %    396\n",
        "One of the lines\n  <ip> \"GET /cart\" 502\n",
        "The last similar incident\n  started  ",
        "\n  key      web/web01/3\n  ended    resolved\n  hit      9 of 90 requests failed\n  lasted   1m\n",
        "What to do next\n  sentinelops explain web/web01/17\n  df -h | sort --key=5 --reverse --numeric-sort | grep -v tmpfs | grep -v devtmpfs | grep -v overlay | head -n 20\n",
    ] {
        assert!(shown.contains(part), "{part:?} in\n{shown}");
    }
    let went = shown.split("How it went\n").nth(1).unwrap();
    let lines: Vec<&str> = went.lines().take(3).collect();
    assert!(lines[0].ends_with("  unit                app.service restarted"), "{went}");
    assert!(
        lines[1].contains("  detected         1  ") && lines[2].contains("  notified "),
        "{went}"
    );
    let mut over = change("web/web01/17", "resolved", 2_000_000);
    over["total"] = json!({"lasted_ms": 720_000, "hit": "900 of 9,000 requests failed"});
    let shown = explain::layout(&case_of(&[over, open]), 9_000_000);
    assert!(
        shown.contains("  hit       900 of 9,000 requests failed, in 12m all told\n"),
        "{shown}"
    );
}

#[test]
fn an_explanation_of_almost_nothing_is_laid_out_too() {
    let shown = explain::layout(&case_of(&[json!({})]), 1);
    assert!(shown.contains("How it went"), "{shown}");
    let odd =
        json!({"models": "none", "contributions": 5, "normal": {"a": {"b": [[]]}}, "time_ms": "x"});
    assert!(!explain::layout(&case_of(&[odd]), 1).is_empty());
}

#[test]
fn a_maintenance_window_is_neither_empty_nor_endless() {
    assert!(maintenance::duration("2h").is_ok() && maintenance::duration("31d").is_ok());
    assert_eq!(maintenance::duration("0s").unwrap_err(), "must be at least 1s");
    assert!(maintenance::duration("32d").unwrap_err().contains("agent.toml"));
    assert!(maintenance::duration("a while").unwrap_err().contains("not a duration"));
}

#[test]
fn windows_are_listed_by_detector_whatever_their_fields() {
    let window = json!({ "reason": "new disk", "until_ms": 90_000, "by": "command" });
    let none = json!({ "detectors": { "host": { "maintenance": [] }, "web": {} } });
    assert_eq!(maintenance::list(&none), "no maintenance window\n");
    let some = json!({ "detectors": { "web": { "maintenance": [window] } } });
    assert_eq!(
        maintenance::list(&some),
        "web\n  UNTIL   BY       REASON\n  1m 30s  command  new disk\n"
    );
}

#[test]
fn what_is_in_the_way_of_a_command_names_the_folder_and_the_user() {
    let path = Path::new("/proc/self/control.sock");
    let told = |kind: io::ErrorKind| refused(path, &kind.into());
    let missing = told(io::ErrorKind::NotFound);
    assert!(missing.contains("no agent runs with the state folder /proc/self"), "{missing}");
    assert!(told(io::ErrorKind::ConnectionRefused).contains("nobody listens"));
    let denied = told(io::ErrorKind::PermissionDenied);
    assert!(denied.starts_with("only ") && denied.contains("sudo -u "), "{denied}");
    let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nsentinelops:x:998:998::/:/bin/false\n";
    assert_eq!(user(users, 998).as_deref(), Some("sentinelops"));
    assert_eq!(user(users, 1), None);
}
