//! The files: nothing of an event is lost, damage hurts nothing but itself, and what must go is counted.

use proptest::prelude::*;

use super::*;
use crate::dead_letters::{Purged, Which, purge};

const ROOM: u64 = 1 << 20;

/// What comes out of a letter of this event again, in the debug form, which shows every bit that matters but NaN's.
fn back(desk: &Desk, events: Events) -> Events {
    let letters = desk.letters(ROOM);
    let mut batch = Batch::new("in".into(), events);
    batch.source = u64::MAX;
    letters.write(&desk.out, &Piece::whole(Arc::new(batch)), &[0], "no").unwrap();
    let (mut found, others) = waiting(desk.state());
    assert_eq!((found.len(), others), (1, 0));
    let letter = found.remove(0).1;
    assert_eq!((letter.source, &*letter.origin), (u64::MAX, "in"));
    purge(desk.state(), &Which::All).unwrap();
    letter.event.into_events().unwrap()
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..4_u32, 4..8_u32).prop_map(|(start, end)| Value::Slice(start, end)),
        any::<String>().prop_map(|text| Value::Text(text.into())),
        any::<f64>().prop_map(Value::Number),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_log_record_of_anything_comes_back_as_it_was(
        body in proptest::collection::vec(any::<u8>(), 8..40),
        time_ns in any::<i64>(),
        stream in proptest::collection::vec(any::<(String, String)>(), 0..4),
        fields in proptest::collection::vec((any::<String>(), value()), 0..4),
    ) {
        let fields = fields.into_iter().map(|(name, value)| Field { name: Name::Shared(name.into()), value });
        let fields: Vec<Field> = fields.collect();
        let fields = (!fields.is_empty()).then(|| Box::new(Fields(fields)));
        let log = Log { stream: Arc::new(Labels::new(stream)), time_ns, body: body.into(), fields };
        let was = format!("{log:?}");
        let Events::Logs(logs) = back(&desk(), Events::Logs(vec![log])) else { panic!("of another kind") };
        prop_assert_eq!(format!("{:?}", logs[0]), was);
    }

    #[test]
    fn a_sample_comes_back_to_the_last_bit(
        name in any::<String>(), counter in any::<bool>(), time_ms in any::<i64>(), bits in any::<u64>(),
        labels in proptest::collection::vec(any::<(String, String)>(), 0..4),
    ) {
        let kind = if counter { Kind::Counter } else { Kind::Gauge };
        let series = Series::new(name, kind, labels);
        let metric = Metric { series: Arc::clone(&series), time_ms, value: f64::from_bits(bits) };
        let Events::Metrics(metrics) = back(&desk(), Events::Metrics(vec![metric])) else { panic!("of another kind") };
        prop_assert_eq!(&metrics[0].series, &series);
        prop_assert_eq!(metrics[0].time_ms, time_ms);
        prop_assert_eq!(metrics[0].value.to_bits(), bits);
    }
}

#[test]
fn a_stale_marker_and_an_incident_come_back_as_they_were() {
    let desk = desk();
    for bits in [0x7ff0_0000_0000_0002, f64::INFINITY.to_bits(), (-0.0_f64).to_bits()] {
        let series = Series::new("up", Kind::Gauge, [("a", "b")]);
        let metric = Metric { series, time_ms: 1, value: f64::from_bits(bits) };
        let Events::Metrics(back) = back(&desk, Events::Metrics(vec![metric])) else { panic!() };
        assert_eq!(back[0].value.to_bits(), bits);
    }
    let incident = Incident {
        key: "web/x/1".into(),
        message: "a\nb".into(),
        score: 1.5,
        models: vec![("forest".into(), 2.0)],
        ..Incident::default()
    };
    let Events::Incidents(back) = back(&desk, Events::Incidents(vec![incident.clone()])) else {
        panic!()
    };
    assert_eq!(back, [incident]);
}

#[test]
fn a_line_that_is_text_can_be_read_in_the_file_and_one_that_is_not_is_base64() {
    let desk = desk();
    let letters = desk.letters(ROOM);
    desk.write(&letters, &["plain"]);
    let labels = Arc::new(Labels::new([("a", "b")]));
    let body = Bytes::from_static(b"\xff\x00x");
    let log = Log { stream: labels, time_ns: 0, body, fields: None };
    let batch = Batch::new("in".into(), Events::Logs(vec![log]));
    letters.write(&desk.out, &Piece::whole(Arc::new(batch)), &[0], "no").unwrap();
    let text = std::fs::read_to_string(desk.file()).unwrap();
    assert!(
        text.contains(r#""line":"plain""#) && text.contains(r#""line_base64":"/wB4""#),
        "{text}"
    );
}

#[test]
fn half_a_line_of_a_killed_agent_is_cut_off_and_spoils_no_other() {
    for cut in 1..40 {
        let desk = desk();
        desk.write(&desk.letters(ROOM), &["first", "second"]);
        let size = std::fs::metadata(desk.file()).unwrap().len();
        std::fs::File::options()
            .write(true)
            .open(desk.file())
            .unwrap()
            .set_len(size - cut)
            .unwrap();
        assert_eq!(lines(desk.state()), ["first"], "a reader leaves it out");
        desk.write(&desk.letters(ROOM), &["third"]);
        // One byte less is the whole letter without its end: nothing is cut off then.
        let whole =
            if cut == 1 { vec!["first", "second", "third"] } else { vec!["first", "third"] };
        assert_eq!(lines(desk.state()), whole, "{cut} bytes less");
        assert_eq!(waiting(desk.state()).1, 0);
    }
}

#[test]
fn a_file_cut_within_its_first_line_and_one_of_zeros_are_begun_again() {
    for content in [&b"{\"dead_let"[..], &[0; 5000], b""] {
        let desk = desk();
        std::fs::write(desk.file(), content).unwrap();
        desk.write(&desk.letters(ROOM), &["x"]);
        assert_eq!(lines(desk.state()), ["x"]);
        assert_eq!(waiting(desk.state()).1, 0);
    }
}

#[test]
fn lines_that_are_no_letters_are_counted_and_left_alone_until_all_is_purged() {
    let desk = desk();
    std::fs::write(desk.file(), b"{\"time_ms\":1,\"plugin\":\"out\"}\n\xff\xfe\n").unwrap();
    let letters = desk.letters(ROOM);
    desk.write(&letters, &["one"]);
    desk.append(b"{\"gone\":0,\"v\":1}\n[]\n\n{\"gone\":0,\"v\":9,\"id\":\"9-9\",\"new\":1}\nhalf");
    let letters = desk.letters(ROOM);
    desk.write(&letters, &["two"]);
    assert_eq!(lines(desk.state()), ["one", "two"]);
    let text = std::fs::read(desk.file()).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("\"v\":9"), "what a newer agent wrote stays: {text}");
    let named = purge(desk.state(), &Which::Output("out".into())).unwrap();
    assert_eq!(named, Purged { letters: 2, unreadable: 0 });
    assert!(waiting(desk.state()).1 >= 3, "they are still there");
    let by_name = purge(desk.state(), &Which::Ids(vec!["9-9".into()])).unwrap();
    assert_eq!(by_name.letters, 1, "a newer agent's letter has its name in the same place");
    assert!(purge(desk.state(), &Which::All).unwrap().unreadable >= 2);
    assert_eq!(waiting(desk.state()), (Vec::new(), 0));
}

#[test]
fn what_goes_with_the_older_file_is_counted_and_what_is_kept_is_bounded() {
    let desk = desk();
    let letters = desk.letters(2000);
    let text: Vec<String> = (0..40).map(|line| format!("line {line}")).collect();
    for line in &text {
        desk.write(&letters, &[line]);
    }
    let kept = lines(desk.state());
    let dropped = desk.out.counters.drops()["dead_letters_full"] as usize;
    assert!(dropped > 0 && kept.len() + dropped == 40, "{} kept, {dropped} dropped", kept.len());
    assert_eq!(kept, text[dropped..], "the oldest went");
    for name in ["dead-letters.jsonl", "dead-letters.1.jsonl"] {
        assert!(std::fs::metadata(desk.state().join(name)).unwrap().len() < 3000);
    }
}

#[test]
fn what_was_settled_does_not_count_when_its_file_goes_and_names_do_not_come_again() {
    let desk = desk();
    let letters = desk.letters(2000);
    let mut names = Vec::new();
    desk.write(&letters, &["stays until its file goes"]);
    for _ in 0..40 {
        desk.write(&letters, &["x"]);
        let id = waiting(desk.state()).0.pop().unwrap().1.id;
        assert!(!names.contains(&id), "{id} again");
        // One behind, so that there is always one that waits in the file that is written.
        purge(desk.state(), &Which::Ids(names.last().cloned().into_iter().collect())).unwrap();
        names.push(id);
    }
    assert_eq!(desk.out.counters.drops()["dead_letters_full"], 1);
    assert_eq!(lines(desk.state()), ["x"]);
    purge(desk.state(), &Which::Ids(names)).unwrap();
    assert!(std::fs::metadata(desk.file()).unwrap().len() < 100, "its room is given back");
    assert!(!desk.state().join("dead-letters.1.jsonl").exists());
}

#[test]
fn a_name_does_not_come_again_after_its_file_was_emptied() {
    let desk = desk();
    let letters = desk.letters(ROOM);
    let mut names = Vec::new();
    for all in [true, false, true, false] {
        desk.write(&letters, &["x"]);
        let id = waiting(desk.state()).0.pop().unwrap().1.id;
        assert!(!names.contains(&id), "{id} again");
        names.push(id.clone());
        let which = if all { Which::All } else { Which::Ids(vec![id]) };
        purge(desk.state(), &which).unwrap();
    }
}

#[test]
fn a_file_that_a_person_removed_or_edited_is_gone_on_with() {
    let desk = desk();
    let letters = desk.letters(ROOM);
    desk.write(&letters, &["x"]);
    std::fs::remove_file(desk.file()).unwrap();
    desk.write(&letters, &["y", "z"]);
    assert_eq!(lines(desk.state()), ["y", "z"]);
    let text = std::fs::read_to_string(desk.file()).unwrap();
    let short: Vec<&str> = text.lines().take(2).collect();
    std::fs::write(desk.file(), short.join("\n")).unwrap();
    desk.write(&letters, &["a"]);
    assert_eq!(lines(desk.state()), ["y", "a"]);
    let copy = desk.state().join("copy");
    std::fs::copy(desk.file(), &copy).unwrap();
    std::fs::rename(copy, desk.file()).unwrap();
    desk.write(&letters, &["b"]);
    assert_eq!(lines(desk.state()), ["y", "a", "b"]);
}

#[test]
fn a_letter_that_is_on_disk_twice_counts_once_where_it_was_written_last() {
    let desk = desk();
    desk.write(&desk.letters(ROOM), &["x"]);
    let text = std::fs::read_to_string(desk.file()).unwrap();
    desk.append(text.lines().last().unwrap().as_bytes());
    desk.append(b"\n");
    let (both, _) = waiting(desk.state());
    assert_eq!(both.len(), 2);
    assert_eq!(dead_letters::latest(desk.state()).unwrap()[&both[0].1.id], both[1].0);
}

#[test]
fn a_long_answer_is_cut_at_a_character() {
    let desk = desk();
    let labels = Arc::new(Labels::new([("a", "b")]));
    let piece = Piece::whole(Arc::new(log_batch("in", &labels, &["x"])));
    desk.letters(ROOM).write(&desk.out, &piece, &[0], &"\u{20ac}".repeat(5000)).unwrap();
    let reason = &waiting(desk.state()).0[0].1.reason;
    assert!(reason.len() <= 4096 && reason.len() > 4090, "{}", reason.len());
}
