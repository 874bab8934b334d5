//! Which anomalies are when, and on which host: those that were asked for, and those that the seed deals out.
//!
//! All is asked by offset from the start and remembers nothing, so that lost lines can be made again as they were. The seed
//! deals one anomaly to each span of `anomaly_every`; it begins in the span's first half, ends within it, and
//! lasts half an hour at most.

use super::Data;
use super::anomaly::{ALL, Effect, Name, Wanted};
use super::random::{SplitMix64, mix};

const SECOND_NS: i64 = 1_000_000_000;

/// One anomaly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Anomaly {
    pub(super) name: Name,
    /// Nanoseconds after the start.
    pub(super) begin_ns: i64,
    pub(super) end_ns: i64,
    pub(super) size: f64,
    pub(super) host: usize,
    /// The how manieth it is.
    pub(super) which: usize,
}

impl Anomaly {
    /// How much of it is over at an offset, 0 to 1.
    pub(super) fn progress(&self, offset_ns: i64) -> f64 {
        self.over_s(offset_ns) * 1e9 / (self.end_ns - self.begin_ns) as f64
    }

    /// The same in seconds.
    pub(super) fn over_s(&self, offset_ns: i64) -> f64 {
        (offset_ns.clamp(self.begin_ns, self.end_ns) - self.begin_ns) as f64 / 1e9
    }

    fn is_on(&self, offset_ns: i64) -> bool {
        (self.begin_ns..self.end_ns).contains(&offset_ns)
    }
}

/// What the seed deals out.
#[derive(Debug)]
struct Dealt {
    key: u64,
    every_ns: i64,
    names: Vec<Name>,
    hosts: u32,
}

/// All anomalies.
#[derive(Debug)]
pub(super) struct Schedule {
    planned: Vec<Anomaly>,
    dealt: Option<Dealt>,
}

impl Schedule {
    /// `every_ns` 0: the seed deals none. Of those it deals are only what is in `data`, and none of the rate unless `paced`.
    pub(super) fn new(
        wanted: &[Wanted],
        every_ns: i64,
        (seed, hosts): (u64, usize),
        (data, paced): (&[Data], bool),
    ) -> Self {
        let key = mix(seed ^ 0x616e_6f6d); // apart from the lines' keys
        let host = |which: usize| SplitMix64::of(!key, which as u64).below(hosts as u32) as usize;
        let planned = wanted.iter().enumerate().map(|(which, wanted)| {
            let begin_ns = wanted.at.0.as_nanos() as i64;
            let end_ns = begin_ns.saturating_add(wanted.length.0.as_nanos() as i64);
            let (name, size, host) = (wanted.name, wanted.size, host(which));
            Anomaly { name, begin_ns, end_ns, size, host, which }
        });
        let fits = |name: &Name| data.contains(&name.about().1) && (paced || !name.is_of_rate());
        let names: Vec<Name> = ALL.iter().map(|(name, ..)| *name).filter(fits).collect();
        let dealt = (every_ns > 0 && !names.is_empty()).then_some(Dealt {
            key,
            every_ns,
            names,
            hosts: hosts as u32,
        });
        Schedule { planned: planned.collect(), dealt }
    }

    /// Those of which an offset may be part.
    pub(super) fn near(&self, offset_ns: i64) -> impl Iterator<Item = Anomaly> {
        let dealt = self.dealt.as_ref().and_then(|dealt| dealt.of(offset_ns));
        self.planned.iter().copied().chain(dealt)
    }

    /// Those of one host's data that are under way.
    pub(super) fn on(
        &self,
        (data, host): (Data, usize),
        offset_ns: i64,
    ) -> impl Iterator<Item = Anomaly> {
        self.near(offset_ns).filter(move |anomaly| {
            anomaly.host == host && anomaly.name.about().1 == data && anomaly.is_on(offset_ns)
        })
    }

    /// Those that have begun, from the first.
    pub(super) fn begun(&self, offset_ns: i64) -> impl Iterator<Item = Anomaly> {
        let spans = self.dealt.as_ref().into_iter().flat_map(move |dealt| {
            (0..=offset_ns / dealt.every_ns).filter_map(|span| dealt.of(span * dealt.every_ns))
        });
        let all = self.planned.iter().copied().chain(spans);
        all.filter(move |anomaly| anomaly.begin_ns <= offset_ns)
    }

    /// What they do to a host's lines.
    pub(super) fn effect(&self, of: (Data, usize), offset_ns: i64) -> Effect {
        let mut effect = Effect::default();
        for anomaly in self.on(of, offset_ns) {
            effect.add(anomaly.name, anomaly.size, anomaly.which);
        }
        effect
    }
}

impl Dealt {
    /// The anomaly of the span in which an offset lies.
    fn of(&self, offset_ns: i64) -> Option<Anomaly> {
        let span = u64::try_from(offset_ns / self.every_ns).ok()?;
        let mut random = SplitMix64::of(self.key, span);
        let seconds = |least: i64, most: i64, random: &mut SplitMix64| {
            (least + (random.unit() * (most - least) as f64) as i64) / SECOND_NS * SECOND_NS
        };
        let begin_ns = span as i64 * self.every_ns + seconds(0, self.every_ns / 2, &mut random);
        let (least, most) = (self.every_ns / 20, self.every_ns / 3);
        let length_ns =
            seconds(least.min(300 * SECOND_NS), most.min(1800 * SECOND_NS), &mut random);
        Some(Anomaly {
            name: random.pick(&self.names),
            begin_ns,
            end_ns: begin_ns + length_ns,
            size: 1.0,
            host: random.below(self.hosts) as usize,
            which: span as usize,
        })
    }
}
