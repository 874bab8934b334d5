//! What each feature had to do with a decision: the change of the decision on the straight way from an ordinary row to
//! this one, shared out by the gradient along the way (Aumann and Shapley 1974; as "integrated gradients" Sundararajan,
//! Taly, Yan 2017). For the Gaussian kernel the integral has a closed form, so that the shares add up exactly, and a
//! feature in which both rows are equal has exactly none.
//!
//! The ordinary row is one of up to 64 training rows from the inner half: the nearest by the sum of absolute differences,
//! which a fault in one feature sways less than squares would.

use super::OneClassSvm;

/// The two ends of an explanation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvmExplanation {
    /// Decision of the row.
    pub decision: f64,
    /// Decision of the ordinary row it was compared with.
    pub reference: f64,
}

/// Kernels are powers of two: `2^-d = exp(-LN_2 d)`.
const LN_2: f64 = std::f64::consts::LN_2;

impl OneClassSvm {
    /// Writes how much each feature lowered the decision beside that of an ordinary row: **positive made the row more
    /// anomalous, negative less.** They add up to `reference - decision`, up to rounding below 1e-9 of `rho`. The decision
    /// here is in double precision throughout, [`Self::decision_row`]'s within its error.
    ///
    /// # Panics
    /// If `row` or `contributions` has another length than [`Self::n_features`].
    pub fn explain_row(&self, row: &[f64], contributions: &mut [f64]) -> SvmExplanation {
        assert_eq!(row.len(), self.n_features(), "the row's number of features");
        assert_eq!(contributions.len(), self.n_features(), "one contribution per feature");
        contributions.fill(0.0);
        self.with_scaled(row, |row| {
            let prototype = self.nearest(row);
            let (mut decision, mut reference) = (-self.rho, -self.rho);
            let length: f64 = pairs(row, prototype).map(|(x, p)| (x - p).powi(2)).sum();
            for (place, alpha) in self.alphas[..self.n_support()].iter().enumerate() {
                let vector = self.vectors.row(place);
                let way = Way::new(row, prototype, &vector, length);
                let alpha = f64::from(*alpha);
                decision += alpha * way.end;
                reference += alpha * way.start;
                if length > 0.0 {
                    let along = alpha * (way.start - way.end) / length;
                    let across = 2.0 * LN_2 * alpha * way.integral(length);
                    let features = triples(row, prototype, vector).zip(contributions.iter_mut());
                    for ((x, p, s), part) in features {
                        let step = x - p;
                        *part += step * (across * way.beside((x, p, s)) + along * step);
                    }
                }
            }
            SvmExplanation { decision, reference }
        })
    }

    /// The ordinary row to compare with.
    fn nearest(&self, row: &[f32]) -> &[f32] {
        let distance = |prototype: &[f32]| -> f32 {
            prototype.iter().zip(row).map(|(one, other)| (one - other).abs()).sum()
        };
        let rows = self.prototypes.chunks_exact(self.n_features());
        let nearest = rows.map(|row| (distance(row), row)).min_by(|a, b| a.0.total_cmp(&b.0));
        nearest.map_or(&[], |(_, row)| row)
    }
}

fn pairs(one: &[f32], other: &[f32]) -> impl Iterator<Item = (f64, f64)> {
    one.iter().zip(other).map(|(one, other)| (f64::from(*one), f64::from(*other)))
}

fn triples(
    row: &[f32],
    prototype: &[f32],
    vector: impl Iterator<Item = f32>,
) -> impl Iterator<Item = (f64, f64, f64)> {
    pairs(row, prototype).zip(vector).map(|((x, p), s)| (x, p, f64::from(s)))
}

/// The kernel with one support vector s on the way `p + t (x - p)`, t from 0 to 1.
///
/// At `nearest` the way passes s; from there the kernel falls off as `2^-(length u^2)` to both sides, u being the t from
/// there. The gradient's part along the way integrates to the difference of the kernel's ends, whatever is between; the
/// part beside it needs the integral of the kernel. Taken apart like this nothing cancels, however far the row is.
struct Way {
    /// The t nearest to s, to be taken in two steps: the second is what rounding left of the first.
    nearest: (f64, f64),
    /// Squared distance of s there.
    off: f64,
    /// The kernel at p.
    start: f64,
    /// The kernel at x.
    end: f64,
}

impl Way {
    fn new(
        row: &[f32],
        prototype: &[f32],
        vector: &(impl Iterator<Item = f32> + Clone),
        length: f64,
    ) -> Self {
        let all = || triples(row, prototype, vector.clone());
        let start = all().map(|(_, p, s)| (p - s).powi(2)).sum::<f64>();
        let end = all().map(|(x, _, s)| (x - s).powi(2)).sum::<f64>();
        let mut way =
            Self { nearest: (0.0, 0.0), off: start, start: (-start).exp2(), end: (-end).exp2() };
        if length > 0.0 {
            let along = |way: &Self| -> f64 {
                -all().map(|(x, p, s)| (x - p) * way.beside((x, p, s))).sum::<f64>() / length
            };
            way.nearest.0 = along(&way);
            way.nearest.1 = along(&way);
            way.off = all().map(|triple| way.beside(triple).powi(2)).sum();
        }
        way
    }

    /// From s to the nearest place of the way, in one feature.
    fn beside(&self, (x, p, s): (f64, f64, f64)) -> f64 {
        (p - s) + self.nearest.0 * (x - p) + self.nearest.1 * (x - p)
    }

    /// The integral of the kernel over t.
    fn integral(&self, length: f64) -> f64 {
        let width = (LN_2 * length).sqrt();
        if width < 1e-5 {
            return f64::midpoint(self.start, self.end); // straight to 1e-10
        }
        let nearest = self.nearest.0;
        let area = libm::erf(width * (1.0 - nearest)) + libm::erf(width * nearest);
        (-self.off).exp2() * area * std::f64::consts::PI.sqrt() / (2.0 * width)
    }
}
