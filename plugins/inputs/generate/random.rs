//! SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"): each line has a stream of its own,
//! found by its number, so that any line can be made again without those before it. Not for secrets.

/// The odd number closest to 2^64 over the golden ratio, by which the state steps.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The mixing function of the paper's section 5.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seeded stream of pseudorandom numbers.
#[derive(Clone, Debug)]
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    /// The stream of the `nth` thing of those that share a key. The place is mixed: streams of neighbours would else be one
    /// stream, a step apart.
    pub(super) fn of(key: u64, nth: u64) -> Self {
        SplitMix64(mix(mix(key).wrapping_add(nth.wrapping_mul(STEP))))
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Uniform in `0..n`; 0 if `n` is 0.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }

    /// Uniform in `0.0..1.0`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    /// One of them.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    /// A waiting time with a long tail, in units of its usual one: median 1, mean 2.1, at most 26.5. Without a logarithm, whose
    /// last bit differs between machines.
    pub(super) fn tail(&mut self) -> f64 {
        let unit = self.unit();
        0.5 + 0.5 * unit / (1.02 - unit) * 1.04
    }
}
