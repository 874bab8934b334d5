//! What a 400 of Loki leads to.

use sentinel_contract::{Events, WriteError};

use super::super::answer::{Refused, refused};
use super::super::encode::Sent;
use super::{T, log, logs, output, stream};
use crate::fake::Fake;
use crate::testing::{incident, piece};

#[tokio::test]
async fn a_partly_refused_request_names_the_refused_lines() {
    let fake = Fake::start();
    let stream = stream("a");
    let old = T - 1_000_000_000_000_000;
    let pieces = [
        piece(Events::Incidents(vec![incident()])),
        logs(vec![log(&stream, T, b"new"), log(&stream, old, b"old"), log(&stream, T, b"new")]),
    ];
    let text = "entry for stream '{host=\"web-1\", job=\"a\"}' has timestamp too old: 2026-11-11T12:26:40Z, oldest acceptable timestamp is: 2026-11-16T03:00:00Z\n";
    fake.answer(400, "", text);
    let error = output(&fake).write(&pieces).await.unwrap_err();
    let WriteError::Reject { events, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*events, [2]);
}

pub(super) fn entries(times: &[i64]) -> Vec<Sent> {
    let entry = |(index, time): (usize, &i64)| Sent {
        time_ns: *time,
        index: index as u32,
        len: index as u32 * 100,
        place: 0,
    };
    times.iter().enumerate().map(entry).collect()
}

pub(super) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// 2026-11-23T02:13:20Z.
pub(super) const S: i64 = T;

const SECOND: i64 = 1_000_000_000;

const A: &str = r#"{a="; 3 x", job="a"}"#;

fn only(events: &[usize]) -> Refused {
    Refused { events: events.to_vec(), only: true }
}

fn among(events: &[usize]) -> Refused {
    Refused { events: events.to_vec(), only: false }
}

#[test]
fn the_texts_of_loki_lead_to_the_entries_they_mean() {
    let all = entries(&[S, S + 1, S + 2, S + SECOND, S + 2 * SECOND + 500]);
    let refused = |text: &str| refused(text, &all, &names(&[A]));
    let old = format!(
        "entry for stream '{A}' has timestamp too old: 2026-11-23T02:13:20Z, oldest acceptable timestamp is: 2026-11-23T02:13:20Z"
    );
    let new = format!("entry for stream '{A}' has timestamp too new: 2026-11-23T02:13:21Z");
    let long = format!(
        "Max entry size '250' bytes exceeded for stream '{A}' while adding an entry with length '400' bytes"
    );
    assert_eq!(refused(&old), Some(only(&[0])));
    assert_eq!(refused(&new), Some(only(&[3])));
    assert_eq!(refused(&long), Some(only(&[4])));
    assert_eq!(refused(&behind(&[S + 2 * SECOND + 500], 1, 5, A)), Some(among(&[4])));
    let joined = format!("2 errors like: {old}; 1 errors like: {new}; 1 errors like: {long}");
    assert_eq!(refused(&joined), Some(only(&[0, 1, 3, 4])));
    for text in [
        format!("entry for stream '{A}' has 20 label names; limit 15"),
        format!("stream '{A}' has label value too long: 'x'"),
        format!("stream '{A}' has label name too long: 'x'"),
        format!("stream '{A}' has duplicate label name: 'x'"),
    ] {
        assert_eq!(refused(&text), Some(only(&[0, 1, 2, 3, 4])), "{text}");
    }
}

/// The text of an ingester: these entries listed, of so many refused, of so many of the stream.
fn behind(listed: &[i64], total: usize, of: usize, stream: &str) -> String {
    let line = |time: &i64| {
        let time = jiff::Timestamp::from_nanosecond(i128::from(*time)).unwrap();
        let go = time.to_string().replace('T', " ").replace('Z', " +0000 UTC");
        let limit = "2026-11-23T03:13:22Z";
        format!(
            "entry with timestamp {go} ignored, reason: 'entry too far behind, entry timestamp is: {time:.0}, oldest acceptable timestamp is: {limit}',\n"
        )
    };
    let lines = listed.iter().map(line).collect::<String>();
    format!("{lines}user 'fake', total ignored: {total} out of {of} for stream: {stream}")
}

#[test]
fn only_lines_of_the_named_stream_are_meant_under_the_name_that_loki_gives_it() {
    let b = r#"{job="b\n\u0001\u00a0"}"#;
    let mut all = entries(&[S, S + 1, S, S + 1]);
    (all[2].place, all[3].place) = (1, 1);
    let names = names(&[A, b]);
    let go = r#"{__stream_shard__="7", job="b\n\x01\u00a0", service_name="b"}"#;
    let at = |time: i64| behind(&[time], 1, 2, go);
    assert_eq!(refused(&at(S), &all, &names), Some(among(&[2])));
    let new = format!("entry for stream '{go}' has timestamp too new: 2026-11-23T02:13:20Z");
    assert_eq!(refused(&new, &all, &names), Some(only(&[3])));
    let other = r#"{job="c"}"#;
    assert_eq!(refused(&behind(&[S], 1, 2, other), &all, &names), None);
    let more = r#"{a="; 3 x", job="a", unit="x"}"#;
    assert_eq!(refused(&behind(&[S], 1, 2, more), &all, &names), None);
}

#[test]
fn of_streams_with_one_name_the_last_is_meant() {
    let mut all = entries(&[S, S]);
    all[1].place = 1;
    assert_eq!(refused(&behind(&[S], 1, 1, A), &all, &names(&[A, A])), Some(among(&[1])));
}

#[test]
fn lines_far_behind_that_are_not_listed_are_those_below_the_limit_behind_the_first() {
    let hour = 3600 * SECOND;
    let times = [S - 1, S, S + 1, S + 2 * hour, S + 2, S + 3].map(|time| time + SECOND / 2);
    let all = entries(&times);
    let text = |of| behind(&times[1..3], 4, of, A);
    assert_eq!(refused(&text(6), &all, &names(&[A])), Some(among(&[1, 2, 4, 5])));
    assert_eq!(refused(&text(5), &all, &names(&[A])), Some(among(&[1, 2])), "a part of the stream");
}

#[test]
fn lines_over_a_rate_limit_are_not_refused_for_good() {
    let all = entries(&[S, S + 1]);
    let limit = "entry with timestamp 2026-11-23 02:13:20 +0000 UTC ignored, reason: 'Per stream rate limit exceeded',\n";
    let text = format!("{limit}{}", behind(&[S + 1], 2, 2, A));
    assert_eq!(refused(&text, &all, &names(&[A])), Some(among(&[1])));
}

#[test]
fn a_text_that_does_not_say_enough_claims_nothing() {
    let all = entries(&[S, S + 1]);
    let partly = format!(
        "1 errors like: entry for stream '{A}' has timestamp too new: 2026-11-23T02:13:20Z; 1 errors like: missing required labels x"
    );
    let more = format!(
        "3 errors like: entry for stream '{A}' has timestamp too new: 2026-11-23T02:13:20Z"
    );
    let unlisted = "user 'fake', total ignored: 2 out of 2 for stream: {}";
    let other = format!("entry for stream '{A}' has timestamp too new: 2020-01-01T00:00:00Z");
    for text in
        ["", "snappy: corrupt input", &partly, &more, unlisted, &other, &behind(&[5], 1, 2, A)]
    {
        assert_eq!(refused(text, &all, &names(&[A])), None, "{text}");
    }
}

#[tokio::test]
async fn an_answer_of_an_ingester_is_no_proof_of_the_others() {
    let fake = Fake::start();
    let pieces = [logs(vec![log(&stream("a"), T, b"1"), log(&stream("b"), T, b"2")])];
    let named = r#"{host="web-1", job="b", service_name="b"}"#;
    fake.answer(400, "", &behind(&[T], 1, 1, named));
    let error = output(&fake).write(&pieces).await.unwrap_err();
    let WriteError::Partly { events, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*events, [1]);
    fake.unfinished(400, &behind(&[T], 1, 1, named), true);
    let error = output(&fake).write(&pieces).await.unwrap_err();
    assert!(matches!(error, WriteError::Refuse { .. }), "half an answer: {error:?}");
}
