//! The joint models agree on what one signal does, however wild another one is.

use super::super::joint::{JOINT, Joint, Votes};
use super::super::score::{Boundary, Scale};
use super::*;

const SHARE: f64 = 2e-3;
const SIGNALS: usize = 8;
/// Places among the votes.
const FOREST: usize = 0;
const SVM: usize = 1;

/// Ordinary rows, a twelfth of which has the first four signals anywhere within the clip.
fn wild(rng: &mut SplitMix64, rows: usize) -> Vec<Vec<f64>> {
    let mut row = |_| -> Vec<f64> {
        let mut row: Vec<f64> = (0..SIGNALS).map(|_| rng.normal()).collect();
        if rng.uniform() < 1.0 / 12.0 {
            row[..4].fill_with(|| 20.0 * rng.uniform());
        }
        row
    };
    (0..rows).map(&mut row).collect()
}

#[test]
fn a_wild_signal_does_not_hide_another_ones_fault_from_the_joint_models() {
    let mut rng = SplitMix64::new(7);
    let (joint, raw) =
        Joint::fit(&wild(&mut rng, 600), SHARE, 1, super::super::Size::Full).unwrap();
    let bound = |model: usize| Boundary::new(Scale::Tail, SHARE, raw.iter().map(|raw| raw[model]));
    let bounds: [Boundary; JOINT] = std::array::from_fn(bound);
    let scores = |row: &[f64]| -> Votes {
        let raw = joint.raw(row);
        std::array::from_fn(|model| bounds[model].score(raw[model]))
    };
    let agrees = |row: &[f64]| joint.agree(row, &scores(row)).iter().any(|score| *score >= 1.0);

    let mut faulty = vec![0.0; SIGNALS];
    faulty[6] = 9.0;
    let said = scores(&faulty);
    let agree = joint.agree(&faulty, &said);
    for model in [FOREST, SVM] {
        assert!(said[model] < 0.7, "hidden, asked only once: {said:?}");
        assert!(agree[model] >= 1.0, "{agree:?}");
    }

    let ordinary = wild(&mut rng, 600);
    let wrong = ordinary.iter().filter(|row| agrees(row)).count();
    assert!(wrong <= 12, "{wrong} of 600 ordinary rows");
}
