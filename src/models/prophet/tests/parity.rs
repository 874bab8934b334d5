//! Prophet's own settings beside Python Prophet 1.5.0 at Stan's Newton optimum (`tests/accuracy/seasonal_fixtures.py`).

use std::f64::consts::TAU;

use serde::Deserialize;

use crate::prophet::{Calendar, Growth, Mode, Prophet, Settings};
use crate::rng::SplitMix64;

const DAY: f64 = 86_400.0;

#[derive(Deserialize)]
struct Record {
    case: String,
    rows: usize,
    first: f64,
    last: f64,
    std: f64,
    sigma: f64,
    t: Vec<f64>,
    yhat: Vec<f64>,
    trend: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

struct Case {
    name: &'static str,
    seed: u64,
    first: f64,
    step: f64,
    rows: usize,
    missing: f64,
    unit: f64,
    offset: f64,
    factor: bool,
    flat: bool,
    calendar: bool,
}

const USUAL: Case = Case {
    name: "two_weeks",
    seed: 1,
    first: 1.7e9,
    step: 900.0,
    rows: 1344,
    missing: 0.0,
    unit: 1.0,
    offset: 10.0,
    factor: false,
    flat: false,
    calendar: false,
};

const CASES: [Case; 8] = [
    USUAL,
    Case { name: "five_days", seed: 2, step: 600.0, rows: 720, missing: 0.1, offset: 3.0, ..USUAL },
    Case { name: "huge", seed: 3, step: 1800.0, rows: 1008, unit: 1e8, offset: -4.0, ..USUAL },
    Case {
        name: "years",
        seed: 4,
        first: 1.5e9,
        step: DAY,
        rows: 1096,
        missing: 0.05,
        offset: 8.0,
        ..USUAL
    },
    Case {
        name: "months",
        seed: 5,
        first: 1.2e9,
        step: 30.4375 * DAY,
        rows: 130,
        offset: 8.0,
        factor: true,
        ..USUAL
    },
    Case { name: "factor", seed: 6, step: 1800.0, rows: 960, offset: 12.0, factor: true, ..USUAL },
    Case {
        name: "flat",
        seed: 7,
        step: 1800.0,
        rows: 1008,
        offset: 5.0,
        flat: true,
        calendar: true,
        ..USUAL
    },
    Case {
        name: "calendar",
        seed: 8,
        step: 3600.0,
        rows: 840,
        offset: 6.0,
        calendar: true,
        ..USUAL
    },
];

impl Case {
    fn day(at: f64) -> i64 {
        (at / DAY).floor() as i64
    }

    fn series(&self) -> (Vec<f64>, Vec<f64>) {
        let mut rng = SplitMix64::new(self.seed);
        let (mut t, mut y) = (Vec::new(), Vec::new());
        for i in 0..self.rows {
            let (at, x) = (self.first + self.step * i as f64, i as f64 / self.rows as f64);
            let gone = rng.uniform() < self.missing;
            let noise = rng.uniform() + rng.uniform() + rng.uniform() + rng.uniform() - 2.0;
            let trend = 2.0 * x - 5.0 * (x - 0.35).max(0.0) + 6.0 * (x - 0.6).max(0.0);
            let mut wave = if Self::day(at) % 7 < 2 { 0.8 } else { 0.0 };
            if self.step < DAY {
                wave += (TAU * at / DAY).sin() + 0.4 * (3.0 * TAU * at / DAY).cos();
            } else {
                wave += (TAU * at / (365.25 * DAY)).sin();
            }
            let off = if self.calendar && Self::day(at) % 11 == 3 { 1.5 } else { 0.0 };
            let level = self.offset + if self.flat { 0.0 } else { trend };
            let value = if self.factor { level * (1.0 + 0.1 * wave) } else { level + wave + off };
            if !gone {
                t.push(at);
                y.push(self.unit * (value + 0.3 * noise));
            }
        }
        (t, y)
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings { interval: 0.95, ..Settings::prophet() };
        if self.flat {
            settings.growth = Growth::Flat;
        }
        if self.factor {
            settings.mode = Mode::Multiplicative;
        }
        if self.calendar {
            let end = Self::day(self.first + 1.2 * self.rows as f64 * self.step);
            let days: Vec<i64> =
                (Self::day(self.first)..=end).filter(|day| day % 11 == 3).collect();
            settings.calendars.push(Calendar::days("eleventh", &days, 0.0));
        }
        settings
    }
}

fn rms(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let squares: Vec<f64> = pairs.map(|(a, b)| (a - b) * (a - b)).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

#[test]
fn forecasts_agree_with_prophets_newton_optimum() {
    let records: Vec<Record> =
        serde_json::from_str(include_str!("../testdata/parity.json")).unwrap();
    assert_eq!(records.len(), CASES.len());
    for (case, record) in CASES.iter().zip(&records) {
        let (t, y) = case.series();
        assert_eq!((case.name, t.len()), (record.case.as_str(), record.rows));
        assert!((y[0] - record.first).abs() < 1e-9 * record.first.abs(), "{}", case.name);
        assert!((y[t.len() - 1] - record.last).abs() < 1e-9 * record.last.abs(), "{}", case.name);

        let model = Prophet::fit(&case.settings(), &t, &y).unwrap();
        let points = model.predict(&record.t);
        let ours = points.iter().map(|point| point.yhat);
        let inside = rms(ours.clone().zip(record.yhat.iter().copied()).take(60)) / record.std;
        let ahead = rms(ours.zip(record.yhat.iter().copied()).skip(60)) / record.std;
        let trends = points.iter().map(|point| point.trend).zip(record.trend.iter().copied());
        let trend = rms(trends) / record.std;
        let sigma = model.to_state().sigma * model.to_state().scaling[1] / record.sigma;
        let widths = points.iter().map(|point| point.upper - point.lower);
        let theirs = record.upper.iter().zip(&record.lower).map(|(upper, lower)| upper - lower);
        let wide = widths.sum::<f64>() / theirs.sum::<f64>();
        println!(
            "{:10} inside {inside:.2e} ahead {ahead:.2e} trend {trend:.2e} sigma {sigma:.5} width {wide:.4}",
            case.name
        );
        assert!(inside <= 1e-3 && ahead <= 1e-3, "{}: {inside} inside, {ahead} ahead", case.name);
        assert!(trend <= 1e-3, "{}: the trend is {trend} off", case.name);
        assert!((0.95..1.05).contains(&wide), "{}: the band is {wide} times as wide", case.name);
    }
}
