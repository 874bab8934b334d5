//! Who may read the page: requests for a host name that is ours, from no other origin.
//!
//! A web page of a stranger may point its own name at 127.0.0.1 and read this page through the user's browser (DNS
//! rebinding); the `Host` header then still names the stranger. A script of another origin sends `Origin`. Both are
//! refused. There are no CORS headers, so a browser gives no answer of ours to another origin anyway.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

const OURS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// On every answer. Scripts, styles and data come from here alone; nobody may frame or embed it.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The name in `host` or `host:port`, in lower case.
pub(crate) fn bare_host(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Lets a request through, or says why not.
pub(crate) async fn check(
    State(allowed): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match refuse(&allowed, request.uri(), request.headers()) {
        None => next.run(request).await,
        Some((status, why)) => (status, why).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refuse(allowed: &[String], uri: &Uri, headers: &HeaderMap) -> Option<(StatusCode, String)> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next())
    else {
        return Some((StatusCode::BAD_REQUEST, "exactly one Host header is needed\n".to_owned()));
    };
    let known = |host: &str| {
        let name = bare_host(host);
        OURS.contains(&name.as_str()) || allowed.contains(&name)
    };
    let asked = uri.authority().map_or(host, |authority| authority.as_str());
    if let Some(stranger) = [host, asked].into_iter().find(|host| !known(host)) {
        let why = format!(
            "the host name \"{}\" is not one of this agent's; if it should be, add it to allowed_hosts in [web]\n",
            bare_host(stranger).escape_default()
        );
        return Some((StatusCode::FORBIDDEN, why));
    }
    let same = |origin: &HeaderValue| {
        origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
    };
    let foreign = headers.get_all(header::ORIGIN).iter().any(|origin| !same(origin));
    foreign.then(|| (StatusCode::FORBIDDEN, "other origins may not read this agent\n".to_owned()))
}
