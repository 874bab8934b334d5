//! Everything that can happen to delivery, in a random order; for finding what the other tests do not name.

use std::time::{Duration, Instant};

use super::load::{Writer, count};
use super::stack::{Agent, asked};
use super::tap::{Mode, Tap};

#[test]
fn soak() {
    if !asked() {
        return;
    }
    let seconds: f64 = std::env::var("SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let mut random: u64 = std::env::var("SEED").ok().and_then(|t| t.parse().ok()).unwrap_or(7);
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let folder = tempfile::tempdir().unwrap();
    let tap = Tap::start(Mode::Answer(204));
    let file = folder.path().join("app.log");
    let writer = Writer::start(&file, 6000);
    let config = format!(
        "[agent]\nmemory = \"4MiB\"\n[[inputs.tail]]\nfiles = [{file:?}]\nstart = \"beginning\"\n[[outputs.loki]]\nurl = \"{}\"\n",
        tap.url
    );
    let mut agent = Agent::start(&folder.path().join("agent"), &config);
    let started = Instant::now();
    let pause = |millis: u64| std::thread::sleep(Duration::from_millis(millis));
    let mut done = Vec::new();
    while started.elapsed().as_secs_f64() < seconds {
        let action = next(9);
        done.push((started.elapsed().as_millis(), action, writer.numbered()));
        match action {
            0 => pause(next(1500)),
            1 => writer.rename_and_create(),
            2 => {
                pause(1600);
                writer.copy_and_truncate();
                pause(1600);
            }
            3 => agent.crash(),
            4 | 5 => {
                pause(1600);
                agent.kill();
                pause(next(300));
                if action == 4 {
                    writer.rename_and_create()
                } else {
                    writer.copy_and_truncate()
                }
                pause(next(300));
                agent.again();
                pause(1600);
            }
            6 => {
                let (_, url) = ((), tap.url.clone());
                drop(url);
                tap.set(Mode::Answer(0));
                pause(2000 + next(4000));
            }
            7 => {
                agent.stop();
                agent.again();
            }
            _ => tap.set(Mode::Answer(204)),
        }
    }
    tap.set(Mode::Answer(204));
    let (written, rate) = writer.finish();
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let lines = tap.lines("app.log");
        let counted = count(lines.iter().map(String::as_str), written);
        if counted.holds_all(written) || Instant::now() > deadline {
            eprintln!("{written:?} {rate:.0}/s {counted:?} again {}", counted.again(written));
            let mut last = 0;
            let mut shown = 0;
            for line in &lines {
                let Some(n) = line.split(' ').next().and_then(|n| n.parse::<u64>().ok()) else {
                    continue;
                };
                if n < last && shown < 30 {
                    shown += 1;
                    eprintln!("back from {last} to {n}");
                }
                last = n;
            }
            if counted.backwards > 0 {
                eprintln!("{done:?}");
            }
            if !counted.holds_all(written) {
                eprintln!("{done:?}");
                eprintln!("{:#}", agent.plugin("tail"));
                let seen: std::collections::BTreeSet<u64> =
                    lines.iter().filter_map(|l| l.split(' ').next()?.parse().ok()).collect();
                let mut gap = None;
                for n in 0..=written.numbered {
                    match (seen.contains(&n) || n == written.numbered, gap) {
                        (false, None) => gap = Some(n),
                        (true, Some(from)) => {
                            eprintln!("gap {from}..{n}");
                            gap = None;
                        }
                        _ => {}
                    }
                }
                panic!("lost");
            }
            break;
        }
        pause(250);
    }
    agent.stop();
}
