//! The saved form of a Prophet: some kilobytes of numbers, checked when restored.

use serde::{Deserialize, Serialize};

use super::curve::Curve;
use super::recent::{Recent, Table};
use super::settings::Mode;
use super::{Prophet, Width};
use crate::ModelError;

/// A Prophet to save or to restore. `Prophet` serialises as this; restore through [`Prophet::from_state`] to get the
/// typed error. JSON cannot hold infinities: `None` stands for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProphetState {
    /// [`ProphetState::VERSION`] of the build that saved it.
    pub version: u32,
    /// First second of the history, its length, and the last second.
    pub times: [f64; 3],
    /// Center and scale of the values.
    pub scaling: [f64; 2],
    /// How seasons meet the trend.
    pub mode: Mode,
    /// Slope and offset at the start, scaled.
    pub trend: [f64; 2],
    /// Scaled time and change of slope.
    pub changes: Vec<(f64, f64)>,
    /// Sine, cosine of each harmonic: daily, weekly, yearly.
    pub seasons: [Vec<f64>; 3],
    /// From this second on the calendars' sum is this.
    pub calendars: Vec<(f64, f64)>,
    /// Standard deviation of the noise, scaled.
    pub sigma: f64,
    /// Seconds in which the slope ahead falls to 1/e; `None`: never.
    pub damping: Option<f64>,
    /// Short memory.
    pub recent: Option<RecentState>,
    /// Normal quantile of the band's share.
    pub z: f64,
    /// Width found by back-test, and the seconds it was judged over.
    pub tested: Option<(f64, f64)>,
}

/// The blend of [`ProphetState`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecentState {
    /// Last row's second.
    pub at: f64,
    /// Share of the curve.
    pub curve: f64,
    /// Constant.
    pub level: f64,
    /// Fading constants.
    pub short: [f64; 2],
    /// Seconds in which they fall to 1/e.
    pub decays: [f64; 2],
    /// Period in seconds, and values by phase from `at` on.
    pub tables: Vec<(f64, Vec<f64>)>,
}

const MODEL: &str = "prophet";

impl ProphetState {
    /// The version written and the only one read.
    pub const VERSION: u32 = 1;
}

impl Prophet {
    /// What to save.
    pub fn to_state(&self) -> ProphetState {
        let curve = self.curve.clone();
        ProphetState {
            version: ProphetState::VERSION,
            times: [curve.start, curve.span, self.end],
            scaling: [curve.center, curve.scale],
            mode: curve.mode,
            trend: [curve.slope, curve.offset],
            changes: curve.changes,
            seasons: curve.seasons,
            calendars: curve.steps,
            sigma: curve.sigma,
            damping: curve.damping.is_finite().then_some(curve.damping),
            recent: self.recent.as_ref().map(|recent| RecentState {
                at: recent.at,
                curve: recent.curve,
                level: recent.level,
                short: recent.short,
                decays: recent.decays,
                tables: recent
                    .tables
                    .iter()
                    .map(|table| (table.period, table.values.clone()))
                    .collect(),
            }),
            z: self.width.z,
            tested: self.width.tested.map(|width| (width, self.width.horizon)),
        }
    }

    /// Restores a saved model. Any state is safe to try, also one made up.
    ///
    /// # Errors
    /// [`ModelError::UnknownVersion`] if another version wrote it, [`ModelError::CorruptState`] if it contradicts itself.
    pub fn from_state(state: ProphetState) -> Result<Self, ModelError> {
        check(&state)?;
        let [start, span, end] = state.times;
        let mut curve = Curve::level(start, span, state.scaling[0]);
        curve.scale = state.scaling[1];
        curve.mode = state.mode;
        [curve.slope, curve.offset] = state.trend;
        curve.changes = state.changes;
        curve.seasons = state.seasons;
        curve.steps = state.calendars;
        curve.sigma = state.sigma;
        curve.damping = state.damping.unwrap_or(f64::INFINITY);
        let recent = state.recent.map(|recent| Recent {
            at: recent.at,
            curve: recent.curve,
            level: recent.level,
            short: recent.short,
            decays: recent.decays,
            tables: recent
                .tables
                .into_iter()
                .map(|(period, values)| Table { period, values })
                .collect(),
        });
        let (tested, horizon) = state.tested.unzip();
        let width = Width { z: state.z, tested, horizon: horizon.unwrap_or(f64::INFINITY) };
        Ok(Self { curve: curve.with_knots(), end, recent, width })
    }
}

impl TryFrom<ProphetState> for Prophet {
    type Error = ModelError;

    fn try_from(state: ProphetState) -> Result<Self, ModelError> {
        Self::from_state(state)
    }
}

impl From<Prophet> for ProphetState {
    fn from(model: Prophet) -> Self {
        model.to_state()
    }
}

fn check(state: &ProphetState) -> Result<(), ModelError> {
    if state.version != ProphetState::VERSION {
        return Err(ModelError::UnknownVersion {
            model: MODEL,
            found: state.version,
            supported: ProphetState::VERSION,
        });
    }
    let pairs = state.changes.iter().chain(&state.calendars).flat_map(|pair| [pair.0, pair.1]);
    let numbers = pairs.chain(state.seasons.iter().flatten().copied());
    let finite =
        numbers.chain(state.times).chain(state.scaling).chain(state.trend).all(f64::is_finite);
    ensure(finite, "a number is not finite")?;
    ensure(state.times[1] > 0.0, "the history has no length")?;
    ensure(state.scaling[1] > 0.0, "the scale is not positive")?;
    ensure(state.changes.is_sorted_by(|a, b| a.0 < b.0), "changes are not in order")?;
    ensure(state.calendars.is_sorted_by(|a, b| a.0 < b.0), "calendars are not in order")?;
    ensure(
        state.seasons.iter().all(|season| season.len() % 2 == 0),
        "a season has half a harmonic",
    )?;
    let widths = [state.sigma, state.z, state.damping.unwrap_or(0.0)];
    ensure(widths.iter().all(|width| (0.0..f64::INFINITY).contains(width)), "a width is negative")?;
    if let Some((width, horizon)) = state.tested {
        ensure((0.0..f64::INFINITY).contains(&width), "a width is negative")?;
        ensure(horizon > 0.0 && horizon.is_finite(), "the judged time is not positive")?;
    }
    state.recent.as_ref().map_or(Ok(()), check_recent)
}

fn check_recent(recent: &RecentState) -> Result<(), ModelError> {
    let numbers = [recent.at, recent.curve, recent.level, recent.short[0], recent.short[1]];
    ensure(numbers.iter().all(|number| number.is_finite()), "a number is not finite")?;
    ensure(
        recent.decays.iter().all(|decay| *decay > 0.0 && decay.is_finite()),
        "a decay is not positive",
    )?;
    for (period, values) in &recent.tables {
        ensure(*period > 0.0 && period.is_finite(), "a period is not positive")?;
        ensure(
            !values.is_empty() && values.iter().all(|value| value.is_finite()),
            "a table is broken",
        )?;
    }
    Ok(())
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), ModelError> {
    if holds { Ok(()) } else { Err(ModelError::CorruptState { model: MODEL, reason: otherwise }) }
}
