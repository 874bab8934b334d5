//! `${VAR}`, `${VAR:-default}`, `${file:PATH}` and `${credential:NAME}` inside string values.
//!
//! Replaced after parsing, so that a value cannot add configuration and positions stay true. `$$` is a dollar sign.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::source::{Problem, Source};

/// Where the values come from; tests bring their own.
pub struct Environment {
    /// Looks up an environment variable.
    pub variable: fn(&str) -> Option<String>,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
}

impl Environment {
    /// This process's.
    pub fn process() -> Self {
        Environment {
            variable: |name| std::env::var(name).ok(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        }
    }
}

/// Replaces in every string below `value`; what cannot be replaced is a problem at that string.
pub(super) fn interpolate(
    value: &mut Spanned<DeValue<'_>>,
    environment: &Environment,
    source: &Source,
    problems: &mut Vec<Problem>,
) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains('$') => match expand(text, environment) {
            Ok(expanded) => *text = Cow::Owned(expanded),
            Err(message) => problems.push(source.problem(span, message)),
        },
        DeValue::Array(items) => {
            for item in items.iter_mut() {
                interpolate(item, environment, source, problems);
            }
        }
        DeValue::Table(table) => {
            for (_, item) in table.iter_mut() {
                interpolate(item, environment, source, problems);
            }
        }
        _ => {}
    }
}

fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or("`${` without `}`; write `$$` for a dollar sign")?;
            out.push_str(&look_up(&after[..end], environment)?);
            rest = &after[end + 1..];
        } else {
            out.push('$'); // a lone dollar, as in a regular expression
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn look_up(name: &str, environment: &Environment) -> Result<String, String> {
    if let Some(path) = name.strip_prefix("file:") {
        return read(Path::new(path));
    }
    if let Some(credential) = name.strip_prefix("credential:") {
        let folder = environment.credentials.as_ref().ok_or_else(|| {
            format!("credential `{credential}`: $CREDENTIALS_DIRECTORY is not set; give it with LoadCredential= in the unit")
        })?;
        if credential.contains('/') || credential.is_empty() {
            return Err(format!("`{credential}` is not the name of a credential"));
        }
        return read(&folder.join(credential));
    }
    let (name, default) = match name.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (name, None),
    };
    match ((environment.variable)(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "environment variable `{name}` is not set; set it, or give a default: ${{{name}:-default}}"
        )),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
