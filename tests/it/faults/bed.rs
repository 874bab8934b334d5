//! What the fault tests share: an agent's configuration, waiting, and the judgements that hold for all of them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::case::Case;
use super::oracle::{self, Verdict};
use super::sink::{Asked, Sink};
use crate::live::load::Writer;
use crate::live::stack::{Agent, until};

/// The longest pause between two tries of the agent (`engine/backoff.rs`).
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// In which a new line has to arrive once the agent has met the backend again.
pub(crate) const LIVENESS: Duration = Duration::from_secs(30);
/// How long what was written may take to arrive, beyond the longest pause.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The parts of a configuration that tests change.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// Lines for `[agent]`.
    pub(crate) agent: &'a str,
    /// Lines for `[[inputs.tail]]`.
    pub(crate) tail: &'a str,
    /// Lines for `[[outputs.loki]]`.
    pub(crate) loki: &'a str,
    /// Whole tables.
    pub(crate) more: &'a str,
}

/// Files to the sink's Loki.
pub(crate) fn config(files: &[&Path], sink: &Sink, options: Options<'_>) -> String {
    let Options { agent, tail, loki, more } = options;
    let memory = if agent.contains("memory") { "" } else { "memory = \"8MiB\"" };
    format!(
        "[agent]\nbackfill = \"off\"\n{memory}\n{agent}\n\
         [[inputs.tail]]\nfiles = {files:?}\nstart = \"beginning\"\nlabels = {{ job = \"faults\" }}\n{tail}\n\
         [[outputs.loki]]\nurl = \"{}\"\n{loki}\n{more}\n",
        sink.url
    )
}

/// Host metrics each second to the sink's remote write.
pub(crate) fn host_metrics(sink: &Sink) -> String {
    format!(
        "[[inputs.system]]\ninterval = \"1s\"\n\
         [[outputs.victoriametrics]]\nurl = \"{}\"\nencoding = \"snappy\"\n",
        sink.url
    )
}

/// Stops the writer and waits until all it wrote has come; what came of it.
pub(crate) fn settle(case: &Case, sink: &Sink, source: &str, writer: Writer) -> Verdict {
    let (written, rate) = writer.finish();
    let verdict = arrived(sink, source, written.numbered);
    case.saw(format!("{source}: {verdict}, {rate:.0} lines/s"));
    verdict
}

/// Waits until so many lines of a source have come, and a moment more for those that come twice.
pub(crate) fn arrived(sink: &Sink, source: &str, written: u64) -> Verdict {
    let deadline = Instant::now() + PATIENCE + LONGEST_PAUSE;
    let mut last = (0, Instant::now());
    loop {
        let (verdict, lines) = {
            let taken = sink.taken();
            (taken.oracle.verdict(source, written), taken.oracle.lines(source))
        };
        if verdict.lost == 0 || Instant::now() > deadline.max(last.1 + PATIENCE) {
            std::thread::sleep(Duration::from_millis(1300)); // longer than `flush_interval`
            return sink.verdict(source, written);
        }
        if lines > last.0 {
            last = (lines, Instant::now()); // a long backlog has as long as it moves
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until a line of a source has come that is written after now; how long that took.
pub(crate) fn live(sink: &Sink, source: &str, writer: &Writer) -> Duration {
    let (number, started) = (writer.numbered(), Instant::now());
    until("a new line", LIVENESS, || sink.taken().oracle.has(source, number));
    started.elapsed()
}

/// Waits until the agent asks the sink again after a fault, and from then on for something to be taken.
pub(crate) fn recovered(case: &Case, sink: &Sink) {
    let fault_ended = Instant::now();
    let asked = |sink: &Sink| sink.asked(fault_ended);
    until("the agent asks again", LONGEST_PAUSE + LIVENESS, || !asked(sink).is_empty());
    let met = Instant::now();
    let taken = |asked: Asked| asked.status / 100 == 2 && asked.events > 0;
    until("something is taken", LIVENESS, || asked(sink).into_iter().any(taken));
    case.saw(format!(
        "asked again {:.1} s after the fault, took {:.1} s more",
        (met - fault_ended).as_secs_f64(),
        met.elapsed().as_secs_f64()
    ));
}

/// `received + restored = delivered + dropped + queued` at every output (restored: from the queue on disk of an agent before), once counters that are read one after the other agree.
pub(crate) fn conserved(agent: &Agent) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let status = agent.status();
        let plugins = status["plugins"].as_array().unwrap();
        let outputs = plugins.iter().filter(|plugin| plugin["kind"] == "output");
        let unequal: Vec<Value> = outputs.filter(|output| !is_conserved(output)).cloned().collect();
        if unequal.is_empty() {
            return;
        }
        let late = Instant::now() > deadline;
        assert!(!late, "received is not delivered + dropped + queued: {unequal:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is_conserved(output: &Value) -> bool {
    let count = |name: &str| output[name].as_u64().unwrap_or(0);
    let restored = output["counts"]["restored"].as_u64().unwrap_or(0);
    count("received") + restored == count("delivered") + count("queued") + dropped(output)
}

/// Everything that a plugin dropped.
pub(crate) fn dropped(plugin: &Value) -> u64 {
    let drops = plugin["drops"].as_object();
    drops.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// Nothing was dropped by any plugin.
pub(crate) fn nothing_dropped(agent: &Agent) {
    let status = agent.status();
    for plugin in status["plugins"].as_array().unwrap() {
        assert_eq!(dropped(plugin), 0, "{plugin:#}");
    }
}

/// A writer of a source into `folder/source.log`.
pub(crate) fn write(folder: &Path, source: &str, rate: u64) -> Writer {
    Writer::with(&folder.join(format!("{source}.log")), rate, oracle::lines(source))
}

pub(crate) fn pause(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}
