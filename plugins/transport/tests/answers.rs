//! How a request can end, and what the table says of it.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::Method;
use sentinel_contract::WriteError;
use sentinel_contract::units::Period;

use super::{body, client, options};
use crate::fake::Fake;
use crate::http::answer_of;
use crate::status::{Action, Answer, LONGEST_PAUSE, TABLE, retry_after};
use crate::{Client, HttpOptions, Verify};

#[test]
fn every_status_has_its_row() {
    let rows = [
        (200, Action::Done),
        (204, Action::Done),
        (299, Action::Done),
        (408, Action::Retry),
        (425, Action::Retry),
        (429, Action::Retry),
        (500, Action::Retry),
        (501, Action::Retry),
        (502, Action::Retry),
        (503, Action::Retry),
        (504, Action::Retry),
        (599, Action::Retry),
        (401, Action::Hold),
        (403, Action::Hold),
        (404, Action::Hold),
        (405, Action::Hold),
        (407, Action::Hold),
        (418, Action::Hold),
        (301, Action::Hold),
        (307, Action::Hold),
        (308, Action::Hold),
        (413, Action::Split),
        (415, Action::Encoding),
        (400, Action::Refuse),
        (409, Action::Refuse),
        (422, Action::Refuse),
    ];
    for (status, expected) in rows {
        assert_eq!(Answer::Status(status).action(), expected, "{status}");
    }
}

#[tokio::test]
async fn each_action_becomes_the_error_that_the_engine_acts_on() {
    let fake = Fake::start();
    let mut client = client(&fake.url);
    for status in [204, 429, 503, 401, 302, 413, 415, 400] {
        fake.answer(status, "retry-after: 7\r\n", "because");
        let result = client.post(&[], &mut body()).await.unwrap().into_result();
        let expected = match (status, &result) {
            (429 | 503, Err(WriteError::Retry { after, .. })) => {
                *after == Some(Duration::from_secs(7))
            }
            (204, Ok(()))
            | (401 | 302, Err(WriteError::Hold { .. }))
            | (413, Err(WriteError::Split { .. }))
            | (415 | 400, Err(WriteError::Refuse { .. })) => true,
            _ => false,
        };
        assert!(expected, "{status}: {result:?}");
        if let Err(error) = result {
            assert!(error.to_string().contains("because"), "{error}");
        }
    }
    assert_eq!(fake.received().len(), 8, "nothing is retried here, no redirect is followed");
}

#[test]
fn retry_after_is_seconds_or_a_date_and_at_most_five_minutes() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
    assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
    assert_eq!(retry_after("86400", now), Some(LONGEST_PAUSE));
    assert_eq!(retry_after("99999999999999999999999", now), Some(LONGEST_PAUSE));
    let date = "Sun, 06 Nov 1994 08:50:07 GMT";
    assert_eq!(retry_after(date, now), Some(Duration::from_secs(30)));
    let past = "Sun, 06 Nov 1994 08:00:00 GMT";
    assert_eq!(retry_after(past, now), Some(Duration::ZERO));
    for bad in ["", "soon", "-1", "1.5"] {
        assert_eq!(retry_after(bad, now), None, "{bad:?}");
    }
}

#[test]
fn the_table_holds_every_answer_and_takes_none_for_done_that_has_no_status() {
    for status in 0..=u16::MAX {
        let answer = Answer::Status(status);
        assert!(TABLE.iter().any(|(answers, _)| answers.contains(&answer)), "{status}");
    }
    let [name, connection, tls] = [Answer::NoName, Answer::NoConnection, Answer::NoTls];
    for answer in [name, connection, tls, Answer::TimedOut, Answer::BrokenOff, Answer::Unbuildable]
    {
        assert!(TABLE.iter().any(|(answers, _)| answers.contains(&answer)), "{answer:?}");
        let hold = answer == Answer::Unbuildable;
        let expected = if hold { Action::Hold } else { Action::Retry };
        assert_eq!(answer.action(), expected, "{answer:?}");
    }
}

/// How a request with these options ends, when not with a status; and what is said of it.
async fn end(options: &HttpOptions) -> (Answer, String) {
    let mut client = Client::new(options.clone(), "/push").unwrap();
    let url = options.url.parse().unwrap();
    let (request, _) = client.prepare(Method::POST, url, &[], "x".into()).unwrap();
    let answer = answer_of(&request.send().await.unwrap_err());
    let error = client.post(&[], &mut body()).await.unwrap_err();
    assert!(matches!(error, WriteError::Retry { after: None, .. }), "{error:?}");
    (answer, error.to_string())
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_tried_again() {
    // No name has so long a part: the resolver says so without asking anybody.
    let (answer, words) = end(&options(&format!("http://{}.test:1", "a".repeat(64)))).await;
    assert_eq!(answer, Answer::NoName, "{words}");
}

#[tokio::test]
async fn a_connection_that_is_refused_is_tried_again() {
    let (answer, words) = end(&options("http://agent:hunter2@127.0.0.1:1")).await;
    assert_eq!(answer, Answer::NoConnection);
    assert!(words.starts_with("POST http://127.0.0.1:1/push: Connection refused"), "{words}");
}

/// A listener that takes no connection: its queue is full.
fn full() -> (tokio::net::TcpListener, Vec<std::net::TcpStream>, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let soon = Duration::from_millis(50);
    let waiting = std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&address, soon).ok());
    let waiting = waiting.take(10).collect();
    (listener, waiting, format!("http://{address}"))
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_taken_in_ten_seconds_is_tried_again() {
    let (_listener, _waiting, url) = full();
    let mut options = options(&url);
    options.timeout = Period(Duration::from_mins(1));
    let (answer, words) = end(&options).await;
    assert_eq!(answer, Answer::NoConnection);
    assert!(words.ends_with("no connection within 10s"), "{words}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_or_is_not_believed_is_tried_again() {
    let fake = Fake::start();
    let mut plain = options(&fake.url.replace("http:", "https:"));
    plain.tls.verify = Verify::None;
    assert_eq!(end(&plain).await.0, Answer::NoTls);
    let mut named = super::secure(&fake, false);
    named.tls.server_name = "other.test".into();
    let (answer, words) = end(&named).await;
    assert!(answer == Answer::NoTls && words.contains("certificate"), "{answer:?}: {words}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(&format!("http://{}", listener.local_addr().unwrap()));
    options.timeout = Period(Duration::from_millis(50));
    let (answer, words) = end(&options).await;
    assert_eq!(answer, Answer::TimedOut);
    assert!(words.ends_with("no answer within 50ms"), "{words}");
}

#[tokio::test]
async fn a_connection_that_is_closed_before_the_status_is_tried_again() {
    let fake = Fake::start();
    fake.hang_up().hang_up();
    let (answer, words) = end(&options(&fake.url)).await;
    assert_eq!(answer, Answer::BrokenOff, "{words}");
}

#[tokio::test]
async fn a_status_stands_when_the_body_behind_it_breaks_off() {
    let fake = Fake::start();
    for status in [200, 204, 400, 413, 429, 503] {
        fake.unfinished(status, "because", true);
        let reply = client(&fake.url).post(&[], &mut body()).await.unwrap();
        assert_eq!(reply.status, status);
        if status != 204 {
            assert!(reply.cut && reply.text == "because", "{reply:?}");
        }
    }
}

#[tokio::test]
async fn a_status_stands_when_the_body_behind_it_does_not_come_in_time() {
    let fake = Fake::start();
    fake.unfinished(400, "because", false);
    let mut options = options(&fake.url);
    options.timeout = Period(Duration::from_millis(100));
    let mut client = Client::new(options, "/push").unwrap();
    let reply = client.post(&[], &mut body()).await.unwrap();
    assert!(reply.status == 400 && reply.cut && reply.text == "because", "{reply:?}");
}
