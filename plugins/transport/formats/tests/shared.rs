//! What all formats share: names, drops, what is remembered, what is unpacked.

use std::sync::Arc;

use proptest::prelude::*;
use sentinel_contract::Labels;
use sentinel_contract::telemetry::Counters;

use crate::Body;
use crate::formats::interner::{Bases, Interner};
use crate::formats::unpack::{Packing, unpack};
use crate::formats::{Drops, names};
use crate::protobuf::read::{Broken, Reader, Value};

#[test]
fn a_name_gets_the_alphabet_of_prometheus() {
    assert_eq!(names::label("service.name"), "service_name");
    assert_eq!(names::label("9a:\u{e9}"), "_9a__");
    assert_eq!(names::metric("a:b.c"), "a:b_c");
    assert!(matches!(names::label("host_1"), std::borrow::Cow::Borrowed("host_1")));
}

#[test]
fn drops_are_counted_by_reason_and_handed_over_once() {
    let (mut drops, counters) = (Drops::default(), Counters::default());
    drops.add("a", 2);
    drops.add("b", 0);
    drops.add("a", 1);
    assert_eq!(drops.iter().collect::<Vec<_>>(), [("a", 3)]);
    drops.settle(&counters);
    drops.settle(&counters);
    assert_eq!(counters.drops().into_iter().collect::<Vec<_>>(), [("a", 3)]);
}

#[test]
fn what_is_remembered_is_bounded_and_made_once() {
    let mut interner = Interner::default();
    let one = interner.find(b"key", || Ok::<Arc<str>, ()>("a".into())).unwrap();
    let again = interner.find(b"key", || Err(())).unwrap();
    assert!(Arc::ptr_eq(&one, &again));
    assert!(interner.find(b"other", || Err(())).is_err());
    for nth in 0..300_000_u32 {
        interner.find(&nth.to_le_bytes(), || Ok::<Arc<str>, ()>("b".into())).unwrap();
        assert!(interner.len() <= 131_072);
    }
    let long = vec![0; 60 << 10];
    for nth in 0..400_u16 {
        interner
            .find(&[&long[..], &nth.to_le_bytes()].concat(), || Ok::<Arc<str>, ()>("c".into()))
            .unwrap();
    }
    assert!(interner.len() <= 280, "16 MiB of keys");
    let huge = vec![0; 65 << 10];
    interner.find(&huge, || Ok::<Arc<str>, ()>("d".into())).unwrap();
    assert!(interner.find(&huge, || Err(())).is_err(), "a huge key is not remembered");
}

#[test]
fn no_two_given_label_sets_have_one_number() {
    let (mut bases, mut seen) = (Bases::default(), Vec::new());
    let sets: Vec<_> =
        (0..200).map(|nth| Arc::new(Labels::new([("topic", nth.to_string())]))).collect();
    for set in &sets {
        let number = bases.number(set);
        assert_eq!(bases.number(set), number);
        assert_eq!(bases.number(&Arc::new((**set).clone())), number, "the content counts");
        assert!(!seen.contains(&number));
        seen.push(number);
    }
}

proptest! {
    #[test]
    fn what_is_packed_comes_back_unless_it_is_too_large(raw in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1..20_usize) {
        let raw = raw.repeat(repeat);
        let (mut body, mut room) = (Body::new(), Vec::new());
        body.snappy(&raw).unwrap();
        prop_assert_eq!(unpack(body.as_slice(), Packing::Snappy, raw.len(), &mut room).unwrap(), &raw[..]);
        if !raw.is_empty() {
            prop_assert!(unpack(body.as_slice(), Packing::Snappy, raw.len() - 1, &mut room).is_err());
        }
        body.zstd(&raw).unwrap();
        prop_assert_eq!(unpack(body.as_slice(), Packing::Zstd, raw.len(), &mut room).unwrap(), &raw[..]);
        if !raw.is_empty() {
            prop_assert!(unpack(body.as_slice(), Packing::Zstd, raw.len() - 1, &mut room).is_err());
            prop_assert!(unpack(&raw, Packing::None, raw.len() - 1, &mut room).is_err());
        }
        prop_assert_eq!(unpack(&raw, Packing::None, raw.len(), &mut room).unwrap(), &raw[..]);
    }
}

#[test]
fn a_block_that_promises_what_it_cannot_hold_takes_no_memory() {
    let mut room = Vec::new();
    let block = [0x80, 0x80, 0x80, 0x10, 0, b'a']; // says 32 MiB
    let error = unpack(&block, Packing::Snappy, 64 << 20, &mut room).unwrap_err();
    assert!(error.to_string().contains("cannot hold"), "{error}");
    assert!(room.capacity() < 1 << 20);
    let bomb = zstd::bulk::compress(&vec![0; 32 << 20], 1).unwrap();
    assert!(unpack(&bomb, Packing::Zstd, 1 << 20, &mut room).is_err());
    assert!(room.capacity() < 4 << 20);
    assert!(unpack(b"nothing of it", Packing::Zstd, 1 << 20, &mut room).is_err());
}

#[test]
fn fields_of_every_wire_type_are_read_and_what_is_broken_is_said() {
    let all = |bytes: &[u8]| {
        let (mut reader, mut fields) = (Reader::new(bytes), Vec::new());
        while let Some((number, value)) = reader.field()? {
            fields.push((number, format!("{value:?}")));
        }
        Ok::<_, Broken>(fields)
    };
    let message = [0x08, 0x96, 1, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 1, 7, 0x25, 2, 0, 0, 0];
    let expected = ["Varint(150)", "Fixed64(1)", "Bytes([7])", "Fixed32(2)"];
    let expected: Vec<_> = (1..).zip(expected.map(str::to_owned)).collect();
    assert_eq!(all(&message).unwrap(), expected);
    for cut in [1, 2, 4, 11, 13, 14, 16] {
        assert_eq!(all(&message[..cut]), Err(Broken::Truncated), "{cut}");
    }
    assert_eq!(all(&[0x0b]), Err(Broken::Tag), "a group");
    assert_eq!(all(&[0x00, 1]), Err(Broken::Tag), "field 0");
    assert_eq!(
        all(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        Err(Broken::Varint)
    );
    assert_eq!(
        all(&[0x0a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        Err(Broken::Truncated)
    );
    assert_eq!(Value::Varint(1).bytes(), Err(Broken::Type));
    let mut numbers = Vec::new();
    Value::Bytes(&[1, 0, 0, 0, 0, 0, 0, 0]).fixed64s(&mut numbers).unwrap();
    Value::Fixed64(2).fixed64s(&mut numbers).unwrap();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(Value::Bytes(&[1]).fixed64s(&mut numbers), Err(Broken::Truncated));
}
