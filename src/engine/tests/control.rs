//! The control socket: who may open it, what it answers, and that no client can hold it.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::control::{Answer, Control, LONGEST, NAME, reachable};
use crate::pipeline::{self, Running};

/// An agent with one detector, and its socket.
struct Open {
    running: Running,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

fn open(tag: &str) -> Open {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let text =
        format!("[[processors.count]]\nalias = \"{tag}\"\n[[inputs.poll]]\nalias = \"{tag}-in\"\n");
    let running = pipeline::start(&plan(&text, &shared), &shared).unwrap();
    let stop = CancellationToken::new();
    let control = Control::open(folder.path()).unwrap();
    let served = tokio::spawn(control.serve(running.commands.clone(), stop.clone()));
    Open { running, stop, served, folder }
}

impl Open {
    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join(NAME)).unwrap()
    }

    async fn ask(&self, request: &[u8]) -> Answer {
        let (mut stream, request) = (self.connect(), request.to_vec());
        let answer = tokio::task::spawn_blocking(move || {
            stream.write_all(&request).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        serde_json::from_str(&answer.await.unwrap().unwrap()).unwrap()
    }

    async fn close(self) {
        self.stop.cancel();
        self.served.await.unwrap();
        assert!(!self.folder.path().join(NAME).exists(), "it is removed at the end");
        self.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_answered_with_what_every_detector_said() {
    let open = open("sock-line");
    let request = r#"{"maintenance":{"until_ms":5,"detector":null,"reason":"a disk"}}"#;
    let answer = open.ask(format!("{request}\n").as_bytes()).await;
    assert_eq!(answer.replies[0].detector, "sock-line");
    assert_eq!(answer.replies[0].outcome, Ok("did a disk".to_owned()));
    let unknown = open.ask(b"{\"train\":{\"detector\":\"x\"}}\n").await;
    assert!(unknown.error.unwrap().contains("no detector \"x\""));
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_may_open_it() {
    let open = open("sock-mode");
    let socket = std::fs::metadata(open.folder.path().join(NAME)).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let mut left = std::fs::read_dir(open.folder.path()).unwrap().flatten();
    assert!(left.all(|entry| entry.file_name() == NAME), "nothing else is left in the folder");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_command_is_refused_with_the_reason() {
    let open = open("sock-bad");
    for (request, why) in [
        (&b"GET / HTTP/1.0\n"[..], "not a command"),
        (b"{\"reboot\":{}}\n", "unknown variant `reboot`"),
        (b"{\"train\":{\"detektor\":\"web\"}}\n", "unknown field `detektor`"),
        (b"\n", "not a command"),
        (b"\xff\xfe\n", "not a command"),
        (&vec![b'x'; LONGEST + 1], "a command is one line of at most 16384 bytes"),
    ] {
        let answer = open.ask(request).await;
        let told = answer.error.unwrap();
        assert!(told.contains(why) && answer.replies.is_empty(), "{told}");
    }
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_at_once_are_all_answered_and_silent_ones_do_not_hold_the_end() {
    let open = open("sock-many");
    // As many as are served at once: the next ones wait until these have been quiet for too long, or the end.
    let silent: Vec<_> = (0..4).map(|_| open.connect()).collect();
    drop(silent);
    let request = b"{\"maintenance\":{\"until_ms\":5,\"detector\":null,\"reason\":\"many\"}}\n";
    let answers: Vec<_> = (0..6).map(|_| open.ask(request)).collect();
    for answer in answers {
        assert_eq!(answer.await.replies.len(), 1);
    }
    let _silent: Vec<_> = (0..8).map(|_| open.connect()).collect();
    let ended = tokio::time::timeout(Duration::from_secs(4), open.close());
    ended.await.expect("before the silent ones have been quiet for too long");
}

#[tokio::test]
async fn what_a_killed_agent_left_is_replaced_and_a_folder_in_its_place_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let left = std::os::unix::net::UnixListener::bind(folder.path().join(NAME)).unwrap();
    drop(left);
    std::fs::create_dir(folder.path().join(".control")).unwrap();
    std::fs::write(folder.path().join(".control").join(NAME), "").unwrap();
    let control = Control::open(folder.path()).unwrap();
    UnixStream::connect(folder.path().join(NAME)).unwrap();
    drop(control);
    std::fs::create_dir_all(folder.path().join(NAME).join("full")).unwrap();
    let error = Control::open(folder.path()).err().unwrap();
    assert!(format!("{error:#}").contains("control.sock"), "{error:#}");
}

#[tokio::test]
async fn a_state_folder_with_a_long_path_has_its_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a-folder-with-a-name-of-some-length/".repeat(5));
    std::fs::create_dir_all(&deep).unwrap();
    let _control = Control::open(&deep).unwrap();
    let path = deep.join(NAME);
    assert!(UnixStream::connect(&path).is_err(), "{} is too long to need the way", path.display());
    reachable(&path, |path| UnixStream::connect(path)).unwrap();
}
