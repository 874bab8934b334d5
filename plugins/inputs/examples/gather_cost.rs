//! What one gather of all default system metrics costs: `cargo run --profile quick -p sentinel-inputs --example
//! gather_cost [gathers]`. Prints processor time by collector and of the whole process, from the kernel's own accounts.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::history::NoHistory;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Context, Input, Labels, Now, Plugin as _};
use sentinel_inputs::system::{Config, System};

fn main() -> anyhow::Result<()> {
    let gathers: u32 = std::env::args().nth(1).map_or(Ok(1000), |text| text.parse())?;
    let context = Context {
        alias: "system".into(),
        host: "bench".into(),
        tags: Arc::new(Labels::new([("host", "bench")])),
        interval: Duration::from_secs(10),
        state_dir: PathBuf::new(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    };
    let Ok(Input::Gather(mut collectors)) = System::build(Config::default(), &context) else {
        anyhow::bail!("the defaults do not build");
    };
    let mut samples = Vec::new();
    let mut errors = 0;
    let mut total = 0.0;
    for collector in &mut collectors {
        let before = thread_nanos()?;
        for _ in 0..gathers {
            samples.clear();
            let now = Now { time_ms: 0, instant: Instant::now() };
            errors += u32::from(collector.gather.gather(now, &mut samples).is_err());
        }
        let cost = (thread_nanos()? - before) as f64 / 1000.0 / f64::from(gathers);
        println!("{:10} {cost:7.1} us, {} samples", collector.name, samples.len());
        total += cost;
    }
    let ticks = process_ticks()?;
    for _ in 0..gathers {
        samples.clear();
        let now = Now { time_ms: 0, instant: Instant::now() };
        for collector in &mut collectors {
            errors += u32::from(collector.gather.gather(now, &mut samples).is_err());
        }
    }
    let ticks = process_ticks()? - ticks;
    let processes = std::fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
        .count();
    let budget = 1200.0 + 15.0 * processes as f64;
    println!(
        "gathers {gathers}, samples {}, errors {errors}, processes {processes}",
        samples.len()
    );
    println!("sum of the collectors {total:.0} us of processor time a gather");
    let whole = ticks as f64 * 10_000.0 / f64::from(gathers);
    println!("all together, whole process: {whole:.0} us a gather, budget {budget:.0} us");
    Ok(())
}

/// Nanoseconds this thread has run; the kernel brings it up to date a few hundred times a second.
fn thread_nanos() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

/// User and system time of the process, in hundredths of a second.
fn process_ticks() -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}
