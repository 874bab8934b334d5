//! A backend that can be made to fail in every way a backend does, while it runs: Loki's push and Prometheus' remote write.
//!
//! Wire types and decoding of pushes are those of [`crate::live::tap`]; those of remote write 1.0 are here, snappy only. It
//! does not keep what it takes: lines go to the [`Oracle`], of a series only its course is kept.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::oracle::{Oracle, Verdict};
use super::rules::{self, Streams};
use super::series::{self, AllSeries};
use crate::live::stack::until;
use crate::live::tap::{self, PushRequest};

/// What the backend does with requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Takes them.
    Ok,
    /// Answers with this status and a pause to ask for, and takes nothing.
    Answer(u16, Option<u64>),
    /// Reads them and never answers.
    Hang,
    /// Reads them and answers a byte a second.
    Drip,
    /// Resets the connection in the middle of the body.
    ResetMidBody,
    /// Takes them, and resets the connection instead of answering.
    ResetAfter,
    /// Takes them, and is never heard of again: the connection stays half open.
    HalfOpen,
    /// Nobody listens.
    Refuse,
    /// Refuses a whole request with 400, and names nothing, when a line contains this or a series has this name.
    Poison(&'static str),
    /// As Loki: refuses entries more than an hour behind the newest of their stream, or ten minutes in the future, by a
    /// clock that is so many seconds ahead of ours.
    Window(i64),
    /// Takes at most so many bytes a second.
    Paced(u64),
    /// Hands them to the server at this address, and takes what that takes.
    Forward(String),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    /// What it was answered with; 0 for no answer.
    pub(crate) status: u16,
    /// Entries or samples in it.
    pub(crate) events: u64,
}

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) oracle: Oracle,
    pub(crate) series: AllSeries,
    pub(crate) asked: Vec<Asked>,
    /// Entries of the largest request that was taken.
    pub(crate) largest: u64,
    pub(crate) streams: Streams,
    /// Metadata of entries of which the oracle knows nothing: line length, and name and value of each pair.
    pub(crate) marked: Vec<(usize, Vec<(String, String)>)>,
    /// Requests that nobody could read.
    pub(crate) unreadable: u64,
}

struct Shared {
    mode: Mutex<Mode>,
    taken: Mutex<Taken>,
    stop: AtomicBool,
    /// Answers come up to so many milliseconds later.
    delay_ms: AtomicU64,
    /// Requests that are whole, and of which it is not said yet what becomes of them.
    undecided: AtomicU64,
}

/// The running backend.
pub(crate) struct Sink {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Sink {
    pub(crate) fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Ok),
            taken: Mutex::default(),
            stop: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            undecided: AtomicU64::new(0),
        });
        let listening = Arc::clone(&shared);
        std::thread::spawn(move || listen(listener, address, &listening));
        Sink { url: format!("http://{address}"), shared }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// From now on it takes up to this long from taking a request to answering it.
    pub(crate) fn delay(&self, most: Duration) {
        self.shared.delay_ms.store(most.as_millis() as u64, SeqCst);
    }

    /// What it has.
    pub(crate) fn taken(&self) -> MutexGuard<'_, Taken> {
        self.shared.taken.lock().unwrap()
    }

    pub(crate) fn verdict(&self, source: &str, written: u64) -> Verdict {
        self.taken().oracle.verdict(source, written)
    }

    /// Waits until all that it was sent is taken or not: a real server may take its time, also when its client is gone.
    pub(crate) fn decided(&self) {
        until("the backend has decided", Duration::from_secs(30), || {
            self.shared.undecided.load(SeqCst) == 0
        });
    }

    /// The requests since then.
    pub(crate) fn asked(&self, since: Instant) -> Vec<Asked> {
        self.taken().asked.iter().filter(|asked| asked.at >= since).copied().collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
    }
}

/// Accepts connections; while nobody is to listen, the port is closed.
fn listen(listener: TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    listener.set_nonblocking(true).unwrap();
    let mut open = Some(listener);
    while !shared.stop.load(SeqCst) {
        let refuse = *shared.mode.lock().unwrap() == Mode::Refuse;
        if refuse {
            open = None;
        } else if open.is_none() {
            open = TcpListener::bind(address).ok();
            if let Some(listener) = &open {
                listener.set_nonblocking(true).unwrap();
            }
        }
        match open.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => {
                let shared = Arc::clone(shared);
                stream.set_nonblocking(false).unwrap();
                std::thread::spawn(move || while_good(&stream, &shared));
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// What a request held.
enum Content {
    Push(PushRequest),
    Write(series::WriteRequest),
    /// A probe, or what nobody can read.
    Other,
}

impl Content {
    fn events(&self) -> u64 {
        match self {
            Content::Push(push) => {
                push.streams.iter().map(|stream| stream.entries.len()).sum::<usize>() as u64
            }
            Content::Write(write) => {
                write.timeseries.iter().map(|series| series.samples.len()).sum::<usize>() as u64
            }
            Content::Other => 0,
        }
    }

    fn holds(&self, mark: &str) -> bool {
        match self {
            Content::Push(push) => {
                let entries = push.streams.iter().flat_map(|stream| &stream.entries);
                entries.into_iter().any(|entry| entry.line.contains(mark))
            }
            Content::Write(write) => write.timeseries.iter().any(|series| series.name() == mark),
            Content::Other => false,
        }
    }
}

/// Serves one connection until either side ends it.
fn while_good(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some((path, length)) = tap::read_head(&mut reader) {
        let mode = shared.mode.lock().unwrap().clone();
        let at = Instant::now();
        let mut body = vec![0; if mode == Mode::ResetMidBody { length / 2 } else { length }];
        if mode == Mode::Refuse || reader.read_exact(&mut body).is_err() {
            return reset(stream);
        }
        if mode == Mode::ResetMidBody {
            note(shared, at, 0, 0);
            return reset(stream);
        }
        let content = read(&path, &body, shared);
        let events = content.events();
        shared.undecided.fetch_add(1, SeqCst);
        let (status, head, text) = answer(&mode, shared, &path, &body, content);
        note(shared, at, status, events);
        shared.undecided.fetch_sub(1, SeqCst);
        pause(shared);
        match mode {
            Mode::Hang | Mode::HalfOpen => return until_gone(&mut reader, shared),
            Mode::ResetAfter => return reset(stream),
            Mode::Drip => return drip(stream, shared),
            _ if status == 0 => return,
            _ => {}
        }
        let head =
            format!("HTTP/1.1 {status} -\r\n{head}Content-Length: {}\r\n\r\n{text}", text.len());
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// Status (0: none), more headers, and text.
fn answer(
    mode: &Mode,
    shared: &Shared,
    path: &str,
    body: &[u8],
    content: Content,
) -> (u16, String, String) {
    let plain = |status| (status, String::new(), String::new());
    match mode {
        Mode::Answer(status, after) => {
            let head = after.map(|after| format!("Retry-After: {after}\r\n")).unwrap_or_default();
            (*status, head, "said the fault test".to_owned())
        }
        Mode::Hang | Mode::Drip | Mode::ResetMidBody | Mode::Refuse => plain(0),
        Mode::Poison(mark) if content.holds(mark) => {
            (400, String::new(), "something in it is bad".to_owned())
        }
        Mode::ResetAfter | Mode::HalfOpen => {
            take(shared, content, None);
            plain(0)
        }
        Mode::Window(ahead) => match take(shared, content, Some(*ahead)) {
            None => plain(204),
            Some(text) => (400, String::new(), text),
        },
        Mode::Paced(rate) => {
            std::thread::sleep(Duration::from_secs_f64(body.len() as f64 / *rate as f64));
            take(shared, content, None);
            plain(204)
        }
        Mode::Forward(url) => {
            let Some((status, text)) = tap::forward(url, path, body) else { return plain(0) };
            if status / 100 == 2 {
                take(shared, content, None);
            }
            (status, String::new(), String::from_utf8_lossy(&text).into_owned())
        }
        Mode::Ok | Mode::Poison(_) => {
            take(shared, content, None);
            plain(204)
        }
    }
}

fn read(path: &str, body: &[u8], shared: &Shared) -> Content {
    if body.is_empty() {
        return Content::Other;
    }
    if path.ends_with("/push") {
        return Content::Push(tap::decode(body));
    }
    series::decode(body).map_or_else(
        || {
            shared.taken.lock().unwrap().unreadable += 1;
            Content::Other
        },
        Content::Write,
    )
}

/// Takes what a request holds; with Loki's rules, what they refuse is said and not taken.
fn take(shared: &Shared, content: Content, by_rules: Option<i64>) -> Option<String> {
    let mut guard = shared.taken.lock().unwrap();
    let taken = &mut *guard;
    taken.largest = taken.largest.max(content.events());
    match content {
        Content::Push(mut push) => {
            let said =
                by_rules.and_then(|ahead| rules::refuse(&mut push, &mut taken.streams, ahead));
            for entry in push.streams.iter().flat_map(|stream| &stream.entries) {
                taken.oracle.take(&entry.line);
                if !entry.metadata.is_empty() {
                    let pairs = entry.metadata.iter();
                    let pairs = pairs.map(|pair| (pair.name.clone(), pair.value.clone())).collect();
                    taken.marked.push((entry.line.len(), pairs));
                }
            }
            taken.streams.follow(&push);
            said
        }
        Content::Write(write) => {
            taken.series.take(&write);
            None
        }
        Content::Other => None,
    }
}

fn note(shared: &Shared, at: Instant, status: u16, events: u64) {
    shared.taken.lock().unwrap().asked.push(Asked { at, status, events });
}

fn pause(shared: &Shared) {
    let most = shared.delay_ms.load(SeqCst);
    if most > 0 {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(nanos.subsec_micros()) % most));
    }
}

/// Closes with RST instead of FIN.
fn reset(stream: &TcpStream) {
    let _best_effort = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    // The close that sends it comes when the caller lets go of the stream.
}

/// Says nothing until the other side goes.
fn until_gone(reader: &mut BufReader<&TcpStream>, shared: &Shared) {
    let _without_it_waits = reader.get_ref().set_read_timeout(Some(Duration::from_millis(500)));
    let mut bytes = [0; 4096];
    while !shared.stop.load(SeqCst) {
        match reader.read(&mut bytes) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

fn drip(mut stream: &TcpStream, shared: &Shared) {
    for byte in b"HTTP/1.1 204 -\r\nServer: slower-than-any-other\r\n\r\n" {
        if shared.stop.load(SeqCst) || stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let _gone = stream.shutdown(Shutdown::Both);
}
