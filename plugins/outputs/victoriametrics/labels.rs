//! The labels of a series as remote write wants them: encoded, sorted by name, in Prometheus' alphabet.
//! From the remote write 1.0 specification ("Labels") and Prometheus' data model. Values are any UTF-8.

use std::borrow::Cow;

use sentinel_contract::Series;
use sentinel_transport::formats::names;
use sentinel_transport::protobuf::{field_len, put_bytes, put_head};

/// The label that holds the metric's name.
const NAME: &str = "__name__";

/// Field `labels` of a `TimeSeries`, once for each label.
const LABELS: u64 = 1;

/// The encoded `labels` fields of the series' `TimeSeries` message.
pub(super) fn encode(series: &Series) -> Box<[u8]> {
    let name = (Cow::Borrowed(NAME), names::metric(series.name()));
    let labels = series.labels().iter().map(|(name, value)| (names::label(name), value.into()));
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        labels.filter(|(name, _)| name != NAME).chain([name]).collect();
    pairs.sort(); // by name, in bytes, as the specification says
    pairs.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            let both = [&*first.1, &*later.1].join(";"); // what Prometheus does with names that fall together
            first.1 = Cow::Owned(both);
        }
        same
    });
    let mut out = Vec::new();
    for (name, value) in &pairs {
        put_head(&mut out, LABELS, field_len(name.len()) + field_len(value.len()));
        put_bytes(&mut out, 1, name.as_bytes());
        put_bytes(&mut out, 2, value.as_bytes());
    }
    out.into()
}
