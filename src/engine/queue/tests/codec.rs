//! A batch is the same after it was written and read; bytes of anything are refused.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sentinel_contract::{
    Batch, Events, Field, Fields, Incident, Kind, Labels, Log, Metric, Name, Piece, Series, Value,
};

use super::super::decode::{DecodeError, decode};
use super::super::encode::encode;

fn written(piece: &Piece) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(encode(piece, &mut out));
    out
}

fn series(name: &str, label: &str) -> Arc<Series> {
    Series::new(name, Kind::Counter, [("host", label), ("job", "x")])
}

fn logs() -> impl Strategy<Value = Vec<Log>> {
    let value = (0..3_u8, any::<f64>(), ".{0,9}");
    let fields = proptest::collection::vec(("[a-c]", value), 0..4);
    let log = (any::<i64>(), proptest::collection::vec(any::<u8>(), 0..40), "[a-d]", fields);
    proptest::collection::vec(log, 0..20).prop_map(|logs| {
        let make = |(time_ns, body, label, fields): (i64, Vec<u8>, String, Vec<_>)| {
            let field = |(name, (kind, number, text)): (String, (u8, f64, String))| Field {
                name: Name::Shared(name.as_str().into()),
                value: match kind {
                    0 => Value::Slice(0, body.len() as u32),
                    1 => Value::Text(text.into()),
                    _ => Value::Number(number),
                },
            };
            let fields: Vec<Field> = fields.into_iter().map(field).collect();
            let fields = (!fields.is_empty()).then(|| Box::new(Fields(fields)));
            let stream = Arc::new(Labels::new([("level", label.as_str()), ("a", "b")]));
            Log { stream, time_ns, body: Bytes::from(body), fields }
        };
        logs.into_iter().map(make).collect()
    })
}

proptest! {
    #[test]
    fn logs_come_back_as_they_were(logs in logs(), order in any::<u64>(), cut in 0..20_usize) {
        let mut batch = Batch::new("a tail".into(), Events::Logs(logs.clone()));
        batch.order = order;
        let start = cut.min(logs.len());
        let piece = Piece { batch: Arc::new(batch), range: start..logs.len() };
        let back = decode(Bytes::from(written(&piece))).unwrap();
        prop_assert_eq!((&*back.origin, back.order), ("a tail", order));
        let Events::Logs(found) = back.events else { panic!("other events") };
        prop_assert_eq!(format!("{found:?}"), format!("{:?}", &logs[start..]));
    }

    #[test]
    fn bytes_of_anything_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _refused_or_not = decode(Bytes::from([&[1, 1], &bytes[..]].concat()));
        let _refused_or_not = decode(Bytes::from([&[1, 2], &bytes[..]].concat()));
        let _refused_or_not = decode(Bytes::from([&[1, 3], &bytes[..]].concat()));
        let _refused_or_not = decode(Bytes::from(bytes));
    }

    #[test]
    fn a_record_that_is_cut_or_changed_is_refused_or_another_batch_but_never_a_panic(
        logs in logs(), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let piece = Piece::whole(Arc::new(Batch::new("in".into(), Events::Logs(logs))));
        let bytes = written(&piece);
        let at = at.index(bytes.len());
        prop_assert!(decode(Bytes::from(bytes[..at].to_vec())).is_err());
        let mut changed = bytes;
        changed[at] ^= 1_u8 << bit;
        let _refused_or_not = decode(Bytes::from(changed));
    }
}

#[test]
fn metrics_come_back_with_each_series_made_once() {
    let (a, b) = (series("cpu_user", "h"), series("cpu_idle", "h"));
    let metric = |series: &Arc<Series>, time_ms, value| Metric {
        series: Arc::clone(series),
        time_ms,
        value,
    };
    let metrics = vec![
        metric(&a, 1, 0.5),
        metric(&b, 1, f64::NAN),
        metric(&a, 2, -0.0),
        metric(&a, 3, f64::MAX),
    ];
    let piece =
        Piece::whole(Arc::new(Batch::new("system".into(), Events::Metrics(metrics.clone()))));
    let back = decode(Bytes::from(written(&piece))).unwrap();
    let Events::Metrics(found) = back.events else { panic!("other events") };
    for (found, given) in found.iter().zip(&metrics) {
        assert_eq!((&found.series, found.time_ms), (&given.series, given.time_ms));
        assert_eq!(found.value.to_bits(), given.value.to_bits());
    }
    assert_eq!(found.len(), 4);
    assert!(Arc::ptr_eq(&found[0].series, &found[3].series), "shared, as it was");
}

#[test]
fn incidents_come_back_as_they_were() {
    let incident = Incident {
        message: "a \u{fc}".into(),
        score: f64::NAN,
        key: "k".into(),
        ..Incident::default()
    };
    let events = Events::Incidents(vec![incident.clone(), Incident::default()]);
    let piece = Piece::whole(Arc::new(Batch::new("host".into(), events)));
    let back = decode(Bytes::from(written(&piece))).unwrap();
    let Events::Incidents(found) = back.events else { panic!("other events") };
    assert_eq!(
        (found.len(), &found[0].message, found[0].score.is_nan()),
        (2, &incident.message, true)
    );
}

#[test]
fn a_record_of_another_version_says_which() {
    let refused = decode(Bytes::from_static(&[7, 1, 0]));
    assert_eq!(refused.unwrap_err(), DecodeError::Version(7));
}
