//! Delivery, counted: at a tap before Loki and in Loki itself, while nothing fails and while everything does.

use std::path::Path;
use std::time::{Duration, Instant};

use super::load::{Count, Writer, Written, count};
use super::stack::{Agent, Server, asked, get, loki_lines, metrics, until};
use super::tap::{Mode, Tap};

/// Lines a second under load.
const RATE: u64 = 6_000;

/// How long what was written may take to arrive once nothing is in the way. A pause between two tries can have grown to
/// 32 s while Loki was dead.
const PATIENCE: Duration = Duration::from_secs(75);

fn config(files: &[&Path], loki: &str) -> String {
    format!(
        "[[inputs.tail]]\nfiles = {files:?}\nstart = \"beginning\"\nlabels = {{ job = \"load\" }}\n\
         [[outputs.loki]]\nurl = \"{loki}\"\n"
    )
}

/// The label by which a file's stream is told from the others.
fn label(file: &Path) -> String {
    format!("filename={:?}", file.display().to_string())
}

/// Waits until the tap has seen every line of a file.
fn arrived(tap: &Tap, file: &Path, written: Written) -> Count {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lines = tap.lines(&label(file));
        let counted = count(lines.iter().map(String::as_str), written);
        if counted.holds_all(written) || Instant::now() > deadline {
            return counted;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// What Loki has of a file, in the order of time.
fn kept(loki: &Server, file: &Path, written: Written) -> Count {
    let lines = loki_lines(loki, &format!("{{job=\"load\",{}}}", label(file)));
    count(lines.iter().map(|line| line.text.as_str()), written)
}

/// Waits until this much time has passed since `start`.
fn wait_until(start: Instant, seconds: f64) {
    pause((seconds - start.elapsed().as_secs_f64()).max(0.0));
}

fn pause(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

#[test]
fn every_line_arrives_exactly_once_and_in_order_through_orderly_restarts_too() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let loki = Server::start("loki", folder.path());
    let tap = Tap::start(Mode::Forward(loki.url.clone()));
    let files = ["a.log", "b.log"].map(|name| folder.path().join(name));
    let writers = files.each_ref().map(|file| Writer::start(file, RATE / 2));
    let config = config(&[&files[0], &files[1]], &tap.url);
    let mut agent = Agent::start(&folder.path().join("agent"), &config);
    pause(3.0);
    let mut stopped = Vec::new();
    for _ in 0..2 {
        stopped.push(agent.stop());
        pause(0.5);
        agent.again();
        pause(2.5);
    }
    for (writer, file) in writers.into_iter().zip(&files) {
        let (written, rate) = writer.finish();
        let tapped = arrived(&tap, file, written);
        pause(0.2); // one that came twice would come now
        let tapped_again = tap.lines(&label(file)).len() as u64;
        let found = kept(&loki, file, written);
        eprintln!(
            "exactly once, 2 orderly restarts (took {stopped:?}): wrote {written:?} at {rate:.0}/s; tap {tapped:?}; Loki {found:?}"
        );
        assert!(tapped.is_exact(written), "tap: {tapped:?} of {written:?}");
        assert_eq!(tapped_again, written.all());
        assert!(found.is_exact(written), "Loki: {found:?} of {written:?}");
    }
    let tail = agent.plugin("tail");
    assert_eq!(tail["drops"], serde_json::json!({}), "{tail}");
    assert!(agent.stop() < Duration::from_secs(5));
}

/// The memory is small, so that it is full long before Loki is back: then the file is the buffer, and it is rotated twice.
#[test]
fn nothing_is_lost_when_loki_is_dead_for_20_s_and_metrics_and_page_go_on() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let vm = Server::start("victoriametrics", folder.path());
    let mut loki = Server::start("loki", folder.path());
    let tap = Tap::start(Mode::Forward(loki.url.clone()));
    let file = folder.path().join("app.log");
    let writer = Writer::start(&file, RATE);
    let config = format!(
        "[agent]\ninterval = \"1s\"\nmemory = \"4MiB\"\n[[inputs.system]]\n{}\n[[outputs.victoriametrics]]\nurl = \"{}\"\n",
        config(&[&file], &tap.url),
        vm.url
    );
    let mut agent = Agent::start(&folder.path().join("agent"), &config);
    until("the first lines", Duration::from_secs(20), || tap.taken() > 1000);
    let (before, newest) = (tap.taken(), newest_sample(&vm));
    loki.kill();
    let killed = Instant::now();
    until("loki is retrying", Duration::from_secs(15), || {
        agent.plugin("loki")["state"] == "retrying"
    });
    assert!(status_command(&agent).contains("retrying"));
    until("new samples in spite of a dead Loki", Duration::from_secs(15), || {
        newest_sample(&vm) > newest + 4.0
    });
    let page = get(&format!("{}/", agent.page)).unwrap();
    assert!(page.contains("<html"), "the page answers: {page}");
    for (seconds, rotate) in
        [(8.0, Writer::rename_and_create as fn(&Writer)), (13.0, Writer::copy_and_truncate)]
    {
        wait_until(killed, seconds);
        rotate(&writer);
    }
    let memory = agent.status()["memory"].clone();
    wait_until(killed, 20.0);
    let (meanwhile, state) = (newest_sample(&vm) - newest, agent.plugin("loki"));
    assert!(meanwhile > 10.0, "samples of {meanwhile} s came while Loki was dead");
    assert!(state["state"] == "retrying" && !state["last_error"].is_null(), "{state}");
    assert_eq!(agent.plugin("victoriametrics")["drops"], serde_json::json!({}));
    loki.restart();
    let (dead, restarted) = (killed.elapsed(), Instant::now());
    let (written, rate) = writer.finish();
    let tapped = arrived(&tap, &file, written);
    let recovered = restarted.elapsed();
    let found = kept(&loki, &file, written);
    eprintln!(
        "Loki dead for {dead:?}: wrote {written:?} at {rate:.0}/s, {before} taken before; all at the tap {recovered:?} after; \
         tap {tapped:?} ({} again); Loki {found:?} ({} again); samples of {meanwhile:.0} s and memory {memory} meanwhile; no answer to {} pushes",
        tapped.again(written),
        found.again(written),
        tap.answered(0)
    );
    assert!(tapped.holds_all(written), "tap: {tapped:?} of {written:?}");
    assert!(found.holds_all(written), "Loki: {found:?} of {written:?}");
    assert_eq!(found.backwards, 0, "{found:?}");
    until("loki is well again", Duration::from_secs(10), || {
        agent.plugin("loki")["state"] == "active"
    });
    agent.stop();
}

/// The time of the newest sample that VictoriaMetrics has, in seconds.
fn newest_sample(vm: &Server) -> f64 {
    metrics(vm, "max(timestamp(mem_total))").first().map_or(0.0, |(_, seconds)| *seconds)
}

fn status_command(agent: &Agent) -> String {
    let output = std::process::Command::new(crate::cli::binary())
        .args(["status", "--config"])
        .arg(agent.dir.join("agent.toml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "a plugin is not well: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nothing_is_lost_when_the_agent_is_killed_and_the_file_is_rotated() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let loki = Server::start("loki", folder.path());
    let tap = Tap::start(Mode::Slow(loki.url.clone(), Duration::from_millis(500)));
    killed_under_load(&loki, &tap, folder.path());
    tap.set(Mode::Forward(loki.url.clone()));
    rotated_under_load(&loki, &tap, folder.path());
    rotated_while_dead(&loki, &tap, folder.path());
}

/// Five times `kill -9` within 15 s.
fn killed_under_load(loki: &Server, tap: &Tap, folder: &Path) {
    let file = folder.join("killed.log");
    let writer = Writer::start(&file, RATE);
    let mut agent = Agent::start(&folder.join("agent-killed"), &config(&[&file], &tap.url));
    let mut taken = Vec::new();
    for nth in 0..5 {
        pause(2.0 + 0.37 * f64::from(nth));
        taken.push(tap.taken());
        agent.crash();
    }
    pause(2.0);
    let (written, rate) = writer.finish();
    let tapped = arrived(tap, &file, written);
    let found = kept(loki, &file, written);
    eprintln!(
        "killed 5 times (taken by then: {taken:?}): wrote {written:?} at {rate:.0}/s; tap {tapped:?} ({} again); Loki {found:?} ({} again)",
        tapped.again(written),
        found.again(written)
    );
    assert!(taken.is_sorted_by(|a, b| a < b), "it was killed while it delivered");
    assert!(tapped.holds_all(written), "tap: {tapped:?} of {written:?}");
    assert!(found.holds_all(written), "Loki: {found:?} of {written:?}");
    // At most what was on its way at each kill: some seconds of lines, not the file again.
    assert!(tapped.again(written) < written.all() / 2, "{tapped:?}");
    agent.stop();
}

/// Both kinds of rotation, three times each, under load: nothing fails, so each line comes once.
fn rotated_under_load(loki: &Server, tap: &Tap, folder: &Path) {
    let file = folder.join("rotated.log");
    let writer = Writer::start(&file, RATE);
    let mut agent = Agent::start(&folder.join("agent-rotated"), &config(&[&file], &tap.url));
    pause(1.5);
    for _ in 0..3 {
        writer.rename_and_create();
        pause(1.6);
        writer.copy_and_truncate();
        pause(1.6);
    }
    let (written, rate) = writer.finish();
    let tapped = arrived(tap, &file, written);
    let found = kept(loki, &file, written);
    eprintln!(
        "rotated 3 times each way: wrote {written:?} at {rate:.0}/s; tap {tapped:?} ({} again); Loki {found:?} ({} again)",
        tapped.again(written),
        found.again(written)
    );
    assert!(tapped.holds_all(written), "tap: {tapped:?} of {written:?}");
    assert!(found.holds_all(written), "Loki: {found:?} of {written:?}");
    assert_eq!(tapped.again(written), 0, "{tapped:?}");
    assert_eq!(tapped.backwards, 0, "{tapped:?}");
    agent.stop();
}

/// Both at once: killed, and while it is dead the file is rotated, once each way.
fn rotated_while_dead(loki: &Server, tap: &Tap, folder: &Path) {
    let file = folder.join("both.log");
    let writer = Writer::start(&file, RATE);
    let mut agent = Agent::start(&folder.join("agent-both"), &config(&[&file], &tap.url));
    for nth in 0..4 {
        pause(2.3);
        agent.kill();
        pause(0.4);
        if nth % 2 == 0 {
            writer.rename_and_create();
        } else {
            writer.copy_and_truncate();
        }
        pause(0.4);
        agent.again();
    }
    pause(2.0);
    let (written, rate) = writer.finish();
    let tapped = arrived(tap, &file, written);
    let found = kept(loki, &file, written);
    eprintln!(
        "rotated twice each way while killed: wrote {written:?} at {rate:.0}/s; tap {tapped:?} ({} again); Loki {found:?} ({} again)",
        tapped.again(written),
        found.again(written)
    );
    assert!(tapped.holds_all(written), "tap: {tapped:?} of {written:?}");
    assert!(found.holds_all(written), "Loki: {found:?} of {written:?}");
    agent.stop();
}

#[test]
fn a_backend_that_refuses_our_credentials_is_asked_again_and_gets_every_line() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tap = Tap::start(Mode::Answer(401));
    let file = folder.path().join("app.log");
    let writer = Writer::start(&file, RATE / 3);
    let mut agent = Agent::start(&folder.path().join("agent"), &config(&[&file], &tap.url));
    until("loki is held", Duration::from_secs(15), || agent.plugin("loki")["state"] == "held");
    let held = Instant::now();
    pause(5.0);
    let loki = agent.plugin("loki");
    assert!(loki["state"] == "held" && loki["delivered"] == 0, "{loki}");
    assert!(loki["last_error"]["message"].as_str().unwrap().contains("401"), "{loki}");
    let refused = tap.answered(401);
    assert!(refused <= 2, "it is not asked again and again: {refused} requests");
    tap.set(Mode::Answer(204));
    let (written, rate) = writer.finish();
    let tapped = arrived(&tap, &file, written);
    eprintln!(
        "401: wrote {written:?} at {rate:.0}/s; {refused} requests refused; all taken {:?} after the first refusal; tap {tapped:?}",
        held.elapsed()
    );
    assert!(tapped.is_exact(written), "tap: {tapped:?} of {written:?}");
    let loki = agent.plugin("loki");
    assert!(loki["state"] == "active" && loki["drops"] == serde_json::json!({}), "{loki}");
    agent.stop();
}
