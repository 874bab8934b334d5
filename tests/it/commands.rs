//! The commands that read incidents and tell the agent what to do: beside a running agent, without one, and against
//! one that answers what the test says.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sentinel_contract::Incident;
use sentinel_contract::history::History as _;
use sentinel_history::Store;
use serde_json::{Value, json};

use crate::cli::binary;
use crate::live::stack::{Agent, now_ms, repository, until};

/// 2026-11-24 14:02:41 UTC.
const THEN: i64 = 1_795_528_961_000;

fn change(key: &str, state: &str, started_ms: i64, after_s: i64, score: f64) -> Value {
    json!({
        "message": "web01 nginx: 412 of 5,480 requests failed (7.5 %, usual at most 1.3 %)",
        "key": key, "detector": key.split('/').next(), "host": "web01", "group": "job=nginx",
        "state": state, "time_ms": started_ms + after_s * 1000, "started_ms": started_ms, "score": score,
        "models": [["isolation_forest", score], ["robust_z", score / 2.0]],
        "contributions": [
            {"feature": "error_rate", "share": 0.8, "direction": "up", "value": 0.075,
             "expected": 0.008, "lower": 0.0, "upper": 0.013},
            {"feature": "latency_p95", "share": 0.2, "direction": "up", "value": 2.25,
             "expected": 0.31, "lower": 0.1, "upper": 0.6},
        ],
        "normal": ["requests", "sessions", "bytes"],
        "reason": format!("the reason of {state}"),
    })
}

/// Writes the incidents of a past into a state folder: one that paged and ended, a blip, and one that is open.
fn past(state_dir: &Path, first_ms: i64) {
    let store = Store::open(&state_dir.join("history.db"), Duration::from_hours(1 << 20)).unwrap();
    let second = first_ms + 3_600_000;
    for change in [
        change("web/nginx/1795528961", "detected", first_ms, 0, 1.2),
        change("web/nginx/1795528961", "confirmed", first_ms, 60, 2.5),
        change("web/nginx/1795528961", "notified", first_ms, 60, 2.5),
        change("web/nginx/1795528961", "recovering", first_ms, 660, 0.4),
        change("web/nginx/1795528961", "resolved", first_ms, 780, 0.2),
        change("web/nginx/1795530000", "detected", second, 0, 1.1),
        change("web/nginx/1795530000", "resolved", second, 60, 0.3),
        change("host/web01/1795531111", "detected", second + 60_000, 0, 1.4),
        change("host/web01/1795531111", "confirmed", second + 60_000, 30, 3.5),
    ] {
        store.record_incident(&serde_json::from_value::<Incident>(change).unwrap());
    }
    store.flush();
}

/// A state folder with a configuration whose page nobody serves.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let config = "[[inputs.system]]\n[web]\nlisten = \"127.0.0.1:1\"\n";
        std::fs::write(folder.path().join("agent.toml"), config).unwrap();
        Place { folder }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        ask(self.folder.path(), arguments)
    }
}

/// The command line for the configuration and state of this folder, in UTC.
pub(crate) fn command(binary: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).arg("--config").arg(folder.join("agent.toml"));
    command.arg("--state-dir").arg(folder.join("state")).env("TZ", "UTC");
    command
}

pub(crate) fn ask(folder: &Path, arguments: &[&str]) -> Output {
    command(&binary(), folder, arguments).output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It failed, said this, and printed nothing that a script would take for an answer.
#[track_caller]
pub(crate) fn fails(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(err(output).contains(words), "{words:?} in {output:?}");
    assert_eq!(out(output), "", "{output:?}");
}

/// Something that answers commands with the given lines, one a connection; what it was told.
fn scripted(state_dir: &Path, answers: &[Value]) -> (Arc<Mutex<Vec<Value>>>, JoinHandle<()>) {
    let listener = UnixListener::bind(state_dir.join("control.sock")).unwrap();
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (heard, answers) = (Arc::clone(&told), answers.to_vec());
    let thread = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            heard.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            writeln!(stream, "{answer}").unwrap();
        }
    });
    (told, thread)
}

fn did(detector: &str, words: &str) -> Value {
    json!({ "detector": detector, "outcome": { "Ok": words } })
}

fn did_not(detector: &str, words: &str) -> Value {
    json!({ "detector": detector, "outcome": { "Err": words } })
}

#[test]
fn incidents_are_listed_from_the_history_when_no_agent_runs() {
    let place = Place::new();
    past(&place.state(), now_ms() - 2 * 3_600_000);
    let listed = place.ask(&["incidents"]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    assert!(err(&listed).contains("note: no agent answers"), "{listed:?}");
    let lines: Vec<String> = out(&listed).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(
        lines[1].contains("confirmed   info      no         3.5  web01 nginx: 412 of 5,480"),
        "{lines:#?}"
    );
    assert!(lines[1].contains("m+") || lines[1].contains("s+"), "it is open: {lines:#?}");
    assert!(lines[2].contains("     13m  resolved    info      yes        2.5  "), "{lines:#?}");
    assert!(lines[2].ends_with("[web/nginx/1795528961]"), "{lines:#?}");
    assert_eq!(lines[3], "1 more did not last: --all");

    let count = |arguments: &[&str]| -> usize {
        let arguments = [&["incidents", "--format", "json"], arguments].concat();
        let list: Value = serde_json::from_str(&out(&place.ask(&arguments))).unwrap();
        list["incidents"].as_array().unwrap().len()
    };
    assert_eq!(count(&["--all"]), 3);
    assert_eq!(count(&["--since", "70m"]), 1, "the newer one alone has a change since then");
    assert_eq!(count(&["--state", "open"]), 1);
    assert_eq!(count(&["--state", "resolved,confirmed"]), 2);
    assert_eq!(count(&["--limit", "1"]), 1);
    let wrong = place.ask(&["incidents", "--state", "opne"]);
    fails(&wrong, "--state opne: the states are open, detected,");
    assert_eq!(place.ask(&["incidents", "--since", "yesterday"]).status.code(), Some(2));
}

#[test]
fn an_incident_is_explained_from_the_history_alone() {
    let place = Place::new();
    past(&place.state(), THEN);
    let explained = place.ask(&["explain", "web/nginx/1795528961"]);
    assert_eq!(explained.status.code(), Some(0), "{explained:?}");
    let golden = repository("tests/it/explain.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &explained.stdout).unwrap();
    }
    assert_eq!(out(&explained), std::fs::read_to_string(golden).unwrap());

    let json = place.ask(&["explain", "528961", "--format", "json"]);
    let json: Value = serde_json::from_str(&out(&json)).unwrap();
    assert_eq!(json["incident"]["state"], "resolved");
    assert_eq!(json["timeline"][0]["state"], "detected");
    assert_eq!(json["timeline"].as_array().unwrap().len(), 5);
}

#[test]
fn an_incident_is_found_by_what_only_it_has_and_else_the_mistake_is_told() {
    let place = Place::new();
    fails(&place.ask(&["explain", "last"]), "there is no history to read without it");
    past(&place.state(), THEN);
    let key = |id: &str| -> Value {
        let output = place.ask(&["explain", id, "--format", "json"]);
        serde_json::from_str::<Value>(&out(&output)).unwrap()["incident"]["key"].clone()
    };
    assert_eq!(key("host"), "host/web01/1795531111");
    assert_eq!(key("1795530000"), "web/nginx/1795530000");
    assert_eq!(key("last"), "host/web01/1795531111");
    let many = place.ask(&["explain", "web/nginx"]);
    fails(&many, "\"web/nginx\" fits several incidents; write more of the key:");
    assert!(err(&many).contains("\n  web/nginx/1795528961  (2026-11-24 14:02:41, resolved: web01"));
    let wrong = place.ask(&["explain", "web/nginx/1795528916"]);
    fails(&wrong, "there is no incident \"web/nginx/1795528916\"");
    assert!(err(&wrong).contains("did you mean\n  web/nginx/1795528961  ("), "{wrong:?}");
    let nothing_like_it = place.ask(&["explain", "something"]);
    assert!(!err(&nothing_like_it).contains("did you mean"), "{nothing_like_it:?}");
    fails(&place.ask(&["accept", "web/nginx"]), "fits several incidents");
}

#[test]
fn without_an_agent_a_command_says_so() {
    let place = Place::new();
    past(&place.state(), THEN);
    for arguments in [
        &["maintenance", "start"][..],
        &["maintenance", "end"],
        &["accept", "last"],
        &["undo"],
        &["train", "--now"],
    ] {
        let output = place.ask(arguments);
        fails(&output, "no agent runs with the state folder");
        assert!(err(&output).contains("it has no control.sock"), "{output:?}");
    }
    fails(&place.ask(&["maintenance"]), "does not answer on 127.0.0.1:1");
    drop(UnixListener::bind(place.state().join("control.sock")).unwrap());
    let killed = place.ask(&["train", "--now"]);
    fails(&killed, "nobody listens on its control.sock");
}

#[test]
fn a_wrong_command_line_is_a_matter_of_its_own() {
    let place = Place::new();
    for arguments in [
        &["train"][..],
        &["explain"],
        &["accept"],
        &["maintenance", "begin"],
        &["maintenance", "start", "--for", "0s"],
        &["maintenance", "start", "--for", "1y"],
        &["incidents", "--limit", "-1"],
    ] {
        assert_eq!(place.ask(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_socket_that_may_not_be_opened_names_the_user_who_may() {
    let place = Place::new();
    let _listener = UnixListener::bind(place.state().join("control.sock")).unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&place.state().join("control.sock"), 0o000);
    mode(place.folder.path(), 0o755);
    let mut command = command(&binary(), place.folder.path(), &["train", "--now"]);
    if rustix::process::getuid().is_root() {
        // Root may open anything: ask as nobody, with a copy of the binary where nobody may read it.
        let copy = place.folder.path().join("sentinelops");
        std::fs::copy(binary(), &copy).unwrap();
        mode(&copy, 0o755);
        command = self::command(&copy, place.folder.path(), &["train", "--now"]);
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    fails(&output, "(and root) may give commands to the agent with the state folder");
    assert!(err(&output).contains("sudo -u "), "{output:?}");
}

#[test]
fn what_the_detectors_answer_is_printed_and_is_the_exit_code() {
    let place = Place::new();
    let (told, agent) = scripted(
        &place.state(),
        &[
            json!({ "replies": [did("host", "quiet until four"), did("web", "quiet until four")] }),
            json!({ "replies": [did("host", "trains"), did_not("web", "it learns still")] }),
            json!({ "replies": [] }),
            json!({ "error": "there is no detector \"x\"; running are: host, web" }),
            json!("what"),
        ],
    );
    let before = now_ms();
    let quiet = place.ask(&["maintenance", "start", "--for", "90m", "--reason", "new disk"]);
    assert_eq!(quiet.status.code(), Some(0), "{quiet:?}");
    assert_eq!(out(&quiet), "host: quiet until four\nweb: quiet until four\n");
    let train = place.ask(&["train", "--now"]);
    assert_eq!(train.status.code(), Some(1), "one refused: {train:?}");
    assert_eq!(out(&train), "host: trains\n");
    assert!(err(&train).contains("error: web: it learns still"), "{train:?}");
    fails(&place.ask(&["undo"]), "nothing was accepted that could be undone");
    fails(&place.ask(&["train", "--now", "--detector", "x"]), "there is no detector \"x\"");
    fails(&place.ask(&["maintenance", "end"]), "does not answer as the agent does");
    agent.join().unwrap();

    let told = told.lock().unwrap();
    let until_ms = told[0]["maintenance"]["until_ms"].as_i64().unwrap() - 90 * 60_000;
    assert!((before..=now_ms()).contains(&until_ms), "{told:?}");
    assert_eq!(told[0]["maintenance"]["reason"], "new disk");
    assert_eq!(told[1], json!({ "train": { "detector": null } }));
    assert_eq!(told[3], json!({ "train": { "detector": "x" } }));
    assert_eq!(told[4]["maintenance"]["until_ms"], Value::Null, "its end");
}

#[test]
fn accept_sends_the_whole_key_and_undo_goes_to_the_one_who_accepted_last() {
    let place = Place::new();
    past(&place.state(), THEN);
    let store =
        Store::open(&place.state().join("history.db"), Duration::from_hours(1 << 20)).unwrap();
    let accepted: Vec<Incident> = [("host", 1), ("web", 2)]
        .into_iter()
        .filter_map(|(detector, hour)| {
            let started = THEN + hour * 3_600_000;
            let change = change(&format!("{detector}/x/{hour}"), "accepted", started, 0, 1.0);
            serde_json::from_value(change).ok()
        })
        .collect();
    for incident in &accepted {
        store.record_incident(incident);
    }
    drop(store);
    let nobody = json!({ "replies": [] });
    let done = json!({ "replies": [did("host", "done")] });
    let undos = if accepted.is_empty() { vec![done] } else { vec![nobody.clone(), done] };
    let answers = [vec![json!({ "replies": [did("host", "it is normal now")] }), nobody], undos];
    let (told, agent) = scripted(&place.state(), &answers.concat());
    let done = place.ask(&["accept", "31111"]);
    assert_eq!(out(&done), "host: it is normal now\n", "{done:?}");
    let over = place.ask(&["accept", "528961"]);
    fails(&over, "no detector has web/nginx/1795528961 open: it is resolved ");
    assert_eq!(place.ask(&["undo"]).status.code(), Some(0));
    agent.join().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told[0], json!({ "accept": { "key": "host/web01/1795531111" } }));
    if !accepted.is_empty() {
        assert_eq!(told[2], json!({ "undo": { "detector": "web" } }), "it accepted last");
        assert_eq!(told[3], json!({ "undo": { "detector": "host" } }), "and had nothing left");
    }
}

const CONFIG: &str = "[[inputs.system]]\ninterval = \"1s\"\n\
    [[processors.anomaly]]\nalias = \"host\"\npreset = \"host\"\n\
    [[processors.anomaly]]\nalias = \"web\"\npreset = \"web\"\n";

#[test]
fn a_running_agent_is_told_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    past(&state, now_ms() - 2 * 3_600_000);
    let mut agent = Agent::start(folder.path(), CONFIG);
    let listed = ask(folder.path(), &["incidents"]);
    assert_eq!(err(&listed), "", "the agent itself answers");
    assert!(out(&listed).contains("[web/nginx/1795528961]"), "{listed:?}");
    let explained = ask(folder.path(), &["explain", "528961"]);
    assert!(out(&explained).contains("error_rate   up"), "{explained:?}");
    fails(&ask(folder.path(), &["explain", "nginx/1 %&?x"]), "there is no incident");
    let unknown = ask(folder.path(), &["train", "--now", "--detector", "hots"]);
    fails(&unknown, "there is no detector \"hots\"; running are: host, web");
    let windows = ask(folder.path(), &["maintenance"]);
    assert_eq!(windows.status.code(), Some(0), "{windows:?}");

    // Two at once.
    let both: Vec<Child> = ["first", "second"]
        .map(|reason| {
            let arguments = ["maintenance", "start", "--for", "1m", "--reason", reason];
            command(&binary(), folder.path(), &arguments).stderr(Stdio::null()).spawn().unwrap()
        })
        .into();
    for mut child in both {
        child.wait().unwrap();
    }
    let told = |words: &str| agent.log().matches(words).count();
    until("both were told to both detectors", Duration::from_secs(10), || {
        told("reason: \\\"first\\\"") == 2 && told("reason: \\\"second\\\"") == 2
    });
    agent.stop();
    assert!(!state.join("control.sock").exists(), "nothing is left behind");
}

#[test]
fn an_agent_that_was_killed_does_not_keep_the_next_one_from_being_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(folder.path(), CONFIG);
    agent.kill();
    assert!(folder.path().join("state/control.sock").exists());
    fails(&ask(folder.path(), &["train", "--now"]), "nobody listens on its control.sock");
    agent.again();
    fails(&ask(folder.path(), &["train", "--now", "--detector", "x"]), "running are: host, web");
    let by_page = Command::new(binary())
        .args(["train", "--now", "--detector", "x", "--config"])
        .arg(folder.path().join("agent.toml"))
        .env("XDG_STATE_HOME", folder.path().join("elsewhere"))
        .env_remove("STATE_DIRECTORY")
        .output()
        .unwrap();
    fails(&by_page, "running are: host, web");
}

#[test]
fn another_agents_page_is_not_asked_about_this_state() {
    let (folder, other) = (tempfile::tempdir().unwrap(), Place::new());
    past(&other.state(), now_ms() - 2 * 3_600_000);
    let _agent = Agent::start(folder.path(), CONFIG);
    std::fs::copy(folder.path().join("agent.toml"), other.folder.path().join("agent.toml"))
        .unwrap();
    let listed = other.ask(&["incidents"]);
    assert!(err(&listed).contains("note: no agent answers"), "{listed:?}");
    assert!(out(&listed).contains("[web/nginx/1795528961]"), "{listed:?}");
    fails(&other.ask(&["maintenance"]), "has another state folder");
}

#[test]
fn a_wrong_configuration_does_not_keep_anybody_from_looking() {
    let place = Place::new();
    past(&place.state(), now_ms() - 2 * 3_600_000);
    let config = place.folder.path().join("agent.toml");
    std::fs::write(config, "[[inputs.sistem]]\n").unwrap();
    let listed = place.ask(&["incidents"]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    assert!(err(&listed).contains("note: the configuration is wrong"), "{listed:?}");
}
