//! Tests of what the benches rely on: that the sinks see every kind of mistake, and that /proc is read rightly.

use crate::{
    arrivals::{Arrivals, Counts},
    corpus::{self, Kind},
    log_sink::{from_json, from_protobuf},
    metric_sink::{Seen, take},
    process::{kib, ticks},
};

const FILE: &[u8] = b"a id=00000000 one\nb id=00000001 two\nc id=00000002 three\n";

fn arrivals(ids_only: bool) -> Arrivals {
    if ids_only {
        return Arrivals::ids(3);
    }
    Arrivals::new(FILE.to_vec()).unwrap()
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    bytes.extend_from_slice(content);
    bytes
}

fn snappy(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

#[test]
fn a_lost_a_doubled_a_changed_and_an_early_line_are_each_counted() {
    let mut seen = arrivals(false);
    for line in [
        &b"c id=00000002 three"[..],
        b"a id=00000000 one",
        b"a id=00000000 one",
        b"b id=00000001 tw",
        b"x",
    ] {
        seen.line(line);
    }
    let expected =
        Counts { expected: 3, unique: 2, doubled: 1, wrong: 2, disordered: 2, ..Counts::default() };
    assert_eq!(seen.counts, expected);
    assert!(seen.counts.to_string().contains("missing=1\n"));
}

#[test]
fn a_sender_may_wrap_the_line_but_not_change_it() {
    let mut seen = arrivals(false);
    from_json(
        br#"{"streams":[{"stream":{"a":"b"},"values":[["1","value=\"b id=00000001 two\" "]]}]}"#,
        &mut seen,
    )
    .unwrap();
    assert_eq!((seen.counts.unique, seen.counts.wrong), (1, 0));
    let mut seen = arrivals(true);
    seen.line(b"verb=GET request=/?id=00000001 x");
    assert_eq!((seen.counts.unique, seen.counts.wrong), (1, 0));
}

#[test]
fn a_push_in_protobuf_is_read_to_its_lines() {
    let mut seen = arrivals(false);
    let entry = [field(1, &[8, 1]), field(2, b"a id=00000000 one")].concat();
    let stream = [field(1, b"{job=\"x\"}"), field(2, &entry)].concat();
    from_protobuf(&snappy(&field(1, &stream)), &mut seen).unwrap();
    assert_eq!((seen.counts.unique, seen.counts.wrong), (1, 0));
    assert!(from_protobuf(b"\xff\xff", &mut seen).is_err());
}

#[test]
fn remote_write_is_counted_in_series_and_samples_in_both_compressions() {
    let label = [field(1, b"__name__"), field(2, b"up")].concat();
    let sample = [vec![9], 1.0f64.to_le_bytes().to_vec(), vec![16, 5]].concat();
    let series = [field(1, &label), field(2, &sample), field(2, &sample)].concat();
    let request = field(1, &series);
    let mut seen = Seen::default();
    take(&snappy(&request), false, &mut seen).unwrap();
    take(&zstd::bulk::compress(&request, 1).unwrap(), true, &mut seen).unwrap();
    assert_eq!((seen.samples, seen.series.len(), seen.names.len()), (4, 1, 1));
    assert!(take(b"\xff\xff", false, &mut seen).is_err());
}

#[test]
fn a_corpus_is_the_same_for_the_same_seed_and_every_line_is_its_own() {
    let folder = std::env::temp_dir().join(format!("sentinel-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for kind in [Kind::Text, Kind::Combined] {
        let file = |name: &str, seed| {
            corpus::write(kind, &folder.join(name), 1000, seed).unwrap();
            std::fs::read(folder.join(name)).unwrap()
        };
        let (first, again, other) = (file("a", 1), file("b", 1), file("c", 2));
        assert_eq!(first, again);
        assert_ne!(first, other);
        let mut seen = Arrivals::new(first.clone()).unwrap();
        first.split(|byte| *byte == b'\n').take(1000).for_each(|line| seen.line(line));
        let expected = Counts { expected: 1000, unique: 1000, ..Counts::default() };
        assert_eq!(seen.counts, expected);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn proc_is_read_by_position_and_name_even_when_the_command_has_odd_letters() {
    let stat = "7 (a) b) S 1 7 7 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 3 0 100 1 2";
    assert_eq!(ticks(stat), Some(2.0));
    assert_eq!(ticks("7 (a"), None);
    let status = "Name:\tx\nVmHWM:\t   12288 kB\nRssAnon:\t    6000 kB\n";
    assert_eq!(
        (kib(status, "VmHWM:"), kib(status, "RssAnon:"), kib(status, "VmSwap:")),
        (12288, 6000, 0)
    );
}
