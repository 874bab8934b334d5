//! The test of a share, request by request.

use super::super::share_test::ShareTest;

/// Frames of one request each, of which every `nth` fails; those that called.
fn calls(nth: usize, frames: usize, usual: f64) -> usize {
    let mut test = ShareTest::default();
    (1..=frames)
        .filter(|at| {
            test.push(f64::from(u8::from(at % nth == 0)), 1.0, usual, 0.05);
            test.beyond().is_some()
        })
        .count()
}

#[test]
fn an_outage_of_a_site_with_few_requests_calls_at_its_sixth_failure() {
    let mut test = ShareTest::default();
    for _ in 0..500 {
        test.push(0.0, 1.0, 0.0001, 0.05);
        test.push(f64::NAN, 0.0, 0.0001, 0.05); // nobody asked
    }
    let after = (1..=10).find(|_| {
        test.push(1.0, 1.0, 0.0001, 0.05);
        test.beyond().is_some()
    });
    assert_eq!(after, Some(5));
    let beyond = test.beyond().unwrap();
    assert_eq!((beyond.part, beyond.whole), (5.0, 5.0));
}

#[test]
fn shares_within_the_limit_never_call() {
    assert_eq!(calls(25, 100_000, 0.001), 0, "4 %, usually none");
    assert_eq!(calls(10, 100_000, 0.1), 0, "a tenth, as usual");
    assert_eq!(calls(1, 1000, 1.0), 0, "what always fails is what it learnt");
}

#[test]
fn requests_that_succeed_in_a_row_end_it() {
    let mut test = ShareTest::default();
    for _ in 0..50 {
        test.push(1.0, 1.0, 0.0, 0.05);
    }
    assert!(test.beyond().is_some());
    test.push(0.0, 9.0, 0.0, 0.05);
    assert!(test.beyond().is_some(), "nine are too few to tell");
    test.push(0.0, 1.0, 0.0, 0.05);
    assert_eq!(test, ShareTest::default());
}

#[test]
fn one_burst_in_one_frame_is_left_to_the_next_frame() {
    let mut test = ShareTest::default();
    test.push(50.0, 50.0, 0.0, 0.05);
    assert_eq!(test.beyond(), None);
    test.push(1.0, 1.0, 0.0, 0.05);
    assert!(test.beyond().is_some());
}
