//! Hyperparameters of the one-class SVM, and fitting in linfa's way or from plain rows.

use linfa::{DatasetBase, ParamGuard, traits::Fit};
use ndarray::{ArrayBase, Data, Ix2};

use super::cache::RowCache;
use super::kernel::{Blocks, LANES, clean, scale_of, scaled};
use super::solver::{self, Solution, Task};
use super::{FitReport, OneClassSvm};
use crate::{ModelError, rng::SplitMix64, robust::median};

/// The kernel's gamma: a row has little to do with others farther than `1 / sqrt(gamma)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gamma {
    /// `1 / (2 m)`, m being the median of the squared distance between two rows, of 1,000 pairs (Schoelkopf and Smola
    /// 2002, "Learning with kernels"; Gretton et al. 2012 call it the median heuristic).
    Median,
    /// `1 / (n_features * variance of all values)`, scikit-learn's default.
    Scale,
    /// This value, above 0.
    Value(f64),
}

/// Hyperparameters, not yet checked. linfa's `Fit` checks them; [`ParamGuard::check`] does so ahead of time.
///
/// ```ignore
/// let svm = OneClassSvm::params().nu(0.01).gamma(Gamma::Median).seed(42).fit(&dataset)?;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OneClassSvmParams(OneClassSvmValidParams);

/// Checked hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub struct OneClassSvmValidParams {
    nu: f64,
    gamma: Gamma,
    max_rows: usize,
    cache_bytes: usize,
    tolerance: f64,
    max_iterations: usize,
    seed: u64,
}

impl Default for OneClassSvmParams {
    fn default() -> Self {
        Self(OneClassSvmValidParams {
            nu: 0.01,
            gamma: Gamma::Median,
            max_rows: MAX_ROWS,
            cache_bytes: 8 << 20,
            tolerance: 1e-3,
            max_iterations: 100_000,
            seed: 42,
        })
    }
}

impl OneClassSvmParams {
    /// Share of the training rows to leave outside, above 0 and below 1: an upper limit on it, and a lower limit on the
    /// share of support vectors.
    pub fn nu(mut self, nu: f64) -> Self {
        self.0.nu = nu;
        self
    }

    /// The kernel's gamma.
    pub fn gamma(mut self, gamma: Gamma) -> Self {
        self.0.gamma = gamma;
        self
    }

    /// Rows to fit to, 2..=5000; drawn at random if there are more.
    pub fn max_rows(mut self, max_rows: usize) -> Self {
        self.0.max_rows = max_rows;
        self
    }

    /// Bytes of kernel rows to keep while fitting, at least 65,536. Less is slower, and gives the same model.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.0.cache_bytes = bytes;
        self
    }

    /// Where to stop: the largest violation of the optimality conditions, above 0 and below 1, as libsvm's `eps`. With
    /// `nu n` below 1 it is taken times that, because decisions are that much smaller.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.0.tolerance = tolerance;
        self
    }

    /// Most steps of the optimiser, at least 1; [`FitReport::converged`] says whether they were enough.
    pub fn max_iterations(mut self, iterations: usize) -> Self {
        self.0.max_iterations = iterations;
        self
    }

    /// Seed of every random choice: the same seed and data give the same model.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// Checks, then [`OneClassSvmValidParams::fit_rows`].
    pub fn fit_rows(&self, rows: &[f64], n_features: usize) -> Result<OneClassSvm, ModelError> {
        self.check_ref()?.fit_rows(rows, n_features)
    }
}

impl ParamGuard for OneClassSvmParams {
    type Checked = OneClassSvmValidParams;
    type Error = ModelError;

    fn check_ref(&self) -> Result<&Self::Checked, ModelError> {
        let params = &self.0;
        let number = |name, value: f64, holds, must_be| {
            if holds { Ok(()) } else { Err(ModelError::OutOfRange { name, value, must_be }) }
        };
        let count = |name, value: usize, holds, must_be| {
            if holds { Ok(()) } else { Err(ModelError::InvalidParameter { name, value, must_be }) }
        };
        let within = |value: f64| value > 0.0 && value < 1.0;
        number("nu", params.nu, within(params.nu), "between 0 and 1")?;
        number("tolerance", params.tolerance, within(params.tolerance), "between 0 and 1")?;
        if let Gamma::Value(gamma) = params.gamma {
            number("gamma", gamma, GAMMAS.contains(&gamma), "1e-30 to 1e30")?;
        }
        count("max_rows", params.max_rows, (2..=MAX_ROWS).contains(&params.max_rows), "2 to 5000")?;
        count("cache_bytes", params.cache_bytes, params.cache_bytes >= 1 << 16, "65536 or more")?;
        count("max_iterations", params.max_iterations, params.max_iterations > 0, "1 or more")?;
        Ok(params)
    }

    fn check(self) -> Result<Self::Checked, ModelError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// Limits on what is fitted or restored; two kernel rows of the most rows fit into the least cache.
pub(super) const MAX_ROWS: usize = 5000;
/// See [`MAX_ROWS`].
pub(super) const MAX_FEATURES: usize = 1000;
/// See [`MAX_ROWS`]; beyond it distances leave the range of `f32`.
pub(super) const GAMMAS: std::ops::RangeInclusive<f64> = 1e-30..=1e30;
/// Ordinary rows to keep for explanations.
pub(super) const PROTOTYPES: usize = 64;

/// Records are rows by features; targets and weights are not looked at. Errors as
/// [`OneClassSvmValidParams::fit_rows`].
impl<D: Data<Elem = f64>, T> Fit<ArrayBase<D, Ix2>, T, ModelError> for OneClassSvmValidParams {
    type Object = OneClassSvm;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<OneClassSvm, ModelError> {
        let records = &dataset.records;
        self.fit_with(records.nrows(), records.ncols(), |row, feature| records[[row, feature]])
    }
}

impl OneClassSvmValidParams {
    /// Fits to `rows`, row-major, `n_features` values each.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if there is no feature, more than 1,000, or an incomplete row;
    /// [`ModelError::NotEnoughRows`] below 2 rows.
    pub fn fit_rows(&self, rows: &[f64], n_features: usize) -> Result<OneClassSvm, ModelError> {
        let n_rows = rows.len().checked_div(n_features).unwrap_or(0);
        if n_rows * n_features != rows.len() {
            let reason = format!("{} values are not rows of {n_features}", rows.len());
            return Err(ModelError::Shape(reason));
        }
        self.fit_with(n_rows, n_features, |row, feature| rows[row * n_features + feature])
    }

    fn fit_with(
        &self,
        n_rows: usize,
        n_features: usize,
        value: impl Fn(usize, usize) -> f64,
    ) -> Result<OneClassSvm, ModelError> {
        if !(1..=MAX_FEATURES).contains(&n_features) {
            let reason = format!("{n_features} features, must be 1 to {MAX_FEATURES}");
            return Err(ModelError::Shape(reason));
        }
        if n_rows < 2 {
            return Err(ModelError::NotEnoughRows { needed: 2, got: n_rows });
        }

        let mut rng = SplitMix64::new(self.seed);
        let drawn = reservoir(n_rows, self.max_rows, &mut rng);
        let sample = Sample { drawn: &drawn, n_features, value };
        let offset: Vec<f64> = (0..n_features).map(|feature| sample.middle(feature)).collect();
        let gamma = sample.gamma(self.gamma, &mut rng);
        let rows = sample.scaled(&offset, gamma);
        let total = self.nu * drawn.len() as f64;
        let task = Task {
            total,
            tolerance: self.tolerance * total.min(1.0),
            max_iterations: self.max_iterations,
        };
        let mut cache = RowCache::new(&rows, self.cache_bytes);
        let solution = solver::solve(&mut cache, &task, &mut rng);
        let prototypes = prototypes(&rows, &solution, &mut rng);
        Ok(OneClassSvm::assemble(gamma, offset, &rows, &solution, prototypes))
    }
}

impl OneClassSvm {
    fn assemble(
        gamma: f64,
        offset: Vec<f64>,
        rows: &Blocks,
        solution: &Solution,
        prototypes: Vec<f32>,
    ) -> Self {
        // A weight may be too small for `f32`.
        let weights = solution.alphas.iter().map(|alpha| *alpha as f32);
        let (support, alphas): (Vec<usize>, Vec<f32>) =
            weights.enumerate().filter(|(_, alpha)| *alpha > 0.0).unzip();
        let values: Vec<f32> = support.iter().flat_map(|row| rows.row(*row)).collect();
        let vectors = Blocks::new(support.len(), offset.len(), |row, feature| {
            values[row * offset.len() + feature]
        });
        let fit = FitReport {
            rows: rows.n_rows,
            outside: solution.sums.iter().filter(|sum| **sum < solution.rho).count(),
            iterations: solution.iterations,
            converged: solution.converged,
        };
        let alphas = filled_up(alphas);
        Self { gamma, rho: solution.rho, offset, vectors, alphas, prototypes, fit }
    }
}

/// Weights, with zeros for what a last block is filled up with.
pub(super) fn filled_up(mut alphas: Vec<f32>) -> Vec<f32> {
    alphas.resize(alphas.len().next_multiple_of(LANES), 0.0);
    alphas
}

/// Up to `most` of the numbers below `n`, each as likely as any other (Vitter 1985, "Random sampling with a reservoir",
/// algorithm R); all of them, in order, if there are not more.
fn reservoir(n: usize, most: usize, rng: &mut SplitMix64) -> Vec<usize> {
    let mut drawn: Vec<usize> = (0..n.min(most)).collect();
    for row in most..n {
        let place = rng.below(row + 1);
        if place < most {
            drawn[place] = row;
        }
    }
    drawn
}

/// Some of the inner half of the rows: what an explanation takes as ordinary.
fn prototypes(rows: &Blocks, solution: &Solution, rng: &mut SplitMix64) -> Vec<f32> {
    let mut order: Vec<usize> = (0..rows.n_rows).collect();
    let half = rows.n_rows.div_ceil(2);
    let outwards = |a: &usize, b: &usize| solution.sums[*b].total_cmp(&solution.sums[*a]);
    order.select_nth_unstable_by(half - 1, outwards);
    order.truncate(half);
    let inner = reservoir(order.len(), PROTOTYPES, rng);
    inner.into_iter().flat_map(|at| rows.row(order[at])).collect()
}

/// The rows drawn, as they came.
struct Sample<'a, V> {
    drawn: &'a [usize],
    n_features: usize,
    value: V,
}

impl<V: Fn(usize, usize) -> f64> Sample<'_, V> {
    fn value(&self, at: usize, feature: usize) -> f64 {
        clean((self.value)(self.drawn[at], feature))
    }

    /// Somewhere in the middle of a feature; the fit does not depend on where.
    fn middle(&self, feature: usize) -> f64 {
        let some: Vec<f64> =
            (0..self.drawn.len().min(101)).map(|at| self.value(at, feature)).collect();
        median(&some).unwrap_or(0.0)
    }

    fn scaled(&self, offset: &[f64], gamma: f64) -> Blocks {
        let scale = scale_of(gamma);
        Blocks::new(self.drawn.len(), self.n_features, |at, feature| {
            scaled(self.value(at, feature), offset[feature], scale)
        })
    }

    fn gamma(&self, rule: Gamma, rng: &mut SplitMix64) -> f64 {
        let spread = match rule {
            Gamma::Value(gamma) => return gamma,
            Gamma::Median => 2.0 * self.median_distance(rng),
            Gamma::Scale => self.n_features as f64 * self.variance(),
        };
        // Rows that are all equal: any gamma gives the same, scikit-learn takes this.
        if spread > 0.0 { (1.0 / spread).clamp(*GAMMAS.start(), *GAMMAS.end()) } else { 1.0 }
    }

    /// The median squared distance of two rows; their mean one if most are equal.
    fn median_distance(&self, rng: &mut SplitMix64) -> f64 {
        const PAIRS: usize = 1000;
        let n_rows = self.drawn.len();
        let distances: Vec<f64> = (0..PAIRS)
            .map(|_| {
                let one = rng.below(n_rows);
                let other = (one + 1 + rng.below(n_rows - 1)) % n_rows;
                let off = |feature| self.value(one, feature) - self.value(other, feature);
                (0..self.n_features).map(|feature| off(feature).powi(2)).sum()
            })
            .collect();
        let middle = median(&distances).unwrap_or(0.0);
        if middle > 0.0 { middle } else { distances.iter().sum::<f64>() / PAIRS as f64 }
    }

    /// Variance of all values about their one mean.
    fn variance(&self) -> f64 {
        let count = (self.drawn.len() * self.n_features) as f64;
        let all = || {
            let rows = 0..self.drawn.len();
            rows.flat_map(|at| (0..self.n_features).map(move |feature| self.value(at, feature)))
        };
        let mean = all().sum::<f64>() / count;
        all().map(|value| (value - mean).powi(2)).sum::<f64>() / count
    }
}
