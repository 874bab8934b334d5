//! A generator in memory, and its lines as text.

use std::time::Duration;

use sentinel_contract::Labels;

use crate::generate::{Config, Generator, Made, Piece, Scene};

/// 2026-11-30, midnight.
pub(super) const START_NS: i64 = 1_796_000_400_000_000_000 - 1_796_000_400_000_000_000 % DAY_NS;
pub(super) const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// A configuration of the options that are not the default.
pub(super) fn config(options: &str) -> Config {
    toml::from_str(options).unwrap()
}

pub(super) fn scene() -> Scene {
    Scene {
        host: "shop".to_owned(),
        labels: Labels::new([("env", "test")]),
        interval: Duration::from_secs(10),
        start_ns: START_NS,
    }
}

/// A generator at its start.
pub(super) fn generator(options: &str) -> Generator {
    Generator::new(&config(options), scene()).unwrap()
}

/// All that is due within so many seconds of the start.
pub(super) fn due(generator: &mut Generator, seconds: i64) -> Vec<Made> {
    let by_ns = START_NS + seconds * SECOND_NS - 1;
    std::iter::from_fn(|| generator.next(by_ns)).collect()
}

/// The pieces among them.
pub(super) fn pieces(made: &[Made]) -> Vec<Piece> {
    let piece = |made: &Made| match made {
        Made::Lines(piece) => Some(*piece),
        _ => None,
    };
    made.iter().filter_map(piece).collect()
}

/// The lines of pieces.
pub(super) fn text(generator: &mut Generator, pieces: &[Piece]) -> String {
    let mut out = Vec::new();
    for piece in pieces {
        generator.write(piece, &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// The lines of the first seconds.
pub(super) fn lines(options: &str, seconds: i64) -> Vec<String> {
    let mut generator = generator(options);
    let made = due(&mut generator, seconds);
    text(&mut generator, &pieces(&made)).lines().map(str::to_owned).collect()
}
