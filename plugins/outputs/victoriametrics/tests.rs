//! Remote write against a scripted server, with prost as the oracle of the bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use prost::Message;
use sentinel_contract::units::Period;
use sentinel_contract::{Events, Kind, Metric, Output, Piece, Series, WriteError};

use super::encode::{Encoder, Form, STALE};
use super::{Config, Encoding, VictoriaMetrics};
use crate::fake::{Fake, Received};
use crate::testing::{build, check_sample, piece, refusals};

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A series as text, and its samples.
type Read = (String, Vec<(i64, f64)>);

fn read(raw: &[u8]) -> Vec<Read> {
    let series = |series: TimeSeries| {
        let labels = series.labels.iter().map(|label| format!("{}={}", label.name, label.value));
        let samples = series.samples.iter().map(|sample| (sample.timestamp, sample.value));
        (labels.collect::<Vec<_>>().join(","), samples.collect())
    };
    WriteRequest::decode(raw).unwrap().timeseries.into_iter().map(series).collect()
}

fn sent(request: &Received) -> Vec<Read> {
    match request.header("content-encoding") {
        Some("zstd") => read(&zstd::bulk::decompress(&request.body, 1 << 20).unwrap()),
        _ => read(&snap::raw::Decoder::new().decompress_vec(&request.body).unwrap()),
    }
}

fn series(name: &str, labels: &[(&str, &str)]) -> Arc<Series> {
    Series::new(name, Kind::Gauge, labels.iter().copied())
}

fn sample(series: &Arc<Series>, time_ms: i64, value: f64) -> Metric {
    Metric { series: Arc::clone(series), time_ms, value }
}

fn metrics(samples: Vec<Metric>) -> Piece {
    piece(Events::Metrics(samples))
}

fn config(fake: &Fake, encoding: Encoding) -> Config {
    Config { url: fake.url.clone(), encoding, ..Config::default() }
}

fn output(fake: &Fake, encoding: Encoding) -> Box<dyn Output> {
    build::<VictoriaMetrics>(config(fake, encoding))
}

fn one() -> [Piece; 1] {
    [metrics(vec![sample(&series("up", &[("host", "a")]), 1000, 1.0)])]
}

/// What the encoder makes of some samples.
fn encoded(encoder: &mut Encoder, samples: Vec<Metric>) -> Vec<Read> {
    encoder.encode(&[metrics(samples)]);
    let zstd = read(encoder.raw(Form::Zstd));
    let sorted = |series: &[Read]| {
        let mut words = series.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>();
        words.sort();
        words
    };
    let snappy = read(encoder.raw(Form::Snappy));
    assert_eq!(sorted(&zstd), sorted(&snappy), "the layout changes nothing of the content");
    zstd
}

fn encoder() -> Encoder {
    Encoder::new(Duration::from_mins(5))
}

#[test]
fn the_sample_shows_every_option_and_its_default() {
    check_sample::<VictoriaMetrics>();
}

#[test]
fn options_that_cannot_be_used_are_refused() {
    assert!(refusals::<VictoriaMetrics>(Config::default()).starts_with("url: must be an address"));
    let url = "http://127.0.0.1:8428".to_owned();
    let bad = Config { url, timeout: Period::secs(0), ..Config::default() };
    assert_eq!(refusals::<VictoriaMetrics>(bad), "timeout: must be more than 0s");
}

#[test]
fn a_request_has_these_bytes() {
    let mut encoder = encoder();
    let up = series("up", &[("a", "b")]);
    encoder.encode(&[metrics(vec![sample(&up, 5, 1.0)])]);
    let name = b"\x0a\x0e\x0a\x08__name__\x12\x02up";
    let label = b"\x0a\x06\x0a\x01a\x12\x01b";
    let golden = |sample: &[u8]| [b"\x0a\x25", &name[..], label, b"\x12\x0b", sample].concat();
    assert_eq!(encoder.raw(Form::Snappy), golden(b"\x10\x05\x09\0\0\0\0\0\0\xf0\x3f"));
    assert_eq!(encoder.raw(Form::Zstd), golden(b"\x09\0\0\0\0\0\0\xf0\x3f\x10\x05"));
}

#[test]
fn series_are_sorted_and_their_samples_are_in_time_order() {
    let (a, b) = (series("a", &[("x", "1")]), series("b", &[]));
    let got = encoded(
        &mut encoder(),
        vec![sample(&b, 30, 3.0), sample(&a, 20, 2.0), sample(&b, 10, 1.0), sample(&a, 10, 0.0)],
    );
    assert_eq!(
        got,
        [
            ("__name__=a,x=1".to_owned(), vec![(10, 0.0), (20, 2.0)]),
            ("__name__=b".to_owned(), vec![(10, 1.0), (30, 3.0)]),
        ]
    );
}

#[test]
fn labels_are_sorted_clean_and_unique() {
    let dirty = series(
        "0 load.avg:1m",
        &[("Zone", "eu"), ("a-b", "1"), ("a_b", "2"), ("__name__", "evil"), ("9", "\u{fc}")],
    );
    let got = encoded(&mut encoder(), vec![sample(&dirty, 1, 1.0)]);
    assert_eq!(got[0].0, "Zone=eu,_9=\u{fc},__name__=_0_load_avg:1m,a_b=1;2");
}

#[test]
fn series_that_come_in_another_order_or_anew_are_still_themselves() {
    let mut encoder = encoder();
    let (a, b, c) = (series("a", &[]), series("b", &[]), series("c", &[]));
    encoded(&mut encoder, vec![sample(&a, 1, 1.0), sample(&b, 1, 2.0)]);
    encoder.acknowledged(Instant::now());
    let got = encoded(
        &mut encoder,
        vec![
            sample(&c, 2, 5.0),
            sample(&b, 2, 3.0),
            sample(&a, 2, 4.0),
            sample(&series("a", &[]), 1, 7.0),
        ],
    );
    assert_eq!(
        got,
        [
            ("__name__=a".to_owned(), vec![(1, 7.0), (2, 4.0)]),
            ("__name__=b".to_owned(), vec![(2, 3.0)]),
            ("__name__=c".to_owned(), vec![(2, 5.0)]),
        ]
    );
}

#[tokio::test]
async fn what_is_not_finite_is_refused_and_the_rest_is_sent() {
    let fake = Fake::start();
    let (a, b) = (series("a", &[]), series("b", &[]));
    let mixed = metrics(vec![sample(&a, 1, f64::NAN), sample(&b, 1, 2.0)]);
    let more = metrics(vec![sample(&b, 2, 3.0), sample(&a, 2, f64::INFINITY)]);
    let error = output(&fake, Encoding::Auto).write(&[mixed, more]).await.unwrap_err();
    let WriteError::Reject { events, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*events, [0, 3]);
    let all = [("__name__=b".to_owned(), vec![(1, 2.0), (2, 3.0)])];
    assert_eq!(sent(&fake.received()[0]), all);
}

#[tokio::test]
async fn when_nothing_is_finite_nothing_is_sent() {
    let fake = Fake::start();
    let pieces = [metrics(vec![sample(&series("a", &[]), 1, f64::NAN)])];
    let error = output(&fake, Encoding::Auto).write(&pieces).await.unwrap_err();
    assert!(matches!(error, WriteError::Reject { .. }), "{error:?}");
    assert!(fake.received().is_empty());
}

#[tokio::test]
async fn only_the_range_of_a_piece_is_sent() {
    let fake = Fake::start();
    let a = series("a", &[]);
    let mut piece = metrics((0..4_i32).map(|n| sample(&a, n.into(), n.into())).collect());
    piece.range = 1..3;
    output(&fake, Encoding::Snappy).write(&[piece]).await.unwrap();
    assert_eq!(sent(&fake.received()[0])[0].1, [(1, 1.0), (2, 2.0)]);
}

#[tokio::test]
async fn zstd_is_used_where_it_is_taken() {
    let fake = Fake::start();
    let mut output = output(&fake, Encoding::Auto);
    output.write(&one()).await.unwrap();
    output.write(&one()).await.unwrap();
    let received = fake.received();
    assert_eq!(received.len(), 2);
    for request in &received {
        assert_eq!(request.line, "POST /api/v1/write");
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("content-encoding"), Some("zstd"));
        assert_eq!(request.header("x-victoriametrics-remote-write-version"), Some("1"));
        assert_eq!(sent(request), [("__name__=up,host=a".to_owned(), vec![(1000, 1.0)])]);
    }
}

#[tokio::test]
async fn a_server_that_refuses_zstd_gets_snappy_at_once_and_from_then_on() {
    for refusal in [400, 415] {
        let fake = Fake::start();
        fake.answer(refusal, "", "snappy: corrupt input");
        let mut output = output(&fake, Encoding::Auto);
        output.write(&one()).await.unwrap();
        output.write(&one()).await.unwrap();
        let received = fake.received();
        let forms = received.iter().map(|request| request.header("content-encoding").unwrap());
        assert_eq!(forms.collect::<Vec<_>>(), ["zstd", "snappy", "snappy"]);
        assert_eq!(sent(&received[1]), sent(&received[0]));
        assert_eq!(received[1].header("x-prometheus-remote-write-version"), Some("0.1.0"));
        assert_eq!(received[1].header("x-victoriametrics-remote-write-version"), None);
    }
}

#[tokio::test]
async fn data_that_both_forms_refuse_is_bad_and_says_nothing_of_the_forms() {
    let fake = Fake::start();
    fake.answer(400, "", "").answer(400, "", "bad label");
    let mut output = output(&fake, Encoding::Auto);
    let error = output.write(&one()).await.unwrap_err();
    assert!(matches!(error, WriteError::Refuse { .. }), "{error:?}");
    assert!(error.to_string().contains("bad label"), "{error}");
    output.write(&one()).await.unwrap();
    assert_eq!(fake.received()[2].header("content-encoding"), Some("zstd"));
}

#[tokio::test]
async fn a_given_encoding_is_not_changed() {
    for (encoding, form) in [(Encoding::Zstd, "zstd"), (Encoding::Snappy, "snappy")] {
        let fake = Fake::start();
        fake.answer(415, "", "");
        let error = output(&fake, encoding).write(&one()).await.unwrap_err();
        assert!(matches!(error, WriteError::Refuse { .. }), "{error:?}");
        assert_eq!(fake.received().len(), 1);
        assert_eq!(fake.received()[0].header("content-encoding"), Some(form));
    }
}

#[tokio::test]
async fn every_answer_says_what_to_do_next() {
    let fake = Fake::start();
    let mut output = output(&fake, Encoding::Snappy);
    for status in [408, 429, 500, 503, 401, 403, 404, 413, 400, 409, 422] {
        fake.answer(status, "", "");
        let error = output.write(&one()).await.unwrap_err();
        let expected = match status {
            408 | 429 | 500 | 503 => matches!(error, WriteError::Retry { .. }),
            401 | 403 | 404 => matches!(error, WriteError::Hold { .. }),
            413 => matches!(error, WriteError::Split { .. }),
            _ => matches!(error, WriteError::Refuse { .. }),
        };
        assert!(expected, "{status}: {error:?}");
    }
}

#[test]
fn the_end_of_a_series_is_announced_once_right_behind_its_last_sample() {
    let mut encoder = encoder();
    let (stays, ends) = (series("stays", &[]), series("ends", &[]));
    let begun = Instant::now();
    encoded(&mut encoder, vec![sample(&stays, 0, 1.0), sample(&ends, 0, 1.0)]);
    encoder.acknowledged(begun);
    let mut announced = Vec::new();
    for minute in 1..=20 {
        for (name, samples) in encoded(&mut encoder, vec![sample(&stays, minute * 60_000, 1.0)]) {
            if name == "__name__=ends" {
                announced.push((minute, samples[0].0, samples[0].1.to_bits()));
            }
        }
        encoder.acknowledged(begun + Duration::from_secs(60 * minute as u64));
    }
    assert_eq!(announced, [(7, 1, STALE)]);
    let back = encoded(&mut encoder, vec![sample(&ends, 2_000_000, 2.0)]);
    assert_eq!(back, [("__name__=ends".to_owned(), vec![(2_000_000, 2.0)])]);
}

#[test]
fn an_end_that_was_not_acknowledged_is_announced_again() {
    let mut encoder = Encoder::new(Duration::from_secs(5));
    let (stays, ends) = (series("stays", &[]), series("ends", &[]));
    let begun = Instant::now();
    encoded(&mut encoder, vec![sample(&stays, 0, 1.0), sample(&ends, 0, 1.0)]);
    encoder.acknowledged(begun);
    encoded(&mut encoder, vec![sample(&stays, 10, 1.0)]);
    encoder.acknowledged(begun + Duration::from_secs(10));
    for _ in 0..2 {
        assert_eq!(encoded(&mut encoder, vec![sample(&stays, 20, 1.0)]).len(), 2);
    }
    encoder.acknowledged(begun + Duration::from_secs(20));
    assert_eq!(encoded(&mut encoder, vec![sample(&stays, 30, 1.0)]).len(), 1);
}

#[test]
fn an_outage_ends_no_series_and_neither_does_a_long_interval() {
    let mut encoder = encoder();
    let (quick, slow) = (series("quick", &[]), series("slow", &[]));
    let begun = Instant::now();
    let hour = Duration::from_hours(1);
    encoded(&mut encoder, vec![sample(&quick, 0, 1.0), sample(&slow, 0, 1.0)]);
    encoder.acknowledged(begun);
    assert_eq!(encoded(&mut encoder, vec![sample(&quick, 10_000, 1.0)]).len(), 1);
    encoder.acknowledged(begun + hour);
    assert_eq!(encoded(&mut encoder, vec![sample(&quick, 20_000, 1.0)]).len(), 1);
    // A series of one sample in ten minutes, once that is known.
    encoded(&mut encoder, vec![sample(&slow, 600_000, 1.0), sample(&quick, 600_000, 1.0)]);
    encoder.acknowledged(begun + hour);
    for minute in 1..=9 {
        let time_ms = 600_000 + 60_000 * minute;
        assert_eq!(encoded(&mut encoder, vec![sample(&quick, time_ms, 1.0)]).len(), 1);
        encoder.acknowledged(begun + hour + Duration::from_secs(60 * minute as u64));
    }
}

#[tokio::test]
async fn the_probe_says_what_the_server_answered() {
    let fake = Fake::start();
    let said = output(&fake, Encoding::Auto).probe().await.unwrap();
    assert!(said.ends_with("answered 204 to an empty write, in zstd form"), "{said}");
    fake.answer(400, "", "");
    let said = output(&fake, Encoding::Auto).probe().await.unwrap();
    assert!(said.ends_with("in snappy form"), "{said}");
    fake.answer(401, "", "who are you");
    let error = output(&fake, Encoding::Auto).probe().await.unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("answered 401 (check auth") && words.ends_with(": who are you"),
        "{words}"
    );
}

proptest! {
    #[test]
    fn whatever_is_sent_is_what_prost_reads(
        samples in prop::collection::vec((0..8_usize, any::<i64>(), any::<f64>()), 0..40),
        names in prop::collection::vec(("\\PC{1,9}", "\\PC{0,9}", "\\PC{0,9}"), 8),
    ) {
        let all = names.iter().map(|(name, key, value)| series(name, &[(key, value)]));
        let all = all.collect::<Vec<_>>();
        let metrics = samples.iter().map(|(at, time_ms, value)| sample(&all[*at], *time_ms, *value));
        let got = encoded(&mut encoder(), metrics.collect());
        let mut expected = samples.iter().filter(|(_, _, value)| value.is_finite())
            .map(|(_, time_ms, value)| (*time_ms, value.to_bits())).collect::<Vec<_>>();
        let mut found = got.iter().flat_map(|(_, samples)| samples)
            .map(|(time_ms, value)| (*time_ms, value.to_bits())).collect::<Vec<_>>();
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
        for (labels, samples) in got {
            prop_assert!(samples.is_sorted_by_key(|(time_ms, _)| *time_ms));
            prop_assert!(labels.contains("__name__="));
        }
    }
}
