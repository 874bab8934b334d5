//! The curve itself: trend, seasons and calendars, as columns for a fit and as a function of time.

use std::f64::consts::TAU;

use super::settings::{Calendar, Growth, Mode, Season, Settings};

const DAY: f64 = 86_400.0;
/// Daily, weekly, yearly: period in seconds, Prophet's order.
pub(super) const SEASONS: [(f64, usize); 3] = [(DAY, 4), (7.0 * DAY, 3), (365.25 * DAY, 10)];

/// The columns of a fit: rows in order of time.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Time of each row, 0 to 1.
    pub(super) t: Vec<f64>,
    /// Times of potential changes of slope, ascending, without repetition.
    pub(super) changepoints: Vec<f64>,
    /// Harmonics of each season; 0 if it takes no part.
    pub(super) orders: [usize; 3],
    /// Season and calendar columns.
    pub(super) effects: usize,
    values: Vec<f64>,
}

impl Columns {
    /// `seconds` ascending, with at least two distinct times.
    pub(super) fn new(settings: &Settings, seconds: &[f64]) -> Self {
        let (start, span) = (seconds[0], seconds[seconds.len() - 1] - seconds[0]);
        let t: Vec<f64> = seconds.iter().map(|second| (second - start) / span).collect();
        let orders = orders(settings, seconds);
        let effects = 2 * orders.iter().sum::<usize>() + settings.calendars.len();
        let mut values = Vec::with_capacity(effects * seconds.len());
        for &second in seconds {
            for ((period, _), order) in SEASONS.iter().zip(orders) {
                harmonics(second, *period, order, |sine, cosine| values.extend([sine, cosine]));
            }
            let calendars = settings.calendars.iter();
            values.extend(calendars.map(|calendar| f64::from(u8::from(calendar.contains(second)))));
        }
        let changepoints = match settings.growth {
            Growth::Linear => changepoints(&t, settings.changepoints, settings.changepoint_range),
            Growth::Flat => Vec::new(),
        };
        Self { t, changepoints, orders, effects, values }
    }

    /// Season and calendar columns of a row.
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.effects..(i + 1) * self.effects]
    }
}

/// Calls `with` with sine and cosine of each harmonic in turn. One `sin_cos`, then the addition theorem.
fn harmonics(second: f64, period: f64, order: usize, mut with: impl FnMut(f64, f64)) {
    if order == 0 {
        return;
    }
    let turns = second / period;
    let (sine, cosine) = (TAU * (turns - turns.floor())).sin_cos();
    let (mut s, mut c) = (sine, cosine);
    with(s, c);
    for _ in 1..order {
        (s, c) = (s * cosine + c * sine, c * cosine - s * sine);
        with(s, c);
    }
}

/// Prophet's gates: whole history against a length, smallest step against the period.
fn orders(settings: &Settings, seconds: &[f64]) -> [usize; 3] {
    let span = seconds[seconds.len() - 1] - seconds[0];
    let steps = seconds.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0.0);
    let step = steps.fold(f64::INFINITY, f64::min);
    let gates = [
        span >= 2.0 * DAY && step < DAY,
        span >= 14.0 * DAY && step < 7.0 * DAY,
        span >= 730.0 * DAY,
    ];
    let chosen = [settings.daily, settings.weekly, settings.yearly];
    std::array::from_fn(|i| match chosen[i] {
        Season::Auto if gates[i] => SEASONS[i].1,
        Season::Auto | Season::Off => 0,
        Season::Order(order) => order,
    })
}

/// At evenly spread rows (not times) of the first `range` of them, the first row left out: as Prophet does.
fn changepoints(t: &[f64], wanted: usize, range: f64) -> Vec<f64> {
    let rows = (t.len() as f64 * range).floor() as usize;
    let count = wanted.min(rows.saturating_sub(1));
    let place = |i: usize| (i as f64 * (rows - 1) as f64 / count as f64).round_ties_even() as usize;
    let mut found: Vec<f64> = (1..=count).map(|i| t[place(i)]).filter(|t| *t > 0.0).collect();
    found.dedup();
    found
}

/// A fitted curve: everything in scaled units, but the seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    pub(super) start: f64,
    pub(super) span: f64,
    pub(super) center: f64,
    pub(super) scale: f64,
    pub(super) mode: Mode,
    /// Slope and offset at the start.
    pub(super) slope: f64,
    pub(super) offset: f64,
    /// Time and change of slope.
    pub(super) changes: Vec<(f64, f64)>,
    /// Sine, cosine of each harmonic of each season.
    pub(super) seasons: [Vec<f64>; 3],
    /// From this second on, the sum of the calendars' effects is this; ascending.
    pub(super) steps: Vec<(f64, f64)>,
    /// Standard deviation of the noise.
    pub(super) sigma: f64,
    /// Behind the last row the slope falls to 1/e of itself in this many seconds; infinite: never.
    pub(super) damping: f64,
    /// Per piece of the trend: from this time on, value there, slope. Follows from the fields above.
    knots: Vec<(f64, f64, f64)>,
}

/// The terms of a curve at one time, in the unit of the values; in multiplicative mode each already times the trend.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms {
    pub(super) trend: f64,
    pub(super) seasons: [f64; 3],
    pub(super) calendars: f64,
}

impl Terms {
    pub(super) fn sum(&self) -> f64 {
        self.trend + self.seasons.iter().sum::<f64>() + self.calendars
    }
}

impl Curve {
    /// A curve that is `center` everywhere.
    pub(super) fn level(start: f64, span: f64, center: f64) -> Self {
        Self {
            start,
            span,
            center,
            scale: 1.0,
            mode: Mode::Additive,
            slope: 0.0,
            offset: 0.0,
            changes: Vec::new(),
            seasons: Default::default(),
            steps: Vec::new(),
            sigma: 0.0,
            damping: f64::INFINITY,
            knots: Vec::new(),
        }
        .with_knots()
    }

    /// Takes the unknowns of a fit in the order of [`super::gram::Normal`].
    pub(super) fn set(&mut self, columns: &Columns, calendars: &[Calendar], theta: &[f64]) {
        let (trend, rest) = theta.split_at(2 + columns.changepoints.len());
        (self.slope, self.offset) = (trend[0], trend[1]);
        self.changes =
            columns.changepoints.iter().copied().zip(trend[2..].iter().copied()).collect();
        let mut rest = rest;
        for (season, order) in self.seasons.iter_mut().zip(columns.orders) {
            let (own, others) = rest.split_at(2 * order);
            *season = own.to_vec();
            rest = others;
        }
        self.steps = steps(calendars, rest);
        self.build_knots();
    }

    pub(super) fn with_knots(mut self) -> Self {
        self.build_knots();
        self
    }

    fn build_knots(&mut self) {
        let mut slope = self.slope;
        self.knots = vec![(f64::NEG_INFINITY, self.offset, slope)];
        let (mut from, mut value) = (0.0, self.offset);
        for &(t, change) in &self.changes {
            if change != 0.0 {
                value += slope * (t - from);
                slope += change;
                from = t;
                self.knots.push((t, value, slope));
            }
        }
    }

    /// The scaled trend at scaled time `t`.
    pub(super) fn trend(&self, t: f64) -> f64 {
        let at = self.knots.partition_point(|knot| knot.0 <= t).max(1) - 1;
        let (from, value, slope) = self.knots[at];
        let from = if at == 0 { 0.0 } else { from };
        if t > 1.0 && self.damping < f64::INFINITY {
            let damping = self.damping / self.span;
            let way = if damping > 0.0 { damping * -(-(t - 1.0) / damping).exp_m1() } else { 0.0 };
            return value + slope * (1.0 - from + way);
        }
        value + slope * (t - from)
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        size_of_val(self.changes.as_slice())
            + self.seasons.iter().map(|season| size_of_val(season.as_slice())).sum::<usize>()
            + size_of_val(self.steps.as_slice())
            + size_of_val(self.knots.as_slice())
    }

    /// Where `second` lies on the scale of the history, 0 to 1.
    pub(super) fn scaled_time(&self, second: f64) -> f64 {
        (second - self.start) / self.span
    }

    /// All terms at `second`. No allocation.
    pub(super) fn terms(&self, second: f64) -> Terms {
        let trend = self.trend(self.scaled_time(second));
        let factor = match self.mode {
            Mode::Additive => self.scale,
            Mode::Multiplicative => self.scale * trend,
        };
        let mut terms = Terms { trend: self.center + self.scale * trend, ..Terms::default() };
        for (i, season) in self.seasons.iter().enumerate() {
            let mut pairs = season.chunks_exact(2);
            let mut sum = 0.0;
            harmonics(second, SEASONS[i].0, pairs.len(), |sine, cosine| {
                if let Some(pair) = pairs.next() {
                    sum += pair[0] * sine + pair[1] * cosine;
                }
            });
            terms.seasons[i] = factor * sum;
        }
        if !self.steps.is_empty() {
            let at = self.steps.partition_point(|step| step.0 <= second);
            terms.calendars = if at == 0 { 0.0 } else { factor * self.steps[at - 1].1 };
        }
        terms
    }

    /// Variance of the trend ahead, scaled: future changes of slope come as often as potential changepoints did, with a
    /// Laplace size of the mean absolute change (Taylor and Letham 2018, 3.1.4), summed up in closed form.
    pub(super) fn trend_variance(&self, second: f64) -> f64 {
        let ahead = (self.scaled_time(second) - 1.0).max(0.0);
        if self.changes.is_empty() || ahead == 0.0 {
            return 0.0;
        }
        let sizes: f64 = self.changes.iter().map(|change| change.1.abs()).sum();
        let count = self.changes.len() as f64;
        let mean = sizes / count;
        count * 2.0 * mean * mean * ahead.powi(3) / 3.0
    }
}

/// The calendars' effects as one step function.
fn steps(calendars: &[Calendar], effects: &[f64]) -> Vec<(f64, f64)> {
    let mut edges: Vec<f64> = calendars
        .iter()
        .flat_map(|calendar| calendar.spans.iter().flat_map(|span| [span.0, span.1]))
        .filter(|edge| edge.is_finite())
        .collect();
    edges.sort_unstable_by(f64::total_cmp);
    edges.dedup();
    let at = |edge: f64| -> f64 {
        let here = calendars.iter().zip(effects).filter(|(calendar, _)| calendar.contains(edge));
        here.map(|(_, effect)| effect).sum()
    };
    edges.into_iter().map(|edge| (edge, at(edge))).collect()
}
