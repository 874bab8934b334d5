//! Prophet (Taylor, Letham 2018, "Forecasting at scale") without Python or Stan: what a series is expected to be next, from
//! a piecewise-linear trend, daily, weekly and yearly seasons, named calendars, and a band around the forecast.
//!
//! In reading order: what can be chosen (`settings.rs`), trend and seasons as columns and as a function (`curve.rs`), the
//! normal equations (`gram.rs`), the mode of the posterior (`solve.rs`), a fit (`fit.rs`), short memory (`recent.rs`), what
//! forecasts inside the history teach (`backtest.rs`), the saved form (`state.rs`).
//!
//! [`Settings::prophet`] is Python Prophet 1.5.0's model: the same changepoints, gates, priors and scaling; the mode of
//! the posterior is found exactly, where Stan stops early (`tests/parity.rs` has the differences). Its band is the normal
//! one with the variance of Prophet's simulated changepoints. Not here: logistic growth, regressors, MCMC.
//!
//! [`Settings::shipped`] adds, the same for every series and learnt from nothing but its past:
//! - spread instead of absolute maximum as the scale, Huber's weights, means of neighbours above 2048 rows;
//! - back-tests: up to five origins, one horizon apart, back from the end while 30 % of the history lies before them. The
//!   horizon is a day for steps below 20 hours, 30 days below 20 days, else 366 days, at most a third of the history;
//! - the form with the least mean absolute error there, another one only if it is 5 % better: the changepoint prior as
//!   it is or a tenth of it; additive, or multiplicative if all values are positive; the slope ahead as it is, damped to
//!   1/e in one horizon (Gardner, McKenzie 1985), or none;
//! - short memory: a convex blend of that curve with plain forecasters (`recent.rs`), shares by least absolute error with a
//!   pull towards equal ones;
//! - a band of constant width, 1.25 times the quantile of the blend's absolute errors; in multiplicative mode it grows with
//!   the trend, beyond the horizon with the root of the time. The factor was set once, before any
//!   figure of coverage; the pull and the 5 % were picked by the errors on the 16 series of data/seasonal and 32 of NAB, so
//!   neither collection is a blind test (of four other settings tried, none moved a median by .02). In the history and where no back-test is possible the band is the analytic one;
//! - a flat trend where the history is too short for a single back-test.
//!
//! Seasons follow UTC: a local day that moves with daylight saving is not known. A forecast takes no allocation.

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

use linfa::{DatasetBase, traits::Fit, traits::PredictInplace};
use ndarray::{Array1, ArrayBase, Data, Ix1, Ix2};

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
    /// [`ModelError::OutOfRange`] for settings out of range.
    pub fn fit(settings: &Settings, t_seconds: &[f64], y: &[f64]) -> Result<Self, ModelError> {
        settings.check()?;
        let (seconds, values) = rows(t_seconds, y)?;
        fit::enough(&seconds)?;
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
            let curve = fit::thinned(&settings, &seconds, &values, rhythm)?;
            return Ok(Self { end: seconds[seconds.len() - 1], curve, recent: None, width });
        };
        let mut curve = fit::thinned(&learnt.settings, &seconds, &values, rhythm)?;
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

    /// Bytes in use, the struct included.
    pub fn memory(&self) -> usize {
        let tables = self.recent.iter().flat_map(|recent| &recent.tables);
        size_of::<Self>()
            + self.curve.memory()
            + tables.map(|table| size_of_val(table.values.as_slice())).sum::<usize>()
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

/// Records are one column, seconds; targets the values. Errors as [`Prophet::fit`]; [`ModelError::Shape`] for more columns.
impl<D: Data<Elem = f64>, T: Data<Elem = f64>> Fit<ArrayBase<D, Ix2>, ArrayBase<T, Ix1>, ModelError>
    for Settings
{
    type Object = Prophet;

    fn fit(
        &self,
        dataset: &DatasetBase<ArrayBase<D, Ix2>, ArrayBase<T, Ix1>>,
    ) -> Result<Prophet, ModelError> {
        let columns = dataset.records.ncols();
        if columns != 1 {
            return Err(ModelError::Shape(format!("{columns} columns, must be 1: seconds")));
        }
        Prophet::fit(self, &dataset.records.column(0).to_vec(), &dataset.targets.to_vec())
    }
}

/// `yhat` at the seconds of the first column.
impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for Prophet {
    fn predict_inplace<'a>(&'a self, x: &'a ArrayBase<D, Ix2>, y: &mut Array1<f64>) {
        assert_eq!(x.nrows(), y.len(), "one target per row");
        let pairs = y.iter_mut().zip(x.column(0));
        pairs.for_each(|(target, second)| *target = self.predict_one(*second).yhat);
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<f64> {
        Array1::zeros(x.nrows())
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
