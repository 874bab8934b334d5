//! Stands in for Loki: takes pushes as protobuf with snappy (Promtail's form, ours) and as JSON (Telegraf's), and answers 204.
//!
//! The messages are those of Loki's `pkg/push/push.proto` and of its HTTP API documentation. It stores nothing.

use std::{
    borrow::Cow,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    routing::{get, post},
};
use bytes::Bytes;
use serde::Deserialize;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    arrivals::Arrivals,
    wire::{Value, fields},
};

struct Sink {
    arrivals: Mutex<Arrivals>,
    unique: watch::Sender<usize>,
}

impl Sink {
    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(file: &Path, port: u16, ids_only: bool) -> Result<()> {
    let sink = Arc::new(Sink {
        arrivals: Mutex::new(Arrivals::of(file, ids_only)?),
        unique: watch::Sender::new(0),
    });
    let router = Router::new()
        .route("/loki/api/v1/push", post(push))
        .route("/ready", get(|| async { "ready\n" }))
        .route("/stats", get(stats))
        .route("/wait", get(wait))
        .layer(DefaultBodyLimit::disable())
        .with_state(sink);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("listening")?;
    announce(&listener)?;
    axum::serve(listener, router).await.context("serving")
}

/// Says on stdout where the sink listens; the caller waits for it.
pub(crate) fn announce(listener: &TcpListener) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "port={}", listener.local_addr()?.port())?;
    Ok(out.flush()?)
}

async fn push(State(sink): State<Arc<Sink>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let mut arrivals = sink.arrivals();
    arrivals.counts.requests += 1;
    arrivals.counts.wire_bytes += body.len();
    let taken =
        if json { from_json(&body, &mut arrivals) } else { from_protobuf(&body, &mut arrivals) };
    let status = if taken.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST };
    arrivals.counts.malformed += usize::from(taken.is_err());
    sink.unique.send_replace(arrivals.counts.unique);
    status
}

async fn stats(State(sink): State<Arc<Sink>>) -> String {
    sink.arrivals().to_string()
}

#[derive(Deserialize)]
struct Wait {
    lines: usize,
}

async fn wait(State(sink): State<Arc<Sink>>, Query(wait): Query<Wait>) -> &'static str {
    let mut unique = sink.unique.subscribe();
    match unique.wait_for(|unique| *unique >= wait.lines).await {
        Ok(_) => "done\n",
        Err(_) => "the sink stops\n",
    }
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    streams: Vec<Stream<'a>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow)]
    values: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a>(
    #[expect(dead_code, reason = "the time stands first; what is sent is judged by its line")]
    #[serde(borrow)]
    Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
);

pub(crate) fn from_json(body: &[u8], arrivals: &mut Arrivals) -> Result<()> {
    let push: Push<'_> = serde_json::from_slice(body)?;
    for entry in push.streams.iter().flat_map(|stream| &stream.values) {
        arrivals.line(entry.1.as_bytes());
    }
    Ok(())
}

pub(crate) fn from_protobuf(body: &[u8], arrivals: &mut Arrivals) -> Result<()> {
    let message = snap::raw::Decoder::new().decompress_vec(body)?;
    fields(&message, |number, stream| match (number, stream) {
        (1, Value::Bytes(stream)) => fields(stream, |number, entry| match (number, entry) {
            (2, Value::Bytes(entry)) => fields(entry, |number, line| {
                if let (2, Value::Bytes(line)) = (number, line) {
                    arrivals.line(line);
                }
                Ok(())
            }),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })
}
