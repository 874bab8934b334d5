//! The line protocol.

use std::sync::Arc;

use proptest::prelude::*;
use sentinel_contract::{Kind, Labels, Metric, Series};

use super::{Shown, base, given, no_labels, samples, shown};
use crate::formats::influx::{InfluxDecoder, metric};
use crate::formats::{Drops, names};

fn decode(text: &str, labels: &Arc<Labels>) -> Shown {
    let (mut metrics, mut drops) = (Vec::new(), Drops::default());
    let result =
        InfluxDecoder::default().decode(text.as_bytes(), given(labels), &mut metrics, &mut drops);
    assert!(result.is_ok() || metrics.is_empty());
    (result.map(|()| metrics.iter().map(shown).collect()), drops.iter().collect())
}

fn written(name: &str, labels: &[(&str, &str)], value: f64) -> String {
    let series = Series::new(name, Kind::Gauge, labels.iter().copied());
    let mut out = Vec::new();
    metric(&mut out, &Metric { series, time_ms: 1_795_400_000_123, value });
    String::from_utf8(out).unwrap()
}

#[test]
fn a_name_is_taken_apart_as_telegraf_put_it_together() {
    let at = "1795400000123000000";
    assert_eq!(
        written("cpu_usage_idle", &[("cpu", "cpu0"), ("host", "h")], 12.5),
        format!("cpu,cpu=cpu0,host=h usage_idle=12.5 {at}")
    );
    assert_eq!(written("up", &[], 1.0), format!("up value=1 {at}"));
    assert_eq!(written("gc_value", &[], 1.0), format!("gc_value value=1 {at}"));
    assert_eq!(written("_x", &[], 1.0), format!("_x value=1 {at}"));
    assert_eq!(written("x_", &[], 1.0), format!("x_ value=1 {at}"));
    assert_eq!(written("x_time", &[], 1.0), format!("x_time value=1 {at}"));
    assert_eq!(
        written("disk_used", &[("path", "C:\\a b,c=\n\\")], -0.0),
        format!("disk,path=C:\\\\a\\ b\\,c\\=\\ \\\\ used=-0 {at}")
    );
}

#[test]
fn every_kind_of_value_and_escape_is_read() {
    let text = r#"# a comment
cpu,cpu=cpu0,host=web\ 1 usage_idle=12.5,usage_user=3i,up=true,down=F,note="a, \"b\" c=d" 1795400000123456789

  mem free=7u
a\,b,t\=g=v\\,path=C:\Windows value=-1e3,req_total=+.5 -5
"#;
    let (metrics, drops) = decode(text, &base());
    let cpu = r#"{cpu="cpu0",host="web 1",topic="t"}"#;
    let odd = r#"{host="here",path="C:\\Windows",t_g="v\\",topic="t"}"#;
    let here = r#"{host="here",topic="t"}"#;
    let at = "1795400000123";
    assert_eq!(
        metrics.unwrap(),
        [
            format!("cpu_usage_idle{cpu} 12.5 {at}"),
            format!("cpu_usage_user{cpu} 3 {at}"),
            format!("cpu_up{cpu} 1 {at}"),
            format!("cpu_down{cpu} 0 {at}"),
            format!("mem_free{here} 7 1795400000000"),
            format!("a_b{odd} -1000 -1"),
            format!("a_b_req_total{odd} 0.5 -1+"),
        ]
    );
    assert_eq!(drops, [("string_field", 1)]);
}

#[test]
fn a_bad_line_is_counted_and_the_others_go_on() {
    let bad = [
        "no_fields",
        "a,b f=1",
        "a,=b f=1",
        ",a=b f=1",
        "a f",
        "a f=",
        "a =1",
        "a f=1,",
        "a f=1,g=x 5",
        "a f=1 soon",
        "a f=1 5 6",
        "a f=\"open",
        "a f=\"shut\"5",
        "a f=nan",
        "a f=inf",
        "a f=1.5i",
        "a f=-1u",
        "a f=99999999999999999999i",
        "a f=1 99999999999999999999",
        "a f=1\t5",
    ];
    for line in bad {
        let (metrics, drops) = decode(&format!("{line}\r\nok f=1\r\n"), &no_labels());
        assert_eq!(metrics.unwrap(), ["ok_f{} 1 1795400000000"], "{line}");
        assert_eq!(drops, [("malformed_line", 1)], "{line}");
        let (metrics, drops) = decode(line, &no_labels());
        assert!(metrics.is_err() && drops.is_empty(), "{line}: all of it is broken");
    }
    let (metrics, drops) = decode("a f=1e999,g=2", &no_labels());
    assert_eq!((metrics.unwrap().len(), drops), (1, vec![("not_finite", 1)]));
    assert_eq!(decode("\n# nothing\n", &no_labels()), (Ok(vec![]), vec![]));
}

#[test]
fn a_series_is_shared() {
    let (mut decoder, mut metrics, labels) = (InfluxDecoder::default(), Vec::new(), base());
    for text in [&b"a,x=1 f=1,g=2"[..], b"a,x=1 g=3"] {
        decoder.decode(text, given(&labels), &mut metrics, &mut Drops::default()).unwrap();
    }
    assert!(Arc::ptr_eq(&metrics[1].series, &metrics[2].series));
    assert!(!Arc::ptr_eq(&metrics[0].series, &metrics[1].series));
}

proptest! {
    /// But for the kind, of which only the name tells.
    #[test]
    fn what_was_written_comes_back(metrics in samples()) {
        let (mut out, mut again, mut drops) = (Vec::new(), Vec::new(), Drops::default());
        for one in &metrics {
            metric(&mut out, one);
            out.push(b'\n');
        }
        InfluxDecoder::default().decode(&out, given(&no_labels()), &mut again, &mut drops).unwrap();
        prop_assert_eq!(&drops, &Drops::default());
        prop_assert_eq!(metrics.len(), again.len());
        for (one, other) in metrics.iter().zip(&again) {
            prop_assert_eq!(one.series.name(), other.series.name());
            prop_assert_eq!(other.series.kind(), names::kind(one.series.name()));
            prop_assert_eq!(one.series.labels(), other.series.labels());
            prop_assert_eq!((one.time_ms, one.value), (other.time_ms, other.value));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "([a-b,= \\\\\"\n#]|[0-9iuet.-]){0,60}") {
        crate::formats::fuzz::influx(text.as_bytes());
    }
}
