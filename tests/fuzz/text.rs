//! Texts that people, files and servers give: configuration, units, commands, how long to wait.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sentinel_contract::Command;
use sentinel_contract::units::{Period, Size};
use sentinel_engine::config::{self, Environment, Plan, Problem, Registry, Role, Shared, Source};
use sentinel_engine::control::Answer;
use sentinel_transport::status::{LONGEST_PAUSE, retry_after};

const REGISTRY: Registry = Registry {
    inputs: sentinel_inputs::ALL,
    processors: sentinel_processors::ALL,
    outputs: sentinel_outputs::ALL,
};

/// Any text is a plan, whose every plugin can be built, or mistakes, each with its place in the text.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let source = Source { path: PathBuf::from("agent.toml"), text: text.clone() };
    let variable = |name: &str| (name != "UNSET").then(|| "\"7\"\n[x".to_owned());
    let environment = Environment { variable, credentials: None };
    let shared = Shared::inert(PathBuf::from("/nonexistent"));
    match config::plan(&[source], &REGISTRY, &environment, &shared) {
        Ok(plan) => builds(&plan, &shared),
        Err(problems) => {
            assert!(!problems.0.is_empty(), "nothing is refused without a word");
            assert!(!problems.render().is_empty());
            problems.0.iter().for_each(|problem| is_placed(problem, &text));
        }
    }
}

fn is_placed(problem: &Problem, text: &str) {
    let line = problem.line.checked_sub(1).and_then(|at| text.split('\n').nth(at));
    let Some(line) = line else { panic!("line {} is not there: {problem:?}", problem.line) };
    let inside = 1..=line.chars().count() + 1;
    assert!(inside.contains(&problem.column), "beyond its line: {problem:?}");
    assert!(!problem.message.is_empty(), "{problem:?}");
}

fn builds(plan: &Plan, shared: &Shared) {
    let inputs = plan.inputs.iter();
    let outcomes = inputs.map(|it| it.build(&plan.context(Role::Input, it, shared)).map(drop));
    let processors = plan.processors.iter().map(|(it, _)| it);
    let outcomes = outcomes
        .chain(processors.map(|it| it.build(&plan.context(Role::Processor, it, shared)).map(drop)));
    let outputs = plan.outputs.iter();
    let outcomes = outcomes
        .chain(outputs.map(|it| it.build(&plan.context(Role::Output, it, shared)).map(drop)));
    for outcome in outcomes {
        assert!(outcome.is_ok(), "what was checked is built: {outcome:?}");
    }
}

/// Durations and sizes.
pub fn units(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Period(period)) = text.parse::<Period>() {
        assert!(period.as_nanos() <= u128::from(u64::MAX), "it fits where it is added");
    }
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Ok(Size(_)) = text.parse::<Size>() {
        assert!(!is_plain, "a text names its unit");
    }
}

/// No server makes us wait for longer than we are willing to.
pub fn retry_after_header(data: &[u8]) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_773_144_000);
    let pause = retry_after(&String::from_utf8_lossy(data), now);
    assert!(pause.is_none_or(|pause| pause <= LONGEST_PAUSE));
}

/// A line of the control socket: a command is the same after it was written, and so is an answer.
pub fn control(data: &[u8]) {
    if let Ok(command) = serde_json::from_slice::<Command>(data) {
        let written = serde_json::to_vec(&command).unwrap_or_default();
        let again = serde_json::from_slice::<Command>(&written).ok();
        assert_eq!(again, Some(command));
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(data) {
        let written = serde_json::to_vec(&answer).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Answer>(&written).ok(), Some(answer));
    }
}
