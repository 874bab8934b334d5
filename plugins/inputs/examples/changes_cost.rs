//! What one look of each watcher of `inputs.changes` costs on this host: `cargo run --profile quick -p sentinel-inputs
//! --example changes_cost [looks]`. CPU time is this thread's, from /proc/thread-self/schedstat; every watcher looks each
//! time, also those that look once a minute.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::history::NoHistory;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Context, Input, Labels, Now, Plugin as _};
use sentinel_inputs::changes::{Changes, Config, Subject};

fn cpu_micros() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}

fn main() -> anyhow::Result<()> {
    let looks: u32 = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    let state_dir = std::env::temp_dir();
    let context = Context {
        alias: "changes_cost".into(),
        host: "bench".into(),
        tags: Arc::new(Labels::new([("host", "bench")])),
        interval: Duration::from_secs(10),
        state_dir,
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    };
    let mut config = Config::default();
    config.watch.push(Subject::Ports);
    let Ok(Input::Gather(collectors)) = Changes::build(config, &context) else {
        anyhow::bail!("the defaults do not build");
    };
    let start = Instant::now();
    for mut collector in collectors {
        let (mut logs, before) = (Vec::new(), cpu_micros());
        for look in 0..looks {
            let instant = start + Duration::from_secs(60) * look;
            let now = Now { time_ms: i64::from(look) * 60_000, instant };
            collector.gather.gather(now, &mut Vec::new())?;
            collector.gather.logs(&mut logs);
        }
        let cost = (cpu_micros() - before) / f64::from(looks);
        println!("{:10} {cost:8.1} us a look, {} records", collector.name, logs.len());
    }
    let count = |folder: &str| std::fs::read_dir(folder).map_or(0, Iterator::count);
    println!("{looks} looks each, {} entries in /proc", count("/proc"));
    Ok(())
}
