//! F22: what the detectors have learnt, over `kill -9`, and with a history that is no database any more.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bed::{self, pause};
use super::case::Case;
use super::sink::Sink;
use crate::live::stack::{Agent, until};

/// In which a detector is what it was: a snapshot is taken every five minutes, and without one it is trained again, from its
/// own frames in the history.
const WARM: Duration = Duration::from_secs(60);

pub(super) fn models(case: &Case) {
    // Short: nothing is trained yet, and what is killed is a detector that learns.
    let (kills, learnt) = case.pick((1, 8), (8, 110));
    let sink = Sink::start();
    let config = format!(
        "[agent]\nbackfill = \"off\"\n{}\
         [[processors.anomaly]]\npreset = \"none\"\nfrom = [\"system\"]\nframe_interval = \"1s\"\nmin_training_frames = 30\n\
         {}{}",
        bed::host_metrics(&sink),
        signal("mem_total"),
        signal("swap_total")
    );
    let mut agent = Agent::start(&case.dir("agent"), &config);
    learns(&agent, learnt);
    case.saw(format!("{} after {learnt} frames", group(&agent)["state"])); // a busy host puts trainings off
    let mut random = case.random();
    for _ in 0..kills {
        pause(0.3 + random.below(1700) as f64 / 1000.0);
        let before = group(&agent);
        agent.kill();
        agent.again();
        let killed = Instant::now();
        until("it is what it was", WARM, || group(&agent)["state"] == before["state"]);
        let after = group(&agent);
        let took = killed.elapsed().as_secs_f64();
        case.saw(format!("{} after a kill within {took:.1} s", after["state"]));
        assert_eq!(after["model"].is_null(), before["model"].is_null(), "{before}\n{after}");
    }
    let calls = group(&agent)["incidents"].clone();
    assert_eq!(calls, 0, "a restart is no incident");

    agent.kill();
    let history = case.dir("agent/state").join("history.db");
    spoil(&history);
    agent.again();
    learns(&agent, 3);
    let after = group(&agent);
    case.saw(format!("a spoilt history: {} frames, {}", frames(&after), after["state"]));
    assert_eq!(after["state"], "learning");
    assert!(agent.log().contains("history"), "{}", agent.log());
    agent.stop();
}

/// What never changes: an incident of this host would stop the learning.
fn signal(metric: &str) -> String {
    format!("[[processors.anomaly.signals]]\nname = \"{metric}\"\nmetric = \"{metric}\"\n")
}

/// `/api/status` of the one group.
fn group(agent: &Agent) -> Value {
    let _looked_at = agent.status(); // it is made anew each second only while somebody looks
    pause(1.1);
    agent.status()["detectors"]["anomaly"]["groups"].get(0).cloned().unwrap_or_default()
}

fn frames(group: &Value) -> u64 {
    group["frames"].as_u64().unwrap_or(0)
}

fn learns(agent: &Agent, count: u64) {
    until("it learns", Duration::from_secs(240), || frames(&group(agent)) >= count);
}

/// Every other page becomes something else, and the log of what is to be written is gone.
fn spoil(history: &Path) {
    let mut bytes = std::fs::read(history).unwrap();
    for page in bytes.chunks_mut(4096).step_by(2) {
        page.fill(0x5a);
    }
    std::fs::write(history, bytes).unwrap();
    for ending in ["-wal", "-shm"] {
        let mut beside = history.as_os_str().to_owned();
        beside.push(ending);
        let _not_there = std::fs::remove_file(beside);
    }
}
