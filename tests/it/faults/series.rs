//! Remote write 1.0 as a receiver reads it, and what is kept of each series: how many samples, whether their times went back,
//! and the largest gap. The wire types are those of Prometheus' `prompb/remote.proto` and `types.proto`.

use std::collections::BTreeMap;

use prost::Message as _;

/// `WriteRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) timeseries: Vec<TimeSeries>,
}

/// `TimeSeries`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<Sample>,
}

/// `Label`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Label {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// `Sample`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Sample {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    #[prost(int64, tag = "2")]
    pub(crate) timestamp: i64,
}

impl TimeSeries {
    pub(crate) fn name(&self) -> &str {
        let name = self.labels.iter().find(|label| label.name == "__name__");
        name.map_or("", |label| &label.value)
    }
}

/// None when it is not a `WriteRequest` in snappy.
pub(crate) fn decode(body: &[u8]) -> Option<WriteRequest> {
    let raw = snap::raw::Decoder::new().decompress_vec(body).ok()?;
    WriteRequest::decode(raw.as_slice()).ok()
}

/// What is kept of one series.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Course {
    pub(crate) samples: u64,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    /// How often it went back in time.
    pub(crate) backwards: u64,
    pub(crate) largest_gap_ms: i64,
}

impl Course {
    /// The samples of one request. They are sorted by time there: after a step of the clock from `b` back to `a` one request may
    /// hold `a, b`. So a series went back when the newest of a request is older than the newest of the one before.
    fn take(&mut self, samples: &[Sample]) {
        let Some(newest) = samples.last().map(|sample| sample.timestamp) else { return };
        let sorted = samples.is_sorted_by_key(|sample| sample.timestamp);
        if self.samples == 0 {
            self.first_ms = samples[0].timestamp;
        } else {
            self.backwards += u64::from(newest < self.last_ms);
            self.largest_gap_ms = self.largest_gap_ms.max(samples[0].timestamp - self.last_ms);
        }
        self.backwards += u64::from(!sorted);
        let steps = samples.windows(2).map(|pair| pair[1].timestamp - pair[0].timestamp);
        self.largest_gap_ms = steps.fold(self.largest_gap_ms, i64::max);
        self.samples += samples.len() as u64;
        self.last_ms = newest;
    }
}

/// All series, by name and labels as `name{a="b",c="d"}`.
#[derive(Debug, Default)]
pub(crate) struct AllSeries(BTreeMap<String, Course>);

impl AllSeries {
    pub(crate) fn take(&mut self, request: &WriteRequest) {
        for series in &request.timeseries {
            let labels: Vec<String> = series
                .labels
                .iter()
                .filter(|label| label.name != "__name__")
                .map(|label| format!("{}={:?}", label.name, label.value))
                .collect();
            let key = format!("{}{{{}}}", series.name(), labels.join(","));
            let course = self.0.entry(key).or_default();
            course.take(&series.samples);
        }
    }

    /// The series that went back most often.
    pub(crate) fn most_backwards(&self) -> (&str, u64) {
        let all = self.0.iter().map(|(key, course)| (key.as_str(), course.backwards));
        all.max_by_key(|(_, backwards)| *backwards).unwrap_or_default()
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The series whose name and labels begin with this.
    pub(crate) fn find(&self, beginning: &str) -> Vec<(&str, Course)> {
        let all = self.0.iter().filter(|(key, _)| key.starts_with(beginning));
        all.map(|(key, course)| (key.as_str(), *course)).collect()
    }
}
