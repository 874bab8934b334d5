//! Bars: what is often beyond its band for a moment must be further beyond it, and hides no other signal.

use super::super::bars::Bars;
use super::super::score::Boundary;
use super::super::treat::Measure;
use super::*;

/// Signals of these scores, all of them large enough to matter.
fn scored(scores: &[f64]) -> Vec<Measure> {
    let one = |score: &f64| Measure { score: *score, counts: true, ..Measure::unknown(1.0) };
    scores.iter().map(one).collect()
}

const SHARE: f64 = 1e-3;

/// Incidents that came to nothing, of a frame each.
fn fail(bars: &mut Bars, times: usize, scores: &[f64]) {
    for _ in 0..times {
        bars.push(&scored(scores), SHARE, false);
        bars.raise();
    }
}

#[test]
fn what_came_to_nothing_again_and_again_needs_more_and_other_signals_do_not() {
    let mut bars = Bars::default();
    assert_eq!(bars.score(&scored(&[1.7, 0.0]), |_| true), 1.7);
    fail(&mut bars, 10, &[1.7, 0.9]);
    let said = bars.score(&scored(&[1.7, 0.0]), |_| true);
    assert!((0.99..1.0).contains(&said), "as far as before is not beyond: {said}");
    assert!(bars.score(&scored(&[5.0, 0.0]), |_| true) > 2.0, "much further is");
    assert_eq!(bars.score(&scored(&[1.7, 1.2]), |_| true), 1.2, "the other one is as it was");
    let measures = scored(&[1.7, 1.2]);
    assert!(!bars.is_beyond(0, &measures[0]) && bars.is_beyond(1, &measures[1]));
}

#[test]
fn a_step_is_a_third_at_most_and_is_forgotten() {
    let mut bars = Bars::default();
    fail(&mut bars, 1, &[10.0]);
    let said = bars.score(&scored(&[10.0]), |_| true);
    assert!((7.0..8.0).contains(&said), "{said}");
    for _ in 0..2000 {
        bars.push(&scored(&[0.2]), SHARE, false);
    }
    assert_eq!(bars.score(&scored(&[10.0]), |_| true), 10.0);
}

#[test]
fn bars_stand_still_while_an_incident_is_open_and_remember_its_worst_frame() {
    let mut bars = Bars::default();
    fail(&mut bars, 1, &[10.0]);
    let before = bars.clone();
    for score in [1.5, 9.0, 0.5] {
        bars.push(&scored(&[score]), SHARE, true);
    }
    let of = |bars: &Bars| bars.score(&scored(&[1.0]), |_| true);
    assert_eq!(of(&bars), of(&before));
    bars.raise();
    assert!(of(&bars) < of(&before), "its worst frame was beyond the bar");
}

#[test]
fn a_fault_does_not_raise_the_boundary_that_is_to_find_the_next_one() {
    let (mut rig, mut site) = live(3, 60.0, 0.002, 300);
    let bounds = |rig: &Rig| {
        let used = rig.detector.groups[0].used.as_ref().unwrap();
        let joint: Vec<f64> = used.boundaries.joint.iter().map(Boundary::bound).collect();
        (joint, used.boundaries.robust_z.bound())
    };
    let before = bounds(&rig);
    for _ in 0..10 {
        let window = site.next().failing(0.2);
        rig.window("nginx", &window.features());
    }
    assert!(rig.states().contains(&State::Notified), "{:?}", told(&rig));
    assert!(rig.incidents[1].time_ms > rig.incidents[0].time_ms, "unconfirmed at first");
    let after = bounds(&rig);
    assert!(after.1 <= before.1 * 1.01, "{before:?} {after:?}");
    for (before, after) in before.0.iter().zip(&after.0) {
        assert!(*after <= before * 1.01, "{before:?} {after:?}");
    }
}
