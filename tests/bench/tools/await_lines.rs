//! Waits until a log sink has every line and reads at once what the sender has used by then.
//!
//! "By then" includes 100 ms in which the sender takes the last answer in and saves its position: that is part of the work.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::process::{Memory, SAMPLE_EVERY, cpu_seconds, report};

pub(crate) fn run(port: u16, lines: u32, pid: u32, seconds: u64) -> Result<()> {
    let start = Instant::now();
    let mut sink = TcpStream::connect(("127.0.0.1", port)).context("connecting to the sink")?;
    sink.set_read_timeout(Some(SAMPLE_EVERY))?;
    write!(sink, "GET /wait?lines={lines} HTTP/1.0\r\n\r\n")?;
    let mut memory = Memory::default();
    let mut answer = [0; 1];
    loop {
        match sink.read(&mut answer) {
            Ok(0) => bail!("the sink closed the connection"),
            Ok(_) => break,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                memory.sample(pid);
                cpu_seconds(pid)?; // fails when the sender has ended
            }
            Err(error) => return Err(error).context("waiting for the sink"),
        }
        if start.elapsed() > Duration::from_secs(seconds) {
            bail!("not all lines had come after {seconds} s");
        }
    }
    let wall = start.elapsed().as_secs_f64();
    thread::sleep(SAMPLE_EVERY);
    memory.sample(pid);
    report(pid, cpu_seconds(pid)?, wall, memory)
}
