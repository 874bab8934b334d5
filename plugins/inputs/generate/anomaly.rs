//! The anomalies by name: what data each is in, what it does to it, and how it is asked for: `KIND@AT+DURATION`.

use std::str::FromStr;

use sentinel_contract::units::Period;

use super::Data;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    ErrorBurst,
    TrafficSpike,
    TrafficDrop,
    Latency,
    NewClient,
    PathScan,
    NewError,
    LevelShift,
    CpuSaturation,
    MemoryLeak,
    DiskFill,
    NetworkSpike,
}

/// Each with its name, its data, and what a person would say.
pub(super) const ALL: [(Name, &str, Data, &str); 12] = [
    (Name::ErrorBurst, "error_burst", Data::Web, "a large share of the answers is 5xx"),
    (Name::TrafficSpike, "traffic_spike", Data::Web, "several times as many requests"),
    (Name::TrafficDrop, "traffic_drop", Data::Web, "almost no requests"),
    (Name::Latency, "latency", Data::Web, "answers take several times as long"),
    (Name::NewClient, "new_client", Data::Web, "one client, 203.0.113.66, floods the site"),
    (Name::PathScan, "path_scan", Data::Web, "203.0.113.99 asks for strange paths, mostly 404"),
    (Name::NewError, "new_error", Data::App, "an error whose template was never seen before"),
    (Name::LevelShift, "level_shift", Data::App, "a large share of the lines is errors"),
    (Name::CpuSaturation, "cpu_saturation", Data::Host, "the processors are busy with user code"),
    (Name::MemoryLeak, "memory_leak", Data::Host, "memory in use grows until the end"),
    (Name::DiskFill, "disk_fill", Data::Host, "the file system / fills until the end"),
    (Name::NetworkSpike, "network_spike", Data::Host, "several times the traffic on eth0"),
];

impl Name {
    /// Its name, its data, and what a person would say.
    pub(super) fn about(self) -> (&'static str, Data, &'static str) {
        let (_, word, data, what) = ALL[self as usize];
        (word, data, what)
    }

    /// It is a matter of how many lines there are, and of nothing else.
    pub(super) fn is_of_rate(self) -> bool {
        matches!(self, Name::TrafficSpike | Name::TrafficDrop)
    }
}

/// One that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) name: Name,
    /// After the start.
    pub(super) at: Period,
    pub(super) length: Period,
    /// How large, of the usual size.
    pub(super) size: f64,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is not KIND@AT+DURATION or KIND@AT+DURATION*SIZE, such as \"error_burst@10m+2m\""
            )
        };
        let (word, rest) = text.split_once('@').ok_or_else(wrong)?;
        let (at, rest) = rest.split_once('+').ok_or_else(wrong)?;
        let (length, size) = rest.split_once('*').unwrap_or((rest, "1"));
        let found = ALL.iter().find(|(_, name, ..)| *name == word);
        let (name, ..) = found.ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|(_, name, ..)| *name).collect();
            format!("no anomaly is called \"{word}\"; there are: {}", names.join(", "))
        })?;
        let size = size.parse().ok().filter(|size| (0.01..=100.0).contains(size));
        let size = size.ok_or_else(|| format!("the size of \"{text}\" must be 0.01 to 100"))?;
        let (at, length): (Period, Period) = (at.parse()?, length.parse()?);
        if length.0.is_zero() {
            return Err(format!("\"{text}\" has no duration"));
        }
        Ok(Wanted { name: *name, at, length, size })
    }
}

/// What anomalies do to lines, at one time and host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effect {
    /// Times as many lines.
    pub(super) rate: f64,
    /// Share of lines that are errors, more than usual.
    pub(super) errors: f64,
    /// Times as long.
    pub(super) slow: f64,
    /// Share of the lines that the new client makes.
    pub(super) flood: f64,
    /// Share of the lines that are of a scan.
    pub(super) scan: f64,
    /// Share of the lines that are a new error.
    pub(super) novel: f64,
    /// Which new error.
    pub(super) which: usize,
}

impl Default for Effect {
    fn default() -> Self {
        Effect { rate: 1.0, errors: 0.0, slow: 1.0, flood: 0.0, scan: 0.0, novel: 0.0, which: 0 }
    }
}

impl Effect {
    /// Adds one anomaly, the `which`th of all. What comes on top of the usual lines leaves those as many as they are.
    pub(super) fn add(&mut self, name: Name, size: f64, which: usize) {
        let share = |usual: f64| (usual * size).min(0.95);
        match name {
            Name::ErrorBurst => self.errors = self.errors.max(share(0.4)),
            Name::LevelShift => self.errors = self.errors.max(share(0.3)),
            Name::TrafficSpike => self.rate *= 1.0 + 4.0 * size,
            Name::TrafficDrop => self.rate *= (1.0 - 0.95 * size).max(0.0),
            Name::Latency => self.slow *= 1.0 + 9.0 * size,
            Name::NewClient => {
                self.flood = share(0.5);
                self.rate /= 1.0 - self.flood;
            }
            Name::PathScan => {
                self.scan = share(0.3);
                self.rate /= 1.0 - self.scan;
            }
            Name::NewError => (self.novel, self.which) = (share(0.05), which),
            // Of host metrics, see `host`.
            Name::CpuSaturation | Name::MemoryLeak | Name::DiskFill | Name::NetworkSpike => {}
        }
    }
}
