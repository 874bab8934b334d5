//! What is saved and read back, and what is refused.

use super::*;

#[test]
fn a_saved_state_restores_the_same_model() {
    for n_rows in [2, 100, 2_000] {
        let svm = fitted(&host_metrics(n_rows, 1), 0.05);
        assert_eq!(OneClassSvm::from_state(svm.to_state()).expect("valid"), svm);
        let text = serde_json::to_string(&svm).expect("finite");
        let restored: OneClassSvm = serde_json::from_str(&text).expect("valid");
        for row in host_metrics(50, 2).chunks_exact(WIDTH) {
            // serde_json reads back the last digit of a double or the one beside it.
            assert!((restored.decision_row(row) - svm.decision_row(row)).abs() < 1e-6 * svm.rho());
        }
    }
}

#[test]
fn a_saved_model_of_the_default_size_is_small() {
    let svm = fitted(&host_metrics(5_000, 1), 0.01);
    let bytes = serde_json::to_string(&svm).expect("finite").len();
    assert!(bytes < 16_000 && svm.memory() < 8_000, "{bytes} {}", svm.memory());
}

#[test]
fn a_state_that_contradicts_itself_is_refused() {
    type Damage = fn(&mut OneClassSvmState);
    let good = fitted(&host_metrics(200, 3), 0.05).to_state();
    let broken: [(&str, Damage); 14] = [
        ("no features", |state| state.offset.clear()),
        ("gamma", |state| state.gamma = 0.0),
        ("gamma", |state| state.gamma = f64::NAN),
        ("rho", |state| state.rho = 0.0),
        ("rho", |state| state.rho = f64::INFINITY),
        ("no vectors", |state| {
            state.vectors.clear();
            state.alphas.clear();
        }),
        ("lengths", |state| state.vectors.truncate(7)),
        ("lengths", |state| state.prototypes.truncate(7)),
        ("no ordinary rows", |state| state.prototypes.clear()),
        ("too many ordinary rows", |state| state.prototypes.resize(65 * WIDTH, 0.0)),
        ("offset", |state| state.offset[0] = f64::NAN),
        ("value", |state| state.vectors[1] = f32::INFINITY),
        ("weight", |state| state.alphas[0] = 0.0),
        ("weight", |state| state.alphas[0] = 1.5),
    ];
    for (what, damage) in broken {
        let mut state = good.clone();
        damage(&mut state);
        let refused = OneClassSvm::from_state(state);
        assert!(matches!(refused, Err(ModelError::CorruptState { .. })), "{what}");
    }
    let future = OneClassSvmState { version: 7, ..good };
    let refused = OneClassSvm::from_state(future);
    assert!(matches!(refused, Err(ModelError::UnknownVersion { found: 7, supported: 1, .. })));
}
