//! A scripted HTTP/1.1 server on 127.0.0.1 for tests: keeps what it was sent, and answers what it was told to.
//! Shared by the tests of the outputs by path. Blocking, one thread a connection; ends with the test process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// What was received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// Method and path.
    pub(crate) line: String,
    /// Header lines, in lower case names.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Which connection it came over.
    pub(crate) connection: usize,
}

impl Received {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// Each with whether the connection is closed behind it.
    answers: VecDeque<(String, bool)>,
    connections: usize,
}

/// The server.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    /// Its base address.
    pub(crate) url: String,
}

impl Fake {
    /// Starts it. It answers 204 until told otherwise.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        Fake { state, url }
    }

    /// One more listener with the same answers, behind what `wrap` makes of a connection (TLS); its port.
    #[allow(dead_code, reason = "not every package that shares this file speaks TLS")]
    pub(crate) fn listen<S: Read + Write>(
        &self,
        wrap: impl Fn(TcpStream) -> S + Send + 'static,
    ) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::clone(&self.state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(wrap(stream.unwrap()), &state);
            }
        });
        port
    }

    /// The next answer: status, more header lines (each ended by CRLF), body. `None` of these: the connection breaks.
    pub(crate) fn answer(&self, status: u16, headers: &str, body: &str) -> &Self {
        let len = body.len();
        let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {len}\r\n\r\n{body}");
        lock(&self.state).answers.push_back((text, false));
        self
    }

    /// The next answer ends within its body: the connection is closed there, or nothing more comes.
    pub(crate) fn unfinished(&self, status: u16, body: &str, closes: bool) -> &Self {
        let len = body.len() + 100;
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {len}\r\n\r\n{body}");
        lock(&self.state).answers.push_back((text, closes));
        self
    }

    /// The next request is read and its connection closed.
    pub(crate) fn hang_up(&self) -> &Self {
        lock(&self.state).answers.push_back((String::new(), true));
        self
    }

    /// Everything received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

fn serve(stream: impl Read + Write, state: &Mutex<State>) {
    let connection = {
        let mut state = lock(state);
        state.connections += 1;
        state.connections
    };
    let mut reader = BufReader::new(stream);
    while let Some(mut received) = request(&mut reader) {
        received.connection = connection;
        let answer = {
            let mut state = lock(state);
            state.received.push(received);
            state.answers.pop_front()
        };
        let (answer, closes) = answer.unwrap_or_else(|| ("HTTP/1.1 204 X\r\n\r\n".into(), false));
        let writer = reader.get_mut();
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
        writer.flush().ok();
        if closes {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Received> {
    let mut received = Received::default();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    received.line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        received.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let len = received.header("content-length").map_or(0, |len| len.parse().unwrap());
    received.body.resize(len, 0);
    reader.read_exact(&mut received.body).ok()?;
    Some(received)
}
