//! Seeded, noisy web traffic to a real nginx: Poisson arrivals around a wandering rate, from many loopback addresses. It
//! counts what it really sent, second by second; it makes up for no more than half a second that the machine took from it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};

use super::stack::{Server, now_ms};

const WORKERS: u64 = 4;
const FLOODERS: u64 = 3;
/// Addresses that ask, 127.0.0.2 and on; few of them ask often.
const CLIENTS: f64 = 48.0;
/// The one that floods.
const FLOODER: u8 = 222;
const AGENTS: [&str; 5] = ["Firefox/140.0", "Chrome/141.0", "Safari/18.1", "curl/8.9", "bot/2"];
const PATHS: [&str; 8] = [
    "/",
    "/",
    "/cart",
    "/item/7",
    "/item/12?ref=mail",
    "/search?q=shoe",
    "/login",
    "/img/logo.png",
];
/// Of all requests, always.
const NOT_FOUND: f64 = 0.015;
const ERRORS: f64 = 0.003;

/// What is to be sent now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Requests a second, in the mean.
    pub(crate) rate: f64,
    /// Share of them that asks for a path never asked for before.
    pub(crate) new_path: f64,
    /// Share of them that is answered with 500.
    pub(crate) failing: f64,
    /// Requests a second of one client, beside the others.
    pub(crate) flood: f64,
}

/// What was sent and answered in one second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) requests: u32,
    pub(crate) errors: u32,
    pub(crate) flood: u32,
    /// No answer came.
    pub(crate) unanswered: u32,
}

/// Traffic that goes on until this is dropped.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddrV4,
    seed: u64,
    began: Instant,
    stop: AtomicBool,
    load: Mutex<Load>,
    sent: Mutex<BTreeMap<i64, Sent>>,
}

impl Traffic {
    pub(crate) fn start(nginx: &Server, seed: u64, load: Load) -> Traffic {
        let shared = Arc::new(Shared {
            target: nginx.url.strip_prefix("http://").unwrap().parse().unwrap(),
            seed,
            began: Instant::now(),
            stop: AtomicBool::new(false),
            load: Mutex::new(load),
            sent: Mutex::default(),
        });
        let thread = |number: u64| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.run(number))
        };
        let threads = (0..WORKERS + FLOODERS).map(thread).collect();
        Traffic { shared, threads }
    }

    /// Changes what is sent. Returns the time, in milliseconds.
    pub(crate) fn set(&self, load: Load) -> i64 {
        *self.shared.load.lock().unwrap() = load;
        now_ms()
    }

    /// What was sent in the whole seconds between two times in milliseconds; seconds without a request are in it.
    pub(crate) fn sent(&self, from_ms: i64, to_ms: i64) -> Vec<Sent> {
        let sent = self.shared.sent.lock().unwrap();
        let seconds = (from_ms + 999).div_euclid(1000)..to_ms.div_euclid(1000);
        seconds.map(|second| sent.get(&second).copied().unwrap_or_default()).collect()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    /// One of several threads that share the rate.
    fn run(&self, number: u64) {
        // It should send evenly while compilers run beside it; where that is not allowed, it is not.
        let _not_root = rustix::process::setpriority_process(None, -10);
        let mut random = Random(self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
        let floods = number >= WORKERS;
        let mut due = Instant::now();
        while !self.stop.load(Relaxed) {
            let load = *self.load.lock().unwrap();
            let rate = if floods {
                load.flood / FLOODERS as f64
            } else {
                load.rate * self.wander() / WORKERS as f64
            };
            let now = Instant::now();
            if rate <= 0.0 {
                due = now;
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            due += Duration::from_secs_f64(-(1.0 - random.uniform()).ln() / rate);
            due = due.max(now.checked_sub(Duration::from_millis(500)).unwrap_or(now));
            std::thread::sleep(due.saturating_duration_since(now));
            self.ask(&mut random, load, floods);
        }
    }

    /// Between about 0.7 and 1.4: sways by the minute, and another each second.
    fn wander(&self) -> f64 {
        let seconds = self.began.elapsed().as_secs_f64();
        let second = Random(self.seed ^ (seconds as u64).wrapping_mul(0x2545_f491)).uniform();
        (0.12 * (seconds / 17.0).sin() + 0.08 * (seconds / 5.3).sin() + 0.3 * (second - 0.5)).exp()
    }

    fn ask(&self, random: &mut Random, load: Load, floods: bool) {
        let client = (random.uniform().powi(2) * CLIENTS) as u8;
        let (address, agent) = if floods {
            (FLOODER, AGENTS[3])
        } else {
            let other = usize::from(random.uniform() < 0.1); // two people behind one address
            (2 + client, AGENTS[(usize::from(client) + other) % AGENTS.len()])
        };
        let kind = random.uniform();
        let path = if floods {
            PATHS[5]
        } else if random.uniform() < load.failing || kind < ERRORS {
            "/fail"
        } else if kind < ERRORS + NOT_FOUND {
            "/missing"
        } else if random.uniform() < load.new_path {
            "/new/landing-page"
        } else {
            PATHS[(random.uniform() * PATHS.len() as f64) as usize]
        };
        let answered = request(Ipv4Addr::new(127, 0, 0, address), self.target, path, agent);
        let mut all = self.sent.lock().unwrap();
        let sent = all.entry(now_ms().div_euclid(1000)).or_default();
        sent.requests += 1;
        sent.flood += u32::from(floods);
        sent.errors += u32::from(path == "/fail");
        sent.unanswered += u32::from(answered.is_err());
    }
}

/// One request on a connection of its own, from an address of our choice (which std cannot).
fn request(from: Ipv4Addr, to: SocketAddrV4, path: &str, agent: &str) -> std::io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: shop.test\r\nUser-Agent: {agent}\r\n\r\n")?;
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer)?;
    let good = answer[..read].starts_with(b"HTTP/1.1 ");
    if good { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
