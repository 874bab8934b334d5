//! The table of `sentinel_transport::status`, a test a row: that both outputs that speak HTTP do what it says, against
//! the scripted server. What the engine makes of it is in its own tests (`src/engine/tests/delivery.rs`).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::units::Period;
use sentinel_contract::{Events, Kind, Labels, Metric, Output, Piece, Series, WriteError};
use sentinel_transport::{Action, Answer, Tls, Verify};

use crate::fake::Fake;
use crate::loki::{self, Loki};
use crate::testing::{build, log, piece};
use crate::victoriametrics::{self, Encoding, VictoriaMetrics};

/// Both outputs at this address, each with one event to write.
fn both(
    url: &str,
    timeout: Duration,
    tls: &Tls,
) -> [(&'static str, Box<dyn Output>, [Piece; 1]); 2] {
    let (url, timeout) = (url.to_owned(), Period(timeout));
    let metrics = build::<VictoriaMetrics>(victoriametrics::Config {
        encoding: Encoding::Snappy,
        url: url.clone(),
        timeout,
        tls: tls.clone(),
        ..victoriametrics::Config::default()
    });
    let logs =
        build::<Loki>(loki::Config { url, timeout, tls: tls.clone(), ..loki::Config::default() });
    let series = Series::new("up", Kind::Gauge, [("host", "a")]);
    let sample = piece(Events::Metrics(vec![Metric { series, time_ms: 1000, value: 1.0 }]));
    let line = log(&Arc::new(Labels::new([("job", "a")])), 1_000_000_000, b"x");
    let line = piece(Events::Logs(vec![line]));
    [("victoriametrics", metrics, [sample]), ("loki", logs, [line])]
}

fn is(action: Action, result: &Result<(), WriteError>) -> bool {
    match action {
        Action::Done => result.is_ok(),
        Action::Retry => matches!(result, Err(WriteError::Retry { .. })),
        Action::Hold => matches!(result, Err(WriteError::Hold { .. })),
        Action::Split => matches!(result, Err(WriteError::Split { .. })),
        Action::Encoding | Action::Refuse => matches!(result, Err(WriteError::Refuse { .. })),
    }
}

const SOON: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(30);

/// Writes end with this answer, and what follows is the action, in the table and in both outputs.
async fn end(answer: Answer, action: Action, url: &str, timeout: Duration, tls: &Tls) {
    assert_eq!(answer.action(), action);
    for (name, mut output, pieces) in both(url, timeout, tls) {
        let result = output.write(&pieces).await;
        assert!(is(action, &result), "{name}: {answer:?}: {result:?}");
    }
}

/// This status leads to the action, with one request; and so it does when its body breaks off.
async fn row(status: u16, action: Action) {
    let fake = Fake::start();
    for output in [0, 1] {
        fake.answer(status, "retry-after: 7\r\nlocation: /elsewhere\r\n", "because");
        fake.unfinished(status, "because", true);
        assert_eq!(Answer::Status(status).action(), action);
        let (name, mut output, pieces) =
            both(&fake.url, LATE, &Tls::default()).into_iter().nth(output).unwrap();
        let before = fake.received().len();
        let result = output.write(&pieces).await;
        assert!(is(action, &result), "{name}: {status}: {result:?}");
        if let Err(WriteError::Retry { after, .. }) = &result {
            assert_eq!(*after, Some(Duration::from_secs(7)), "{name}");
        }
        let broken = output.write(&pieces).await;
        assert!(is(action, &broken), "{name}: {status}: {broken:?}");
        assert_eq!(
            fake.received().len() - before,
            2,
            "{name}: nothing is tried again, or elsewhere"
        );
        for error in [result, broken].into_iter().filter_map(Result::err) {
            let words = error.to_string();
            assert!(words.contains(&status.to_string()) && words.contains("because"), "{words}");
        }
    }
}

#[tokio::test]
async fn any_2xx_means_that_it_was_taken() {
    for status in [200, 202, 204] {
        row(status, Action::Done).await;
    }
}

#[tokio::test]
async fn a_400_that_says_nothing_is_refused() {
    row(400, Action::Refuse).await;
}

#[tokio::test]
async fn a_401_holds() {
    row(401, Action::Hold).await;
}

#[tokio::test]
async fn a_403_holds() {
    row(403, Action::Hold).await;
}

#[tokio::test]
async fn a_404_holds() {
    row(404, Action::Hold).await;
}

#[tokio::test]
async fn a_408_is_tried_again() {
    row(408, Action::Retry).await;
}

#[tokio::test]
async fn a_409_is_refused() {
    row(409, Action::Refuse).await;
}

#[tokio::test]
async fn a_413_is_split() {
    row(413, Action::Split).await;
}

#[tokio::test]
async fn a_415_of_the_only_encoding_is_refused() {
    row(415, Action::Encoding).await;
}

#[tokio::test]
async fn a_415_switches_the_encoding_once() {
    let fake = Fake::start();
    let url = fake.url.clone();
    let config = victoriametrics::Config { url, ..victoriametrics::Config::default() };
    let mut output = build::<VictoriaMetrics>(config);
    let [(_, _, pieces), _] = both(&fake.url, LATE, &Tls::default());
    fake.answer(415, "", "").answer(415, "", "").answer(415, "", "").answer(204, "", "");
    let neither = output.write(&pieces).await;
    assert!(is(Action::Refuse, &neither), "{neither:?}");
    output.write(&pieces).await.unwrap();
    output.write(&pieces).await.unwrap();
    let received = fake.received();
    let encodings = received.iter().map(|request| request.header("content-encoding").unwrap());
    assert_eq!(encodings.collect::<Vec<_>>(), ["zstd", "snappy", "zstd", "snappy", "snappy"]);
}

#[tokio::test]
async fn a_422_is_refused() {
    row(422, Action::Refuse).await;
}

#[tokio::test]
async fn a_425_is_tried_again() {
    row(425, Action::Retry).await;
}

#[tokio::test]
async fn a_429_is_tried_again() {
    row(429, Action::Retry).await;
}

#[tokio::test]
async fn any_5xx_is_tried_again() {
    for status in [500, 501, 502, 503, 504, 507, 599] {
        row(status, Action::Retry).await;
    }
}

#[tokio::test]
async fn a_redirect_holds_and_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        row(status, Action::Hold).await;
    }
}

#[tokio::test]
async fn what_says_nothing_about_the_content_holds() {
    for status in [402, 405, 406, 407, 410, 418, 451] {
        row(status, Action::Hold).await;
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_tried_again() {
    // No name has so long a part: the resolver says so without asking anybody.
    let url = format!("http://{}.test:1", "a".repeat(64));
    end(Answer::NoName, Action::Retry, &url, LATE, &Tls::default()).await;
}

#[tokio::test]
async fn a_connection_that_is_refused_is_tried_again() {
    end(Answer::NoConnection, Action::Retry, "http://127.0.0.1:1", LATE, &Tls::default()).await;
}

/// A listener whose queue is full, so that it takes no connection.
fn full() -> (tokio::net::TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, SOON).ok());
    (listener, waiting.take(10).collect(), address)
}

#[tokio::test]
async fn a_connection_that_is_not_taken_is_tried_again() {
    let (_listener, _waiting, address) = full();
    let url = format!("http://{address}");
    end(Answer::NoConnection, Action::Retry, &url, SOON, &Tls::default()).await;
}

#[tokio::test]
async fn a_server_without_tls_is_tried_again() {
    let url = Fake::start().url.replace("http:", "https:");
    let tls = Tls { verify: Verify::None, ..Tls::default() };
    end(Answer::NoTls, Action::Retry, &url, LATE, &tls).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    end(Answer::TimedOut, Action::Retry, &url, SOON, &Tls::default()).await;
}

#[tokio::test]
async fn a_connection_that_is_closed_before_the_status_is_tried_again() {
    let fake = Fake::start();
    fake.hang_up().hang_up();
    end(Answer::BrokenOff, Action::Retry, &fake.url, LATE, &Tls::default()).await;
    assert_eq!(fake.received().len(), 2, "by the engine, not here");
}

#[tokio::test]
async fn a_request_that_cannot_be_made_holds() {
    let tls = Tls { ca_file: "/nonexistent/ca.pem".into(), ..Tls::default() };
    end(Answer::Unbuildable, Action::Hold, "https://127.0.0.1:1", LATE, &tls).await;
}
