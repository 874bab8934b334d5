//! `completions`: for bash, zsh, fish and others.

use std::process::ExitCode;

use super::print;

/// Prints the completions of one shell.
pub(crate) fn completions<A: clap::CommandFactory>(
    shell: clap_complete::Shell,
) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut A::command(), "sentinelops", &mut text);
    print(&String::from_utf8(text)?);
    Ok(ExitCode::SUCCESS)
}
