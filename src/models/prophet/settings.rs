//! What can be chosen before a fit: growth, seasons, calendars, priors, and the two presets.
//!
//! Priors are in the units of Taylor and Letham (2018): of a series scaled as [`Scaling`] says, over a time from 0 to 1.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Most changepoints and most columns of seasons and calendars: they bound a fit's memory and time.
pub(super) const MAX_CHANGEPOINTS: usize = 200;
/// See [`MAX_CHANGEPOINTS`].
pub(super) const MAX_ORDER: usize = 50;
/// See [`MAX_CHANGEPOINTS`].
pub(super) const MAX_CALENDARS: usize = 64;
/// Spans of one calendar.
pub(super) const MAX_SPANS: usize = 10_000;

const DAY: f64 = 86_400.0;

/// The shape of the trend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Growth {
    /// Piecewise linear with changepoints.
    Linear,
    /// One level.
    Flat,
}

/// How seasons and calendars meet the trend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// `trend + terms`.
    Additive,
    /// `trend * (1 + terms)`.
    Multiplicative,
}

/// How values become numbers of the order of one, which the priors are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scaling {
    /// Divided by the largest absolute value: Prophet's.
    AbsMax,
    /// Median to 0, the 1 % and 99 % quantiles' larger distance from it to 1: a large offset does not loosen the priors, and
    /// a spike does not tighten them. In multiplicative mode nothing is subtracted, a factor has no other zero.
    Spread,
}

/// Whether a season takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Season {
    /// If the history is long and dense enough: two days (a step below one day) for a daily season, two weeks (a step
    /// below one week) for a weekly one, 730 days for a yearly one. Orders 4, 3 and 10.
    Auto,
    /// With this many harmonics, 1 to 50, whatever the history.
    Order(usize),
    /// Not at all.
    Off,
}

/// How the band around the forecast is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Band {
    /// Noise plus the variance of Prophet's simulated future changepoints, normal.
    Analytic,
    /// Quantiles of the errors of forecasts made inside the history (`backtest.rs`).
    Backtested,
}

/// Days or hours that are unlike others, with one common effect: a named calendar is one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calendar {
    /// What people call it.
    pub name: String,
    /// When: from (inclusive) and to (exclusive), seconds since 1970-01-01 UTC.
    pub spans: Vec<(f64, f64)>,
}

impl Calendar {
    /// Whole local days, each given as days since 1970-01-01; `utc_offset` is local time minus UTC in seconds (7200 in
    /// Helsinki's winter).
    pub fn days(name: &str, days: &[i64], utc_offset: f64) -> Self {
        let span = |day: &i64| {
            let midnight = *day as f64 * DAY - utc_offset;
            (midnight, midnight + DAY)
        };
        Self { name: name.to_owned(), spans: days.iter().map(span).collect() }
    }

    pub(super) fn contains(&self, t: f64) -> bool {
        self.spans.iter().any(|(from, to)| (*from..*to).contains(&t))
    }
}

/// Everything a fit depends on besides the data. Start from a preset, change fields, fit; nothing is checked before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Shape of the trend.
    pub growth: Growth,
    /// How seasons and calendars meet the trend.
    pub mode: Mode,
    /// How values are scaled.
    pub scaling: Scaling,
    /// Potential changepoints, at most 200; fewer if there are too few rows.
    pub changepoints: usize,
    /// Share of the rows, from the oldest, over which they are spread evenly; in (0, 1].
    pub changepoint_range: f64,
    /// Scale of the Laplace prior of a change of slope. Smaller is stiffer.
    pub changepoint_prior: f64,
    /// Season of 1 day.
    pub daily: Season,
    /// Season of 7 days.
    pub weekly: Season,
    /// Season of 365.25 days.
    pub yearly: Season,
    /// Standard deviation of the normal prior of a Fourier coefficient.
    pub seasonality_prior: f64,
    /// Named calendars, at most 64.
    pub calendars: Vec<Calendar>,
    /// Standard deviation of the normal prior of a calendar's effect.
    pub calendar_prior: f64,
    /// Whether residuals beyond 1.345 robust sigma are given less weight (Huber 1964).
    pub robust: bool,
    /// Whether the memory of recent residuals, the damping of the trend and, where `Linear` and `Additive` stand, growth
    /// and mode are chosen by forecasts made inside the history.
    pub adapt: bool,
    /// Share of values the band is meant to hold; in (0, 1).
    pub interval: f64,
    /// How the band is found.
    pub band: Band,
}

impl Settings {
    /// Prophet 1.5.0's defaults (its band's share of .8 too): for parity.
    pub fn prophet() -> Self {
        Self {
            growth: Growth::Linear,
            mode: Mode::Additive,
            scaling: Scaling::AbsMax,
            changepoints: 25,
            changepoint_range: 0.8,
            changepoint_prior: 0.05,
            daily: Season::Auto,
            weekly: Season::Auto,
            yearly: Season::Auto,
            seasonality_prior: 10.0,
            calendars: Vec::new(),
            calendar_prior: 10.0,
            robust: false,
            adapt: false,
            interval: 0.8,
            band: Band::Analytic,
        }
    }

    /// What the agent uses: robust, adapting, with a band of 95 % found by back-test.
    pub fn shipped() -> Self {
        Self {
            scaling: Scaling::Spread,
            robust: true,
            adapt: true,
            interval: 0.95,
            band: Band::Backtested,
            ..Self::prophet()
        }
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        let most = |name, value, most, must_be| {
            if value <= most {
                return Ok(());
            }
            Err(ModelError::InvalidParameter { name, value, must_be })
        };
        most("changepoints", self.changepoints, MAX_CHANGEPOINTS, "0 to 200")?;
        most("calendars", self.calendars.len(), MAX_CALENDARS, "0 to 64")?;
        for calendar in &self.calendars {
            most("spans of a calendar", calendar.spans.len(), MAX_SPANS, "0 to 10000")?;
        }
        for season in [self.daily, self.weekly, self.yearly] {
            if let Season::Order(order) = season {
                positive("order of a season", order as f64, MAX_ORDER as f64, "1 to 50")?;
            }
        }
        positive("changepoint_range", self.changepoint_range, 1.0, "above 0, at most 1")?;
        positive("changepoint_prior", self.changepoint_prior, 1e6, "above 0, at most 1e6")?;
        positive("seasonality_prior", self.seasonality_prior, 1e6, "above 0, at most 1e6")?;
        positive("calendar_prior", self.calendar_prior, 1e6, "above 0, at most 1e6")?;
        positive("interval", self.interval, 1.0 - 1e-6, "above 0, below 1")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::shipped()
    }
}

fn positive(
    name: &'static str,
    value: f64,
    most: f64,
    must_be: &'static str,
) -> Result<(), ModelError> {
    if value > 0.0 && value <= most {
        return Ok(());
    }
    Err(ModelError::OutOfRange { name, value, must_be })
}
