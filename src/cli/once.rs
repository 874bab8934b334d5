//! `once`: what the polled inputs see now, as text; for looking, and for comparing with other agents.

use std::fmt::Write as _;
use std::process::ExitCode;

use sentinel_contract::{Input, Kind, Metric};
use sentinel_engine::config::{Role, Shared};
use sentinel_engine::gather::twice;
use serde_json::json;

use super::{EXIT_CONFIG, Options, Samples, complain, paths, print};

/// Gathers twice, a second apart (rates need two samples), and prints the second.
pub(crate) fn once(options: &Options, format: Samples) -> anyhow::Result<ExitCode> {
    options.start_log();
    let shared = Shared::inert(paths::state_dir(options.state_dir.as_deref()));
    let plan = match options.plan(&shared) {
        Ok(plan) => plan,
        Err(problems) => {
            complain(&problems.render());
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let mut failed = false;
    for spec in &plan.inputs {
        match spec.build(&plan.context(Role::Input, spec, &shared))? {
            Input::Gather(mut collectors) => {
                let (samples, errors) = twice(&mut collectors);
                print(&match format {
                    Samples::Prometheus => prometheus(&samples),
                    Samples::Json => json_lines(&samples),
                });
                for (collector, error) in &errors {
                    complain(&format!("{}: {collector}: {error:#}", spec.alias));
                }
                failed |= !errors.is_empty();
            }
            Input::Service(_) => {
                complain(&format!("{}: is not polled: nothing to gather", spec.alias));
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prometheus text, samples of one name together.
fn prometheus(samples: &[Metric]) -> String {
    let mut sorted: Vec<&Metric> = samples.iter().collect();
    sorted.sort_by(|a, b| a.series.name().cmp(b.series.name()));
    let mut out = String::new();
    let mut last = "";
    for metric in sorted {
        let series = &metric.series;
        if series.name() != last {
            let kind = if series.kind() == Kind::Counter { "counter" } else { "gauge" };
            let _infallible = writeln!(out, "# TYPE {} {kind}", series.name());
            last = series.name();
        }
        let labels: Vec<String> = series
            .labels()
            .iter()
            .map(|(name, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{name}=\"{value}\"")
            })
            .collect();
        let _infallible =
            writeln!(out, "{}{{{}}} {}", series.name(), labels.join(","), metric.value);
    }
    out
}

/// A JSON object a sample.
pub(crate) fn json_lines(samples: &[Metric]) -> String {
    let mut out = String::new();
    for metric in samples {
        let labels: serde_json::Map<_, _> =
            metric.series.labels().iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        let value = json!({"name": metric.series.name(), "labels": labels,
            "time_ms": metric.time_ms, "value": metric.value});
        let _infallible = writeln!(out, "{value}");
    }
    out
}
