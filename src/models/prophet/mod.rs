//! Prophet (Taylor, Letham 2018, "Forecasting at scale") without Python or Stan: what a series is expected to be next, from
//! a piecewise-linear trend, daily, weekly and yearly seasons, named calendars, and a band around the forecast.

mod backtest;
mod curve;
mod fit;
mod gram;
mod recent;
mod settings;
mod solve;
mod state;
#[cfg(test)]
mod tests;

use curve::{Curve, Terms};
use recent::{Experts, Recent, Rhythm};
pub use settings::{Band, Calendar, Growth, Mode, Scaling, Season, Settings};
pub use state::ProphetState;

use crate::ModelError;

/// A fitted Prophet. Restored from [`ProphetState`], it forecasts the same numbers.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "ProphetState", into = "ProphetState")]
pub struct Prophet {
    curve: Curve,
    /// Last second of the history.
    end: f64,
    /// Short memory, if the settings adapt and the history allows it.
    recent: Option<Recent>,
    width: Width,
}

/// Half the width of the band.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Width {
    /// Normal quantile of the share of values the band is meant to hold.
    z: f64,
    /// Found by back-test, over [`backtest::unit`]; `None`: analytic everywhere.
    tested: Option<f64>,
    /// Seconds ahead that the back-test judged; beyond, the width grows with the root of the time.
    horizon: f64,
}

/// A forecast and what it is made of, in the unit of the values: `yhat` is the sum of the six terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Expected value.
    pub yhat: f64,
    /// Lower edge of the band.
    pub lower: f64,
    /// Upper edge of the band.
    pub upper: f64,
    /// Trend.
    pub trend: f64,
    /// Daily season; in multiplicative mode, as every term, already times the trend.
    pub daily: f64,
    /// Weekly season.
    pub weekly: f64,
    /// Yearly season.
    pub yearly: f64,
    /// Sum of the calendars.
    pub calendars: f64,
    /// What short memory adds behind the last row.
    pub recent: f64,
}

impl Prophet {
    /// Fits to `y` at `t_seconds` (seconds since 1970-01-01 UTC), in any order, at any distances. Rows whose time or value
    /// is not finite, or beyond 1e150, count as missing.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if the slices differ in length or the numbers are too extreme to compute with;
    /// [`ModelError::NotEnoughRows`] below two distinct times; [`ModelError::InvalidParameter`] and
    /// [`ModelError::InvalidNumber`] for settings out of range.
    pub fn fit(settings: &Settings, t_seconds: &[f64], y: &[f64]) -> Result<Self, ModelError> {
        settings.check()?;
        let (seconds, values) = rows(t_seconds, y)?;
        let z = normal_quantile(0.5 + settings.interval / 2.0);
        let mut width = Width { z, tested: None, horizon: f64::INFINITY };
        if !settings.adapt && settings.band == Band::Analytic {
            let curve = fit::curve(settings, &seconds, &values)?;
            return Ok(Self { end: curve.start + curve.span, curve, recent: None, width });
        }

        let rhythm = Rhythm::of(&seconds);
        let Some(learnt) = backtest::learn(settings, &seconds, &values, rhythm) else {
            // Too short a history to trust a slope.
            let settings = Settings { growth: Growth::Flat, ..settings.clone() };
            let curve = fit::thinned(&settings, &seconds, &values)?;
            return Ok(Self { end: seconds[seconds.len() - 1], curve, recent: None, width });
        };
        let mut curve = fit::thinned(&learnt.settings, &seconds, &values)?;
        let mut recent = None;
        if settings.adapt {
            curve.damping = learnt.damping;
            let experts = Experts::new(&curve, &seconds, &values, rhythm, learnt.weekly);
            recent = Some(experts.blend(&learnt.weights));
        }
        if settings.band == Band::Backtested {
            width = Width { z, tested: Some(learnt.width), horizon: learnt.horizon };
        }
        Ok(Self { end: seconds[seconds.len() - 1], curve, recent, width })
    }

    /// The forecast at `t_seconds`, in or behind the history. No allocation.
    pub fn predict_one(&self, t_seconds: f64) -> Point {
        let terms = self.curve.terms(t_seconds);
        let sum = terms.sum();
        let yhat = self.recent.as_ref().map_or(sum, |recent| recent.forecast(sum, t_seconds));
        let half = self.half_width(t_seconds, &terms);
        Point {
            yhat,
            lower: yhat - half,
            upper: yhat + half,
            trend: terms.trend,
            daily: terms.seasons[0],
            weekly: terms.seasons[1],
            yearly: terms.seasons[2],
            calendars: terms.calendars,
            recent: yhat - sum,
        }
    }

    /// [`Self::predict_one`] of each.
    pub fn predict(&self, t_seconds: &[f64]) -> Vec<Point> {
        t_seconds.iter().map(|t| self.predict_one(*t)).collect()
    }

    fn half_width(&self, second: f64, terms: &Terms) -> f64 {
        let ahead = second - self.end;
        if let Some(tested) = self.width.tested
            && ahead > 0.0
        {
            let further = (ahead / self.width.horizon).max(1.0).sqrt();
            return tested * backtest::unit(&self.curve, terms.trend) * further;
        }
        let variance = self.curve.sigma * self.curve.sigma + self.curve.trend_variance(second);
        self.width.z * self.curve.scale * variance.sqrt()
    }
}

/// Rows that can be used, in order of time.
fn rows(t_seconds: &[f64], y: &[f64]) -> Result<(Vec<f64>, Vec<f64>), ModelError> {
    if t_seconds.len() != y.len() {
        let reason = format!("{} times, {} values", t_seconds.len(), y.len());
        return Err(ModelError::Shape(reason));
    }
    let usable = |value: f64| value.abs() <= 1e150; // its square is still a number
    let pairs = t_seconds.iter().copied().zip(y.iter().copied());
    let mut pairs: Vec<(f64, f64)> = pairs.filter(|(t, y)| usable(*t) && usable(*y)).collect();
    if !pairs.is_sorted_by(|a, b| a.0 <= b.0) {
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Ok(pairs.into_iter().unzip())
}

/// Where the standard normal distribution reaches `share`, by bisection of its series (Marsaglia 2004).
fn normal_quantile(share: f64) -> f64 {
    let below = |x: f64| {
        let (mut term, mut sum, mut i) = (x, x, 1.0);
        while term.abs() > 1e-17 * sum.abs() {
            i += 2.0;
            term *= x * x / i;
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
    };
    let (mut low, mut high) = (1e-9, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
