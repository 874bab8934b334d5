//! Counts distinct values: exactly while there are few, then by HyperLogLog.
//!
//! HyperLogLog: Flajolet et al. 2007; the estimator is Ertl's (2017, "New cardinality estimation algorithms for HyperLogLog
//! sketches", section 4), which needs no bias tables. 4096 registers: standard error 1.6 %. Takes 64-bit hashes.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;
/// The largest rank: zeros in the remaining bits, plus one.
const MAX_RANK: u8 = (64 - BITS) as u8 + 1;

/// The values are hashes already.
#[derive(Default)]
pub(super) struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

type Hashes = HashSet<u64, BuildHasherDefault<Unhashed>>;

/// A set of hashes of which only the size is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub(super) enum Distinct {
    Exact(Hashes),
    Estimated(Box<[u8]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Exact(Hashes::default())
    }
}

impl Distinct {
    /// Adds a hash; beyond `exact` of them it is an estimate.
    pub(super) fn insert(&mut self, hash: u64, exact: usize) {
        match self {
            Distinct::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() > exact {
                    let mut registers = vec![0; REGISTERS].into_boxed_slice();
                    for hash in hashes.iter() {
                        raise(&mut registers, *hash);
                    }
                    *self = Distinct::Estimated(registers);
                }
            }
            Distinct::Estimated(registers) => raise(registers, hash),
        }
    }

    /// How many different ones there were.
    pub(super) fn count(&self) -> f64 {
        match self {
            Distinct::Exact(hashes) => hashes.len() as f64,
            Distinct::Estimated(registers) => estimate(registers),
        }
    }
}

fn raise(registers: &mut [u8], hash: u64) {
    let place = (hash >> (64 - BITS)) as usize;
    let rank = ((hash << BITS).leading_zeros() as u8 + 1).min(MAX_RANK);
    registers[place] = registers[place].max(rank);
}

fn estimate(registers: &[u8]) -> f64 {
    let mut counts = [0_u32; MAX_RANK as usize + 1];
    for rank in registers {
        counts[*rank as usize] += 1;
    }
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - f64::from(counts[MAX_RANK as usize]) / m);
    for count in counts[1..MAX_RANK as usize].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(counts[0]) / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// As it is in a snapshot: the hashes, or a letter a register (from `0` on).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Saved {
    Exact(Vec<u64>),
    Registers(String),
}

impl From<Distinct> for Saved {
    fn from(distinct: Distinct) -> Self {
        match distinct {
            Distinct::Exact(hashes) => Saved::Exact(hashes.into_iter().collect()),
            Distinct::Estimated(registers) => {
                Saved::Registers(registers.iter().map(|rank| char::from(b'0' + rank)).collect())
            }
        }
    }
}

impl TryFrom<Saved> for Distinct {
    type Error = String;

    fn try_from(saved: Saved) -> Result<Self, String> {
        match saved {
            Saved::Exact(hashes) => Ok(Distinct::Exact(hashes.into_iter().collect())),
            Saved::Registers(text) => {
                let registers: Vec<u8> = text.bytes().map(|byte| byte.wrapping_sub(b'0')).collect();
                let is_sane =
                    registers.len() == REGISTERS && registers.iter().all(|rank| *rank <= MAX_RANK);
                is_sane
                    .then(|| Distinct::Estimated(registers.into()))
                    .ok_or_else(|| "registers of another size".to_owned())
            }
        }
    }
}
