//! The binary: arguments to a command, a command to an exit code. It and `cli/` are the only code that names plugins.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
