//! Behaviour of a fit and of its forecasts, on made-up series.

use super::*;
use crate::rng::SplitMix64;

const DAY: f64 = 86_400.0;

/// Two weeks of 10 minutes: slope, daily and weekend pattern, noise of `sigma`.
fn two_weeks(sigma: f64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = SplitMix64::new(7);
    let t: Vec<f64> = (0..2160).map(|i| 1.7e9 + 600.0 * f64::from(i)).collect();
    let y = t.iter().map(|t| expected(*t) + sigma * rng.normal()).collect();
    (t, y)
}

fn expected(t: f64) -> f64 {
    let weekend = if (t / DAY).rem_euclid(7.0) < 2.0 { -2.0 } else { 0.0 };
    50.0 + (t - 1.7e9) / DAY * 0.3 + 4.0 * (std::f64::consts::TAU * t / DAY).sin() + weekend
}

#[test]
fn a_forecast_follows_trend_and_seasons() {
    let (t, y) = two_weeks(0.3);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    let ahead = (1..144).map(|i| t[t.len() - 1] + 600.0 * f64::from(i));
    let errors = ahead.map(|at| (model.predict_one(at).yhat - expected(at)).abs());
    let mean = errors.sum::<f64>() / 143.0;
    assert!(mean < 0.3, "mean error {mean}");
}

#[test]
fn the_terms_add_up_and_the_band_holds_the_forecast() {
    let (t, y) = two_weeks(0.3);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    for at in [t[0], t[900], t[2159] + 3600.0, t[2159] + 40.0 * DAY] {
        let p = model.predict_one(at);
        let sum = p.trend + p.daily + p.weekly + p.yearly + p.calendars + p.recent;
        assert!((sum - p.yhat).abs() < 1e-9);
        assert!(p.lower < p.yhat && p.yhat < p.upper);
    }
}

#[test]
fn a_saved_model_forecasts_the_same() {
    let (t, y) = two_weeks(0.3);
    let model = Prophet::fit(&Settings::shipped(), &t, &y).unwrap();
    let text = serde_json::to_string(&model).unwrap();
    let restored: Prophet = serde_json::from_str(&text).unwrap();
    let (at, was) = (t[2159] + 7000.0, model.predict_one(t[2159] + 7000.0));
    // serde_json reads back a number to its last digit but one.
    assert!((restored.predict_one(at).yhat - was.yhat).abs() < 1e-9);
    assert!((restored.predict_one(at).upper - was.upper).abs() < 1e-9);
}
