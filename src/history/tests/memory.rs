//! The history in memory answers as the store does, and keeps no more than it was told.

use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::State;

use super::{InMemory, Store, frame, incident, names};

/// Writes with two sets of signals, out of order, one time twice, one frame that does not fit, incidents and state.
fn fill(history: &dyn History) {
    let (ab, bc) = (names(["a", "b"]), names(["b", "c"]));
    for time in [10, 30, 20, 50] {
        history.append_frame("web", &ab, &frame(time, &[time as f64, 1.0], 0.5));
    }
    history.append_frame("web", &bc, &frame(40, &[4.0, f64::INFINITY], f64::NAN));
    history.append_frame("web", &bc, &frame(20, &[2.5, f64::NAN], 2.0));
    history.append_frame("web", &ab, &frame(60, &[1.0], 0.0));
    history.append_frame("host", &ab, &frame(25, &[9.0, 9.0], 9.0));
    history.record_incident(&incident("k1", State::Detected, 20));
    history.record_incident(&incident("k2", State::Detected, 30));
    history.record_incident(&incident("k1", State::Confirmed, 30));
    history.save_state("observer:web", b"one");
    history.save_state("observer:web", b"two");
}

#[test]
fn the_memory_answers_as_the_store_does() {
    let (store, memory) = (Store::in_memory().unwrap(), InMemory::new(100));
    fill(&*store);
    fill(&memory);
    for signals in [names(["a", "b"]), names(["c", "b"]), names(["b"]), names(["z"])] {
        for (from, to) in [(i64::MIN, i64::MAX), (20, 40), (21, 50), (40, 20), (99, 100)] {
            for detector in ["web", "host", "nobody"] {
                let of = |history: &dyn History| -> Vec<String> {
                    let frames = history.frames(detector, &signals, from, to).unwrap();
                    frames.iter().map(|frame: &Frame| format!("{frame:?}")).collect()
                };
                assert_eq!(of(&memory), of(&*store), "{detector} {signals:?} {from}..{to}");
            }
        }
    }
    for (from, limit) in [(0, 10), (0, 2), (30, 10), (31, 10)] {
        assert_eq!(memory.incidents(from, limit).unwrap(), store.incidents(from, limit).unwrap());
    }
    for name in ["observer:web", "nobody"] {
        assert_eq!(memory.load_state(name).unwrap(), store.load_state(name).unwrap());
    }
}

#[test]
fn the_newest_frames_of_each_detector_stay() {
    let memory = InMemory::new(3);
    for time in 0..10 {
        memory.append_frame("web", &names(["a"]), &frame(time, &[1.0], 0.5));
    }
    memory.append_frame("host", &names(["a"]), &frame(0, &[1.0], 0.5));
    let times = |detector: &str| -> Vec<i64> {
        let frames = memory.frames(detector, &names(["a"]), 0, 99).unwrap();
        frames.iter().map(|frame| frame.time_ms).collect()
    };
    assert_eq!(times("web"), [7, 8, 9]);
    assert_eq!(times("host"), [0]);
}
