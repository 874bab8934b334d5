//! `agent.toml` and `agent.d/*.toml` to a [`Plan`], or to all of their mistakes at once.
//!
//! The engine picks a plugin by its table's name and reads each table on its own, so that positions are never lost.

mod agent;
mod common;
mod interpolate;
mod lineage;
mod mask;
mod plan;
mod plugins;
mod source;
mod suggest;
mod table;

#[cfg(test)]
mod tests;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use agent::{AGENT_OPTIONS, Agent, Backfill, WEB_OPTIONS, Web};
pub use common::{Common, Role};
pub use interpolate::Environment;
pub use plan::{Plan, Registry, Shared, Spec};
pub use plugins::option_names;
pub use source::{Problem, Problems, Source};

/// What can stand at the top of a file.
const SECTIONS: &[&str] = &["agent", "inputs", "outputs", "processors", "web"];

/// Reads `main` and every `*.toml` of `folder`, in the order of their names; hidden ones are an editor's.
pub fn read(main: &Path, folder: Option<&Path>) -> Result<Vec<Source>, Problems> {
    let mut problems = Problems::default();
    let mut paths = vec![main.to_owned()];
    match folder.map(std::fs::read_dir).transpose() {
        Ok(listing) => {
            let mut more: Vec<PathBuf> = listing
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
                .filter(|path| path.file_name().is_some_and(|n| !n.as_bytes().starts_with(b".")))
                .collect();
            more.sort();
            paths.extend(more);
        }
        Err(error) => problems.0.push(Problem::unreadable(folder.unwrap_or(main), &error)),
    }
    let mut sources = Vec::new();
    for path in paths {
        match std::fs::read_to_string(&path) {
            Ok(text) => sources.push(Source { path, text }),
            Err(error) => problems.0.push(Problem::unreadable(&path, &error)),
        }
    }
    if problems.0.is_empty() { Ok(sources) } else { Err(problems) }
}

/// Checks everything and plans; `Err` holds every mistake of every file.
pub fn plan(
    sources: &[Source],
    registry: &Registry,
    environment: &Environment,
    shared: &Shared,
) -> Result<Plan, Problems> {
    let mut loader = plugins::Loader::new(*registry);
    let mut agent = None;
    let mut web = None;
    let mut documents = Vec::new();
    let healed: Vec<String> =
        sources.iter().map(|source| heal(source, &mut loader.problems)).collect();
    for (source, text) in sources.iter().zip(&healed) {
        let (mut document, _told_by_heal) = DeTable::parse_recoverable(text);
        let span = document.span();
        let mut document = Spanned::new(span, DeValue::Table(std::mem::take(document.get_mut())));
        interpolate::interpolate(&mut document, environment, source, &mut loader.problems);
        section(
            &mut document,
            "agent",
            source,
            &mut loader,
            AGENT_OPTIONS,
            &mut agent,
            Agent::mistakes,
        );
        section(&mut document, "web", source, &mut loader, WEB_OPTIONS, &mut web, Web::mistakes);
        unknown_sections(&document, source, &mut loader);
        documents.push((source, document));
    }
    let agent: Agent = agent.unwrap_or_default();
    let host: Arc<str> =
        if agent.host.is_empty() { host_name() } else { agent.host.as_str().into() };
    loader.load(&documents, &agent, &host, shared);
    loader.finish(sources, agent, web.unwrap_or_default(), host)
}

/// The text with every table that cannot be parsed blanked out, so that one forgotten bracket does not hide the
/// mistakes in the other tables, nor make the parser complain about all that follows.
fn heal(source: &Source, problems: &mut Vec<Problem>) -> String {
    let mut text = source.text.clone();
    while let Err(error) = DeTable::parse(&text) {
        let span = error.span().unwrap_or(0..0);
        let at = source.boundary(span.start);
        let problem = source.problem(span, error.message().replace('\n', ": "));
        let header_before = |at: usize| text[..at].rfind("\n[").map_or(0, |found| found + 1);
        // An unclosed bracket is noticed at the next header: it belongs to the table before.
        let start = match header_before(at) {
            start if text[start..at].trim_matches(['[', ' ']).is_empty() && start > 0 => {
                header_before(start - 1)
            }
            start => start,
        };
        let end = text[at..].find("\n[").map_or(text.len(), |found| at + found + 1);
        if text[start..end].trim().is_empty() || problems.len() > 100 {
            return String::new();
        }
        problems.push(problem);
        let blank: String =
            text[start..end].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        text.replace_range(start..end, &blank);
    }
    text
}

/// Reads one of the agent's own tables, which may stand in one file only.
fn section<T: serde::de::DeserializeOwned>(
    document: &mut Spanned<DeValue<'_>>,
    name: &str,
    source: &Source,
    loader: &mut plugins::Loader,
    options: &[&str],
    found: &mut Option<T>,
    mistakes: impl Fn(&T) -> Vec<(&'static str, &'static str)>,
) {
    let Some((key, value)) = table::take(document, name) else { return };
    if found.is_some() {
        let message = format!("[{name}] stands in another file already");
        loader.problems.push(source.problem(key, message));
        return;
    }
    let (read, complaints) = table::collect(&value, source, options, |table| {
        let config: T = table::parse(table)?;
        let wrong = mistakes(&config);
        if wrong.is_empty() {
            return Ok(config);
        }
        let errors = wrong.into_iter();
        Err(errors.map(|(o, r)| sentinel_contract::ConfigError::value(o, r)).collect())
    });
    loader.problems.extend(complaints.problems);
    *found = read;
}

fn unknown_sections(
    document: &Spanned<DeValue<'_>>,
    source: &Source,
    loader: &mut plugins::Loader,
) {
    for (key, _) in table::entries(document).into_iter().flatten() {
        let name: &str = key.get_ref();
        if SECTIONS.contains(&name) {
            continue;
        }
        let mut problem = source.problem(key.span(), format!("unknown table or option `{name}`"));
        problem.help = if AGENT_OPTIONS.contains(&name) {
            Some(format!("`{name}` belongs below [agent]"))
        } else {
            suggest::help(name, SECTIONS)
        };
        loader.problems.push(problem);
    }
}

fn host_name() -> Arc<str> {
    rustix::system::uname().nodename().to_string_lossy().as_ref().into()
}
