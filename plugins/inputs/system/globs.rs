//! Name patterns with Telegraf's meaning: `*` also matches a slash.

use globset::{Glob, GlobSet, GlobSetBuilder};
use sentinel_contract::ConfigError;

/// Compiles a list of patterns; adds to `errors` what does not compile.
pub(super) fn compile(option: &str, patterns: &[String], errors: &mut Vec<ConfigError>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        match Glob::new(pattern) {
            Ok(glob) => {
                set.add(glob);
            }
            Err(error) => errors.push(ConfigError::value(option, error.to_string())),
        }
    }
    set.build().unwrap_or_else(|error| {
        errors.push(ConfigError::value(option, error.to_string()));
        GlobSet::empty()
    })
}
