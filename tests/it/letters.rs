//! Dead letters as a person meets them: a backend that refuses a line by name, `queue list`, `inspect`, `retry` and `purge`
//! beside a running agent, a killed one, and none.
//!
//! The backend is a fake that speaks as Loki 3.7 does (`pkg/validation/validate.go`: an entry that is too long).

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use serde_json::{Value, json};

use crate::cli::binary;
use crate::commands::{Place, ask, command, err, fails, out};
use crate::live::stack::{Agent, until};
use crate::live::tap::PushRequest;

/// The line that is refused; it would colour the terminal.
const POISON: &str = "poison \u{1b}[31mred";

/// A Loki that answers each push with a status, and in a 400 names the poisoned line.
struct Fake {
    url: String,
    status: Arc<AtomicU16>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(status: u16) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (status, taken) = (Arc::new(AtomicU16::new(status)), Arc::default());
        let fake = Fake { url, status: Arc::clone(&status), taken: Arc::clone(&taken) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (status, taken) = (Arc::clone(&status), Arc::clone(&taken));
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    while answer(&stream, &status, &taken).is_some() {}
                });
            }
        });
        fake
    }

    fn say(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    /// How often a line was taken.
    fn took(&self, line: &str) -> usize {
        self.taken.lock().unwrap().iter().filter(|taken| *taken == line).count()
    }
}

/// One request; `None` when the client has gone.
fn answer(stream: &TcpStream, status: &AtomicU16, taken: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let push = PushRequest::decode(&*snap::raw::Decoder::new().decompress_vec(&body).ok()?).ok()?;
    let name = push.streams.first()?.labels.clone();
    let mut lines: Vec<String> = push
        .streams
        .into_iter()
        .flat_map(|stream| stream.entries)
        .map(|entry| entry.line)
        .collect();
    let (mut status, mut text) = (status.load(SeqCst), String::new());
    if status == 400 && !lines.iter().any(|line| line == POISON) {
        status = 204;
    }
    if status == 400 {
        text = format!(
            "Max entry size '{}' bytes exceeded for stream '{name}' while adding an entry with length '{}' bytes",
            POISON.len() - 1,
            POISON.len()
        );
        lines.retain(|line| line != POISON);
    }
    if status < 500 && status != 401 {
        taken.lock().unwrap().extend(lines);
    }
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len()).ok()
}

fn config(folder: &Path, url: &str) -> String {
    format!(
        "[agent]\nflush_interval = \"1s\"\n[[inputs.tail]]\nalias = \"app\"\nfiles = [\"{}\"]\nstart = \"beginning\"\n\
         labels = {{ job = \"app\" }}\n[[outputs.loki]]\nurl = \"{url}\"\n",
        folder.join("app.log").display()
    )
}

fn log(folder: &Path, lines: &[&str]) {
    let mut file =
        OpenOptions::new().create(true).append(true).open(folder.join("app.log")).unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
}

fn list(folder: &Path) -> Value {
    let listed = ask(folder, &["queue", "list", "--format", "json"]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    serde_json::from_str(&out(&listed)).unwrap()
}

fn letters(folder: &Path) -> u64 {
    let listed = list(folder);
    let heaps = listed["dead_letters"].as_array().unwrap();
    heaps.iter().filter_map(|heap| heap["letters"].as_u64()).sum()
}

/// An agent whose Loki has refused one line by name.
fn refused(folder: &Path) -> (Agent, Fake) {
    let fake = Fake::start(400);
    log(folder, &["good 1", POISON, "good 2 is longer"]);
    let agent = Agent::start(folder, &config(folder, &fake.url));
    until("the line is a dead letter", Duration::from_secs(20), || letters(folder) == 1);
    until("the others are taken", Duration::from_secs(20), || fake.took("good 2 is longer") == 1);
    (agent, fake)
}

#[test]
fn a_refused_line_is_listed_inspected_and_delivered_once_its_backend_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let (_agent, fake) = refused(folder.path());
    let ask = |arguments: &[&str]| ask(folder.path(), arguments);
    let listed = out(&ask(&["queue", "list"]));
    assert!(listed.contains("OUTPUT") && listed.contains("loki: 1 letter from 20"), "{listed}");
    assert!(listed.contains("1 x ") && listed.contains("Max entry size '14'"), "{listed}");

    let inspected = out(&ask(&["queue", "inspect"]));
    assert!(inspected.contains("line      poison \\u{1b}[31mred"), "{inspected}");
    assert!(!inspected.contains('\u{1b}'), "nothing speaks to the terminal: {inspected:?}");
    let shown: Value =
        serde_json::from_str(&out(&ask(&["queue", "inspect", "--format", "json"]))).unwrap();
    let letter = &shown["letters"][0];
    assert_eq!(letter["event"]["log"]["line"], POISON);
    assert_eq!((&letter["plugin"], &letter["origin"]), (&json!("loki"), &json!("app")));
    let id = letter["id"].as_str().unwrap().to_owned();
    assert!(out(&ask(&["queue", "inspect", &id])).contains(&format!("letter {id}\n")));
    fails(&ask(&["queue", "inspect", "99-9"]), "there is no letter 99-9");

    let again = ask(&["queue", "retry", &id]);
    fails(&again, "1 letter refused again");
    let listed = ask(&["queue", "inspect", &id]);
    assert!(out(&listed).contains("sent again and refused again 1 times"), "{listed:?}");

    fake.say(204);
    let wrong = ask(&["queue", "retry", "99-9", &id]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(err(&wrong).contains("there is no letter 99-9"), "{wrong:?}");
    assert_eq!(out(&wrong), "1 letter delivered\n", "and the other one is sent");
    assert_eq!(fake.took(POISON), 1);
    assert_eq!(letters(folder.path()), 0);
    let none = ask(&["queue", "retry", "--all"]);
    assert_eq!((none.status.code(), &*out(&none)), (Some(0), "no dead letters\n"));
    assert!(out(&ask(&["queue", "list"])).ends_with("no dead letters\n"));
}

#[test]
fn kill_9_while_letters_are_on_their_way_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut agent, fake) = refused(folder.path());
    fake.say(401);
    let both: Vec<_> = (0..2)
        .map(|_| command(&binary(), folder.path(), &["queue", "retry", "--all"]))
        .map(|mut command| std::thread::spawn(move || command.output().unwrap()))
        .collect();
    let both: Vec<Output> = both.into_iter().map(|child| child.join().unwrap()).collect();
    let said: String = both.iter().map(err).collect();
    assert!(said.contains("1 letter on the way and not answered yet"), "{said}");
    assert!(said.contains("1 letter on the way already, by an earlier retry"), "{said}");
    assert!(said.contains("  loki is held: "), "{said}");
    assert!(both.iter().all(|output| output.status.code() == Some(1)), "{both:?}");
    agent.kill();

    let offline = ask(folder.path(), &["queue", "list"]);
    assert!(out(&offline).contains("loki: 1 letter"), "{offline:?}");
    assert!(err(&offline).contains("note: what waits in queues is not known"), "{offline:?}");
    assert!(out(&ask(folder.path(), &["queue", "inspect"])).contains("poison"));
    let nobody = ask(folder.path(), &["queue", "retry", "--all"]);
    fails(&nobody, "letters are sent again by a running agent");

    fake.say(204);
    agent.again();
    let delivered = ask(folder.path(), &["queue", "retry", "--output", "loki", "--format", "json"]);
    let told: Value = serde_json::from_str(&out(&delivered)).unwrap();
    assert_eq!((&told["done"], &told["retry"]["delivered"]), (&json!(true), &json!(1)), "{told}");
    assert_eq!(fake.took(POISON), 1);
    assert_eq!(letters(folder.path()), 0);
    agent.stop();
}

#[test]
fn letters_of_an_output_that_is_gone_are_kept_and_can_be_purged() {
    let folder = tempfile::tempdir().unwrap();
    let (mut agent, fake) = refused(folder.path());
    agent.stop();
    let renamed = config(folder.path(), &fake.url) + "alias = \"other\"\n";
    drop(agent);
    let _agent = Agent::start(folder.path(), &renamed);
    let gone = ask(folder.path(), &["queue", "retry", "--all"]);
    fails(
        &gone,
        "1 letter of loki: no output of that name that takes them is running (running are: other); kept",
    );
    fails(&ask(folder.path(), &["queue", "purge", "--all"]), "say --yes");
    assert_eq!(letters(folder.path()), 1);
    let other = ask(folder.path(), &["queue", "purge", "--output", "other", "--yes"]);
    assert_eq!(out(&other), "no dead letters\n");
    let purged = ask(folder.path(), &["queue", "purge", "--output", "loki", "--yes"]);
    assert_eq!((purged.status.code(), &*out(&purged)), (Some(0), "1 letter removed\n"));
    assert_eq!(letters(folder.path()), 0);
}

const LETTER: &str = r#"{"gone":0,"v":1,"id":"1-24","time_ms":1795528961000,"first_ms":1795528961000,"tries":0,"role":"output","plugin":"loki","origin":"app","source":0,"reason":"no","event":{"log":{"labels":{},"time_ns":"1","line_base64":"/xtb"}}}"#;

/// A state folder with one letter, a newer agent's, a line that is none, and half a line.
fn left() -> Place {
    let place = Place::new();
    let text = format!(
        "{{\"dead_letters\":1,\"generation\":1}}\n{LETTER}\n{{\"gone\":0,\"v\":7,\"id\":\"1-99\"}}\n\u{1b}junk\n{}",
        &LETTER[..50]
    );
    std::fs::write(place.state().join("dead-letters.jsonl"), text).unwrap();
    place
}

#[test]
fn damage_and_a_newer_agents_letters_are_told_and_left_alone() {
    let place = left();
    let listed = place.ask(&["queue", "list"]);
    assert!(out(&listed).contains("loki: 1 letter"), "{listed:?}");
    assert!(out(&listed).contains("1 letter of a newer agent, which this one cannot read"));
    assert!(out(&listed).contains("1 lines are no letters"), "{listed:?}");
    let shown = place.ask(&["queue", "inspect"]);
    assert!(out(&shown).contains("line      \\xff\\u{1b}["), "{shown:?}");
    let removed = place.ask(&["queue", "purge", "1-24", "--yes"]);
    assert_eq!(out(&removed), "1 letter removed\n", "{removed:?}");
    let all = place.ask(&["queue", "purge", "--all", "--yes"]);
    assert_eq!(out(&all), "1 letter removed\n1 lines that were no letters removed\n", "{all:?}");
    assert!(out(&place.ask(&["queue", "list"])).ends_with("no dead letters\n"));
    let nothing = place.ask(&["queue", "inspect", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out(&nothing)).unwrap()["letters"], json!([]));
}

#[test]
fn an_offline_purge_needs_the_agents_lock() {
    let place = left();
    let lock = std::fs::File::create(place.state().join("lock")).unwrap();
    lock.lock().unwrap();
    fails(&place.ask(&["queue", "purge", "--all", "--yes"]), "another agent uses the state folder");
    drop(lock);
    assert_eq!(place.ask(&["queue", "purge", "--all", "--yes"]).status.code(), Some(0));
}

#[test]
fn who_may_not_read_the_letters_is_told_who_may() {
    let place = left();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&place.state().join("dead-letters.jsonl"), 0o000);
    mode(place.folder.path(), 0o755);
    let ask = |arguments: &[&str]| -> Output {
        let mut command: Command = command(&binary(), place.folder.path(), arguments);
        if rustix::process::getuid().is_root() {
            // Root may read anything: ask as nobody, with a copy of the binary where nobody may read it.
            let copy = place.folder.path().join("sentinelops");
            if !copy.exists() {
                std::fs::copy(binary(), &copy).unwrap();
                mode(&copy, 0o755);
            }
            command = crate::commands::command(&copy, place.folder.path(), arguments);
            command.uid(65534).gid(65534);
        }
        command.output().unwrap()
    };
    for arguments in
        [&["queue", "list"][..], &["queue", "inspect"], &["queue", "purge", "--all", "--yes"]]
    {
        let output = ask(arguments);
        fails(&output, "(and root) may read the dead letters in");
        assert!(err(&output).contains("sudo -u "), "{output:?}");
    }
}

#[test]
fn which_letters_are_meant_must_be_said_once() {
    let place = Place::new();
    for arguments in [
        &["queue"][..],
        &["queue", "retry"],
        &["queue", "purge"],
        &["queue", "retry", "--all", "1-2"],
        &["queue", "purge", "--all", "--output", "loki"],
        &["queue", "inspect", "1-2", "--output", "loki"],
    ] {
        assert_eq!(place.ask(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
