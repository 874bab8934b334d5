//! Instances beside each other, and streams that have several label sets: what one gave a line, no other gives again.

use super::*;

fn times(of: &[Read]) -> Vec<i64> {
    of.iter().flat_map(|(_, entries)| entries.iter().map(|entry| entry.0)).collect()
}

#[tokio::test]
async fn it_lends_as_many_as_may_write_at_once() {
    let fake = Fake::start();
    let count = |concurrency: usize| {
        let first = build::<Loki>(Config { concurrency, ..config(&fake) });
        (1..20).take_while(|count| first.beside(*count).is_some()).count() + 1
    };
    assert_eq!([1, 4, 16].map(count), [1, 4, 16]);
    let shared = build::<Loki>(Config { labels: vec!["job".into()], ..config(&fake) });
    assert!(
        shared.beside(1).is_none(),
        "files share streams: one hour of difference, and lines were lost"
    );
    for concurrency in [0, 17] {
        let told = refusals::<Loki>(Config { concurrency, ..config(&fake) });
        assert!(told.contains("concurrency: must be from 1 to 16"), "{told}");
    }
}

#[tokio::test]
async fn two_instances_give_no_time_of_a_stream_twice() {
    let fake = Fake::start();
    let mut one = output(&fake);
    let mut two = one.beside(1).unwrap();
    let same = || vec![log(&stream("a"), T, b"again"), log(&stream("a"), T, b"again")];
    one.write(&[logs(same())]).await.unwrap();
    two.write(&[logs(same())]).await.unwrap();
    one.write(&[logs(same())]).await.unwrap();
    let mut given: Vec<i64> = fake.received().iter().flat_map(|r| times(&sent(r))).collect();
    given.sort_unstable();
    assert_eq!(given, (T..T + 6).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_that_one_sends_again_keeps_its_times_whatever_the_other_sends() {
    let fake = Fake::start();
    fake.answer(503, "", "");
    let mut one = output(&fake);
    let mut two = one.beside(1).unwrap();
    let pieces = [logs(vec![log(&stream("a"), T, b"x")])];
    one.write(&pieces).await.unwrap_err();
    two.write(&[logs(vec![log(&stream("a"), T, b"y")])]).await.unwrap();
    one.write(&pieces).await.unwrap();
    let given = fake.received().iter().map(|request| times(&sent(request))).collect::<Vec<_>>();
    assert_eq!(given, [[T], [T + 1], [T]]);
}

#[tokio::test]
async fn label_sets_that_differ_in_metadata_only_are_one_stream_with_distinct_times() {
    let fake = Fake::start();
    let of = |unit: &str| Arc::new(Labels::new([("job", "a"), ("pod", unit)]));
    let (a, b) = (of("1"), of("2"));
    let piece = logs(vec![log(&a, T, b"same"), log(&b, T, b"same"), log(&a, T, b"same")]);
    output(&fake).write(&[piece]).await.unwrap();
    let streams = sent(&fake.received()[0]);
    assert_eq!(streams.len(), 1, "{streams:?}");
    let (name, entries) = &streams[0];
    assert_eq!(name, r#"{job="a"}"#);
    let pods = entries.iter().map(|entry| (entry.0, entry.2[0].1.as_str())).collect::<Vec<_>>();
    assert_eq!(pods, [(T, "1"), (T + 1, "2"), (T + 2, "1")]);
}

#[tokio::test]
async fn lines_far_behind_in_a_stream_of_several_label_sets_go_alone() {
    const HOUR: i64 = 3600 * 1_000_000_000;
    let fake = Fake::start();
    let of = |pod: &str| Arc::new(Labels::new([("job", "a"), ("pod", pod)]));
    let mut output = output(&fake);
    output.write(&[logs(vec![log(&of("1"), T, b"new")])]).await.unwrap();
    let behind = logs(vec![log(&of("2"), T - 2 * HOUR, b"old"), log(&stream("b"), T, b"other")]);
    output.write(&[behind]).await.unwrap();
    let requests = fake.received();
    assert_eq!(requests.len(), 3);
    assert_eq!(lines(&sent(&requests[1])), [(r#"{job="a"}"#, vec!["old"])]);
}
