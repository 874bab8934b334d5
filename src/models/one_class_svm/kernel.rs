//! The Gaussian kernel in single precision: rows in blocks, and an exponential that compilers turn into vector code.
//!
//! Rows are scaled so that `exp(-gamma |x - y|^2)` is `2^-d` with `d` the squared distance: no multiplication is left, and
//! splitting `d` into a whole and a fractional part is exact.

/// Rows of a block: four SSE registers.
pub(super) const LANES: usize = 16;

/// Kernels below 2^-100 count as that: 8e-31, times any number of support vectors nothing.
const MAX_EXPONENT: f32 = 100.0;

/// Values beyond it count as it; squared and added up for 1,000 features it is far from the end of `f64`.
pub(super) const LIMIT: f64 = 1e15;

/// A value as it is computed with.
pub(super) fn clean(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-LIMIT, LIMIT) }
}

/// What rows are multiplied with to make the kernel a power of two.
pub(super) fn scale_of(gamma: f64) -> f64 {
    (gamma * std::f64::consts::LOG2_E).sqrt()
}

/// A value in the units of the kernel; clamped so that its square does not overflow.
pub(super) fn scaled(value: f64, offset: f64, scale: f64) -> f32 {
    ((clean(value) - offset) * scale).clamp(-1e18, 1e18) as f32
}

/// `2^-d` for `d >= 0`, with a relative error below 2e-7 up to `d = 100`; larger ones, infinite and NaN give 2^-100, which
/// keeps slow denormals out. Exactly 1 at 0.
///
/// `2^-d = 2^n 2^r` with n whole and r in -0.5..=0.5; the polynomial is the one of degree 5 with value and slope of 2^r at 0
/// and least relative error, 1.1e-7 (fitted by reweighted least squares at 4,001 Chebyshev nodes).
#[inline]
pub(super) fn exp2_minus(d: f32) -> f32 {
    // Adding it leaves whole numbers in the lowest bits.
    const TO_WHOLE: f32 = 12_582_912.0; // 1.5 * 2^23
    let t = -d;
    let t = if t > -MAX_EXPONENT { t } else { -MAX_EXPONENT };
    let shifted = t + TO_WHOLE;
    let r = t - (shifted - TO_WHOLE);
    let p = 0.001_330_025_6 * r + 0.009_669_718;
    let p = p * r + 0.055_505_6;
    let p = p * r + 0.240_222_81;
    let p = p * r + std::f32::consts::LN_2;
    let p = p * r + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// Rows in the units of the kernel, in blocks of [`LANES`]: within a block feature by feature, so that a loop over its rows
/// needs no gathering. The last block is filled up with zeros.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blocks {
    pub(super) n_rows: usize,
    n_features: usize,
    values: Vec<f32>,
}

impl Blocks {
    /// `value` gives the value of a row and feature.
    pub(super) fn new(
        n_rows: usize,
        n_features: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let mut values = vec![0.0; n_rows.next_multiple_of(LANES) * n_features];
        for (block, places) in values.chunks_exact_mut(LANES * n_features).enumerate() {
            let rows = block * LANES..n_rows.min((block + 1) * LANES);
            for (feature, column) in places.chunks_exact_mut(LANES).enumerate() {
                for (place, row) in column.iter_mut().zip(rows.clone()) {
                    *place = value(row, feature);
                }
            }
        }
        Self { n_rows, n_features, values }
    }

    /// The values of one row.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = f32> + Clone {
        let block = row / LANES * LANES * self.n_features;
        let values = &self.values[block..block + LANES * self.n_features];
        values.iter().copied().skip(row % LANES).step_by(LANES)
    }

    /// The kernels of a row with all rows, block by block; those with what was filled up mean nothing.
    pub(super) fn kernels(&self, row: &[f32]) -> impl Iterator<Item = [f32; LANES]> {
        self.values.chunks_exact(LANES * self.n_features).map(move |block| {
            let mut distances = [0.0_f32; LANES];
            for (column, own) in block.chunks_exact(LANES).zip(row) {
                for (distance, value) in distances.iter_mut().zip(column) {
                    let off = value - own;
                    *distance += off * off;
                }
            }
            // In place: mapping the array is a call per block, twice as slow.
            for distance in &mut distances {
                *distance = exp2_minus(*distance);
            }
            distances
        })
    }

    /// Writes the kernels of one of the rows with all of them.
    pub(super) fn kernel_row(&self, row: usize, out: &mut [f32]) {
        let own: Vec<f32> = self.row(row).collect();
        for (out, kernels) in out.chunks_mut(LANES).zip(self.kernels(&own)) {
            out.copy_from_slice(&kernels[..out.len()]);
        }
    }

    /// Bytes of the values.
    pub(super) fn memory(&self) -> usize {
        size_of_val(self.values.as_slice())
    }
}
