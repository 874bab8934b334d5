//! The file output on a scratch folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sentinel_contract::{
    Events, Field, Fields, Kind, Labels, Metric, Name, Output, Piece, Series, Value, WriteError,
};

use super::{Config, File, Format};
use crate::testing::{build, check_sample, incident, log, piece, refusals};

fn output(path: &Path, format: Format) -> Box<dyn Output> {
    build::<File>(Config { path: path.to_str().unwrap().to_owned(), format })
}

fn metric(value: f64) -> Metric {
    let series = Series::new("cpu_usage", Kind::Gauge, [("cpu", "cpu\"0"), ("host", "h")]);
    Metric { series, time_ms: 1_795_400_000_123, value }
}

fn logs(lines: &[&[u8]]) -> Piece {
    let stream = Arc::new(Labels::new([("job", "a")]));
    let time_ns = 1_795_400_000_000_000_007;
    piece(Events::Logs(lines.iter().map(|line| log(&stream, time_ns, line)).collect()))
}

#[test]
fn the_sample_shows_every_option_and_its_default() {
    check_sample::<File>();
}

#[test]
fn a_relative_path_is_refused() {
    let config = Config { path: "events.json".into(), format: Format::Json };
    assert!(refusals::<File>(config).starts_with("path: must be \"stdout\" or an absolute path"));
}

#[tokio::test]
async fn every_kind_is_one_json_object_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    let mut record = log(&Arc::new(Labels::new([("job", "a")])), 7, b"GET \xff");
    let field = |name, value| Field { name: Name::Static(name), value };
    record.fields = Some(Box::new(Fields(vec![
        field("method", Value::Slice(0, 3)),
        field("status", Value::Number(200.0)),
    ])));
    let pieces = [
        piece(Events::Metrics(vec![metric(1.5)])),
        logs(&[b"a \"line\""]),
        piece(Events::Logs(vec![record])),
        piece(Events::Incidents(vec![incident()])),
    ];
    output(&path, Format::Json).write(&pieces).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().collect::<Vec<_>>();
    assert_eq!(
        lines[..3],
        [
            r#"{"name":"cpu_usage","labels":{"cpu":"cpu\"0","host":"h"},"time":"2026-11-23T02:13:20.123Z","value":1.5}"#,
            r#"{"time":"2026-11-23T02:13:20.000000007Z","labels":{"job":"a"},"line":"a \"line\""}"#,
            "{\"time\":\"1970-01-01T00:00:00.000000007Z\",\"labels\":{\"job\":\"a\"},\"line\":\"GET \u{fffd}\",\"fields\":{\"method\":\"GET\",\"status\":200.0},\"invalid_utf8\":true}",
        ]
    );
    assert_eq!(serde_json::from_str::<sentinel_contract::Incident>(lines[3]).unwrap(), incident());
}

#[tokio::test]
async fn text_is_what_people_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.txt");
    let pieces = [
        piece(Events::Metrics(vec![metric(1.5)])),
        logs(&[b"raw \xff bytes"]),
        piece(Events::Incidents(vec![incident()])),
    ];
    output(&path, Format::Text).write(&pieces).await.unwrap();
    let expected = [
        &b"cpu_usage{cpu=\"cpu\\\"0\",host=\"h\"} 1.5 1795400000123\n"[..],
        b"raw \xff bytes\n",
        b"2026-11-23T02:13:20Z confirmed web: errors are high (score 2.50)\n",
    ];
    assert_eq!(fs::read(&path).unwrap(), expected.concat());
}

#[tokio::test]
async fn what_is_not_finite_is_refused_and_the_rest_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let pieces = [logs(&[b"x"]), piece(Events::Metrics(vec![metric(f64::NAN), metric(2.0)]))];
    let error = output(&path, Format::Text).write(&pieces).await.unwrap_err();
    let WriteError::Reject { events, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*events, [1]);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_renamed_or_deleted_file_is_followed_by_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let mut output = output(&path, Format::Text);
    output.write(&[logs(&[b"1"])]).await.unwrap();
    output.write(&[logs(&[b"2"])]).await.unwrap();
    let rotated = folder.path().join("events.1");
    fs::rename(&path, &rotated).unwrap();
    output.write(&[logs(&[b"3"])]).await.unwrap();
    assert_eq!(fs::read(&rotated).unwrap(), b"1\n2\n");
    assert_eq!(fs::read(&path).unwrap(), b"3\n");
    fs::remove_file(&path).unwrap();
    output.write(&[logs(&[b"4"])]).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"4\n");
}

#[tokio::test]
async fn a_full_disk_is_tried_again_and_a_wrong_path_is_held() {
    let full = output(Path::new("/dev/full"), Format::Text).write(&[logs(&[b"x"])]).await;
    assert!(matches!(full, Err(WriteError::Retry { .. })), "{full:?}");
    for path in ["/nonexistent/events", "/proc", "/dev/null/events"] {
        let error = output(Path::new(path), Format::Text).write(&[logs(&[b"x"])]).await;
        assert!(matches!(error, Err(WriteError::Hold { .. })), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn the_probe_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let said = output(&path, Format::Json).probe().await.unwrap();
    assert!(said.ends_with("can be written"), "{said}");
    assert!(!path.exists());
    let wrong = output(&folder.path().join("none/events"), Format::Json).probe().await;
    assert!(wrong.unwrap_err().to_string().contains("none/events"));
}
