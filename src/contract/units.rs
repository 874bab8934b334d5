//! Values with units in configuration: durations "10s", sizes "16MiB", and secrets that never print.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration: "500ms", "10s", "1m", "1h30m", "7d"; or a whole number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// Whole seconds.
    pub const fn secs(seconds: u64) -> Self {
        Period(Duration::from_secs(seconds))
    }
}

/// A size in bytes: "256KiB", "1MB", "10GiB"; or a whole number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A password or token. It is never printed, logged or shown.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

const DURATION_UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

const SIZE_UNITS: [(&str, u64); 8] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Sums "1h30m" in the smallest unit; `None` when a number, a unit or the whole does not fit.
fn sum(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text.trim();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let factor = units.iter().find(|(name, _)| *name == unit)?.1;
        let amount = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(factor)?,
            Err(_) => {
                let product = number.parse::<f64>().ok()? * factor as f64;
                if product >= u64::MAX as f64 {
                    return None;
                }
                product as u64
            }
        };
        total = total.checked_add(amount)?;
        rest = next.trim_start();
    }
    (!text.trim().is_empty()).then_some(total)
}

impl std::str::FromStr for Period {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let nanos = sum(text, &DURATION_UNITS).ok_or_else(|| {
            format!("\"{text}\" is not a duration such as \"10s\", \"500ms\" or \"1h30m\"")
        })?;
        Ok(Period(Duration::from_nanos(nanos)))
    }
}

impl std::str::FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        sum(text, &SIZE_UNITS).map(Size).ok_or_else(|| {
            format!("\"{text}\" is not a size such as \"256KiB\", \"16MiB\" or \"1GB\"")
        })
    }
}

/// A whole number of seconds that a text could say too: longer would overflow clocks it is added to.
fn seconds(number: u64) -> Option<Period> {
    (number <= u64::MAX / 1_000_000_000).then(|| Period::secs(number))
}

struct Units<T> {
    expecting: &'static str,
    whole: fn(u64) -> Option<T>,
}

impl<T: std::str::FromStr<Err = String>> Visitor<'_> for Units<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let whole = u64::try_from(number).map_err(|_| E::custom("must not be negative"))?;
        self.visit_u64(whole)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.whole)(number).ok_or_else(|| E::custom("is too large"))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Units { expecting: "a duration such as \"10s\"", whole: seconds })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Units {
            expecting: "a size such as \"16MiB\"",
            whole: |number| Some(Size(number)),
        })
    }
}
