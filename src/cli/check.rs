//! `check`: all mistakes in one pass, offline; with `--online` what each backend answers.

use std::process::ExitCode;
use std::time::Duration;

use sentinel_contract::Input;
use sentinel_engine::config::{Plan, Role, Shared};
use serde_json::json;

use super::{EXIT_CONFIG, Options, Output, paths, print};

/// How long a backend may think.
const PATIENCE: Duration = Duration::from_secs(15);

/// Checks; exit code 78 for a wrong configuration, 1 for a backend that would not take data.
pub(crate) fn check(options: &Options, online: bool, format: Output) -> anyhow::Result<ExitCode> {
    let shared = Shared::inert(paths::state_dir(options.state_dir.as_deref()));
    let plan = match options.plan(&shared) {
        Ok(plan) => plan,
        Err(problems) => {
            match format {
                Output::Text => print(&problems.render()),
                Output::Json => {
                    print(&format!("{}\n", json!({"ok": false, "problems": problems.0})));
                }
            }
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let answers = if online { ask(&plan, &shared)? } else { Vec::new() };
    let good = answers.iter().all(|(_, _, answer)| answer.is_ok());
    match format {
        Output::Text => {
            let count =
                |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
            print(&format!(
                "the configuration is good: {}, {}, {}\n",
                count(plan.inputs.len(), "input"),
                count(plan.processors.len(), "processor"),
                count(plan.outputs.len(), "output")
            ));
            for (_, alias, answer) in &answers {
                let (mark, words) = match answer {
                    Ok(words) => ("ok", words.clone()),
                    Err(error) => ("FAILED", format!("{error:#}")),
                };
                print(&format!("{alias}: {mark}: {words}\n"));
            }
        }
        Output::Json => {
            let backends: Vec<_> = answers
                .iter()
                .map(|(role, alias, answer)| match answer {
                    Ok(words) => json!({role.word(): alias, "ok": true, "answer": words}),
                    Err(error) => {
                        json!({role.word(): alias, "ok": false, "answer": format!("{error:#}")})
                    }
                })
                .collect();
            print(&format!("{}\n", json!({"ok": good, "problems": [], "backends": backends})));
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Answer = (Role, String, anyhow::Result<String>);

/// Asks the far side of every input that has one, and every output's backend.
fn ask(plan: &Plan, shared: &Shared) -> anyhow::Result<Vec<Answer>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut answers = Vec::new();
    for spec in &plan.inputs {
        let input = spec.build(&plan.context(Role::Input, spec, shared))?;
        let Input::Service(mut service) = input else { continue };
        let answer =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, service.probe()).await });
        let late = |_late| Some(Err(anyhow::anyhow!("no answer within {PATIENCE:?}")));
        let answer = answer.unwrap_or_else(late);
        answers.extend(answer.map(|answer| (Role::Input, spec.alias.to_string(), answer)));
    }
    for spec in &plan.outputs {
        let mut output = spec.build(&plan.context(Role::Output, spec, shared))?;
        let answer =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, output.probe()).await });
        let answer =
            answer.unwrap_or_else(|_late| Err(anyhow::anyhow!("no answer within {PATIENCE:?}")));
        answers.push((Role::Output, spec.alias.to_string(), answer));
    }
    Ok(answers)
}
