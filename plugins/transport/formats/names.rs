//! Names in Prometheus' alphabet, and what a metric's name says of its kind.
//!
//! From Prometheus' data model and its naming practices; the remote write 1.0 specification ("Labels").

use std::borrow::Cow;

use sentinel_contract::Kind;

/// A label's name: `[a-zA-Z_][a-zA-Z0-9_]*`; anything else becomes an underscore, as in `service_name` of `service.name`.
pub fn label(name: &str) -> Cow<'_, str> {
    clean(name, false)
}

/// A metric's name: as a label's, with colons.
pub fn metric(name: &str) -> Cow<'_, str> {
    clean(name, true)
}

/// The kind of a metric of which only the name is known: totals, counts, sums and buckets only grow.
pub fn kind(name: &str) -> Kind {
    let grows = ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
    if grows { Kind::Counter } else { Kind::Gauge }
}

fn clean(name: &str, colons: bool) -> Cow<'_, str> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let leads = name.starts_with(|c: char| !c.is_ascii_digit());
    if leads && name.chars().all(good) {
        return name.into();
    }
    let mut clean = String::with_capacity(name.len() + 1);
    if !leads {
        clean.push('_');
    }
    clean.extend(name.chars().map(|c| if good(c) { c } else { '_' }));
    clean.into()
}
