//! History read back from a scripted server: the order of time, the bound of memory, what a broken answer does.

use std::sync::Arc;

use sentinel_contract::Kind;

use super::options;
use crate::export::{Export, Part, Selector, Wanted};
use crate::fake::Fake;

const HOUR: i64 = 3_600_000;

fn selector(metric: &str, labels: &[(&str, &str)]) -> Selector {
    let labels = labels.iter().map(|(name, glob)| ((*name).to_owned(), (*glob).to_owned()));
    Selector { metric: metric.to_owned(), labels: labels.collect() }
}

fn wanted(hours: i64, max_samples: usize) -> Wanted {
    Wanted {
        selectors: vec![selector("cpu*", &[])],
        labels: vec![("host".to_owned(), "web\"01".to_owned())],
        from_ms: 0,
        to_ms: hours * HOUR,
        max_samples,
    }
}

fn export(fake: &Fake, wanted: Wanted) -> Export {
    let kind_of = |name: &str| if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
    Export::new(options(&fake.url), wanted, Box::new(kind_of)).unwrap()
}

async fn all(export: &mut Export) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some(part) = export.next().await.unwrap() {
        parts.push(part);
    }
    parts
}

fn line(name: &str, values: &str, times: &str) -> String {
    format!(
        "{{\"metric\":{{\"__name__\":\"{name}\",\"host\":\"w\"}},\"values\":[{values}],\"timestamps\":[{times}]}}\n"
    )
}

#[tokio::test]
async fn samples_come_in_time_order_whatever_order_the_lines_have() {
    let body = line("cpu_b", "4,5", "2000,3000")
        + &line("cpu_total", "1,null,\"Infinity\",2.5", "1000,2000,2500,3000")
        + &line("cpu_b", "3", "1000");
    let mut answers = Vec::new();
    let turned: Vec<&str> = body.lines().rev().collect();
    for text in [body.clone(), turned.join("\n")] {
        let fake = Fake::start();
        fake.answer(200, "", &text);
        let parts = all(&mut export(&fake, wanted(1, 100))).await;
        assert_eq!(parts.len(), 1);
        let samples: Vec<_> = parts[0].samples.iter().collect();
        let shown: Vec<_> = samples
            .iter()
            .map(|one| (one.time_ms, one.series.name().to_owned(), one.value))
            .collect();
        answers.push(shown);
        let of_b: Vec<_> = samples.iter().filter(|one| one.series.name() == "cpu_b").collect();
        assert!(of_b.iter().all(|one| Arc::ptr_eq(&one.series, &of_b[0].series)));
        assert_eq!(of_b[0].series.labels().get("host"), Some("w"));
        assert_eq!(of_b[0].series.kind(), Kind::Gauge);
        let counter = samples.iter().find(|one| one.series.name() == "cpu_total").unwrap();
        assert_eq!(counter.series.kind(), Kind::Counter);
    }
    assert_eq!(answers[0], answers[1]);
    let values: Vec<f64> = answers[0].iter().map(|one| one.2).collect();
    assert_eq!(values.iter().sum::<f64>(), 15.5, "null and Infinity are no samples: {values:?}");
}

#[tokio::test]
async fn the_request_names_the_series_and_both_its_ends() {
    let fake = Fake::start();
    fake.answer(200, "", "");
    let mut wanted = wanted(1, 100);
    wanted.selectors.push(selector("disk.used{a,b}?", &[("path", "/var/*")]));
    all(&mut export(&fake, wanted)).await;
    let asked = fake.received()[0].line.clone();
    assert!(asked.starts_with("GET /api/v1/export?start=0.000&end=3599.999&match"), "{asked}");
    let plain =
        asked.replace("%22", "\"").replace("%3D", "=").replace("%7E", "~").replace("%7B", "{");
    let plain =
        plain.replace("%7D", "}").replace("%2C", ",").replace("%5C", "\\").replace("%5B%5D", "[]");
    let plain =
        plain.replace("%28", "(").replace("%29", ")").replace("%3A", ":").replace("%3F", "?");
    let plain = plain.replace("%7C", "|").replace("%2F", "/");
    assert!(plain.contains("match[]={__name__=~\"cpu.*\",host=\"web\\\"01\"}"), "{plain}");
    let narrow =
        "match[]={__name__=~\"disk\\\\.used(?:a|b).\",host=\"web\\\"01\",path=~\"/var/.*\"}";
    assert!(plain.contains(narrow), "{plain}");
}

#[tokio::test]
async fn a_span_with_too_many_samples_is_halved_and_grows_again() {
    let fake = Fake::start();
    let many = (0..60).map(|at| at.to_string()).collect::<Vec<_>>().join(",");
    fake.answer(200, "", &line("cpu", &many, &many));
    for minutes in [30, 60] {
        fake.answer(200, "", &line("cpu", "7", &(minutes * 60_000 - 1).to_string()));
    }
    fake.answer(200, "", "").answer(200, "", "");
    let mut export = export(&fake, wanted(4, 50));
    let parts = all(&mut export).await;
    let spans: Vec<i64> =
        parts.iter().map(|part| (part.span_ms.1 - part.span_ms.0) / 60_000).collect();
    assert_eq!(spans, [30, 60, 120, 30], "half an hour, then twice as much each time");
    assert_eq!(parts[0].samples.len(), 1);
    assert_eq!(export.at_ms(), 4 * HOUR);
}

#[tokio::test]
async fn a_broken_answer_is_an_error_and_the_same_span_is_next() {
    let fake = Fake::start();
    fake.answer(422, "", "too many series").answer(200, "", "<html>").hang_up();
    fake.answer(200, "", &line("cpu", "1", "5"));
    let mut export = export(&fake, wanted(1, 50));
    let refused = export.next().await.unwrap_err().to_string();
    assert!(refused.contains("answered 422: too many series"), "{refused}");
    let strange = export.next().await.unwrap_err().to_string();
    assert!(strange.contains("is not an export"), "{strange}");
    assert!(export.next().await.is_err());
    assert_eq!(export.at_ms(), 0);
    assert_eq!(export.next().await.unwrap().unwrap().samples.len(), 1);
    assert!(export.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_second_that_does_not_fit_is_an_error_not_memory() {
    let fake = Fake::start();
    for _ in 0..20 {
        fake.answer(200, "", &line("cpu", "1,2,3", "1,2,3"));
    }
    let error = export(&fake, wanted(1, 2)).next().await.unwrap_err().to_string();
    assert!(error.contains("more than 2 samples in one second"), "{error}");
}

#[test]
fn what_cannot_be_read_is_refused_before_anything_is_asked() {
    let refusal = |change: fn(&mut Wanted), url: &str| {
        let mut wanted = wanted(1, 50);
        change(&mut wanted);
        let made = Export::new(options(url), wanted, Box::new(|_| Kind::Gauge));
        made.err().unwrap()[0].to_string()
    };
    let good = "http://127.0.0.1:1";
    assert!(refusal(|wanted| wanted.to_ms = 43 * 24 * HOUR, good).contains("at most 42d"));
    assert!(refusal(|wanted| wanted.to_ms = 0, good).contains("start: must be"));
    assert!(refusal(|wanted| wanted.selectors.clear(), good).contains("nothing to read"));
    assert!(refusal(|_| (), "localhost").contains("url: must be an address"));
}

#[tokio::test]
async fn the_address_may_be_a_base_a_path_or_that_of_the_output() {
    for path in ["", "/", "/api/v1/write", "/api/v1/export"] {
        let fake = Fake::start();
        fake.answer(200, "", "");
        let address = options(&format!("{}{path}", fake.url));
        let mut export = Export::new(address, wanted(1, 50), Box::new(|_| Kind::Gauge)).unwrap();
        export.next().await.unwrap();
        assert!(fake.received()[0].line.starts_with("GET /api/v1/export?"), "{path}");
    }
    let fake = Fake::start();
    fake.answer(200, "", "");
    let address = options(&format!("{}/select/0/prometheus/", fake.url));
    let mut export = Export::new(address, wanted(1, 50), Box::new(|_| Kind::Gauge)).unwrap();
    export.next().await.unwrap();
    assert!(fake.received()[0].line.starts_with("GET /select/0/prometheus/api/v1/export?"));
}
