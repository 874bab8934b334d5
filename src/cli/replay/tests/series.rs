//! A replay of tables: the same data gives the same bytes, nothing of the future counts, every row has its score.

use std::path::Path;

use sentinel_contract::Incident;
use sentinel_engine::config::{self, Environment, Plan, Shared, Source};

use super::super::series::{Found, detector, replay};
use super::super::table::Table;

const CONFIG: &str = "
[[inputs.system]]
[[processors.anomaly]]
alias = \"host\"
min_training_frames = 60
level_frames = 30
";

pub(super) fn plan(text: &str) -> Plan {
    let source = Source { path: "agent.toml".into(), text: text.to_owned() };
    let shared = Shared::inert("/nonexistent".into());
    let environment = Environment::process();
    config::plan(&[source], &crate::cli::REGISTRY, &environment, &shared)
        .unwrap_or_else(|problems| panic!("{}", problems.render()))
}

/// Two signals with noise and a season of 50 rows; both leap at 400..420.
fn table(rows: usize, step: i64) -> Table {
    let mut seed = 7_u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f64 / f64::from(1 << 24)
    };
    let times = (0..rows as i64).map(|row| 1_700_000_040 + row * step).collect();
    let cell = |row: usize| {
        let season = (row as f64 / 50.0 * std::f64::consts::TAU).sin();
        let leap = if (400..420).contains(&row) { 60.0 } else { 0.0 };
        [20.0 + 3.0 * season + noise() + leap, 100.0 + 10.0 * noise() + leap]
    };
    let cells = (0..rows).flat_map(cell).collect();
    Table { path: "t.csv".into(), names: vec!["cpu".into(), "net|in".into()], times, cells }
}

fn run(train: Option<&Table>, series: &Table) -> (Found, String) {
    let plan = plan(CONFIG);
    let found = replay(&plan, detector(&plan, None).unwrap(), train, series, true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scores.csv");
    found.scores.write(&path, found.rows.iter().copied()).unwrap();
    (found, std::fs::read_to_string(path).unwrap())
}

fn json(incidents: &[Incident]) -> String {
    incidents.iter().map(|one| serde_json::to_string(one).unwrap() + "\n").collect()
}

#[test]
fn the_same_data_gives_the_same_bytes_and_the_leap_an_incident() {
    let table = table(600, 60);
    let (first, scores) = run(None, &table);
    let (second, again) = run(None, &table);
    assert_eq!(scores, again);
    assert_eq!(json(&first.incidents), json(&second.incidents));
    let leap = table.times[400] * 1000..table.times[420] * 1000;
    let started = |one: &&Incident| leap.contains(&one.started_ms);
    assert!(first.incidents.iter().any(|one| started(&one)), "{:?}", first.incidents);
}

#[test]
fn nothing_of_the_future_counts() {
    let whole = table(600, 60);
    let (found, scores) = run(None, &whole);
    for cut in [130, 250, 405, 599] {
        let mut other = whole_copy(&whole);
        for cell in &mut other.cells[cut * 2..] {
            *cell = 500.0 - *cell * 3.0;
        }
        let (changed, rows) = run(None, &other);
        let head = |text: &str| text.lines().take(cut + 1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(head(&scores), head(&rows), "rows before {cut} know nothing of it");
        assert_ne!(scores, rows, "the changed rows count");
        let before = |all: &[Incident]| -> Vec<Incident> {
            all.iter().filter(|one| one.time_ms < whole.times[cut] * 1000).cloned().collect()
        };
        assert_eq!(json(&before(&found.incidents)), json(&before(&changed.incidents)));
    }
}

fn whole_copy(table: &Table) -> Table {
    Table {
        path: table.path.clone(),
        names: table.names.clone(),
        times: table.times.clone(),
        cells: table.cells.clone(),
    }
}

#[test]
fn training_rows_are_learnt_from_first_and_only_the_series_is_scored() {
    let whole = table(600, 60);
    let (_, scores) = run(None, &whole);
    let part = |from: usize, to: usize| Table {
        times: whole.times[from..to].to_vec(),
        cells: whole.cells[from * 2..to * 2].to_vec(),
        ..whole_copy(&whole)
    };
    let (found, tail) = run(Some(&part(0, 300)), &part(300, 600));
    assert_eq!(tail.lines().count(), 301);
    let whole_tail: Vec<&str> = scores.lines().skip(301).collect();
    assert_eq!(tail.lines().skip(1).collect::<Vec<_>>(), whole_tail, "as if it were one file");
    let from = whole.times[300] * 1000;
    assert!(found.incidents.iter().all(|one| one.time_ms >= from));
    assert!(found.notes.is_empty());
}

#[test]
fn training_rows_that_are_later_are_taken_as_weeks_earlier() {
    let series = table(300, 60);
    let mut train = table(300, 60);
    train.times.iter_mut().for_each(|time| *time += 30 * 86_400);
    let (found, scores) = run(Some(&train), &series);
    assert_eq!(scores.lines().count(), 301);
    assert_eq!(found.rows.first().map(|row| row.0), Some(series.times[0]));
    assert!(found.notes[0].contains("5 weeks earlier"), "{:?}", found.notes);
}

#[test]
fn repeated_and_irregular_times_keep_their_rows_and_a_frame_never_holds_two_times() {
    let mut table = table(300, 60);
    for row in 200..300 {
        table.times[row] += 7 * (row as i64 % 3) + 600 * i64::from(row >= 250);
    }
    table.times[211] = table.times[210];
    let (found, scores) = run(None, &table);
    let times: Vec<&str> =
        scores.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    let expected: Vec<String> = table.times.iter().map(i64::to_string).collect();
    assert_eq!(times, expected);
    assert_eq!(found.frames(), 299, "one frame a time");
    let lines: Vec<&str> = scores.lines().skip(1).collect();
    assert_eq!(lines[210].split_once(',').unwrap().1, lines[211].split_once(',').unwrap().1);
    assert!(lines[150..].iter().all(|line| !line.contains(",,,,,")), "every row has a score");
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let plan = plan(CONFIG);
    let error = |found: anyhow::Result<Found>| format!("{:#}", found.err().unwrap());
    let one = table(1, 60);
    let found = replay(&plan, detector(&plan, None).unwrap(), None, &one, true);
    assert!(error(found).starts_with("t.csv: rows of at least two different times"));
    let unknown = detector(&plan, Some("web")).err().unwrap().to_string();
    assert!(unknown.contains("--detector web") && unknown.contains("there are: host"), "{unknown}");
    let daily = replay(&plan, detector(&plan, None).unwrap(), None, &table(50, 86_400), true);
    assert!(error(daily).contains("frame_interval: must be 1s to 1h"));
    let other = table(50, 60).in_order(&["cpu".to_owned(), "disk".to_owned()]);
    assert!(other.unwrap_err().to_string().starts_with("t.csv:1: its columns are not those"));
    assert!(Table::read(Path::new("/")).unwrap_err().to_string().contains("is a folder"));
}
