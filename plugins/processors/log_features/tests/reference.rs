//! Real access logs, against features that another program computed of them. Runs when `SENTINEL_DATA` names the data.

use std::collections::BTreeMap;
use std::process::Command;

use sentinel_contract::telemetry::Counters;

use super::*;

fn unpacked(data: &str, name: &str) -> String {
    let path = format!("{data}/logs/web/{name}");
    let output = Command::new("gunzip").args(["-c", &path]).output().unwrap();
    assert!(output.status.success(), "{path}");
    String::from_utf8(output.stdout).unwrap()
}

/// Our rows by window start.
fn ours(log: &str, window: i64, session: &str) -> BTreeMap<i64, BTreeMap<String, f64>> {
    let options =
        format!("window = {window}\nlateness = 600\nmax_keys = 100000\nsession = [\"{session}\"]");
    let mut features = features(&options);
    let table = toml::de::DeTable::parse("format = \"combined\"").unwrap();
    let table = toml::Spanned::new(0..0, toml::de::DeValue::Table(table.into_inner()));
    let entry = crate::ALL.iter().find(|entry| entry.name == "parse").unwrap();
    let sentinel_contract::Processor::Transform(mut parse) =
        (entry.build)(table, &context()).unwrap()
    else {
        panic!("parse is a transform");
    };
    let (counters, web) = (Counters::default(), job("web"));
    let lines: Vec<&str> = log.lines().collect();
    let mut emit = Emit::default();
    for lines in lines.chunks(1000) {
        let logs = lines.iter().map(|line| Log {
            stream: Arc::clone(&web),
            time_ns: 1_790_000_000_000_000_000,
            body: Bytes::copy_from_slice(line.as_bytes()),
            fields: None,
        });
        let mut batch = batch("web", 1, logs.collect());
        parse.apply(&mut batch.events, &counters);
        features.observe(&batch, &mut emit);
    }
    assert!(
        counters.counts().get("unparsed").copied().unwrap_or(0) <= 1,
        "{:?}",
        counters.counts()
    );
    assert_eq!(features.status()["origins"][0]["late"], 0);
    features.tick(1_790_000_000_000, &mut emit);
    features.tick(1_790_000_100_000, &mut emit);
    let mut rows: BTreeMap<i64, BTreeMap<String, f64>> = BTreeMap::new();
    for events in emit.0 {
        let Events::Metrics(metrics) = events else { continue };
        for metric in metrics.iter().filter(|metric| metric.series.labels().get("method").is_none())
        {
            let row = rows.entry(metric.time_ms / 1000 - window).or_default();
            row.insert(metric.series.name().to_owned(), metric.value);
        }
    }
    rows
}

/// Compares every window but the first, which is not whole, and says what differs. The reference counts as errors what is 400 and
/// more; and unique user agents are our sessions when the agent alone makes one.
fn compare(data: &str, log: &str, reference: &str, window: i64) {
    let rows = ours(&unpacked(data, log), window, "http_user_agent");
    let reference = unpacked(data, reference);
    let mut lines = reference.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut compared = 0;
    for line in lines.skip(1) {
        let values: BTreeMap<&str, &str> = columns.iter().copied().zip(line.split(',')).collect();
        let value = |name: &str| values[name].parse::<f64>().unwrap_or(0.0);
        let start = value("timestamp") as i64;
        // One line of meatlabel's has a user with brackets: we read it, the reference's program did not.
        if value("requests") == 0.0 || start == 1_766_458_800 {
            continue;
        }
        let row = rows.get(&start).unwrap_or_else(|| panic!("{log}: no row of {line}"));
        for (feature, column) in [
            ("log_requests", "requests"),
            ("log_clients", "unique_ips"),
            ("log_sessions", "unique_user_agents"),
            ("log_client_errors", "status_4xx"),
            ("log_errors", "status_5xx"),
            ("log_bytes", "bytes"),
        ] {
            assert_eq!(row[feature], value(column), "{log} at {start}: {feature}: {line}");
        }
        let failed = (row["log_errors"] + row["log_client_errors"]) / row["log_requests"];
        let server_only = row["log_error_rate"];
        let rate = value("error_rate");
        assert!(
            (failed - rate).abs() < 1e-5 || (server_only - rate).abs() < 1e-5,
            "{log} at {start}: {line}"
        );
        compared += 1;
    }
    assert!(compared > 30, "{log}: {compared} windows");
}

#[test]
fn features_of_real_logs_equal_the_reference() {
    let Ok(data) = std::env::var("SENTINEL_DATA") else {
        println!("skipped: SENTINEL_DATA is not set");
        return;
    };
    let of = |log: &str, reference: &str, window| compare(&data, log, reference, window);
    of("semicomplete.com-apache.access.log.gz", "semicomplete.com-apache.hourly.csv.gz", 3600);
    of("zanbil.ir-nginx.access.log.gz", "zanbil.ir-nginx.minutely.csv.gz", 60);
    of("meatlabel.app-nginx.access.log.gz", "meatlabel.app-nginx.hourly.csv.gz", 3600);
}
