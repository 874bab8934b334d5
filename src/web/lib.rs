//! The local page, the JSON behind it, `/metrics` and health.
//!
//! It reads and never changes anything: GET and HEAD only. The page is for the person at this host, so what protects
//! it is that a browser cannot be tricked into reading it for somebody else ([`guard`]) and that no client can hold
//! the agent's memory or connections ([`connection`]). No TLS and no login: put a proxy before it to reach it from
//! elsewhere, and name that proxy's host in `allowed_hosts`.

mod api;
mod assets;
mod connection;
mod guard;

#[cfg(test)]
mod tests;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use sentinel_contract::history::History;
use sentinel_contract::plugin::Cause;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use connection::Connections;

/// How long answers under way may take once the agent stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the page shows. The functions are called on every request and must not wait.
#[derive(Clone)]
pub struct App {
    /// The agent's status.
    pub status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// The agent's own metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether the agent does its work; the error says what is missing.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Frames and incidents.
    pub history: Arc<dyn History>,
    /// Names that a `Host` header may have beside 127.0.0.1, localhost and ::1; a port is not looked at.
    pub allowed_hosts: Vec<String>,
}

/// Serves until `stop`, then finishes the answers under way.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> Result<(), Cause> {
    let ended = stop.clone();
    let serving = axum::serve(Connections::new(listener), router(app))
        .with_graceful_shutdown(async move { stop.cancelled().await });
    tokio::select! {
        served = serving => Ok(served?),
        () = async { ended.cancelled().await; tokio::time::sleep(LAST_ANSWERS).await } => Ok(()),
    }
}

fn router(app: App) -> Router {
    let hosts: Arc<[String]> =
        app.allowed_hosts.iter().map(|host| guard::bare_host(host)).collect();
    let mut router = Router::new()
        .route("/api/status", get(api::status))
        .route("/api/incidents", get(api::incidents))
        .route("/api/frames", get(api::frames))
        .route("/metrics", get(api::metrics))
        .route("/livez", get(api::alive))
        .route("/readyz", get(api::ready));
    for asset in assets::ASSETS {
        router =
            router.route(asset.path, get(move |headers| ready(assets::answer(asset, &headers))));
    }
    router
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::not_allowed)
        .layer(from_fn_with_state(hosts, guard::check))
        .with_state(app)
}
