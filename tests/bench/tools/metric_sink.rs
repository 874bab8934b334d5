//! Stands in for VictoriaMetrics: takes Prometheus remote write 1.0 (snappy) and VictoriaMetrics' zstd form, counts series,
//! samples and the bytes of the bodies, and answers 204.
//!
//! The message is prometheus/prompb/remote.proto's WriteRequest. It stores only which series it has seen.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header::CONTENT_ENCODING},
    routing::{get, post},
};
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::{
    log_sink::announce,
    wire::{Value, fields},
};

/// 64 MiB: no request of a bench decompresses to more.
const LARGEST_MESSAGE: usize = 64 << 20;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) names: BTreeSet<String>,
    pub(crate) series: BTreeSet<Vec<u8>>,
    pub(crate) samples: usize,
    pub(crate) malformed: usize,
    pub(crate) requests: usize,
    pub(crate) wire_bytes: usize,
    pub(crate) zstd_requests: usize,
}

type Shared = Arc<Mutex<Seen>>;

fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(port: u16) -> Result<()> {
    let router = Router::new()
        .route("/api/v1/write", post(write))
        .route("/health", get(|| async { "OK" }))
        .route("/stats", get(stats))
        .route("/names", get(names))
        .layer(DefaultBodyLimit::disable())
        .with_state(Shared::default());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("listening")?;
    announce(&listener)?;
    axum::serve(listener, router).await.context("serving")
}

async fn write(State(seen): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let zstd = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "zstd");
    let mut seen = lock(&seen);
    if take(&body, zstd, &mut seen).is_err() {
        seen.malformed += 1;
        return StatusCode::BAD_REQUEST;
    }
    // A request without samples is a probe of the encoding, or metadata; it is on the wire all the same.
    seen.requests += 1;
    seen.zstd_requests += usize::from(zstd);
    seen.wire_bytes += body.len();
    StatusCode::NO_CONTENT
}

pub(crate) fn take(body: &[u8], zstd: bool, seen: &mut Seen) -> Result<()> {
    let message = if zstd {
        zstd::bulk::decompress(body, LARGEST_MESSAGE)?
    } else {
        snap::raw::Decoder::new().decompress_vec(body)?
    };
    fields(&message, |number, series| match (number, series) {
        (1, Value::Bytes(series)) => time_series(series, seen),
        _ => Ok(()),
    })
}

fn time_series(message: &[u8], seen: &mut Seen) -> Result<()> {
    let mut labels = Vec::new();
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Bytes(label)) => {
                if let Some(name) = metric_name(label)? {
                    seen.names.insert(name);
                }
                labels.extend_from_slice(label);
            }
            (2, Value::Bytes(_)) => seen.samples += 1,
            _ => (),
        }
        Ok(())
    })?;
    seen.series.insert(labels);
    Ok(())
}

/// The value of a label, when its name is `__name__`.
fn metric_name(label: &[u8]) -> Result<Option<String>> {
    let (mut name, mut text) = (&[][..], &[][..]);
    fields(label, |number, value| {
        match (number, value) {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => text = bytes,
            _ => (),
        }
        Ok(())
    })?;
    Ok((name == b"__name__").then(|| String::from_utf8_lossy(text).into_owned()))
}

async fn stats(State(seen): State<Shared>) -> String {
    let seen = lock(&seen);
    format!(
        "names={}\nseries={}\nsamples={}\nmalformed={}\nrequests={}\nzstd_requests={}\nwire_bytes={}\n",
        seen.names.len(),
        seen.series.len(),
        seen.samples,
        seen.malformed,
        seen.requests,
        seen.zstd_requests,
        seen.wire_bytes,
    )
}

async fn names(State(seen): State<Shared>) -> String {
    lock(&seen).names.iter().fold(String::new(), |mut list, name| {
        let _ = writeln!(list, "{name}"); // a String takes everything
        list
    })
}
