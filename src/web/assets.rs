//! The page's files, in the binary, so that it works on a host without a network.
//!
//! uPlot 1.6.32 (MIT, npm `uplot`, `dist/uPlot.iife.min.js` and `uPlot.min.css`) draws the charts; its licence is
//! served beside it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::http::header::{self, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// One file of the page.
pub(crate) struct Asset {
    /// Where it is served.
    pub(crate) path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

const fn asset(path: &'static str, content_type: &'static str, text: &'static str) -> Asset {
    Asset { path, content_type, text }
}

/// All of them.
pub(crate) static ASSETS: &[Asset] = &[
    asset("/", HTML, include_str!("assets/page.html")),
    asset("/assets/page.css", CSS, include_str!("assets/page.css")),
    asset("/assets/format.js", SCRIPT, include_str!("assets/format.js")),
    asset("/assets/signals.js", SCRIPT, include_str!("assets/signals.js")),
    asset("/assets/incidents.js", SCRIPT, include_str!("assets/incidents.js")),
    asset("/assets/status.js", SCRIPT, include_str!("assets/status.js")),
    asset("/assets/page.js", SCRIPT, include_str!("assets/page.js")),
    asset("/assets/icon.svg", SVG, include_str!("assets/icon.svg")),
    asset("/assets/uplot.js", SCRIPT, include_str!("assets/uplot.js")),
    asset("/assets/uplot.css", CSS, include_str!("assets/uplot.css")),
    asset("/assets/uplot-LICENSE.txt", TEXT, include_str!("assets/uplot-LICENSE.txt")),
];

/// The file, or "not modified" when the browser has this version of it. Browsers ask each time (`no-cache`): an
/// upgraded agent must not be shown through the page of the old one.
pub(crate) fn answer(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let mut hasher = DefaultHasher::new();
    asset.text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let unchanged = known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.content_type)], asset.text).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
