//! Commands: whom they reach, what comes back, and that none can hold or end an observer.

use std::time::Duration;

use super::*;
use crate::commands::Reply;
use crate::pipeline;

fn two_detectors(tag: &str) -> String {
    format!(
        "[[outputs.scripted]]\nalias = \"{tag}-out\"\n[[processors.count]]\nalias = \"{tag}-web\"\n\
         [[processors.count]]\nalias = \"{tag}-host\"\n[[inputs.poll]]\nalias = \"{tag}-in\"\n"
    )
}

fn train(detector: &str) -> Command {
    Command::Train { detector: Some(detector.to_owned()) }
}

fn maintenance(reason: &str) -> Command {
    Command::Maintenance { until_ms: None, detector: None, reason: reason.to_owned() }
}

fn reply(detector: &str, outcome: Result<&str, &str>) -> Reply {
    let outcome = outcome.map(str::to_owned).map_err(str::to_owned);
    Reply { detector: detector.to_owned(), outcome }
}

#[tokio::test(start_paused = true)]
async fn a_command_reaches_every_observer_and_their_answers_come_back_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let running = pipeline::start(&plan(&two_detectors("tell"), &shared), &shared).unwrap();
    let told = running.commands.tell(maintenance("a disk")).await;
    let done = Ok("did a disk");
    assert_eq!(told, Ok(vec![reply("tell-host", done), reply("tell-web", done)]));
    let saved = script("tell-web").calls.load(Ordering::SeqCst);
    assert_eq!(saved, 1, "what was decided is saved at once");
    assert_eq!(
        running.commands.tell(train("tell-web")).await,
        Ok(vec![reply("tell-web", Err("cannot train"))])
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whom_a_command_does_not_concern_is_left_out_and_an_unknown_name_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let running = pipeline::start(&plan(&two_detectors("whom"), &shared), &shared).unwrap();
    assert_eq!(running.commands.tell(Command::Accept { key: "a".into() }).await, Ok(vec![]));
    let unknown = running.commands.tell(train("loki")).await;
    assert_eq!(
        unknown,
        Err("there is no detector \"loki\"; running are: whom-host, whom-web".to_owned())
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_command_makes_an_observer_emit_is_routed_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let running = pipeline::start(&plan(&two_detectors("emit"), &shared), &shared).unwrap();
    running.commands.tell(maintenance("emit")).await.unwrap();
    let out = script("emit-out");
    until("the output has what was emitted", || out.lines().contains(&"77".to_owned())).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_at_a_command_says_so_and_runs_on() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let running = pipeline::start(&plan(&two_detectors("hurt"), &shared), &shared).unwrap();
    let told = running.commands.tell(maintenance("panic")).await.unwrap();
    assert!(told.iter().all(|reply| reply.outcome.is_err()), "{told:?}");
    assert_eq!(told.len(), 2);
    let again = running.commands.tell(maintenance("again")).await.unwrap();
    assert!(again.iter().all(|reply| reply.outcome.is_ok()), "{again:?}");
    let restarts: Vec<u64> = running
        .telemetry
        .plugins()
        .iter()
        .filter(|plugin| plugin.name == "count")
        .map(|plugin| plugin.counters.restarts.load(Ordering::Relaxed))
        .collect();
    assert_eq!(restarts, [1, 1]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_commands_at_once_are_answered_or_refused_and_none_waits_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let running = pipeline::start(&plan(&two_detectors("many"), &shared), &shared).unwrap();
    let told: Vec<_> = (0..100)
        .map(|_| {
            let commands = running.commands.clone();
            tokio::spawn(async move { commands.tell(maintenance("many")).await })
        })
        .collect();
    let (mut done, mut refused) = (0, 0);
    for told in told {
        for reply in told.await.unwrap().unwrap() {
            match reply.outcome {
                Ok(_) => done += 1,
                Err(words) => {
                    assert_eq!(words, "8 commands wait at it already");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(done + refused, 200);
    assert!(done >= 8 && refused > 0, "{done} done, {refused} refused");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_the_end_a_command_is_refused_rather_than_lost() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let running = pipeline::start(&plan(&two_detectors("late"), &shared), &shared).unwrap();
    let commands = running.commands.clone();
    running.stop().await;
    let told = tokio::time::timeout(Duration::from_secs(30), commands.tell(maintenance("late")));
    let told = told.await.expect("an answer").unwrap();
    let ended = Err("it has ended");
    assert_eq!(told, [reply("late-host", ended), reply("late-web", ended)]);
}
