//! The command line: one file a command.

mod accept;
mod agent;
mod backfill;
mod cases;
mod check;
mod completions;
mod control;
mod explain;
mod generate;
mod incidents;
mod layout;
mod low;
mod maintenance;
mod once;
mod paths;
mod plugins;
mod progress;
mod queue;
mod reload;
mod replay;
mod run;
mod status;
mod train;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use sentinel_engine::config::{self, Environment, Plan, Problems, Registry, Shared};
use sentinel_engine::log;

/// Every plugin in this binary.
pub(crate) const REGISTRY: Registry = Registry {
    inputs: sentinel_inputs::ALL,
    processors: sentinel_processors::ALL,
    outputs: sentinel_outputs::ALL,
};

/// The configuration is wrong (`EX_CONFIG` of sysexits.h): a service manager should not start us again.
pub(crate) const EXIT_CONFIG: u8 = 78;

/// Collects metrics and logs, finds anomalies on this host and says why, delivers to VictoriaMetrics and Loki.
#[derive(Parser)]
#[command(name = "sentinelops", version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, clap::Args)]
pub(crate) struct Options {
    /// The configuration [default: ./agent.toml, else /etc/sentinelops/agent.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder of more *.toml [default: agent.d beside the configuration, if it is there]
    #[arg(long, global = true, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Where state lives [default: $STATE_DIRECTORY, else $XDG_STATE_HOME/sentinelops]
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The least important lines to log
    #[arg(long, global = true, value_enum, default_value = "info")]
    log_level: LogLevel,
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// How a command prints what it found.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For scripts
    Json,
}

/// How `once` prints samples.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Samples {
    /// Prometheus text
    Prometheus,
    /// One JSON object a line
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent until it is told to stop (SIGTERM, SIGINT); SIGHUP reads the configuration again
    Run {
        /// Read the configuration again whenever one of its files changes
        #[arg(long)]
        watch: bool,
    },
    /// Check the configuration: every mistake, with its place; exit code 78 when there is one
    Check {
        /// Also ask every backend whether it would take data
        #[arg(long)]
        online: bool,
        /// How to print
        #[arg(long, value_enum, default_value = "text")]
        format: Output,
    },
    /// Gather every polled input once and print the samples; nothing is sent
    Once {
        /// How to print
        #[arg(long, value_enum, default_value = "prometheus")]
        format: Samples,
    },
    /// What plugins there are
    Plugins {
        #[command(subcommand)]
        what: plugins::What,
    },
    /// Ask the running agent: every plugin, its rates, queue, last error; detectors
    Status {
        /// How to print
        #[arg(long, value_enum, default_value = "text")]
        format: Output,
    },
    /// Run recorded data through the same code as live, causally, and report what it would have found
    Replay(Box<replay::Arguments>),
    /// What was found, newest first; from the running agent, else from its history
    Incidents {
        #[command(flatten)]
        wanted: incidents::Wanted,
    },
    /// Everything known of one incident: what raised it, what is normal, suspects, how it went
    Explain {
        /// Its key or a part that only it has; or `last`
        id: String,
        /// How to print
        #[arg(long, value_enum, default_value = "text")]
        format: Output,
    },
    /// Silence the detectors while somebody works on the host; without a word more: list the windows
    Maintenance {
        #[command(subcommand)]
        what: Option<maintenance::What>,
    },
    /// Take an open incident as the new normal: it ends, and its level is learnt
    Accept {
        /// Its key or a part that only it has; or `last`
        id: String,
    },
    /// Take back the last new normal
    Undo {
        /// Only this detector's [default: the one that accepted last]
        #[arg(long, value_name = "ALIAS")]
        detector: Option<String>,
    },
    /// Train the models
    Train {
        /// Without waiting until it is due
        #[arg(long, required = true)]
        now: bool,
        /// Only this detector's
        #[arg(long, value_name = "ALIAS")]
        detector: Option<String>,
    },
    /// What waits for each output, and what its backend refused for good: the dead letters
    Queue {
        #[command(subcommand)]
        what: queue::What,
    },
    /// Make up labelled logs and metrics, with anomalies of known kinds at known times
    Generate(Box<generate::Arguments>),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Parses, runs, and turns the outcome into an exit code.
pub(crate) fn main() -> ExitCode {
    let Arguments { options, command } = Arguments::parse();
    let outcome = match command {
        Command::Run { watch } => run::run(&options, watch),
        Command::Check { online, format } => check::check(&options, online, format),
        Command::Once { format } => once::once(&options, format),
        Command::Plugins { what } => plugins::plugins(&what),
        Command::Status { format } => status::status(&options, format),
        Command::Replay(arguments) => replay::replay(&options, &arguments),
        Command::Incidents { wanted } => incidents::incidents(&options, &wanted),
        Command::Explain { id, format } => explain::explain(&options, &id, format),
        Command::Maintenance { what } => maintenance::maintenance(&options, what),
        Command::Accept { id } => accept::accept(&options, &id),
        Command::Undo { detector } => accept::undo(&options, detector),
        Command::Train { now: _, detector } => train::train(&options, detector),
        Command::Queue { what } => queue::queue(&options, what),
        Command::Generate(arguments) => generate::generate(&arguments),
        Command::Completions { shell } => completions::completions::<Arguments>(shell),
    };
    outcome.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

impl Options {
    /// Starts logging as asked.
    fn start_log(&self) {
        let level = match self.log_level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
        };
        let format = match self.log_format {
            LogFormat::Text => log::Format::Text,
            LogFormat::Json => log::Format::Json,
        };
        log::start(level, format);
    }

    /// The same with another configuration.
    fn with_config(&self, config: &std::path::Path) -> Self {
        Options { config: Some(config.to_owned()), config_dir: None, ..self.clone() }
    }

    /// Reads and checks the configuration.
    fn plan(&self, shared: &Shared) -> Result<Plan, Problems> {
        let main = paths::config(self.config.as_deref());
        let folder = paths::config_dir(self.config_dir.as_deref(), &main);
        let sources = config::read(&main, folder.as_deref())?;
        config::plan(&sources, &REGISTRY, &Environment::process(), shared)
    }
}

/// Prints to standard output; a closed pipe (`| head`) is not an error.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let _closed = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a line to standard error.
pub(crate) fn complain(text: &str) {
    use std::io::Write as _;
    let _closed = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}
