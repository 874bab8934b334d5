//! An incident: one change of its state, with the whole explanation (DESIGN section 6).

use serde::{Deserialize, Deserializer, Serialize};

/// Where an incident stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The score passed the boundary.
    #[default]
    Detected,
    /// It stayed there, or went far enough beyond.
    Confirmed,
    /// It met the rule for a page, and the budget allowed one: a person is called, once an incident.
    Notified,
    /// It stands where it stood, and something about it is new that a person should know. Calls nobody again.
    Updated,
    /// The score is back below the boundary, not yet for long enough.
    Recovering,
    /// Over.
    Resolved,
    /// Over, because its level is taken as the new normal.
    Accepted,
    /// Over, because nothing more can be known of it: it was neither seen to end nor to go on.
    Expired,
}

impl State {
    /// The last change of an incident.
    pub fn is_end(self) -> bool {
        matches!(self, State::Resolved | State::Accepted | State::Expired)
    }
}

/// How bad an incident is; it never falls while the incident is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    #[default]
    Info,
    /// Worth a look today.
    Warning,
    /// Worth getting up for.
    Critical,
}

impl Severity {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// As the level of a log line.
    pub fn level(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warn",
            Severity::Critical => "error",
        }
    }
}

/// How much of time a model has seen: what it can tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The level only: less than two days.
    #[default]
    Level,
    /// The hours of the day: at least two days.
    Daily,
    /// The days of the week: at least two weeks.
    Weekly,
}

impl Tier {
    /// Its word in JSON and on the page.
    pub fn word(self) -> &'static str {
        match self {
            Tier::Level => "level",
            Tier::Daily => "daily",
            Tier::Weekly => "weekly",
        }
    }
}

/// Which way a feature moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Above what was expected.
    Up,
    /// Below what was expected.
    Down,
}

/// The feature of a [`Contribution`] that stands for a source that no longer speaks.
pub const SILENCE: &str = "silence";

/// How much one feature raised the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The signal's name, for example `error_rate`.
    pub feature: String,
    /// 0..=1; the shares of an incident sum to 1.
    #[serde(deserialize_with = "null_is_nan")]
    pub share: f64,
    /// Which way it moved.
    pub direction: Direction,
    /// Its value, in the signal's own unit.
    #[serde(deserialize_with = "null_is_nan")]
    pub value: f64,
    /// What was expected, in the same unit.
    #[serde(deserialize_with = "null_is_nan")]
    pub expected: f64,
    /// Lower end of the usual band.
    #[serde(deserialize_with = "null_is_nan")]
    pub lower: f64,
    /// Upper end of the usual band.
    #[serde(deserialize_with = "null_is_nan")]
    pub upper: f64,
}

/// A signal that changed since the incident began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// The signal's name.
    pub feature: String,
    /// How much it changed, in its usual movements from frame to frame and hour to hour.
    #[serde(deserialize_with = "null_is_nan")]
    pub change: f64,
}

/// Something that changed on the host shortly before an incident, or during it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostChange {
    /// When: milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// What kind of thing: `unit`, `package`, `file`, `new_pattern`, ...
    pub kind: String,
    /// One sentence.
    pub text: String,
}

/// Where the leading signal is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// Farther from what is usual than some frames ago.
    Rising,
    /// As far as some frames ago.
    Steady,
    /// Nearer to what is usual, or back.
    Recovering,
}

/// One part of what is hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it is a part by: `status`, `path`, `client`, `unit`, `status and path`.
    pub dimension: String,
    /// Which: `502`, `/api/cart`.
    pub value: String,
    /// 0..=1, of all that is broken down.
    pub share: f64,
    /// How many; at least so many, when there were more values than are kept.
    pub count: u64,
}

/// An earlier incident of the same detector and group that looked alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Similar {
    /// Its key.
    pub key: String,
    /// When it began.
    pub started_ms: i64,
    /// How long it lasted.
    pub lasted_ms: i64,
    /// How it ended: `resolved`, `accepted` or `expired`.
    pub ended: String,
    /// What was hit, in absolute numbers.
    pub hit: String,
}

/// How much the detector could see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Signals of which it is known what is usual.
    pub known: usize,
    /// Signals it watches.
    pub signals: usize,
    /// Frames the model was trained on; 0 before there is one.
    pub trained_frames: usize,
}

/// All of an incident, once it is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// From its first frame to the last beyond the boundary.
    pub lasted_ms: i64,
    /// What was hit, in absolute numbers.
    pub hit: String,
}

/// One change of an incident's state. The first field is the sentence a person reads.
///
/// What the detector cannot say is left out, of the JSON too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Stable over all changes of one incident.
    pub key: String,
    /// The detector's alias.
    pub detector: String,
    /// The host.
    pub host: String,
    /// The group the detector watches (for example a site), empty for the host itself.
    pub group: String,
    /// The state entered.
    pub state: State,
    /// When the state was entered: milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// When the incident began.
    pub started_ms: i64,
    /// 1.0 is the boundary; the highest since the last change.
    #[serde(deserialize_with = "null_is_nan")]
    pub score: f64,
    /// Score of each model, 1.0 at its boundary.
    #[serde(deserialize_with = "null_scores_are_nan")]
    pub models: Vec<(String, f64)>,
    /// Largest share first. Empty when no feature left its own band: then it is the combination.
    pub contributions: Vec<Contribution>,
    /// The signals that changed most since it began, first the most. Suspects, not causes.
    #[serde(default)]
    pub suspects: Vec<Suspect>,
    /// What changed on the host, newest first.
    #[serde(default)]
    pub changes: Vec<HostChange>,
    /// Signals within their bands.
    pub normal: Vec<String>,
    /// Why a person was or was not called; what is new; why it is over.
    pub reason: String,
    /// What is hit in absolute numbers since it began: "412 of 5,480 requests failed".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hit: String,
    /// Whether it grows or goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<Trend>,
    /// What is usual of the leading signal: "error rate at most 1.3 %".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub usual: String,
    /// What it is made of; the largest parts of each dimension.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakdown: Vec<Part>,
    /// One of the lines, without addresses, numbers and secrets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sample: String,
    /// The last one that looked alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similar: Option<Similar>,
    /// Commands to go on with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// The whole of it, when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Total>,
    /// How much was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// What the model in use has seen; `None` while there is none.
    #[serde(default)]
    pub tier: Option<Tier>,
    /// How bad it is: its size, breadth and duration.
    #[serde(default)]
    pub severity: Severity,
    /// The key of the incident of this host that it is part of: that one's call is its call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<String>,
    /// It met the rule for a page, and was over the budget of calls: it comes in a digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// JSON has no NaN: serde_json writes null for it, and an incident must come back from the store all the same.
fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn null_scores_are_nan<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, f64)>, D::Error> {
    let scores: Vec<(String, Option<f64>)> = Vec::deserialize(deserializer)?;
    Ok(scores.into_iter().map(|(model, score)| (model, score.unwrap_or(f64::NAN))).collect())
}
