//! Lines and samples into files or to standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use sentinel_contract::Metric;
use sentinel_inputs::generate::{Data, Generator, Piece};

use super::STDOUT;
use crate::cli::once::json_lines;

/// A buffer that has grown to this is written.
const FULL: usize = 256 << 10;

/// Where lines go.
enum Sink {
    Stdout,
    File(File),
}

/// A sink, and what is still to be written to it.
struct Outlet {
    path: String,
    sink: Sink,
    buffer: Vec<u8>,
}

/// All of them, and which is whose.
pub(super) struct Files {
    all: Vec<Outlet>,
    of_sources: Vec<usize>,
    of_hosts: Vec<usize>,
    /// Written so far.
    pub(super) bytes: u64,
}

impl Files {
    pub(super) fn open(output: &str, generator: &Generator) -> Result<Self> {
        let (of_sources, of_hosts) = (Vec::new(), Vec::new());
        let mut this = Files { all: Vec::new(), of_sources, of_hosts, bytes: 0 };
        for source in generator.sources() {
            let outlet = this.outlet(output, source.data, &source.host)?;
            this.of_sources.push(outlet);
        }
        for host in generator.metric_hosts() {
            let outlet = this.outlet(output, Data::Host, host)?;
            this.of_hosts.push(outlet);
        }
        Ok(this)
    }

    /// The outlet of one kind of data on one host; opened when it is the first that leads there.
    fn outlet(&mut self, output: &str, data: Data, host: &str) -> Result<usize> {
        let path = output.replace("{kind}", data.as_str()).replace("{host}", host);
        if let Some(at) = self.all.iter().position(|outlet| outlet.path == path) {
            return Ok(at);
        }
        let sink = if path == STDOUT {
            Sink::Stdout
        } else {
            let file = OpenOptions::new().append(true).create(true).open(&path);
            Sink::File(file.with_context(|| format!("{path}: cannot be opened"))?)
        };
        self.all.push(Outlet { path, sink, buffer: Vec::new() });
        Ok(self.all.len() - 1)
    }

    pub(super) fn lines(&mut self, generator: &mut Generator, piece: &Piece) -> Result<()> {
        let outlet = self.of_sources[piece.source];
        generator.write(piece, &mut self.all[outlet].buffer);
        self.filled(outlet)
    }

    /// As `once --format json` writes them.
    pub(super) fn samples(&mut self, host: usize, samples: &[Metric]) -> Result<()> {
        let outlet = self.of_hosts[host];
        self.all[outlet].buffer.extend_from_slice(json_lines(samples).as_bytes());
        self.filled(outlet)
    }

    /// Something was put into a buffer.
    fn filled(&mut self, at: usize) -> Result<()> {
        if self.all[at].buffer.len() < FULL { Ok(()) } else { self.write(at) }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        (0..self.all.len()).try_for_each(|at| self.write(at))
    }

    fn write(&mut self, at: usize) -> Result<()> {
        let Outlet { path, sink, buffer } = &mut self.all[at];
        let written = match sink {
            Sink::Stdout => io::stdout().lock().write_all(buffer),
            Sink::File(file) => file.write_all(buffer),
        };
        written.with_context(|| format!("{path}: cannot be written"))?;
        self.bytes += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }
}
