//! `plugins`: what there is, what it can be told, and a table to start from.

use std::process::ExitCode;

use clap::Subcommand;
use sentinel_engine::config::{Role, option_names};

use super::{REGISTRY, print};

/// What to say about plugins.
#[derive(Subcommand)]
pub(crate) enum What {
    /// All plugins
    List,
    /// One plugin's options, with those that every plugin of its kind has
    Describe {
        /// For example tail, or inputs.tail
        name: String,
    },
    /// One plugin's table, ready to be pasted
    Sample {
        /// For example tail, or inputs.tail
        name: String,
    },
}

/// Prints what was asked.
pub(crate) fn plugins(what: &What) -> anyhow::Result<ExitCode> {
    match what {
        What::List => {
            for (role, name, sample) in all() {
                print(&format!("{:<28} {}\n", format!("{}.{name}", role.table()), summary(sample)));
            }
        }
        What::Describe { name } => {
            for (role, name, sample) in named(name)? {
                print(&format!("{}.{name}: {}\n\n", role.table(), summary(sample)));
                print(&format!("options: {}\n", option_names(sample).join(", ")));
                print(&format!(
                    "options of every {}: {}\n\n{sample}",
                    role.word(),
                    role.options().join(", ")
                ));
            }
        }
        What::Sample { name } => {
            for (_, _, sample) in named(name)? {
                print(sample);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

type Found = (Role, &'static str, &'static str);

fn all() -> Vec<Found> {
    let inputs = REGISTRY.inputs.iter().map(|entry| (Role::Input, entry.name, entry.sample));
    let processors = REGISTRY.processors.iter().map(|e| (Role::Processor, e.name, e.sample));
    let outputs = REGISTRY.outputs.iter().map(|entry| (Role::Output, entry.name, entry.sample));
    inputs.chain(processors).chain(outputs).collect()
}

fn named(wanted: &str) -> anyhow::Result<Vec<Found>> {
    let is =
        |(role, name, _): &Found| *name == wanted || format!("{}.{name}", role.table()) == wanted;
    let found: Vec<Found> = all().into_iter().filter(is).collect();
    if found.is_empty() {
        let names: Vec<&str> = all().into_iter().map(|(_, name, _)| name).collect();
        anyhow::bail!("no plugin is called `{wanted}`; there are: {}", names.join(", "));
    }
    Ok(found)
}

/// The first sentence of a sample's prose.
fn summary(sample: &str) -> &str {
    sample.lines().find_map(|line| line.strip_prefix("## ")).unwrap_or_default()
}
