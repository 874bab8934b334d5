//! The page's promises, over a real socket: what is answered, to whom, and within which limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::Incident;
use sentinel_contract::plugin::Cause;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::connection::{CONNECTIONS, QUIET, UNANSWERED};
use crate::{App, serve};

/// A frame a second since 1970, of which the signal `a` is the time and others are missing.
struct Seconds {
    broken: bool,
}

impl History for Seconds {
    fn append_frame(&self, _: &str, _: &[String], _: &Frame) {}
    fn record_incident(&self, _: &Incident) {}
    fn save_state(&self, _: &str, _: &[u8]) {}
    fn flush(&self) {}
    fn load_state(&self, _: &str) -> Result<Option<Vec<u8>>, Cause> {
        Ok(None)
    }

    fn frames(
        &self,
        _: &str,
        signals: &[String],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Frame>, Cause> {
        anyhow::ensure!(!self.broken, "the disk hangs");
        let value = |name: &String, second: i64| if name == "a" { second as f64 } else { f64::NAN };
        let first = from_ms.max(0).div_euclid(1000) + i64::from(from_ms.max(0) % 1000 != 0);
        let frame = |second: i64| Frame {
            time_ms: second * 1000,
            values: signals.iter().map(|name| value(name, second)).collect(),
            score: 0.5,
        };
        Ok((first..to_ms.div_euclid(1000) + i64::from(to_ms % 1000 != 0)).map(frame).collect())
    }

    fn incidents(&self, from_ms: i64, limit: usize) -> Result<Vec<Incident>, Cause> {
        anyhow::ensure!(from_ms == 7 && limit == 3, "asked for {from_ms} and {limit}");
        Ok(Vec::new())
    }
    fn changes(&self, part: &str, limit: usize) -> Result<Vec<Incident>, Cause> {
        anyhow::ensure!(part == "web/a b" && limit == 2000, "asked for {part} and {limit}");
        let change = |time_ms: i64| {
            serde_json::from_value(json!({
                "message": "m", "key": "web/a b", "detector": "web", "host": "h", "group": "",
                "state": "notified", "time_ms": time_ms, "started_ms": 1, "score": null,
                "models": [], "contributions": [], "normal": [], "reason": "r",
            }))
        };
        Ok(vec![change(9)?, change(5)?])
    }
}

struct Page {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), Cause>>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

async fn page_of(broken: bool) -> Page {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ready = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&ready);
    let app = App {
        status: Arc::new(|| json!({ "host": "web01" })),
        metrics: Arc::new(|| "sentinelops_up 1\n".to_owned()),
        ready: Arc::new(move || {
            if asked.load(Ordering::SeqCst) { Ok(()) } else { Err("loki is held".to_owned()) }
        }),
        history: Arc::new(Seconds { broken }),
        allowed_hosts: vec!["Web01.example:9600".to_owned()],
    };
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, app, stop.clone()));
    Page { address, ready, stop, serving }
}

async fn page() -> Page {
    page_of(false).await
}

impl Page {
    /// Sends a request as it is and reads until the agent closes.
    async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
        self.raw(&format!("{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"))
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }
}

#[tokio::test]
async fn every_address_answers_with_its_type() {
    let page = page().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/assets/page.js", "text/javascript; charset=utf-8"),
        ("/assets/page.css", "text/css; charset=utf-8"),
        ("/assets/uplot.js", "text/javascript; charset=utf-8"),
        ("/assets/uplot-LICENSE.txt", "text/plain; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
        ("/api/status", "application/json"),
        ("/api/incidents?since_ms=7&limit=3", "application/json"),
        ("/api/frames?detector=web&signals=a", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/livez", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
    ] {
        let answer = page.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    assert_eq!(page.get("/api/status").await.json()["host"], "web01");
    assert_eq!(page.get("/metrics").await.body, "sentinelops_up 1\n");
    assert_eq!(page.get("/elsewhere").await.status, 404);
}

#[tokio::test]
async fn everything_the_page_and_its_scripts_name_is_served() {
    let page = page().await;
    let mut named: Vec<String> = Vec::new();
    for asset in crate::assets::ASSETS {
        let text = page.get(asset.path).await.body;
        if !asset.path.contains("uplot") {
            let quoted = text.split(['"', '\'']).filter(|part| !part.contains(char::is_whitespace));
            named.extend(quoted.filter(|part| part.starts_with("/assets/")).map(str::to_owned));
            let imports = text.lines().filter(|line| line.starts_with("import "));
            named.extend(imports.filter_map(|line| {
                Some(format!("/assets/{}", line.split_once("'./")?.1.split('\'').next()?))
            }));
        }
    }
    assert!(named.len() >= 10, "{named:?}");
    for path in named {
        assert_eq!(page.get(&path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_host_name_that_is_not_ours_is_refused_with_the_option_that_allows_it() {
    let page = page().await;
    for host in [
        "127.0.0.1",
        "127.0.0.1:9600",
        "LOCALHOST:1",
        "[::1]",
        "[::1]:9600",
        "web01.example",
        "WEB01.example:80",
        "localhost.",
    ] {
        let answer = page.ask("GET", "/api/status", &format!("Host: {host}\r\n")).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    for host in
        ["evil.example", "evil.example:9600", "localhost.evil.example", "127.0.0.1.nip.io", ""]
    {
        let answer = page.ask("GET", "/api/status", &format!("Host: {host}\r\n")).await;
        assert_eq!(answer.status, 403, "{host}");
        assert!(answer.body.contains("allowed_hosts"), "{host}: {}", answer.body);
    }
}

#[tokio::test]
async fn no_host_two_hosts_and_a_foreign_absolute_address_are_refused() {
    let page = page().await;
    let close = "Connection: close\r\n\r\n";
    let none = page.raw(&format!("GET / HTTP/1.1\r\n{close}")).await;
    assert_eq!(none.status, 400);
    let two = format!("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n{close}");
    assert_eq!(page.raw(&two).await.status, 400);
    let absolute = format!("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n{close}");
    assert_eq!(page.raw(&absolute).await.status, 403);
}

#[tokio::test]
async fn another_origin_is_refused_and_the_own_one_is_not() {
    let page = page().await;
    for (origin, status) in [
        ("http://localhost:9600", 200),
        ("http://localhost", 403),
        ("http://evil.example", 403),
        ("http://localhost:9601", 403),
        ("null", 403),
    ] {
        let headers = format!("Host: localhost:9600\r\nOrigin: {origin}\r\n");
        assert_eq!(page.ask("GET", "/api/status", &headers).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let page = page().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["/", "/api/status", "/metrics", "/assets/page.js"] {
            let answer = page.ask(method, path, "Content-Length: 0\r\n").await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.header("allow").unwrap().contains("GET"), "{method} {path}");
        }
    }
    let head = page.ask("HEAD", "/", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn an_asset_that_the_browser_has_is_not_sent_again() {
    let page = page().await;
    let first = page.get("/assets/uplot.js").await;
    let tag = first.header("etag").unwrap();
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let headers = format!("If-None-Match: \"other\", {tag}\r\n");
    let again = page.ask("GET", "/assets/uplot.js", &headers).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("etag"), Some(tag));
    let other = page.ask("GET", "/assets/uplot.js", "If-None-Match: \"other\"\r\n").await;
    assert_eq!(other.status, 200);
    assert_ne!(page.get("/assets/page.js").await.header("etag"), Some(tag));
}

#[tokio::test]
async fn readyz_says_what_is_missing() {
    let page = page().await;
    assert_eq!(page.get("/readyz").await.status, 200);
    page.ready.store(false, Ordering::SeqCst);
    let answer = page.get("/readyz").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "loki is held\n"));
    assert_eq!(page.get("/livez").await.status, 200);
}

#[tokio::test]
async fn frames_come_in_columns_and_what_is_missing_is_null() {
    let page = page().await;
    let answer = page.get("/api/frames?detector=web&signals=a,b&from_ms=1500&to_ms=4000").await;
    assert_eq!(
        answer.json(),
        json!({
            "detector": "web", "signals": ["a", "b"], "times": [2000, 3000], "scores": [0.5, 0.5],
            "values": [[2.0, 3.0], [null, null]], "truncated": false,
        })
    );
}

#[tokio::test]
async fn of_many_frames_the_newest_are_answered_and_it_says_so() {
    let page = page().await;
    let answer = page.get("/api/frames?detector=web&signals=a&from_ms=0&to_ms=20000000").await;
    let answer = answer.json();
    let times = answer["times"].as_array().unwrap();
    assert_eq!(times.len(), 5000);
    assert_eq!((&times[0], &times[4999]), (&json!(15_000_000), &json!(19_999_000)));
    assert_eq!(answer["truncated"], true);
    let all = "/api/frames?detector=web&signals=a&from_ms=-9223372036854775808&to_ms=3000000";
    let answer = page.get(all).await.json();
    assert_eq!(
        (answer["times"].as_array().unwrap().len(), &answer["truncated"]),
        (3000, &json!(false))
    );
}

#[tokio::test]
async fn incidents_of_a_key_come_from_the_whole_history_or_since_a_time() {
    let page = page().await;
    let times = |answer: Value| -> Vec<i64> {
        let changes = answer["incidents"].as_array().unwrap();
        changes.iter().map(|change| change["time_ms"].as_i64().unwrap()).collect()
    };
    let all = page.get("/api/incidents?key=web/a%20b&limit=999999").await.json();
    assert_eq!(times(all), [9, 5]);
    let since = page.get("/api/incidents?key=web/a%20b&limit=2000&since_ms=6").await.json();
    assert_eq!(times(since), [9]);
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_answered_with_what_is_wrong() {
    let page = page().await;
    let names = vec!["a"; 201].join(",");
    for path in [
        "/api/frames".to_owned(),
        "/api/frames?detector=web&signals=a&from_ms=yesterday".to_owned(),
        format!("/api/frames?detector=web&signals={names}"),
        "/api/incidents?limit=-1".to_owned(),
    ] {
        let answer = page.get(&path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(!answer.json()["error"].as_str().unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn history_that_cannot_be_read_is_said_and_the_page_goes_on() {
    let page = page_of(true).await;
    let answer = page.get("/api/frames?detector=web&signals=a").await;
    assert_eq!((answer.status, answer.json()), (503, json!({ "error": "the disk hangs" })));
    assert_eq!(page.get("/api/status").await.status, 200);
}

#[tokio::test]
async fn a_request_without_an_end_is_cut_off() {
    let page = page().await;
    let mut stream = TcpStream::connect(page.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ").await.unwrap();
    let filler = [b'x'; 4096];
    // The agent may close while we still write: both an error here and an end there are what is wanted.
    for _ in 0..=UNANSWERED / filler.len() {
        if stream.write_all(&filler).await.is_err() {
            return;
        }
    }
    let mut answer = Vec::new();
    let end = tokio::time::timeout(QUIET / 3, stream.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "its length is what closes it, not its silence");
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
}

#[tokio::test]
async fn more_connections_than_there_may_be_wait_for_their_turn() {
    let page = page().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(page.address).await.unwrap());
    }
    let mut late = TcpStream::connect(page.address).await.unwrap();
    late.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    let waited = Duration::from_millis(100);
    assert!(tokio::time::timeout(waited, late.read_to_string(&mut answer)).await.is_err());
    silent.pop();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_is_closed() {
    let page = page().await;
    let mut stream = TcpStream::connect(page.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    let mut answer = Vec::new();
    let _closed_or_reset = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "no answer, and no waiting for ever");
}

#[tokio::test]
async fn when_it_is_stopped_it_ends_although_a_connection_is_open() {
    let page = page().await;
    let mut stream = TcpStream::connect(page.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 8];
    stream.read_exact(&mut first).await.unwrap();
    page.stop.cancel();
    page.serving.await.unwrap().unwrap();
}
