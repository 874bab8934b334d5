//! The mode of the posterior, given normal equations: normal priors on level, slope and effects, a Laplace prior on
//! changes of slope, a half-normal one (.5) on the noise.
//!
//! Given the noise this is a lasso in the changes of slope with everything else eliminated (a Schur complement), solved
//! exactly by feature-sign search (Lee, Battle, Raina, Ng 2006, "Efficient sparse coding algorithms"). The noise follows in
//! closed form: of `-n ln s - ssr / 2 s^2 - 2 s^2` the root is `s^2 = (sqrt(n^2 + 16 ssr) - n) / 8`. Both in turn until
//! they agree.

use super::gram::Normal;

/// Precisions (one over the variance) of the normal priors, and the Laplace prior's scale.
#[derive(Debug, Clone)]
pub(super) struct Priors {
    /// Of the first slope; infinite leaves the slope out.
    pub(super) slope: f64,
    /// Of the offset.
    pub(super) offset: f64,
    /// Of each season and calendar column.
    pub(super) effects: Vec<f64>,
    /// Scale of a change of slope.
    pub(super) change: f64,
    /// Relative change of the noise's variance that ends the rounds.
    pub(super) tolerance: f64,
}

/// Unknowns in the order of [`Normal`], and the variance of the noise.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    pub(super) theta: Vec<f64>,
    pub(super) variance: f64,
}

/// Variance below which scaled noise counts as none.
const LEAST_VARIANCE: f64 = 1e-18;
const MOST_ROUNDS: usize = 60;

/// `rows` is the number of observations behind `normal`; `start` a solution of a similar problem. `None` if numbers are so
/// extreme that no step can be computed.
pub(super) fn solve(
    normal: &Normal,
    priors: &Priors,
    rows: f64,
    start: Option<&Solution>,
) -> Option<Solution> {
    let mut changes = vec![0.0; normal.changes];
    let mut variance = noise(normal.target, rows);
    if let Some(start) = start {
        changes.copy_from_slice(&start.theta[2..2 + normal.changes]);
        variance = start.variance;
    }
    let mut theta = Vec::new();
    for _ in 0..MOST_ROUNDS {
        theta = Reduced::new(normal, priors, variance)?
            .solve(&mut changes, variance / priors.change)?;
        let next = noise(normal.residual(&theta), rows);
        let settled = (next - variance).abs() <= priors.tolerance * variance;
        variance = next;
        if settled {
            break;
        }
    }
    theta.iter().all(|value| value.is_finite()).then_some(Solution { theta, variance })
}

fn noise(residual: f64, rows: f64) -> f64 {
    // The difference of near numbers, without cancellation.
    let root = rows.mul_add(rows, 16.0 * residual).sqrt();
    (2.0 * residual / (root + rows)).max(LEAST_VARIANCE)
}

/// The problem in the changes of slope alone.
struct Reduced<'a> {
    normal: &'a Normal,
    /// Indices of all other unknowns that take part.
    kept: Vec<usize>,
    factor: Cholesky,
    /// Schur complement, row-major, and its right-hand side.
    matrix: Vec<f64>,
    rhs: Vec<f64>,
}

impl<'a> Reduced<'a> {
    fn new(normal: &'a Normal, priors: &Priors, variance: f64) -> Option<Self> {
        let (changes, size) = (normal.changes, normal.size);
        let mut kept: Vec<usize> = if priors.slope.is_finite() { vec![0, 1] } else { vec![1] };
        kept.extend(2 + changes..size);
        let precision = |unknown: usize| match unknown {
            0 => priors.slope,
            1 => priors.offset,
            _ => priors.effects[unknown - 2 - changes],
        };
        let mut block = Vec::with_capacity(kept.len() * kept.len());
        for &i in &kept {
            block.extend(kept.iter().map(|j| normal.gram[i * size + j]));
            let diagonal = block.len() - kept.len() + block.len() / kept.len() - 1;
            block[diagonal] += variance * precision(i);
        }
        let factor = Cholesky::new(block, kept.len())?;

        // Half-solved columns: their products are what elimination takes away.
        let n = kept.len();
        let mut halves = Vec::with_capacity(n * (changes + 1));
        for change in 0..changes {
            halves.extend(kept.iter().map(|i| normal.gram[i * size + 2 + change]));
            factor.forward(&mut halves[n * change..]);
        }
        halves.extend(kept.iter().map(|i| normal.rhs[*i]));
        factor.forward(&mut halves[n * changes..]);
        let half = |column: usize| &halves[n * column..n * (column + 1)];
        let mut matrix = vec![0.0; changes * changes];
        for i in 0..changes {
            for j in 0..=i {
                let value = normal.gram[(2 + i) * size + 2 + j] - dot(half(i), half(j));
                matrix[i * changes + j] = value;
                matrix[j * changes + i] = value;
            }
            matrix[i * changes + i] *= 1.0 + 1e-12; // two changepoints with the same rows behind them
        }
        let rhs = (0..changes).map(|i| normal.rhs[2 + i] - dot(half(i), half(changes))).collect();
        Some(Self { normal, kept, factor, matrix, rhs })
    }

    /// All unknowns at the minimum; `changes` is the start and becomes the result.
    fn solve(&self, changes: &mut [f64], penalty: f64) -> Option<Vec<f64>> {
        feature_sign(&self.matrix, &self.rhs, penalty, changes);
        let size = self.normal.size;
        let reduced = |i: &usize| {
            let row = &self.normal.gram[i * size + 2..i * size + 2 + changes.len()];
            self.normal.rhs[*i] - dot(row, changes)
        };
        let mut others: Vec<f64> = self.kept.iter().map(reduced).collect();
        self.factor.forward(&mut others);
        self.factor.backward(&mut others);
        let mut theta = vec![0.0; size];
        theta[2..2 + changes.len()].copy_from_slice(changes);
        self.kept.iter().zip(others).for_each(|(i, value)| theta[*i] = value);
        theta.iter().all(|value| value.is_finite()).then_some(theta)
    }
}

/// Minimises `x'Hx / 2 - x'c + penalty * |x|_1` from `x` on: solves for the unknowns that are not 0 with their signs held,
/// walks there as far as the function falls at the zeros on the way, and lets in the worst unknown that 0 does not suit.
fn feature_sign(matrix: &[f64], rhs: &[f64], penalty: f64, x: &mut [f64]) {
    let n = x.len();
    let slope = |x: &[f64], i: usize| dot(&matrix[i * n..(i + 1) * n], x) - rhs[i];
    let value = |x: &[f64]| -> f64 {
        (0..n).map(|i| x[i] * (0.5 * (slope(x, i) - rhs[i])) + penalty * x[i].abs()).sum()
    };
    let mut signs: Vec<f64> = x.iter().map(|x| if *x == 0.0 { 0.0 } else { x.signum() }).collect();
    for _ in 0..20 * n + 20 {
        let active: Vec<usize> = (0..n).filter(|i| signs[*i] != 0.0).collect();
        let settled = |i: &usize| (slope(x, *i) + penalty * signs[*i]).abs() <= 1e-9 * penalty;
        if active.iter().all(settled) {
            let idle = (0..n).filter(|i| signs[*i] == 0.0);
            let worst =
                idle.map(|i| (slope(x, i), i)).max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
            match worst {
                Some((slope, i)) if slope.abs() > penalty * (1.0 + 1e-9) => {
                    signs[i] = -slope.signum();
                }
                _ => return,
            }
            continue;
        }
        let Some(aim) = solve_signed(matrix, rhs, penalty, &signs, &active, n) else { return };
        let before = value(x);
        let mut best = (before, None);
        for share in crossings(x, &aim) {
            let point: Vec<f64> =
                x.iter().zip(&aim).map(|(x, aim)| walk(*x, *aim, share)).collect();
            let here = value(&point);
            if here < best.0 {
                best = (here, Some(point));
            }
        }
        let Some(point) = best.1 else { return }; // rounding: no further fall
        x.copy_from_slice(&point);
        signs
            .iter_mut()
            .zip(&*x)
            .for_each(|(sign, x)| *sign = if *x == 0.0 { 0.0 } else { x.signum() });
    }
}

/// `share` of the way from `x` to `aim`; exactly 0 at a crossing.
fn walk(x: f64, aim: f64, share: f64) -> f64 {
    if x * aim < 0.0 && share == x / (x - aim) { 0.0 } else { x + share * (aim - x) }
}

/// Shares of the way at which an unknown passes 0, and the end.
fn crossings(x: &[f64], aim: &[f64]) -> Vec<f64> {
    let passing = x.iter().zip(aim).filter(|(x, aim)| **x * **aim < 0.0);
    let mut shares: Vec<f64> = passing.map(|(x, aim)| x / (x - aim)).collect();
    shares.push(1.0);
    shares
}

fn solve_signed(
    matrix: &[f64],
    rhs: &[f64],
    penalty: f64,
    signs: &[f64],
    active: &[usize],
    n: usize,
) -> Option<Vec<f64>> {
    let mut block = Vec::with_capacity(active.len() * active.len());
    for i in active {
        block.extend(active.iter().map(|j| matrix[i * n + j]));
    }
    let factor = Cholesky::new(block, active.len())?;
    let mut part: Vec<f64> = active.iter().map(|i| rhs[*i] - penalty * signs[*i]).collect();
    factor.forward(&mut part);
    factor.backward(&mut part);
    let mut aim = vec![0.0; n];
    active.iter().zip(part).for_each(|(i, value)| aim[*i] = value);
    Some(aim)
}

/// `A = LL'` of a symmetric positive definite matrix.
struct Cholesky {
    lower: Vec<f64>,
    n: usize,
}

impl Cholesky {
    /// `None` if the matrix is not positive definite in these digits.
    fn new(mut a: Vec<f64>, n: usize) -> Option<Self> {
        for i in 0..n {
            for j in 0..=i {
                let sum = a[i * n + j] - dot(&a[i * n..i * n + j], &a[j * n..j * n + j]);
                if i == j {
                    // NaN fails as well.
                    if sum.partial_cmp(&(a[i * n + i] * 1e-14)) != Some(std::cmp::Ordering::Greater)
                    {
                        return None;
                    }
                    a[i * n + i] = sum.sqrt();
                } else {
                    a[i * n + j] = sum / a[j * n + j];
                }
            }
        }
        Some(Self { lower: a, n })
    }

    /// Solves `Lx = b` in place.
    fn forward(&self, b: &mut [f64]) {
        for i in 0..self.n {
            let row = &self.lower[i * self.n..i * self.n + i];
            b[i] = (b[i] - dot(row, &b[..i])) / self.lower[i * self.n + i];
        }
    }

    /// Solves `L'x = b` in place.
    fn backward(&self, b: &mut [f64]) {
        for i in (0..self.n).rev() {
            let behind: f64 = (i + 1..self.n).map(|j| self.lower[j * self.n + i] * b[j]).sum();
            b[i] = (b[i] - behind) / self.lower[i * self.n + i];
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
