//! The optimiser: sequential minimal optimisation of the dual (Platt 1998; for one class Schoelkopf et al. 2001),
//! `min 1/2 a'Ka, 0 <= a <= 1, sum a = nu n`, two weights at a time, chosen by second order information (Fan, Chen, Lin
//! 2005, "Working set selection using second order information", as in libsvm).
//!
//! It starts where it will end, roughly: the weight goes to the rows in the thinnest places, as far as a few kernel rows
//! tell. libsvm gives it to the first rows, and then has to move all of it.

use super::cache::RowCache;
use crate::rng::SplitMix64;

/// What there is to solve, beside the rows.
pub(super) struct Task {
    /// Sum of the weights, above 0 and at most the number of rows.
    pub(super) total: f64,
    /// Largest violation of the optimality conditions to stop at.
    pub(super) tolerance: f64,
    pub(super) max_iterations: usize,
}

/// An optimum, or the best there was when iterations ran out.
pub(super) struct Solution {
    /// One weight per row, 0 to 1.
    pub(super) alphas: Vec<f64>,
    /// One weighted sum of kernels per row.
    pub(super) sums: Vec<f64>,
    pub(super) rho: f64,
    pub(super) iterations: usize,
    pub(super) converged: bool,
}

/// Curvature of two equal rows, which have none; libsvm's value.
const FLAT: f64 = 1e-12;

/// Rows per step of a loop over all of them.
const WIDE: usize = 64;

struct Solver<'a, 'b> {
    cache: &'a mut RowCache<'b>,
    alphas: Vec<f64>,
    /// The gradient, which is the weighted sum of kernels.
    sums: Vec<f64>,
    /// +infinity where the weight cannot grow, 0 elsewhere.
    full: Vec<f64>,
    /// Rows with a weight above zero.
    support: Vec<u32>,
}

/// Solves `task` for the rows of `cache`.
pub(super) fn solve(cache: &mut RowCache<'_>, task: &Task, rng: &mut SplitMix64) -> Solution {
    let n_rows = cache.n_rows();
    let mut solver = Solver {
        cache,
        alphas: vec![0.0; n_rows],
        sums: vec![0.0; n_rows],
        full: vec![0.0; n_rows],
        support: Vec::new(),
    };
    solver.start(task.total, rng);
    let (iterations, converged) = solver.run(task);
    let rho = solver.rho();
    Solution { alphas: solver.alphas, sums: solver.sums, rho, iterations, converged }
}

impl Solver<'_, '_> {
    /// Gives out the whole weight, to the rows in the thinnest places.
    fn start(&mut self, total: f64, rng: &mut SplitMix64) {
        let n_rows = self.sums.len();
        let mut kernel = vec![0.0; n_rows];
        let count = (total.ceil() as usize).clamp(1, n_rows);
        let mut left = total;
        for row in self.thinnest(count, &mut kernel, rng) {
            let alpha = left.min(1.0);
            left -= alpha;
            if alpha > 0.0 {
                self.set_alpha(row as usize, alpha);
                self.support.push(row);
                self.cache.write(row as usize, &mut kernel);
                for (sum, value) in self.sums.iter_mut().zip(&kernel) {
                    *sum += alpha * f64::from(*value);
                }
            }
        }
    }

    /// The `count` rows with the least density, by a kernel estimate from some rows.
    fn thinnest(&self, count: usize, kernel: &mut [f32], rng: &mut SplitMix64) -> Vec<u32> {
        let n_rows = kernel.len();
        let mut density = vec![0.0_f32; n_rows];
        for _ in 0..PROBES.min(n_rows) {
            self.cache.write(rng.below(n_rows), kernel);
            density.iter_mut().zip(kernel.iter()).for_each(|(sum, value)| *sum += value);
        }
        let mut order: Vec<u32> = (0..n_rows as u32).collect();
        if count < n_rows {
            order.select_nth_unstable_by(count, |a, b| {
                density[*a as usize].total_cmp(&density[*b as usize])
            });
        }
        order.truncate(count);
        order
    }

    /// Iterates; returns the number of iterations, and whether the tolerance was reached.
    fn run(&mut self, task: &Task) -> (usize, bool) {
        let nothing = vec![0.0; self.sums.len()];
        let mut least = Self::shift_sums(&mut self.sums, &self.full, (0.0, &nothing, &nothing));
        for iteration in 0..task.max_iterations {
            let Some(up) = least else { return (iteration, true) };
            let most = self.support.iter().map(|row| self.sums[*row as usize]);
            if most.fold(f64::NEG_INFINITY, f64::max) - self.sums[up] < task.tolerance {
                return (iteration, true);
            }
            let up_slot = self.cache.fetch(up);
            let down = self.partner(up, up_slot);
            let down_slot = self.cache.fetch(down);
            least = self.step((up, up_slot), (down, down_slot));
        }
        (task.max_iterations, false)
    }

    /// The row whose weight falls when that of `up` grows: the one that lowers the objective most.
    fn partner(&self, up: usize, up_slot: usize) -> usize {
        let kernel = self.cache.values(up_slot);
        let (mut best, mut gain) = (up, 0.0);
        for row in &self.support {
            let row = *row as usize;
            let difference = self.sums[row] - self.sums[up];
            if difference > 0.0 {
                let curvature = (2.0 - 2.0 * f64::from(kernel[row])).max(FLAT);
                let this = difference * difference / curvature;
                if this > gain {
                    (best, gain) = (row, this);
                }
            }
        }
        best
    }

    /// Moves weight from `down` to `up`, as much as is best or as limits allow. Returns the next row whose weight should
    /// grow, which comes out of the same pass over the sums.
    fn step(&mut self, up: (usize, usize), down: (usize, usize)) -> Option<usize> {
        let ((up, up_slot), (down, down_slot)) = (up, down);
        let curvature = 2.0 - 2.0 * f64::from(self.cache.values(up_slot)[down]);
        let wanted = (self.sums[down] - self.sums[up]) / curvature.max(FLAT);
        let (room, stock) = (1.0 - self.alphas[up], self.alphas[down]);
        let moved = wanted.min(room).min(stock);

        if self.alphas[up] == 0.0 {
            self.support.push(up as u32);
        }
        // A limit is reached exactly, not up to rounding.
        self.set_alpha(up, if moved >= room { 1.0 } else { self.alphas[up] + moved });
        self.set_alpha(down, if moved >= stock { 0.0 } else { stock - moved });
        if self.alphas[down] == 0.0 {
            self.support.retain(|row| *row as usize != down);
        }

        let change = (moved, self.cache.values(up_slot), self.cache.values(down_slot));
        Self::shift_sums(&mut self.sums, &self.full, change)
    }

    /// Adds to the sums what moving weight changes: the weight times the difference of two kernel rows. Returns the row
    /// with the least sum among those whose weight can grow.
    fn shift_sums(
        sums: &mut [f64],
        full: &[f64],
        (moved, grown, fallen): (f64, &[f32], &[f32]),
    ) -> Option<usize> {
        let (mut at, mut least) = (0, f64::INFINITY);
        let rows = sums.chunks_mut(WIDE).zip(full.chunks(WIDE));
        let kernels = grown.chunks(WIDE).zip(fallen.chunks(WIDE));
        for (chunk, ((sums, full), (grown, fallen))) in rows.zip(kernels).enumerate() {
            for ((sum, grown), fallen) in sums.iter_mut().zip(grown).zip(fallen) {
                *sum += moved * f64::from(grown - fallen);
            }
            let this = least_of(sums, full);
            if this < least {
                (at, least) = (chunk * WIDE, this);
            }
        }
        let mut chunk = sums[at..].iter().zip(&full[at..]);
        let place = chunk.position(|(sum, full)| sum + full == least);
        place.filter(|_| least < f64::INFINITY).map(|place| at + place)
    }

    fn set_alpha(&mut self, row: usize, alpha: f64) {
        self.alphas[row] = alpha;
        self.full[row] = if alpha >= 1.0 { f64::INFINITY } else { 0.0 };
    }

    /// The sum on the boundary: the mean over rows with a weight strictly between the limits, else the middle of what the
    /// others allow (Schoelkopf et al. 2001, proposition 1; libsvm's rule).
    fn rho(&self) -> f64 {
        let (mut free, mut sum) = (0_usize, 0.0);
        let (mut above, mut below) = (f64::INFINITY, f64::NEG_INFINITY);
        for (alpha, value) in self.alphas.iter().zip(&self.sums) {
            if *alpha >= 1.0 {
                below = below.max(*value);
            } else if *alpha <= 0.0 {
                above = above.min(*value);
            } else {
                free += 1;
                sum += value;
            }
        }
        match (free, above.is_finite(), below.is_finite()) {
            (0, true, true) => f64::midpoint(above, below),
            (0, true, false) => above,
            (0, ..) => below,
            _ => sum / free as f64,
        }
    }
}

/// The least of the sums where `full` is 0, +infinity if it is nowhere; in four lanes, which compilers turn into vectors.
fn least_of(sums: &[f64], full: &[f64]) -> f64 {
    let mut lanes = [f64::INFINITY; 4];
    let (sums, full) = (sums.chunks_exact(4), full.chunks_exact(4));
    let rest = sums.remainder().iter().zip(full.remainder());
    for (sums, full) in sums.zip(full) {
        for lane in 0..4 {
            let sum = sums[lane] + full[lane];
            lanes[lane] = if sum < lanes[lane] { sum } else { lanes[lane] };
        }
    }
    let rest = rest.map(|(sum, full)| sum + full);
    lanes.into_iter().chain(rest).fold(f64::INFINITY, |a, b| if b < a { b } else { a })
}

/// Rows that the density at the start is estimated from.
const PROBES: usize = 32;
