//! A tap before Loki: an HTTP server that writes down every push that comes by, and hands it on or answers by itself.
//!
//! The wire types are those of grafana/loki `pkg/push/push.proto`, decoded with prost: what the agent encodes by hand is
//! read by somebody else's code. When Loki does not answer, the tap hangs up, as a dead Loki would.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;

/// `PushRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) streams: Vec<Stream>,
}

/// `StreamAdapter`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Stream {
    #[prost(string, tag = "1")]
    pub(crate) labels: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) entries: Vec<Entry>,
}

/// `EntryAdapter`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub(crate) line: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) metadata: Vec<Pair>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// `LabelPairAdapter`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pair {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// What the tap does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// Hands it to the server at this address.
    Forward(String),
    /// The same, and the answer comes this much later: a request is under way most of the time.
    Slow(String, Duration),
    /// Answers with this status; hangs up without an answer when it is 0.
    Answer(u16),
}

/// One push and the status it was answered with; 0 when there was no answer.
pub(crate) struct Push {
    pub(crate) status: u16,
    pub(crate) request: PushRequest,
}

struct Shared {
    mode: Mutex<Mode>,
    pushes: Mutex<Vec<Push>>,
    stop: AtomicBool,
}

/// The running tap.
pub(crate) struct Tap {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Tap {
    pub(crate) fn start(mode: Mode) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            mode: Mutex::new(mode),
            pushes: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stop.load(SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || while_good(&stream, &shared));
            }
        });
        Tap { url, shared }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Takes out the pushes that came since the last call: for runs of which not everything can be kept.
    pub(crate) fn drain(&self) -> Vec<Push> {
        std::mem::take(&mut *self.shared.pushes.lock().unwrap())
    }

    /// How many pushes were answered with this status.
    pub(crate) fn answered(&self, status: u16) -> usize {
        self.shared.pushes.lock().unwrap().iter().filter(|push| push.status == status).count()
    }

    /// How many entries were taken, in all streams.
    pub(crate) fn taken(&self) -> usize {
        let pushes = self.shared.pushes.lock().unwrap();
        let taken = pushes.iter().filter(|push| push.status == 204);
        taken.flat_map(|push| &push.request.streams).map(|stream| stream.entries.len()).sum()
    }

    /// The entries that were taken of the streams whose labels contain `part`, in the order in which they came.
    pub(crate) fn entries(&self, part: &str) -> Vec<Entry> {
        let pushes = self.shared.pushes.lock().unwrap();
        let taken = pushes.iter().filter(|push| push.status == 204);
        let streams = taken.flat_map(|push| &push.request.streams);
        let wanted = streams.filter(|stream| stream.labels.contains(part));
        wanted.flat_map(|stream| stream.entries.iter().cloned()).collect()
    }

    /// The lines of [`Tap::entries`].
    pub(crate) fn lines(&self, part: &str) -> Vec<String> {
        self.entries(part).into_iter().map(|entry| entry.line).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        let _wakes_it = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

/// Serves one connection until either side ends it.
fn while_good(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some((path, body)) = read_request(&mut reader) {
        let mode = shared.mode.lock().unwrap().clone();
        let request = path.ends_with("/push").then(|| decode(&body));
        let answer = match mode {
            Mode::Forward(url) => forward(&url, &path, &body),
            Mode::Slow(url, wait) => {
                let answer = forward(&url, &path, &body);
                std::thread::sleep(wait);
                answer
            }
            Mode::Answer(0) => None,
            Mode::Answer(status) => Some((status, Vec::new())),
        };
        if let Some(request) = request {
            let status = answer.as_ref().map_or(0, |(status, _)| *status);
            shared.pushes.lock().unwrap().push(Push { status, request });
        }
        let Some((status, text)) = answer else { return };
        let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\n\r\n", text.len());
        let head = if status == 204 { "HTTP/1.1 204 -\r\n\r\n".to_owned() } else { head };
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&text)).is_err() {
            return;
        }
    }
}

/// Path and body of the next request; none when the connection ended, within a request too.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let (path, length) = read_head(reader)?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// Path of the next request and the length of its body.
pub(crate) fn read_head(reader: &mut BufReader<&TcpStream>) -> Option<(String, usize)> {
    let mut first = String::new();
    let (mut length, mut line) = (0, String::new());
    while line.trim() != "" || first.is_empty() {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    Some((first.split(' ').nth(1).unwrap().to_owned(), length))
}

pub(crate) fn decode(body: &[u8]) -> PushRequest {
    let raw = snap::raw::Decoder::new().decompress_vec(body).expect("a push is snappy");
    PushRequest::decode(raw.as_slice()).expect("a push is a PushRequest")
}

/// Hands a request on; none without an answer.
pub(crate) fn forward(url: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).ok()?;
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}
