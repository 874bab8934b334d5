//! The plugins' tables: which plugin, its common options, its own options, and how they name each other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use sentinel_contract::{Entry, Input, Output, Processor};
use toml::Spanned;
use toml::de::DeValue;

use super::agent::{Agent, Web};
use super::common::{Common, Role};
use super::lineage::{Lineage, Mixed};
use super::plan::{Plan, Registry, Shared, Spec, context};
use super::source::{Problem, Problems, Source};
use super::{suggest, table};

/// Gathers plugins and mistakes over all files.
pub(super) struct Loader {
    pub(super) problems: Vec<Problem>,
    registry: Registry,
    inputs: Vec<Spec<Input>>,
    processors: Vec<(Spec<Processor>, bool)>,
    outputs: Vec<Spec<Box<dyn Output>>>,
    /// Where each alias was given: file and line.
    aliases: BTreeMap<String, (String, usize)>,
    /// Aliases of inputs and of observers so far: what `from` can name.
    origins: Vec<String>,
    /// Of each processor: by the partitions of which input it is kept.
    by_partition: Vec<Option<usize>>,
    lineage: Lineage,
    /// Aliases of processors whose tables are wrong: they may be observers.
    doubtful: Vec<String>,
}

/// One `[[role.name]]`.
struct Found<'t, 'i> {
    source: &'t Source,
    name: String,
    key: Range<usize>,
    table: &'t Spanned<DeValue<'i>>,
}

/// The options a sample shows: `name = value` lines before the first sub-table, commented or not.
pub fn option_names(sample: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for line in sample.lines().skip_while(|line| !line.starts_with("[[")).skip(1) {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            break;
        }
        if let Some((name, _)) = line.split_once('=')
            && !line.starts_with(['#', ' '])
            && name.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            names.push(name.trim());
        }
    }
    names
}

impl Loader {
    pub(super) fn new(registry: Registry) -> Self {
        Loader {
            problems: Vec::new(),
            registry,
            inputs: Vec::new(),
            processors: Vec::new(),
            outputs: Vec::new(),
            aliases: BTreeMap::new(),
            origins: Vec::new(),
            by_partition: Vec::new(),
            lineage: Lineage::default(),
            doubtful: Vec::new(),
        }
    }

    /// Inputs first, then processors, then outputs: `from` looks back only.
    pub(super) fn load(
        &mut self,
        documents: &[(&Source, Spanned<DeValue<'_>>)],
        agent: &Agent,
        host: &Arc<str>,
        shared: &Shared,
    ) {
        let registry = self.registry;
        for found in self.found(documents, Role::Input) {
            if let Some((spec, built)) =
                self.plugin(&found, Role::Input, registry.inputs, agent, host, shared)
            {
                let by_partition =
                    matches!(built, Some(Input::Service(service)) if service.by_partition());
                self.lineage.input(&spec.alias, self.inputs.len(), by_partition);
                self.origins.push(spec.alias.to_string());
                self.inputs.push(spec);
            }
        }
        for found in self.found(documents, Role::Processor) {
            if let Some((spec, built)) =
                self.plugin(&found, Role::Processor, registry.processors, agent, host, shared)
            {
                let observer = if let Some(processor) = built {
                    matches!(processor, Processor::Observer(_))
                } else {
                    self.doubtful.push(spec.alias.to_string());
                    true
                };
                self.check_from(&found, &spec.common, observer);
                let input = if observer { self.check_lineage(&found, &spec) } else { None };
                self.by_partition.push(input);
                if observer {
                    self.origins.push(spec.alias.to_string());
                }
                self.processors.push((spec, observer));
            }
        }
        for found in self.found(documents, Role::Output) {
            if let Some((spec, _)) =
                self.plugin(&found, Role::Output, registry.outputs, agent, host, shared)
            {
                self.check_from(&found, &spec.common, true);
                self.outputs.push(spec);
            }
        }
    }

    /// The plan, when nothing was wrong.
    pub(super) fn finish(
        mut self,
        sources: &[Source],
        agent: Agent,
        web: Web,
        host: Arc<str>,
    ) -> Result<Plan, Problems> {
        if self.inputs.is_empty() && self.problems.is_empty() {
            let problem = sources[0].problem(0..0, "no inputs: there is nothing to collect");
            self.problems.push(problem.help("add [[inputs.system]]"));
        }
        if !self.problems.is_empty() {
            let mut problems = Problems(self.problems);
            problems.sort();
            return Err(problems);
        }
        let Loader { inputs, processors, by_partition, outputs, .. } = self;
        Ok(Plan { agent, web, host, inputs, processors, by_partition, outputs })
    }

    /// Every table of a role, in the order of the files.
    fn found<'t, 'i>(
        &mut self,
        documents: &'t [(&'t Source, Spanned<DeValue<'i>>)],
        role: Role,
    ) -> Vec<Found<'t, 'i>> {
        let mut all = Vec::new();
        for (source, document) in documents {
            let mut here = Vec::new();
            let Some(sections) = table::entries(document) else { continue };
            let Some((_, section)) = sections.iter().find(|(key, _)| key.get_ref() == role.table())
            else {
                continue;
            };
            let Some(by_name) = table::entries(section) else {
                let message = format!("`{}` is a table of plugins", role.table());
                let help = format!("write [[{}.NAME]]", role.table());
                self.problems.push(source.problem(section.span(), message).help(help));
                continue;
            };
            for (key, value) in by_name {
                let name = key.get_ref().to_string();
                match value.get_ref() {
                    DeValue::Array(tables) => here.extend(tables.iter().map(|table| Found {
                        source,
                        name: name.clone(),
                        key: key.span(),
                        table,
                    })),
                    DeValue::Table(_) => {
                        let message =
                            format!("[{}.{name}] must be written with two brackets", role.table());
                        let help = format!("[[{}.{name}]]: there may be several", role.table());
                        self.problems.push(source.problem(key.span(), message).help(help));
                    }
                    _ => {
                        let message = format!("`{name}` is not a plugin's table");
                        self.problems.push(source.problem(key.span(), message));
                    }
                }
            }
            here.sort_by_key(|found| found.table.span().start);
            all.extend(here);
        }
        all
    }

    /// Reads one plugin's table. The plugin itself is `None` when its own options are wrong.
    fn plugin<K: 'static>(
        &mut self,
        found: &Found<'_, '_>,
        role: Role,
        entries: &'static [Entry<K>],
        agent: &Agent,
        host: &Arc<str>,
        shared: &Shared,
    ) -> Option<(Spec<K>, Option<K>)> {
        let Some(entry) = entries.iter().find(|entry| entry.name == found.name) else {
            let message = format!("unknown {} `{}`", role.word(), found.name);
            let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
            let mut problem = found.source.problem(name_span(found), message);
            problem.help = suggest::help(&found.name, &names);
            self.problems.push(problem);
            return None;
        };
        let mut own = found.table.clone();
        let common = self.common(&mut own, found, role);
        let alias = self.alias(found, &common);
        let mut known = option_names(entry.sample);
        self.swallowed(found.table, found.source, &known, role);
        known.extend(role.options());
        let context = context(role, &alias, &common, agent, host, shared);
        let (built, complaints) =
            table::collect(&own, found.source, &known, |table| (entry.build)(table, &context));
        self.problems.extend(complaints.problems);
        let table = plain(&own);
        Some((Spec { entry, alias, common, table }, built))
    }

    /// Takes the common options out of a table.
    fn common(
        &mut self,
        own: &mut Spanned<DeValue<'_>>,
        found: &Found<'_, '_>,
        role: Role,
    ) -> Common {
        let mut taken = toml::map::Map::new();
        for option in Role::Input.options().iter().chain(Role::Output.options()) {
            if !role.options().contains(option) {
                continue; // stays in the table: the plugin refuses it, with the options there are
            }
            if let Some((key, value)) = table::take(own, option) {
                taken.insert(Spanned::new(key, (*option).into()), value);
            }
        }
        let table = Spanned::new(found.table.span(), DeValue::Table(taken));
        let (common, complaints) = table::collect(&table, found.source, role.options(), |table| {
            let common: Common = table::parse(table)?;
            let mistakes = common.mistakes().into_iter();
            let errors: Vec<_> =
                mistakes.map(|(o, r)| sentinel_contract::ConfigError::value(o, r)).collect();
            if errors.is_empty() { Ok(common) } else { Err(errors) }
        });
        self.problems.extend(complaints.problems);
        common.unwrap_or_default()
    }

    /// The alias given, or the plugin's name with a number when it is taken.
    fn alias(&mut self, found: &Found<'_, '_>, common: &Common) -> Arc<str> {
        let Problem { file, line, .. } = found.source.problem(found.table.span(), "");
        if let Some(alias) = &common.alias {
            let here = (file.clone(), line);
            if let Some((other, line)) = self.aliases.insert(alias.clone(), here) {
                let span = table::entries(found.table)
                    .and_then(|map| map.iter().find(|(key, _)| key.get_ref() == "alias"))
                    .map_or(found.table.span(), |(_, value)| value.span());
                let place = if other == file { String::new() } else { format!(" of {other}") };
                let message =
                    format!("alias `{alias}` is taken by the plugin of line {line}{place}");
                self.problems.push(found.source.problem(span, message));
            }
            return alias.as_str().into();
        }
        let mut number = 1;
        loop {
            let alias =
                if number == 1 { found.name.clone() } else { format!("{}-{number}", found.name) };
            if !self.aliases.contains_key(&alias) {
                self.aliases.insert(alias.clone(), (file, line));
                return alias.into();
            }
            number += 1;
        }
    }

    /// An observer's events must be all of one input that is read by partition, or none.
    fn check_lineage(&mut self, found: &Found<'_, '_>, spec: &Spec<Processor>) -> Option<usize> {
        let Mixed { of_partitions, other } =
            match self.lineage.observer(&spec.alias, &spec.common.from) {
                Ok(input) => return input,
                Err(mixed) => mixed,
            };
        let message = format!(
            "`{}` takes events of `{of_partitions}` and of `{other}`, but what it knows moves with the partitions of one of them",
            spec.alias
        );
        let problem = found.source.problem(name_span(found), message);
        let help = format!("from = [\"{of_partitions}\"]; use another for the rest");
        self.problems.push(problem.help(help));
        None
    }

    /// `from` must name inputs, or observers above.
    fn check_from(&mut self, found: &Found<'_, '_>, common: &Common, observers_too: bool) {
        let Some((_, list)) = table::entries(found.table)
            .and_then(|map| map.iter().find(|(key, _)| key.get_ref() == "from"))
        else {
            return;
        };
        for (index, origin) in common.from.iter().enumerate() {
            let input = self.inputs.iter().any(|spec| *spec.alias == **origin);
            let known = self.origins.contains(origin) || self.doubtful.contains(origin);
            if input || (known && observers_too) {
                continue;
            }
            let span = match list.get_ref() {
                DeValue::Array(items) => items.get(index).map_or(list.span(), Spanned::span),
                _ => list.span(),
            };
            let message = if known {
                format!("from: `{origin}` is an observer, and a transform works on inputs only")
            } else {
                format!("from: no input or observer above is called `{origin}`")
            };
            let origins: Vec<&str> = self.origins.iter().map(String::as_str).collect();
            let mut problem = found.source.problem(span, message);
            problem.help = suggest::help(origin, &origins);
            self.problems.push(problem);
        }
    }

    /// Options of the plugin that stand below the header of one of its free-form tables (labels, headers), where they
    /// would be taken for entries.
    fn swallowed(
        &mut self,
        own: &Spanned<DeValue<'_>>,
        source: &Source,
        known: &[&str],
        role: Role,
    ) {
        for (name, value) in table::entries(own).into_iter().flatten() {
            // An inline table begins with `{` and cannot swallow what follows it.
            if source.text.as_bytes().get(value.span().start) != Some(&b'[') {
                continue;
            }
            for (key, _) in table::entries(value).into_iter().flatten() {
                let word: &str = key.get_ref();
                if FREE_FORM.contains(&&**name.get_ref())
                    && (known.contains(&word) || role.options().contains(&word))
                {
                    let message =
                        format!("`{word}` stands below the header of `{}`", name.get_ref());
                    self.problems.push(source.problem(key.span(), message).help(table::slid(word)));
                }
            }
        }
    }
}

/// Options whose tables take any key.
const FREE_FORM: &[&str] = &["labels", "tags", "headers", "patterns", "tagpass", "tagdrop"];

/// The span of the name within a `[[role.name]]` header.
fn name_span(found: &Found<'_, '_>) -> Range<usize> {
    let start = found.table.span().start;
    let header = found.source.text[start..].lines().next().unwrap_or_default();
    match header.find(&found.name) {
        Some(at) => start + at..start + at + found.name.len(),
        None => found.key.clone(),
    }
}

/// The table as TOML text without positions, to build from again.
fn plain(table: &Spanned<DeValue<'_>>) -> String {
    let value: Result<toml::Value, _> =
        serde::Deserialize::deserialize(toml::de::ValueDeserializer::from(table.clone()));
    // An inline table, so that it can be parsed as one value.
    value.map(|value| value.to_string()).unwrap_or_default()
}
