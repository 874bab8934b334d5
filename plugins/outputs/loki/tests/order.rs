//! The times and the order in which lines are sent, over several tries too.

use std::sync::Arc;

use sentinel_contract::{Piece, WriteError};

use super::{T, lines, log, logs, output, sent, stream};
use crate::fake::Fake;

const HOUR: i64 = 3600 * 1_000_000_000;

#[tokio::test]
async fn lines_of_one_time_stay_apart_and_a_request_that_is_sent_again_is_the_same() {
    let fake = Fake::start();
    let mut output = output(&fake);
    let stream = stream("a");
    let two = || [logs(vec![log(&stream, T, b"x"), log(&stream, T, b"x")])];
    let first = two();
    fake.answer(503, "", "").answer(204, "", "");
    output.write(&first).await.unwrap_err();
    output.write(&first).await.unwrap();
    output.write(&two()).await.unwrap();
    let received = fake.received();
    let times = received
        .iter()
        .map(|request| sent(request)[0].1.iter().map(|entry| entry.0 - T).collect::<Vec<_>>());
    assert_eq!(times.collect::<Vec<_>>(), [[0, 1], [0, 1], [2, 3]]);
}

/// A part of a piece, as the engine makes them.
fn part(piece: &Piece, range: std::ops::Range<usize>) -> [Piece; 1] {
    [Piece { batch: Arc::clone(&piece.batch), range }]
}

/// The times of the last request, from `T`.
fn times(fake: &Fake) -> Vec<i64> {
    let streams = sent(fake.received().last().unwrap());
    streams.iter().flat_map(|(_, entries)| entries).map(|entry| entry.0 - T).collect()
}

#[tokio::test]
async fn a_line_keeps_its_time_when_those_before_it_are_refused_and_it_goes_in_another_request() {
    let fake = Fake::start();
    let mut output = output(&fake);
    let a = stream("a");
    let piece = logs((0..4).map(|_| log(&a, T, b"x")).collect());
    fake.answer(400, "", "something is bad").answer(400, "", "something is bad");
    output.write(&part(&piece, 0..4)).await.unwrap_err();
    output.write(&part(&piece, 0..1)).await.unwrap_err(); // a dead letter
    output.write(&part(&piece, 1..2)).await.unwrap();
    assert_eq!(times(&fake), [1]);
    output.probe().await.unwrap();
    output.write(&part(&piece, 2..4)).await.unwrap();
    assert_eq!(times(&fake), [2, 3]);
    output.write(&[logs(vec![log(&a, T, b"x")])]).await.unwrap();
    assert_eq!(times(&fake), [4], "the times of the refused ones are not given again");
}

#[tokio::test]
async fn a_batch_that_is_gone_leaves_nothing_behind() {
    let fake = Fake::start();
    let mut output = output(&fake);
    let piece = logs(vec![log(&stream("a"), T, b"x")]);
    fake.answer(503, "", "");
    output.write(&part(&piece, 0..1)).await.unwrap_err();
    assert_eq!(Arc::strong_count(&piece.batch), 1, "its memory is not held");
}

#[tokio::test]
async fn lines_well_behind_a_newer_one_of_their_write_go_first_so_that_loki_takes_them() {
    let fake = Fake::start();
    let a = stream("a");
    let records = vec![log(&a, T, b"2"), log(&a, T - 2 * HOUR, b"1"), log(&a, T + 1, b"3")];
    output(&fake).write(&[logs(records)]).await.unwrap();
    assert_eq!(lines(&sent(&fake.received()[0]))[0].1, ["1", "2", "3"]);
    let close = vec![log(&a, T, b"1"), log(&a, T - HOUR / 2, b"2")];
    output(&fake).write(&[logs(close)]).await.unwrap();
    assert_eq!(lines(&sent(&fake.received()[1]))[0].1, ["1", "2"], "Loki takes these as they are");
}

#[tokio::test]
async fn a_stream_with_lines_that_loki_will_refuse_has_an_answer_of_its_own() {
    let fake = Fake::start();
    let mut output = output(&fake);
    let (a, b) = (stream("a"), stream("b"));
    output.write(&[logs(vec![log(&a, T, b"new"), log(&b, T, b"new")])]).await.unwrap();
    let records = vec![log(&a, T - 2 * HOUR, b"old"), log(&b, T + 1, b"x"), log(&a, T + 1, b"y")];
    let too_new =
        r#"entry for stream '{host="web-1", job="a"}' has timestamp too new: 2026-11-23T00:13:20Z"#;
    fake.answer(400, "", too_new);
    let error = output.write(&[logs(records)]).await.unwrap_err();
    let WriteError::Reject { events, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*events, [0]);
    let received = fake.received();
    let [own, rest] = [1, 2].map(|nth| sent(&received[nth]));
    assert_eq!(lines(&own), [(r#"{host="web-1", job="a"}"#, vec!["old", "y"])]);
    assert_eq!(lines(&rest), [(r#"{host="web-1", job="b"}"#, vec!["x"])]);
}

#[tokio::test]
async fn a_write_of_many_streams_with_lines_far_behind_is_halved() {
    let fake = Fake::start();
    let mut output = output(&fake);
    let streams = (0..20).map(|n| stream(&n.to_string())).collect::<Vec<_>>();
    let at = |time| logs(streams.iter().map(|stream| log(stream, time, b"x")).collect());
    output.write(&[at(T)]).await.unwrap();
    let late = at(T - 2 * HOUR);
    let error = output.write(&part(&late, 0..20)).await.unwrap_err();
    assert!(matches!(error, WriteError::Split { .. }), "{error:?}");
    assert_eq!(fake.received().len(), 1);
    output.write(&part(&late, 0..10)).await.unwrap();
    assert_eq!(fake.received().len(), 11);
}

#[tokio::test]
async fn a_time_that_was_refused_makes_no_line_late() {
    let fake = Fake::start();
    let mut output = output(&fake);
    let a = stream("a");
    let next_year = 365 * 24 * HOUR;
    fake.answer(
        400,
        "",
        r#"entry for stream '{host="web-1", job="a"}' has timestamp too new: 2027-11-23T02:13:20Z"#,
    );
    output.write(&[logs(vec![log(&a, T + next_year, b"x")])]).await.unwrap_err();
    let both = [logs(vec![log(&a, T, b"y"), log(&stream("b"), T, b"z")])];
    output.write(&both).await.unwrap();
    assert_eq!(sent(&fake.received()[1]).len(), 2, "in one request");
}
