//! What `tests/fuzz` feeds with bytes of its own making, and the tests here with its corpus: the lines of an export.
//! Compiled for tests and fuzzing only; nothing is connected to.

use std::collections::BTreeMap;

use sentinel_contract::units::{Period, Secret};
use sentinel_contract::{Kind, Metric};

use crate::export::{Export, Selector, Wanted};
use crate::{Auth, HttpOptions, Tls};

const SPAN_MS: (i64, i64) = (0, 3_600_000);

/// Of any answer, what is taken are finite values of the span that was asked for; a line is taken again alike.
pub fn export_line(data: &[u8]) {
    let Some(mut export) = export() else { panic!("the options are right") };
    for line in data.split(|byte| *byte == b'\n') {
        let (mut samples, mut again): (Vec<Metric>, Vec<Metric>) = (Vec::new(), Vec::new());
        let taken = export.line(line, SPAN_MS, &mut samples).is_ok();
        assert_eq!(export.line(line, SPAN_MS, &mut again).is_ok(), taken);
        assert!(taken || samples.is_empty(), "of a line that is none nothing is taken");
        assert_eq!(format!("{samples:?}"), format!("{again:?}"));
        let asked = |one: &Metric| (SPAN_MS.0..SPAN_MS.1).contains(&one.time_ms);
        assert!(samples.iter().all(|one| one.value.is_finite() && asked(one)));
    }
}

fn export() -> Option<Export> {
    let options = HttpOptions {
        url: "http://127.0.0.1:9".to_owned(),
        timeout: Period::secs(5),
        headers: BTreeMap::new(),
        proxy: Secret::new(""),
        tls: Tls::default(),
        auth: Auth::default(),
    };
    let selectors = vec![Selector { metric: "cpu*".to_owned(), labels: Vec::new() }];
    let (from_ms, to_ms) = SPAN_MS;
    let wanted = Wanted { selectors, labels: Vec::new(), from_ms, to_ms, max_samples: 1000 };
    Export::new(options, wanted, Box::new(|_| Kind::Gauge)).ok()
}

#[cfg(test)]
#[path = "../../tests/fuzz/corpus.rs"]
pub(crate) mod corpus;

#[cfg(test)]
#[test]
fn the_corpus_of_export_line_finds_nothing() {
    corpus::run("export_line", export_line);
}
