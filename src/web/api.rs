//! The JSON behind the page, the agent's own metrics, and health.
//!
//! Every answer has a limit: of rows, of signals, and of the time a read of history may take (kept by the store).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sentinel_contract::history::{Frame, History};
use sentinel_contract::plugin::Cause;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::App;

/// Frames in one answer, the newest ones.
pub(crate) const MAX_FRAMES: usize = 5000;
/// Signals in one question.
const MAX_SIGNALS: usize = 200;
/// State changes in one answer.
const MAX_INCIDENTS: usize = 2000;
const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn json(status: StatusCode, value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, value.to_string()).into_response()
}

fn text(status: StatusCode, body: String) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

fn bad_question(why: &str) -> Response {
    json(StatusCode::BAD_REQUEST, &json!({ "error": why }))
}

/// Asks history on a thread where waiting is allowed.
async fn ask(
    history: Arc<dyn History>,
    question: impl FnOnce(&dyn History) -> Result<Value, Cause> + Send + 'static,
) -> Response {
    let answer = tokio::task::spawn_blocking(move || question(&*history)).await;
    match answer.map_err(Cause::from).flatten() {
        Ok(value) => json(StatusCode::OK, &value),
        Err(error) => {
            json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": format!("{error:#}") }))
        }
    }
}

/// `/api/status`.
pub(crate) async fn status(State(app): State<App>) -> Response {
    json(StatusCode::OK, &(app.status)())
}

#[derive(Deserialize)]
pub(crate) struct IncidentsQuery {
    since_ms: Option<i64>,
    limit: Option<usize>,
    /// Part of a key; the whole history then.
    key: Option<String>,
}

/// `/api/incidents`: state changes since a time (default: a week), or of the incidents whose key contains `key`,
/// newest first.
pub(crate) async fn incidents(
    State(app): State<App>,
    query: Result<Query<IncidentsQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => return bad_question(&error.body_text()),
    };
    let since_ms = query.since_ms.unwrap_or_else(|| now_ms() - 7 * 24 * HOUR_MS);
    let limit = query.limit.unwrap_or(500).min(MAX_INCIDENTS);
    ask(app.history, move |history| {
        let mut incidents = match &query.key {
            Some(part) => history.changes(part, limit)?,
            None => history.incidents(since_ms, limit)?,
        };
        if query.since_ms.is_some() {
            incidents.retain(|change| change.time_ms >= since_ms);
        }
        Ok(json!({ "incidents": incidents }))
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct FramesQuery {
    detector: String,
    /// Comma-separated.
    signals: String,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
}

/// `/api/frames`: the newest frames of a detector within a time (default: the last hour), in columns. What is
/// missing is null.
pub(crate) async fn frames(
    State(app): State<App>,
    query: Result<Query<FramesQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => return bad_question(&error.body_text()),
    };
    let signals: Vec<String> =
        query.signals.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if signals.len() > MAX_SIGNALS {
        return bad_question(&format!("at most {MAX_SIGNALS} signals"));
    }
    let to_ms = query.to_ms.unwrap_or_else(|| now_ms().saturating_add(1));
    let from_ms = query.from_ms.unwrap_or_else(|| to_ms.saturating_sub(HOUR_MS));
    ask(app.history, move |history| {
        let (frames, truncated) = newest(history, &query.detector, &signals, from_ms, to_ms)?;
        let column = |at: usize| -> Vec<f64> {
            frames.iter().map(|frame| frame.values.get(at).copied().unwrap_or(f64::NAN)).collect()
        };
        Ok(json!({
            "detector": query.detector,
            "times": frames.iter().map(|frame| frame.time_ms).collect::<Vec<_>>(),
            "scores": frames.iter().map(|frame| frame.score).collect::<Vec<_>>(),
            "values": (0..signals.len()).map(column).collect::<Vec<_>>(),
            "signals": signals,
            "truncated": truncated,
        }))
    })
    .await
}

/// At most [`MAX_FRAMES`] frames, the newest; true when there are more. Reads backwards in steps, so that a question
/// for a month does not hold a month in memory.
fn newest(
    history: &dyn History,
    detector: &str,
    signals: &[String],
    from_ms: i64,
    to_ms: i64,
) -> Result<(Vec<Frame>, bool), Cause> {
    let mut newest_first = Vec::new();
    let (mut end, mut step) = (to_ms, HOUR_MS);
    while end > from_ms {
        let begin = end.saturating_sub(step).max(from_ms);
        let part = history.frames(detector, signals, begin, end)?;
        if part.len() < MAX_FRAMES / 4 {
            step = step.saturating_mul(2); // an empty year must not be asked for by the hour
        }
        newest_first.extend(part.into_iter().rev());
        if newest_first.len() > MAX_FRAMES {
            break;
        }
        end = begin;
    }
    let truncated = newest_first.len() > MAX_FRAMES;
    newest_first.truncate(MAX_FRAMES);
    newest_first.reverse();
    Ok((newest_first, truncated))
}

/// `/metrics`.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, (app.metrics)()).into_response()
}

/// `/livez`: the process answers.
pub(crate) async fn alive() -> Response {
    text(StatusCode::OK, "ok\n".to_owned())
}

/// `/readyz`: the agent does its work.
pub(crate) async fn ready(State(app): State<App>) -> Response {
    match (app.ready)() {
        Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// No such page.
pub(crate) async fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "there is no such page\n".to_owned())
}

/// Nothing here can be changed.
pub(crate) async fn not_allowed() -> Response {
    let mut response =
        text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n".to_owned());
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    response
}
