//! The options of a detector.

use sentinel_contract::ConfigError;
use sentinel_contract::schedule::Schedule;
use sentinel_contract::units::Period;
use serde::Deserialize;

use super::presets::Preset;
use super::signals::SignalConfig;
use super::size::Size;

/// Which series are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// Scores, and of every signal its value, expected value, band and score.
    #[default]
    All,
    /// Scores of the whole frame and contributions only.
    Scores,
    /// All, and contributions in every frame, not only while an incident is open.
    Explained,
}

/// What becomes of a source that spoke in every frame and no longer does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// It is an incident, and calls.
    #[default]
    Call,
    /// Nothing: the source speaks when it likes.
    Ignore,
}

/// `[[processors.anomaly]]`
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A ready-made list of signals.
    pub preset: Preset,
    /// More of them.
    pub signals: Vec<SignalConfig>,
    /// Length of a frame.
    pub frame_interval: Period,
    /// Labels whose every set of values is watched on its own.
    pub group_by: Vec<String>,
    /// Groups at most.
    pub max_groups: usize,
    /// How much memory a group may take.
    pub size: Size,
    /// Incidents that are welcome, a week and group.
    pub incidents_per_week: f64,
    /// Frames seen before the first model.
    pub min_training_frames: usize,
    /// How far back a model looks.
    pub training_window: Period,
    /// Age at which a model is replaced; a young one is sooner, whenever its frames have doubled.
    pub retrain_interval: Period,
    /// Frames whose median is the recent level.
    pub level_frames: usize,
    /// Frames beyond the boundary that confirm a detection; 0 is the preset's own.
    pub confirm_frames: u32,
    /// Low frames that resolve an incident.
    pub recover_frames: u32,
    /// Times in which nothing is raised and nothing learnt.
    pub maintenance: Vec<Schedule>,
    /// Whether silence is an incident.
    pub silence: Silence,
    /// How long a frame waits for late samples, beyond how far they usually lag.
    pub lateness: Period,
    /// Which series are written.
    pub series: Written,
    /// Of every random choice.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            preset: Preset::Host,
            signals: Vec::new(),
            frame_interval: Period::secs(60),
            group_by: vec!["job".to_owned()],
            max_groups: 16,
            size: Size::Full,
            incidents_per_week: 1.0,
            min_training_frames: 120,
            training_window: Period::secs(14 * 86_400),
            retrain_interval: Period::secs(24 * 3600),
            level_frames: 60,
            confirm_frames: 0,
            recover_frames: 10,
            maintenance: Vec::new(),
            silence: Silence::Call,
            lateness: Period::secs(10),
            series: Written::All,
            seed: 42,
        }
    }
}

impl Config {
    /// What is wrong, by option.
    pub(super) fn check(&self) -> Vec<ConfigError> {
        let millis = |period: Period| period.0.as_millis();
        let mut errors = Vec::new();
        let mut must = |holds: bool, option: &str, reason: &str| {
            if !holds {
                errors.push(ConfigError::value(option, reason));
            }
        };
        let frame = millis(self.frame_interval);
        must((1000..=3_600_000).contains(&frame), "frame_interval", "must be 1s to 1h");
        must((1..=100_000).contains(&self.max_groups), "max_groups", "must be 1 to 100000");
        let wanted = (0.01..=1000.0).contains(&self.incidents_per_week);
        must(wanted, "incidents_per_week", "must be 0.01 to 1000");
        let frames = (30..=20_160).contains(&self.min_training_frames);
        must(frames, "min_training_frames", "must be 30 to 20160");
        must((8..=1440).contains(&self.level_frames), "level_frames", "must be 8 to 1440");
        must(self.confirm_frames <= 60, "confirm_frames", "must be at most 60");
        must((1..=1000).contains(&self.recover_frames), "recover_frames", "must be 1 to 1000");
        must(millis(self.lateness) <= 3_600_000, "lateness", "must be at most 1h");
        let least = frame * self.min_training_frames as u128;
        let window = (least..=366 * 86_400_000).contains(&millis(self.training_window));
        must(window, "training_window", "must hold min_training_frames, and at most 366d");
        must(
            millis(self.retrain_interval) >= frame,
            "retrain_interval",
            "must be at least frame_interval",
        );
        let named = self.preset != Preset::None || !self.signals.is_empty();
        must(named, "signals", "preset = \"none\" needs [[processors.anomaly.signals]]");
        errors
    }
}
