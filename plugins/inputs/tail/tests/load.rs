//! Under load: a writer that never stops, rotation both ways, losses, a kill; every line arrives.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use sentinel_contract::Fate;

use super::harness::{Agent, Place, logs, numbered, resolve, text};

const BEGINNING: &str = "start = \"beginning\"\nread_chunk = \"4KiB\"";

/// Writes lines until `total`, reopening (or not) as the writers of rotated files do.
fn writer(path: PathBuf, total: usize, reopen_every: usize) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let open = || OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let mut file = open();
        for number in 0..total {
            if number % reopen_every == 0 {
                file = open();
            }
            writeln!(file, "line {number} of the load").unwrap();
            if number % 200 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    })
}

/// Takes lines until each of `total` was there; every `lose`th batch is lost. How often each came.
async fn collect(agent: &mut Agent, total: usize, lose: usize, seen: &mut HashMap<String, usize>) {
    let mut turn = 0;
    while seen.len() < total {
        let batch = agent.next().await;
        turn += 1;
        if lose > 0 && turn % lose == 0 {
            resolve(batch, Fate::Lost);
            continue;
        }
        for log in logs(&batch) {
            *seen.entry(text(log)).or_default() += 1;
        }
        resolve(batch, Fate::Delivered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rename_and_create_under_load_delivers_every_line_once() {
    let place = Place::new();
    let path = place.path("a.log");
    place.append("a.log", "the agent runs\n");
    let mut agent = place.start("a.log", BEGINNING);
    agent.lines(1).await; // what is rotated away before that is not the agent's
    let total = 20_000;
    let writing = writer(path.clone(), total, 100);
    let rotating = std::thread::spawn(move || {
        for round in 0..10 {
            std::thread::sleep(Duration::from_millis(10));
            let _not_yet_there = fs::rename(&path, path.with_extension(format!("log.{round}")));
        }
    });
    let mut seen = HashMap::new();
    collect(&mut agent, total, 0, &mut seen).await;
    writing.join().unwrap();
    rotating.join().unwrap();
    agent.is_silent().await;
    assert!(seen.values().all(|times| *times == 1));
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copytruncate_amid_reading_delivers_every_line_once() {
    let place = Place::new();
    let mut agent = place.start_with("a.log", BEGINNING, 1, 64 << 20); // one batch ahead: most is unread
    let (rounds, lines) = (6, 2000);
    let mut seen = HashMap::new();
    for round in 0..rounds {
        let from = round * lines;
        place.append("a.log", numbered(from..from + lines));
        collect(&mut agent, from + 1, 0, &mut seen).await;
        // What is written between copy and truncation is lost to everyone: the writer pauses for it.
        place.copy("a.log", &format!("a.log.{round}"));
        place.truncate("a.log");
    }
    collect(&mut agent, rounds * lines, 0, &mut seen).await;
    agent.is_silent().await;
    assert!(seen.values().all(|times| *times == 1));
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_and_a_kill_under_load_lose_nothing() {
    let place = Place::new();
    let path = place.path("a.log");
    let mut agent = place.start("a.log", BEGINNING);
    let total = 20_000;
    let writing = writer(path.clone(), total, 100);
    let mut seen = HashMap::new();
    collect(&mut agent, total / 3, 7, &mut seen).await;
    agent.kill().await;
    let _renamed_while_dead = fs::rename(&path, path.with_extension("log.1"));
    let mut agent = place.start("a.log", BEGINNING);
    collect(&mut agent, total, 5, &mut seen).await;
    writing.join().unwrap();
    agent.finish().await;
}
