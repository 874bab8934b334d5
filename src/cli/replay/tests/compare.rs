//! Two replays of the same data beside each other; a folder's tables.

use sentinel_contract::Incident;
use sentinel_contract::incident::State;

use super::super::compare::Comparison;
use super::super::folder::{Pair, pairs};
use super::super::report::{Reach, Report};

const HOUR: i64 = 3_600_000;

fn changes(key: &str, from: i64, to: i64, states: &[State]) -> Vec<Incident> {
    let change = |(at, state): (usize, &State)| Incident {
        message: format!("{key} is high"),
        key: key.to_owned(),
        detector: "host".to_owned(),
        host: "h".to_owned(),
        group: String::new(),
        state: *state,
        time_ms: if at + 1 == states.len() { to } else { from + at as i64 },
        started_ms: from,
        score: 1.0 + at as f64,
        models: Vec::new(),
        contributions: Vec::new(),
        normal: Vec::new(),
        reason: String::new(),
        ..Incident::default()
    };
    states.iter().enumerate().map(change).collect()
}

fn report(changes: &[Incident]) -> Report {
    Report::new("t.csv", 100, (0, 72 * HOUR), changes)
}

#[test]
fn a_report_tells_how_far_each_incident_went_and_how_many_there_were_a_day() {
    use State::{Confirmed, Detected, Notified, Resolved};
    let mut all = changes("a", HOUR, 2 * HOUR, &[Detected, Resolved]);
    all.extend(changes("b", 30 * HOUR, 31 * HOUR, &[Detected, Confirmed, Notified, Resolved]));
    all.extend(changes("c", 40 * HOUR, 41 * HOUR, &[Detected, Confirmed]));
    let report = report(&all);
    assert_eq!((report.stories.len(), report.count(Reach::Confirmed)), (3, 2));
    assert_eq!(report.count(Reach::Notified), 1);
    let days: Vec<_> = report.volume(1).into_iter().collect();
    assert_eq!(days, [(0, [1, 0, 0]), (1, [2, 2, 1])]);
    assert_eq!(report.volume(7).into_iter().collect::<Vec<_>>(), [(0, [3, 2, 1])]);
    let text = report.text();
    for part in [
        "t.csv: 100 frames from 1970-01-01 00:00 to 1970-01-04 00:00 UTC (3.0 days)\n",
        "incidents: 3 opened, 2 confirmed, 1 notified; 1 open at the end\n",
        "a week: 7.0 opened, 4.7 confirmed, 2.3 notified\n",
        "1970-01-02 06:00 .. 1970-01-02 07:00 (1h00m)  notified, resolved  score 4.00  b is high\n",
        "1970-01-02 16:00 .. open  confirmed, confirmed  score 2.00  c is high\n",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let json = report.json();
    assert_eq!(json["changes_by_state"]["detected"], 3);
    assert_eq!(json["by_day"][1]["confirmed"], 2);
    assert_eq!(json["incidents"][2]["ended_ms"], serde_json::Value::Null);
}

#[test]
fn incidents_that_overlap_are_in_both() {
    use State::{Confirmed, Detected, Notified, Resolved};
    let mut one = changes("a", HOUR, 2 * HOUR, &[Detected, Confirmed, Notified, Resolved]);
    one.extend(changes("b", 30 * HOUR, 31 * HOUR, &[Detected, Resolved]));
    let mut two = changes("x", HOUR + 1, 3 * HOUR, &[Detected, Resolved]);
    two.extend(changes("y", 50 * HOUR, 51 * HOUR, &[Detected])); // open at the end
    let (first, second) = (report(&one), report(&two));
    let comparison = Comparison::new(["one.toml", "two.toml"], [&first, &second]);
    let json = comparison.json();
    assert_eq!(json["both"], serde_json::json!([["a", ["x"]]]));
    assert_eq!(json["only_first"], serde_json::json!(["b"]));
    assert_eq!(json["only_second"], serde_json::json!(["y"]));
    assert_eq!(
        (&json["first"]["config"], &json["second"]["opened"]),
        (&"one.toml".into(), &2.into())
    );
    let text = comparison.text();
    for part in [
        "one.toml: 2 opened, 1 confirmed, 1 notified\ntwo.toml: 2 opened, 0 confirmed, 0 notified\n",
        "  1970-01-01  1 opened, 1 confirmed, 1 notified  |  1 opened, 0 confirmed, 0 notified\n",
        "in both: 1\n",
        "    notified with one.toml, detected with two.toml\n",
        "only with one.toml: 1\n",
        "only with two.toml: 1\n",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn a_folder_has_a_replay_for_each_test_and_each_other_table() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "m1.train.csv.gz",
        "m1.test.csv.gz",
        "m1.explain.csv.gz",
        "taxi.csv",
        "only.train.csv",
        "README.md",
    ];
    for name in names {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let at = |name: &str| folder.path().join(name);
    let pair = |name: &str, train: Option<&str>, series: &str| Pair {
        name: name.to_owned(),
        train: train.map(at),
        series: at(series),
    };
    let expected = [
        pair("m1", Some("m1.train.csv.gz"), "m1.test.csv.gz"),
        pair("only", None, "only.train.csv"),
        pair("taxi", None, "taxi.csv"),
    ];
    assert_eq!(pairs(folder.path()).unwrap(), expected);
    let empty = tempfile::tempdir().unwrap();
    assert!(pairs(empty.path()).unwrap_err().to_string().contains("there is no *.csv"));
}
