//! What a host can send: nothing, one value, the same value, no number, huge numbers; and states that were made up.

use super::{DAY, STEP, day_ahead, error, usual};
use crate::ModelError;
use crate::prophet::{Calendar, Growth, Mode, Prophet, ProphetState, Season, Settings};
use crate::rng::SplitMix64;

fn presets() -> [Settings; 4] {
    [
        Settings::prophet(),
        Settings::shipped(),
        Settings { growth: Growth::Flat, ..Settings::shipped() },
        Settings { mode: Mode::Multiplicative, ..Settings::shipped() },
    ]
}

fn finite(model: &Prophet, at: f64) {
    let p = model.predict_one(at);
    let all = [p.yhat, p.lower, p.upper, p.trend, p.daily, p.weekly, p.yearly, p.recent];
    assert!(all.iter().all(|value| value.is_finite()), "{p:?}");
    assert!(p.lower <= p.yhat && p.yhat <= p.upper);
}

#[test]
fn too_few_rows_are_an_error() {
    for settings in presets() {
        for (t, y) in [
            (vec![], vec![]),
            (vec![5.0], vec![1.0]),
            (vec![5.0, 5.0, 5.0], vec![1.0, 2.0, 3.0]),
            (vec![1.0, 2.0, 3.0], vec![f64::NAN; 3]),
            (vec![1.0, f64::NAN, f64::INFINITY], vec![1.0; 3]),
        ] {
            let result = Prophet::fit(&settings, &t, &y);
            assert!(matches!(result, Err(ModelError::NotEnoughRows { .. })), "{result:?}");
        }
    }
    let result = Prophet::fit(&Settings::shipped(), &[1.0], &[]);
    assert!(matches!(result, Err(ModelError::Shape(_))));
}

#[test]
fn short_histories_have_a_forecast() {
    for settings in presets() {
        for rows in 2..60_u32 {
            let t: Vec<f64> = (0..rows).map(|i| f64::from(i) * STEP).collect();
            let y: Vec<f64> = (0..rows).map(|i| 5.0 + f64::from(i % 3)).collect();
            let model = Prophet::fit(&settings, &t, &y).unwrap();
            finite(&model, t[t.len() - 1] + DAY);
        }
    }
    // Nobody should read a slope into two rows.
    let model = Prophet::fit(&Settings::shipped(), &[0.0, 60.0], &[1.0, 2.0]).unwrap();
    assert!((1.0..=2.0).contains(&model.predict_one(DAY).yhat));
}

#[test]
fn a_constant_series_stays_constant() {
    let (t, _) = usual(0.0);
    for settings in presets() {
        for value in [0.0, -3.0, 7e8, 1e-300, -1e150] {
            let model = Prophet::fit(&settings, &t, &vec![value; t.len()]).unwrap();
            for at in [t[0] - DAY, t[5], t[t.len() - 1] + DAY] {
                let point = model.predict_one(at);
                assert!((point.yhat - value).abs() <= 1e-12 * value.abs(), "{point:?}");
                assert!(point.upper - point.lower <= 1e-9 * value.abs());
            }
        }
    }
}

#[test]
fn units_do_not_matter() {
    let (t, y) = usual(0.3);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    for unit in [1e8, -1e8, 1e-8, 1e140] {
        let scaled: Vec<f64> = y.iter().map(|value| value * unit).collect();
        let other = Prophet::fit(&Settings::shipped(), &t, &scaled).unwrap();
        // Below zero there is no multiplicative form to choose, so only the size is compared there.
        let near = if unit > 0.0 { 1e-6 } else { 1.0 };
        for at in day_ahead(&t) {
            let (one, two) = (model.predict_one(at), other.predict_one(at));
            assert!((two.yhat / unit - one.yhat).abs() < near, "{} {}", two.yhat, one.yhat);
        }
    }
}

#[test]
fn a_large_offset_leaves_the_pattern() {
    let (t, y) = usual(0.3);
    let moved: Vec<f64> = y.iter().map(|value| value + 1e9).collect();
    let additive = Settings { mode: Mode::Additive, ..Settings::shipped() };
    let model = Prophet::fit(&additive, &t, &moved).unwrap();
    let shown = day_ahead(&t).map(|at| model.predict_one(at).yhat - 1e9 - super::expected(at));
    let mean = shown.map(f64::abs).sum::<f64>() / 144.0;
    assert!(mean < 0.5, "{mean}");
}

#[test]
fn missing_values_irregular_steps_and_repeated_times_are_fine() {
    let mut rng = SplitMix64::new(3);
    let (t, y) = usual(0.3);
    let (mut some_t, mut some_y) = (Vec::new(), Vec::new());
    for (at, value) in t.iter().zip(&y) {
        match rng.below(6) {
            0 => {}
            1 => {
                some_t.extend([*at, *at]);
                some_y.extend([*value, *value]);
            }
            2 => {
                some_t.push(at + 100.0 * rng.uniform());
                some_y.push(f64::NAN);
            }
            _ => {
                some_t.push(at + rng.uniform());
                some_y.push(*value);
            }
        }
    }
    some_t.drain(1000..1400); // a gap of two and a half days
    some_y.drain(1000..1400);
    let model = Prophet::fit(&Settings::shipped(), &some_t, &some_y).unwrap();
    assert!(error(&model, &t) < 0.6, "{}", error(&model, &t));
}

#[test]
fn wild_series_never_panic() {
    let mut rng = SplitMix64::new(11);
    for round in 0..60 {
        let rows = 2 + rng.below(300);
        let step = 10_f64.powi(rng.below(7) as i32);
        let wild = |rng: &mut SplitMix64| match rng.below(8) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => 0.0,
            3 => rng.normal() * 1e12,
            4 => -1e-12,
            _ => rng.normal(),
        };
        let t: Vec<f64> = (0..rows).map(|i| i as f64 * step + rng.uniform() * step).collect();
        let y: Vec<f64> = (0..rows).map(|_| wild(&mut rng)).collect();
        for settings in presets() {
            match Prophet::fit(&settings, &t, &y) {
                Ok(model) => finite(&model, t[rows - 1] + step),
                Err(error) => assert!(
                    matches!(error, ModelError::NotEnoughRows { .. } | ModelError::Shape(_)),
                    "round {round}: {error}"
                ),
            }
        }
    }
}

#[test]
fn settings_out_of_range_are_refused_with_their_name() {
    let good = Settings::shipped();
    let crowd = vec![Calendar::days("x", &[1], 0.0); 65];
    for (bad, name) in [
        (Settings { changepoints: 201, ..good.clone() }, "changepoints"),
        (Settings { changepoint_range: 0.0, ..good.clone() }, "changepoint_range"),
        (Settings { changepoint_prior: f64::NAN, ..good.clone() }, "changepoint_prior"),
        (Settings { seasonality_prior: -1.0, ..good.clone() }, "seasonality_prior"),
        (Settings { calendar_prior: f64::INFINITY, ..good.clone() }, "calendar_prior"),
        (Settings { interval: 1.0, ..good.clone() }, "interval"),
        (Settings { daily: Season::Order(0), ..good.clone() }, "order of a season"),
        (Settings { yearly: Season::Order(51), ..good.clone() }, "order of a season"),
        (Settings { calendars: crowd, ..good }, "calendars"),
    ] {
        let error = Prophet::fit(&bad, &[0.0, 1.0], &[0.0, 1.0]).unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

#[test]
fn a_state_of_another_version_or_out_of_order_is_refused() {
    let (t, y) = usual(0.3);
    let state = Prophet::fit(&Settings::shipped(), &t, &y).unwrap().to_state();
    let newer = ProphetState { version: 2, ..state.clone() };
    let result = Prophet::from_state(newer);
    assert!(matches!(result, Err(ModelError::UnknownVersion { found: 2, .. })));

    let spoil: [fn(&mut ProphetState); 9] = [
        |state| state.times[1] = 0.0,
        |state| state.scaling[1] = -1.0,
        |state| state.trend[0] = f64::NAN,
        |state| state.changes.reverse(),
        |state| state.calendars = vec![(2.0, 0.0), (1.0, 0.0)],
        |state| state.seasons[0].push(1.0),
        |state| state.tested = Some((-1.0, 1.0)),
        |state| state.recent.as_mut().unwrap().decays[0] = 0.0,
        |state| state.recent.as_mut().unwrap().tables.push((DAY, Vec::new())),
    ];
    for (i, spoil) in spoil.iter().enumerate() {
        let mut state = state.clone();
        spoil(&mut state);
        let result = Prophet::from_state(state);
        assert!(matches!(result, Err(ModelError::CorruptState { .. })), "{i}: {result:?}");
    }
}
