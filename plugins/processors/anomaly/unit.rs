//! The unit of a signal, as far as its metric's name tells (Telegraf's naming, and that of `processors.log_features`), and
//! numbers as people write them. Nothing is decided by a unit.

use super::signals::{SignalConfig, Treatment};

/// What a signal's numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things, or nothing that is known.
    Number,
    /// 0 to 100.
    Percent,
    /// 0 to 1, shown as a percentage.
    Share,
    Bytes,
    Seconds,
}

impl Unit {
    pub(super) fn of(config: &SignalConfig) -> Unit {
        let metric = config.metric.as_str();
        let says = |words: &[&str]| words.iter().any(|word| metric.contains(word));
        match () {
            () if config.treatment == Treatment::Rate => Unit::Share,
            () if !config.divide_by.is_empty() => Unit::Number,
            () if says(&["percent", "cpu_usage_", "_util", "pressure_avg"]) => Unit::Percent,
            () if says(&["bytes"]) => Unit::Bytes,
            () if says(&["latency", "seconds", "duration"]) => Unit::Seconds,
            () => Unit::Number,
        }
    }

    /// For the page.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Unit::Number => "",
            Unit::Percent => "%",
            Unit::Share => "share",
            Unit::Bytes => "B",
            Unit::Seconds => "s",
        }
    }

    /// A value in a sentence.
    pub(super) fn shown(self, value: f64) -> String {
        match self {
            Unit::Share => format!("{} %", short(value * 100.0)),
            Unit::Percent => format!("{} %", short(value)),
            Unit::Seconds => format!("{} s", short(value)),
            Unit::Bytes => {
                let text = short(value);
                let gap = if text.ends_with(char::is_alphabetic) { "" } else { " " };
                format!("{text}{gap}B")
            }
            Unit::Number => short(value),
        }
    }
}

/// A number in few digits.
fn short(value: f64) -> String {
    let magnitude = value.abs();
    let (scaled, unit) = match magnitude {
        _ if magnitude >= 1e9 => (value / 1e9, " G"),
        _ if magnitude >= 1e6 => (value / 1e6, " M"),
        _ if magnitude >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        scaled if scaled >= 100.0 => 0,
        scaled if scaled >= 10.0 => 1,
        scaled if scaled >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}
