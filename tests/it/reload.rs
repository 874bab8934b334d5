//! Reading the configuration again, as a person meets it: SIGHUP, a mistake in the file, `run --watch`, and a hundred reloads
//! while lines are written.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::live::stack::{Agent, get, signal, until};

/// Runs the agent with one option more.
const WATCH: &[&str] = &["sh", "-c", "exec \"$0\" \"$@\" --watch"];

const PATIENCE: Duration = Duration::from_secs(20);

/// Two tails into two files; `more` is added.
fn config(folder: &Path, more: &str) -> String {
    format!(
        "[agent]\nflush_interval = \"100ms\"\nbackfill = \"off\"\n[[inputs.tail]]\nalias = \"a\"\nfiles = [\"{0}/a.log\"]\nstart = \"beginning\"\n\
         [[outputs.file]]\nalias = \"out\"\nfrom = [\"a\"]\npath = \"{0}/out.txt\"\nformat = \"text\"\n{more}",
        folder.display()
    )
}

/// Writes the configuration anew, with the page where it was.
fn rewrite(agent: &Agent, config: &str) {
    let listen = agent.page.strip_prefix("http://").unwrap();
    let text = format!("{config}\n[web]\nlisten = \"{listen}\"\n");
    std::fs::write(agent.dir.join("agent.toml"), text).unwrap();
}

fn aliases(agent: &Agent) -> Vec<String> {
    let status = agent.status();
    let plugins = status["plugins"].as_array().unwrap();
    plugins.iter().map(|plugin| plugin["alias"].as_str().unwrap().to_owned()).collect()
}

fn metric(agent: &Agent, name: &str) -> String {
    let text = get(&format!("{}/metrics", agent.page)).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn sighup_takes_a_good_configuration_over_and_leaves_the_old_one_at_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(&folder.path().join("agent"), &config(folder.path(), ""));
    rewrite(&agent, &config(folder.path(), "[[outputs.file]]\nalias = \"wrong\"\npaht = \"x\"\n"));
    signal(agent.pid(), "HUP");
    let name = "sentinelops_config_last_reload_successful";
    until("it is refused", PATIENCE, || metric(&agent, name) == "0");
    assert_eq!(aliases(&agent), ["a", "out"]);
    let log = agent.log();
    assert!(log.contains("agent.toml:15:1: unknown option `paht`"), "{log}");
    assert!(log.contains("did you mean `path`?") && log.contains("the old one runs on"), "{log}");
    assert!(agent.status()["configuration"]["error"].as_str().unwrap().contains("paht"));

    let more = format!(
        "[[outputs.file]]\nalias = \"more\"\npath = \"{}/more.txt\"\n",
        folder.path().display()
    );
    rewrite(&agent, &config(folder.path(), &more));
    signal(agent.pid(), "HUP");
    until("it is taken over", PATIENCE, || metric(&agent, name) == "1");
    assert_eq!(aliases(&agent), ["a", "out", "more"]);
    std::fs::write(folder.path().join("a.log"), "a line\n").unwrap();
    let more = folder.path().join("more.txt");
    until("both get it", PATIENCE, || {
        std::fs::read_to_string(&more).is_ok_and(|text| text.contains("a line"))
    });
}

#[test]
fn with_watch_a_changed_file_is_read_again_and_a_file_that_is_taken_away_is_not_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start_by(WATCH, &folder.path().join("agent"), &config(folder.path(), ""));
    rewrite(&agent, &config(folder.path(), "[[inputs.system]]\n"));
    until("it is read", PATIENCE, || aliases(&agent) == ["a", "system", "out"]);
    std::fs::remove_file(agent.dir.join("agent.toml")).unwrap();
    let name = "sentinelops_config_last_reload_successful";
    until("it is missed", PATIENCE, || metric(&agent, name) == "0");
    assert_eq!(aliases(&agent), ["a", "system", "out"]);
    rewrite(&agent, &config(folder.path(), ""));
    until("it is back", PATIENCE, || aliases(&agent) == ["a", "out"]);
}

/// F20, its second half.
#[test]
fn a_hundred_reloads_with_mistakes_between_them_lose_no_line_and_leave_nothing_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(&folder.path().join("agent"), &config(folder.path(), ""));
    let mut file = std::fs::File::create(folder.path().join("a.log")).unwrap();
    let mut written = 0;
    let mut before = 0;
    for round in 0..100 {
        let more = match round % 4 {
            0 => "batch_events = 7\n".to_owned(),
            1 => "[[inputs.system]]\ninterval = \"1h\"\n".to_owned(),
            2 => "no such table\n".to_owned(),
            _ => format!(
                "[[outputs.file]]\nalias = \"two\"\nfrom = [\"a\"]\npath = \"{}/two.txt\"\n",
                folder.path().display()
            ),
        };
        rewrite(&agent, &config(folder.path(), &more));
        let (loaded, _) = loaded(&agent);
        signal(agent.pid(), "HUP");
        for _ in 0..50 {
            writeln!(file, "line {written}").unwrap();
            written += 1;
        }
        until("it was read", PATIENCE, || match self::loaded(&agent) {
            (_, Some(_)) => round % 4 == 2,
            (time_ms, None) => time_ms > loaded,
        });
        if round == 20 {
            before = open(agent.pid());
        }
    }
    rewrite(&agent, &config(folder.path(), ""));
    signal(agent.pid(), "HUP");
    let out = folder.path().join("out.txt");
    let lines = || std::fs::read_to_string(&out).unwrap_or_default();
    until("all of them", PATIENCE, || lines().lines().count() as u64 >= written);
    let text = lines();
    let unique: BTreeSet<&str> = text.lines().collect();
    assert_eq!((unique.len() as u64, text.lines().count() as u64), (written, written));
    until("the last is in use", PATIENCE, || aliases(&agent) == ["a", "out"]);
    until("nothing is left open", PATIENCE, || open(agent.pid()) <= before + 4);
    agent.stop();
}

/// When the configuration in use was read, and why a newer one is not.
fn loaded(agent: &Agent) -> (i64, Option<String>) {
    let configuration = &agent.status()["configuration"];
    let error = configuration["error"].as_str().map(str::to_owned);
    (configuration["loaded_ms"].as_i64().unwrap(), error)
}

/// Descriptors and threads of a process.
fn open(pid: i32) -> usize {
    let count =
        |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
    count("fd") + count("task")
}
