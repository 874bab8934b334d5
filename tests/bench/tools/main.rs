//! The benches' helper: makes corpora, stands in for the servers and counts what arrives, reads what a process has used.
//!
//! `tests/bench/run` calls it. It measures nothing by itself and knows neither the agent nor its peers.

mod arrivals;
mod await_lines;
mod corpus;
mod feed;
mod log_sink;
mod metric_sink;
mod process;
#[cfg(test)]
mod tests;
mod wire;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "helper of tests/bench/run")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a file of log lines, each with a unique `id=`
    Corpus {
        kind: corpus::Kind,
        file: PathBuf,
        #[arg(long, default_value_t = 1_000_000)]
        lines: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Appends a file to another at a rate
    Feed {
        from: PathBuf,
        to: PathBuf,
        #[arg(long, default_value_t = 20.0)]
        megabytes_per_second: f64,
    },
    /// Takes Loki pushes (protobuf or JSON) and compares each line with the file; GET /stats, GET /wait?lines=N
    LogSink {
        file: PathBuf,
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Only look for the id: the sender does not keep the line as it was
        #[arg(long)]
        ids_only: bool,
    },
    /// Takes Prometheus remote write (snappy or zstd); GET /stats, GET /names
    MetricSink {
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Waits until a log sink has all lines, then prints what a process has used
    Await {
        port: u16,
        lines: u32,
        pid: u32,
        #[arg(long, default_value_t = 180)]
        seconds: u64,
    },
    /// Prints what processes use in an interval
    Measure {
        seconds: u64,
        #[arg(required = true)]
        pid: Vec<u32>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Corpus { kind, file, lines, seed } => corpus::write(kind, &file, lines, seed),
        Command::Feed { from, to, megabytes_per_second } => {
            feed::run(&from, &to, megabytes_per_second)
        }
        Command::LogSink { file, port, ids_only } => log_sink::run(&file, port, ids_only),
        Command::MetricSink { port } => metric_sink::run(port),
        Command::Await { port, lines, pid, seconds } => await_lines::run(port, lines, pid, seconds),
        Command::Measure { seconds, pid } => process::measure(seconds, &pid),
    }
}
