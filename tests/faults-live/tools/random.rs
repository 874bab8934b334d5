//! Random numbers from a seed: the same seed gives the same schedule and the same traffic everywhere.
//!
//! SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). Not for secrets.

/// A stream of random numbers.
pub(crate) struct Random(u64);

impl Random {
    /// Streams with other numbers are independent of this one for all that matters here.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut start = Random(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        start.next();
        start
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0..1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.unit()
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Small numbers more often than large ones: the square of a uniform variable.
    pub(crate) fn skewed(&mut self, limit: usize) -> usize {
        let uniform = self.unit();
        ((uniform * uniform * limit as f64) as usize).min(limit - 1)
    }

    /// Of a normal distribution, mean 0 and deviation 1 (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Of a Poisson distribution, by products of uniforms (Knuth); made for means below some tens.
    pub(crate) fn poisson(&mut self, mean: f64) -> usize {
        let (floor, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > floor {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// An index, in proportion to the weights.
    pub(crate) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            rest -= weight;
            if rest < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}
