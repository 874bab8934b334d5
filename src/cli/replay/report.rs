//! What a replay has to say at its end: incidents, how far each went, and how many there were a day.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use sentinel_contract::Incident;
use sentinel_contract::incident::State;
use serde_json::{Value, json};

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// Features named in an incident's line.
const FEATURES: usize = 3;

/// How far an incident went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// It passed the boundary, no more.
    Detected,
    /// It was confirmed.
    Confirmed,
    /// A person was to be told.
    Notified,
}

impl Reach {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Reach::Detected => "detected",
            Reach::Confirmed => "confirmed",
            Reach::Notified => "notified",
        }
    }
}

/// One incident, from its changes.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub key: String,
    pub detector: String,
    pub group: String,
    pub started_ms: i64,
    /// When it ended; `None` when it was open at the end of the data.
    pub ended_ms: Option<i64>,
    pub reach: Reach,
    /// The last state, as it is written.
    pub state: String,
    pub score: f64,
    pub features: Vec<String>,
    pub message: String,
}

/// The end of a replay.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// What was replayed.
    pub name: String,
    pub frames: usize,
    pub from_ms: i64,
    pub to_ms: i64,
    /// Changes by the state entered.
    pub states: BTreeMap<String, usize>,
    /// In the order of their first change.
    pub stories: Vec<Story>,
    /// More to tell: counted drops, lines without a time.
    pub notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        name: impl Into<String>,
        frames: usize,
        (from_ms, to_ms): (i64, i64),
        changes: &[Incident],
    ) -> Self {
        let mut states = BTreeMap::new();
        let mut stories: Vec<Story> = Vec::new();
        let mut places = BTreeMap::new();
        for change in changes {
            *states.entry(state_word(change.state)).or_default() += 1;
            let at = *places.entry((&change.detector, &change.key)).or_insert(stories.len());
            if at == stories.len() {
                stories.push(Story::new(change));
            }
            stories[at].add(change);
        }
        let notes = Vec::new();
        Report { name: name.into(), frames, from_ms, to_ms, states, stories, notes }
    }

    /// Days there are between the first and the last frame.
    fn days(&self) -> f64 {
        (self.to_ms - self.from_ms).max(0) as f64 / DAY_MS as f64
    }

    /// How many incidents went so far, or further.
    pub(crate) fn count(&self, reach: Reach) -> usize {
        self.stories.iter().filter(|story| story.reach >= reach).count()
    }

    /// Incidents by the day or week (counted from the first day) in which they began: opened, confirmed, notified.
    pub(crate) fn volume(&self, days: i64) -> BTreeMap<i64, [usize; 3]> {
        let first = self.from_ms.div_euclid(DAY_MS);
        let mut volume = BTreeMap::new();
        for story in &self.stories {
            let day = (story.started_ms.div_euclid(DAY_MS) - first).max(0);
            let counts: &mut [usize; 3] = volume.entry(first + day / days * days).or_default();
            for count in &mut counts[..=story.reach as usize] {
                *count += 1;
            }
        }
        volume
    }

    pub(crate) fn json(&self) -> Value {
        let volume = |days| -> Vec<Value> {
            let counts = self.volume(days).into_iter();
            counts
                .map(|(day, [opened, confirmed, notified])| {
                    json!({"from": date(day * DAY_MS), "opened": opened, "confirmed": confirmed,
                        "notified": notified})
                })
                .collect()
        };
        json!({
            "series": self.name,
            "frames": self.frames,
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "opened": self.stories.len(),
            "confirmed": self.count(Reach::Confirmed),
            "notified": self.count(Reach::Notified),
            "changes_by_state": self.states,
            "by_day": volume(1),
            "by_week": volume(7),
            "incidents": self.stories.iter().map(Story::json).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let (from, to, days) = (minute(self.from_ms), minute(self.to_ms), self.days());
        let when = if self.frames == 0 {
            String::new()
        } else {
            format!(" from {from} to {to} UTC ({days:.1} days)")
        };
        let _infallible = writeln!(out, "{}: {} frames{when}", self.name, self.frames);
        let (confirmed, notified) = (self.count(Reach::Confirmed), self.count(Reach::Notified));
        let open = self.stories.iter().filter(|story| story.ended_ms.is_none()).count();
        let _infallible = writeln!(
            out,
            "incidents: {} opened, {confirmed} confirmed, {notified} notified; {open} open at the end",
            self.stories.len()
        );
        if days >= 1.0 {
            let a_week = |count: usize| count as f64 * 7.0 / days;
            let _infallible = writeln!(
                out,
                "a week: {:.1} opened, {:.1} confirmed, {:.1} notified",
                a_week(self.stories.len()),
                a_week(confirmed),
                a_week(notified)
            );
        }
        let span = if days > 28.0 { 7 } else { 1 };
        for (day, [opened, confirmed, notified]) in self.volume(span) {
            let _infallible = writeln!(
                out,
                "  {}{}  {opened} opened, {confirmed} confirmed, {notified} notified",
                if span == 7 { "week of " } else { "" },
                date(day * DAY_MS)
            );
        }
        for story in &self.stories {
            let _infallible = writeln!(out, "{}", story.line());
        }
        for note in &self.notes {
            let _infallible = writeln!(out, "note: {note}");
        }
        out
    }
}

impl Story {
    fn new(change: &Incident) -> Self {
        Story {
            key: change.key.clone(),
            detector: change.detector.clone(),
            group: change.group.clone(),
            started_ms: change.started_ms,
            ended_ms: None,
            reach: Reach::Detected,
            state: String::new(),
            score: f64::NEG_INFINITY,
            features: Vec::new(),
            message: String::new(),
        }
    }

    /// Takes one more change: the sentence and the features of its highest state stay.
    fn add(&mut self, change: &Incident) {
        let reach = match change.state {
            State::Notified => Reach::Notified,
            State::Confirmed => Reach::Confirmed,
            _ => Reach::Detected,
        };
        if self.message.is_empty() || reach > self.reach {
            self.message.clone_from(&change.message);
            let names = change.contributions.iter().take(FEATURES);
            self.features = names.map(|one| one.feature.clone()).collect();
        }
        self.reach = self.reach.max(reach);
        self.score = self.score.max(change.score);
        self.ended_ms = change.state.is_end().then_some(change.time_ms);
        self.state = state_word(change.state);
    }

    fn json(&self) -> Value {
        json!({
            "key": self.key, "detector": self.detector, "group": self.group,
            "started_ms": self.started_ms, "ended_ms": self.ended_ms, "reached": self.reach.word(),
            "state": self.state, "score": self.score, "features": self.features,
            "message": self.message,
        })
    }

    pub(crate) fn line(&self) -> String {
        let end = match self.ended_ms {
            Some(ended) => format!("{} ({})", minute(ended), length(ended - self.started_ms)),
            None => "open".to_owned(),
        };
        format!(
            "{} .. {end}  {}, {}  score {:.2}  {}",
            minute(self.started_ms),
            self.reach.word(),
            self.state,
            self.score,
            self.message
        )
    }
}

/// The state's name, as it is written in an incident's JSON.
fn state_word(state: State) -> String {
    let word = serde_json::to_value(state).ok();
    word.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn stamp(time_ms: i64, format: &str) -> String {
    Timestamp::from_millisecond(time_ms)
        .map_or_else(|_| time_ms.to_string(), |time| time.strftime(format).to_string())
}

/// A date, UTC.
pub(crate) fn date(time_ms: i64) -> String {
    stamp(time_ms, "%Y-%m-%d")
}

/// A date and time to the minute, UTC.
fn minute(time_ms: i64) -> String {
    stamp(time_ms, "%Y-%m-%d %H:%M")
}

/// How long, in its two largest units.
fn length(ms: i64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, ..) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}
