//! The normal equations of one weighted least-squares step, without a matrix of changepoint columns.
//!
//! A changepoint's column is the hinge `max(t - s, 0)`. Rows are in order of time, so between two changepoints every hinge
//! is a line, and the products of any two columns follow from the sums of 1, t and t^2 (and of each season column times 1
//! and t) behind the later of both changepoints. A row then costs the products of the season columns alone: 14 columns
//! instead of 41 with a daily and a weekly season, 6 times fewer products.

use super::curve::Columns;

/// `X'WX`, `X'Wz` and `z'Wz` in the order slope, offset, changes of slope, season and calendar columns.
#[derive(Debug, Clone)]
pub(super) struct Normal {
    /// Number of changepoints.
    pub(super) changes: usize,
    /// All unknowns: 2 + changes + effects.
    pub(super) size: usize,
    /// Row-major, both triangles.
    pub(super) gram: Vec<f64>,
    /// Right-hand side.
    pub(super) rhs: Vec<f64>,
    /// Weighted sum of squares of the target.
    pub(super) target: f64,
}

/// What a row contributes: trend columns times `trend`, effect columns times `effect`, against `target`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) weight: f64,
    pub(super) trend: f64,
    pub(super) effect: f64,
    pub(super) target: f64,
}

/// Sums over the rows of one segment.
#[derive(Clone)]
struct Segment {
    /// Of 1, t, t^2.
    powers: [f64; 3],
    /// Of the target times 1, t.
    target: [f64; 2],
    /// Of each effect column times 1, t: interleaved.
    effects: Vec<f64>,
}

impl Segment {
    fn empty(effects: usize) -> Self {
        Self { powers: [0.0; 3], target: [0.0; 2], effects: vec![0.0; 2 * effects] }
    }

    fn add(&mut self, other: &Self) {
        self.powers.iter_mut().zip(other.powers).for_each(|(sum, more)| *sum += more);
        self.target.iter_mut().zip(other.target).for_each(|(sum, more)| *sum += more);
        self.effects.iter_mut().zip(&other.effects).for_each(|(sum, more)| *sum += more);
    }
}

impl Normal {
    /// Sums all rows; `row(i)` is asked in order. O(rows * effects^2 + changes * size).
    pub(super) fn build(columns: &Columns, row: impl Fn(usize) -> Row) -> Self {
        let (changes, effects) = (columns.changepoints.len(), columns.effects);
        let size = 2 + changes + effects;
        let mut normal =
            Self { changes, size, gram: vec![0.0; size * size], rhs: vec![0.0; size], target: 0.0 };
        let mut segments = vec![Segment::empty(effects); changes + 1];
        let mut products = vec![0.0; effects * effects];
        let mut weighted = vec![0.0; effects];
        let mut at = 0;
        for (i, &t) in columns.t.iter().enumerate() {
            while at < changes && columns.changepoints[at] <= t {
                at += 1;
            }
            let Row { weight, trend, effect, target } = row(i);
            let segment = &mut segments[at];
            let whole = weight * trend * trend;
            segment.powers[0] += whole;
            segment.powers[1] += whole * t;
            segment.powers[2] += whole * t * t;
            let aimed = weight * trend * target;
            segment.target[0] += aimed;
            segment.target[1] += aimed * t;
            normal.target += weight * target * target;

            let values = columns.row(i);
            let cross = weight * trend * effect;
            for (pair, value) in segment.effects.chunks_exact_mut(2).zip(values) {
                pair[0] += cross * value;
                pair[1] += cross * value * t;
            }
            let own = weight * effect * effect;
            for (scaled, value) in weighted.iter_mut().zip(values) {
                *scaled = own * value;
            }
            for (j, value) in values.iter().enumerate() {
                let line = &mut products[j * effects..][..=j];
                line.iter_mut().zip(&weighted).for_each(|(sum, other)| *sum += value * other);
            }
            let aimed = weight * effect * target;
            let rhs = &mut normal.rhs[2 + changes..];
            rhs.iter_mut().zip(values).for_each(|(sum, value)| *sum += aimed * value);
        }
        normal.place_effects(&products, effects);
        normal.place_trend(&columns.changepoints, &mut segments);
        normal
    }

    fn set(&mut self, i: usize, j: usize, value: f64) {
        self.gram[i * self.size + j] = value;
        self.gram[j * self.size + i] = value;
    }

    fn place_effects(&mut self, products: &[f64], effects: usize) {
        let first = 2 + self.changes;
        for i in 0..effects {
            for j in 0..=i {
                self.set(first + i, first + j, products[i * effects + j]);
            }
        }
    }

    /// Turns the segments' sums into sums behind each changepoint, then into products of hinges.
    fn place_trend(&mut self, changepoints: &[f64], segments: &mut [Segment]) {
        for at in (0..changepoints.len()).rev() {
            let (before, behind) = segments.split_at_mut(at + 1);
            before[at].add(&behind[0]);
        }
        // Column 0 is t, column 1 is 1, the others are t - s_j behind s_j: as (factor of t, constant).
        let line = |column: usize| match column {
            0 => (1.0, 0.0),
            1 => (0.0, 1.0),
            _ => (1.0, -changepoints[column - 2]),
        };
        for i in 0..2 + self.changes {
            let sums = &segments[i.saturating_sub(1)];
            let ((a, b), [one, t, tt]) = (line(i), sums.powers);
            self.rhs[i] = a * sums.target[1] + b * sums.target[0];
            for j in 0..=i {
                let (c, d) = line(j);
                self.set(i, j, a * c * tt + (a * d + b * c) * t + b * d * one);
            }
            for (effect, pair) in sums.effects.chunks_exact(2).enumerate() {
                self.set(i, 2 + self.changes + effect, a * pair[1] + b * pair[0]);
            }
        }
    }

    /// Weighted sum of squared residuals at `theta`: never below 0.
    pub(super) fn residual(&self, theta: &[f64]) -> f64 {
        let mut sum = self.target;
        for (i, value) in theta.iter().enumerate() {
            let row = &self.gram[i * self.size..(i + 1) * self.size];
            let product: f64 = row.iter().zip(theta).map(|(a, b)| a * b).sum();
            sum += value * (product - 2.0 * self.rhs[i]);
        }
        sum.max(0.0)
    }
}
