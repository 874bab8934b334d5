//! Behaviour of a fit and of its forecasts, on made-up series.

use std::f64::consts::TAU;

use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use ndarray::Array1;

use super::*;
use crate::rng::SplitMix64;

mod hostile;
mod parity;

const DAY: f64 = 86_400.0;
const STEP: f64 = 600.0;

/// 26 days of 10 minutes: slope, daily and weekend pattern, noise of `sigma`.
fn usual(sigma: f64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = SplitMix64::new(7);
    let t: Vec<f64> = (0..26 * 144).map(|i| 1.7e9 + STEP * f64::from(i)).collect();
    let y = t.iter().map(|t| expected(*t) + sigma * rng.normal()).collect();
    (t, y)
}

fn expected(t: f64) -> f64 {
    let weekend = if (t / DAY).rem_euclid(7.0) < 2.0 { -2.0 } else { 0.0 };
    50.0 + (t - 1.7e9) / DAY * 0.3 + 4.0 * (TAU * t / DAY).sin() + weekend
}

fn day_ahead(t: &[f64]) -> impl Iterator<Item = f64> + use<> {
    let end = t[t.len() - 1];
    (1..=144).map(move |i| end + STEP * f64::from(i))
}

/// Mean distance of the next day's forecast from what is expected.
fn error(model: &Prophet, t: &[f64]) -> f64 {
    day_ahead(t).map(|at| (model.predict_one(at).yhat - expected(at)).abs()).sum::<f64>() / 144.0
}

#[test]
fn a_forecast_follows_trend_and_seasons() {
    let (t, y) = usual(0.3);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    assert!(error(&model, &t) < 0.4, "{}", error(&model, &t));
}

#[test]
fn the_terms_add_up_and_the_band_holds_the_forecast() {
    let (t, y) = usual(0.3);
    for mode in [Mode::Additive, Mode::Multiplicative] {
        let settings = Settings { mode, ..Settings::shipped() };
        let model = Prophet::fit(&settings, &t, &y).unwrap();
        for at in [t[0], t[900], t[2159] + 3600.0, t[2159] + 40.0 * DAY] {
            let p = model.predict_one(at);
            let sum = p.trend + p.daily + p.weekly + p.yearly + p.calendars + p.recent;
            assert!((sum - p.yhat).abs() < 1e-9);
            assert!(p.lower < p.yhat && p.yhat < p.upper);
        }
    }
}

#[test]
fn the_daily_term_is_the_daily_season() {
    let (t, y) = usual(0.1);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    for at in t.iter().step_by(10) {
        let daily = model.predict_one(*at).daily;
        assert!((daily - 4.0 * (TAU * at / DAY).sin()).abs() < 0.1, "{daily}");
    }
}

#[test]
fn the_band_holds_about_its_share() {
    let (t, y) = usual(1.0);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    let mut rng = SplitMix64::new(99);
    let inside = day_ahead(&t).filter(|at| {
        let point = model.predict_one(*at);
        (point.lower..point.upper).contains(&(expected(*at) + rng.normal()))
    });
    let share = inside.count() as f64 / 144.0;
    assert!((0.9..=1.0).contains(&share), "{share}");
    let width = model.predict_one(t[t.len() - 1] + DAY / 2.0);
    assert!(width.upper - width.lower < 2.0 * 1.96 * 1.6, "the band is too wide to be of use");
}

#[test]
fn spikes_do_not_move_a_robust_fit() {
    let (t, clean) = usual(0.3);
    let mut spoilt = clean.clone();
    spoilt.iter_mut().step_by(50).for_each(|value| *value += 200.0);
    let plain = Prophet::fit(&Settings { robust: false, ..Settings::prophet() }, &t, &spoilt);
    let robust = Prophet::fit(&Settings { robust: true, ..Settings::prophet() }, &t, &spoilt);
    let off = |model: &Prophet| {
        let errors = t.iter().map(|at| (model.predict_one(*at).yhat - expected(*at)).abs());
        errors.sum::<f64>() / t.len() as f64
    };
    let (plain, robust) = (off(&plain.unwrap()), off(&robust.unwrap()));
    assert!(robust < 0.5 && plain > 3.0, "robust {robust}, plain {plain}");
}

#[test]
fn a_calendar_moves_its_local_days_only() {
    let (t, mut y) = usual(0.1);
    let (start, offset) = ((1.7e9 / DAY).floor() as i64, 7200.0);
    let days: Vec<i64> = [3, 9, 16, 27].iter().map(|day| start + day).collect();
    let calendar = Calendar::days("feast", &days, offset);
    for (at, value) in t.iter().zip(&mut y) {
        *value -= if calendar.contains(*at) { 10.0 } else { 0.0 };
    }
    let settings = Settings { calendars: vec![calendar], ..Settings::prophet() };
    let model = Prophet::fit(&settings, &t, &y).unwrap();
    let midnight = days[3] as f64 * DAY - offset; // ahead of the history
    for (at, effect) in [
        (midnight - 1.0, 0.0),
        (midnight, -10.0),
        (midnight + DAY - 1.0, -10.0),
        (midnight + DAY, 0.0),
    ] {
        let found = model.predict_one(at).calendars;
        // A sharp weekend is not a sum of three waves: some of it is left to the feast.
        assert!((found - effect).abs() < 0.8, "{found} at {at}");
    }
}

#[test]
fn seasons_come_with_enough_history_and_a_fine_enough_step() {
    let orders = |days: f64, step: f64| {
        let t: Vec<f64> = (0..=(days * DAY / step) as u32).map(|i| f64::from(i) * step).collect();
        let y: Vec<f64> = (0..t.len()).map(|i| (i % 7) as f64).collect();
        let state = Prophet::fit(&Settings::prophet(), &t, &y).unwrap().to_state();
        state.seasons.map(|season| season.len() / 2)
    };
    assert_eq!(orders(1.9, 3600.0), [0, 0, 0]);
    assert_eq!(orders(2.0, 3600.0), [4, 0, 0]);
    assert_eq!(orders(13.9, 3600.0), [4, 0, 0]);
    assert_eq!(orders(14.0, 3600.0), [4, 3, 0]);
    assert_eq!(orders(729.0, DAY), [0, 3, 0]);
    assert_eq!(orders(730.0, DAY), [0, 3, 10]);
    assert_eq!(orders(750.0, 7.5 * DAY), [0, 0, 10]);
}

#[test]
fn a_saved_model_forecasts_the_same() {
    let (t, y) = usual(0.3);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    let text = serde_json::to_string(&model).unwrap();
    let restored: Prophet = serde_json::from_str(&text).unwrap();
    let at = t[t.len() - 1] + 7000.0;
    // serde_json reads back a number to its last digit but one.
    assert!((restored.predict_one(at).yhat - model.predict_one(at).yhat).abs() < 1e-9);
    assert!((restored.predict_one(at).upper - model.predict_one(at).upper).abs() < 1e-9);
    assert_eq!(Prophet::from_state(model.to_state()).unwrap(), model);
}

#[test]
fn order_of_rows_does_not_matter_and_the_same_rows_give_the_same_model() {
    let (t, y) = usual(0.3);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    let (back_t, back_y): (Vec<f64>, Vec<f64>) = t.iter().zip(&y).rev().unzip();
    assert_eq!(Prophet::fit(&Settings::shipped(), &back_t, &back_y).unwrap(), model);
}

#[test]
fn a_level_that_moved_yesterday_is_known_today() {
    let (t, mut y) = usual(0.3);
    let from = y.len() - 200;
    y[from..].iter_mut().for_each(|value| *value += 30.0);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    let mean =
        day_ahead(&t).map(|at| model.predict_one(at).yhat - expected(at)).sum::<f64>() / 144.0;
    assert!((15.0..45.0).contains(&mean), "moved by {mean} of 30");
}

#[test]
fn linfa_traits_give_the_same_forecasts() {
    let (t, y) = usual(0.3);
    let records = Array1::from(t.clone()).insert_axis(ndarray::Axis(1));
    let dataset = DatasetBase::new(records.clone(), Array1::from(y.clone()));
    let ours = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    let model = Settings::shipped().fit(&dataset).unwrap();
    assert_eq!(model, ours);
    let forecasts: Array1<f64> = Predict::predict(&model, &records);
    assert_eq!(forecasts[77], ours.predict_one(t[77]).yhat);
}
