//! The web server's access log: steady traffic of a small shop, and what goes wrong with it.
//!
//! nginx's `combined` with `$request_time` behind, as is often configured. Requests come as a Poisson process whose rate
//! drifts slowly (a mean-reverting walk of 6 % over 40 s), from a pool of sessions of which each ends after 12
//! requests in the mean and is then replaced. The answer takes longer the more requests there were in the last second, as in a
//! queue (M/M/1: the service time divided by what is left of the capacity, which is six times the steady rate).

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Zoned;

use crate::random::Random;

/// What the traffic is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Web {
    Steady,
    /// So large a share of the requests is answered with 5xx.
    Errors(f64),
    Stopped,
    /// One client asks so many times as much as all others.
    Flood(f64),
    /// All requests come from so few sessions.
    Collapsed(usize),
}

/// How often lines are written.
pub(crate) const TICK: Duration = Duration::from_millis(20);

const SESSIONS: usize = 80;
const REQUESTS_PER_SESSION: f64 = 12.0;
const DRIFT: f64 = 0.06;
const DRIFT_SECONDS: f64 = 40.0;
const CAPACITY: f64 = 6.0;
/// Seconds that an answer takes when there is nothing else to do.
const SERVICE: f64 = 0.030;

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
];
const PATHS: [&str; 12] = [
    "/",
    "/catalog",
    "/catalog/shoes",
    "/static/app.js",
    "/static/app.css",
    "/api/v1/products",
    "/product/8812",
    "/search?q=boots",
    "/cart",
    "/api/v1/cart",
    "/checkout",
    "/login",
];
/// Status and how many of a thousand.
const STATUSES: [(u16, f64); 8] = [
    (200, 921.0),
    (304, 30.0),
    (302, 20.0),
    (404, 22.0),
    (403, 2.5),
    (499, 2.5),
    (500, 1.0),
    (502, 1.0),
];
const BROKEN: [u16; 3] = [502, 503, 500];

struct Session {
    address: [u8; 4],
    agent: &'static str,
}

/// Writes the log, a tick at a time.
pub(crate) struct Traffic {
    file: File,
    random: Random,
    /// Requests a second, before the drift.
    rate: f64,
    drift: f64,
    sessions: Vec<Session>,
    /// Requests a second of late, of all clients.
    load: f64,
    flooder: Session,
    was: Web,
    /// Requests owed by the flooding client: it does not come by chance.
    owed: f64,
    lines: Vec<u8>,
}

impl Traffic {
    /// The steady rate, 70 to 130 requests a second, is drawn from the seed.
    pub(crate) fn new(file: File, seed: u64) -> Self {
        let mut random = Random::new(seed, 2);
        let rate = random.between(70.0, 130.0);
        let sessions = (0..SESSIONS).map(|_| session(&mut random)).collect();
        let flooder = session(&mut random);
        let (drift, load, owed, lines) = (0.0, rate, 0.0, Vec::new());
        Traffic {
            file,
            random,
            rate,
            drift,
            sessions,
            load,
            flooder,
            was: Web::Steady,
            owed,
            lines,
        }
    }

    /// The lines of one tick, written at once.
    pub(crate) fn tick(&mut self, web: Web, now: &Zoned) -> Result<()> {
        let seconds = TICK.as_secs_f64();
        if web != self.was {
            (self.was, self.flooder, self.owed) = (web, session(&mut self.random), 0.0);
        }
        let step = DRIFT * (2.0 * seconds / DRIFT_SECONDS).sqrt() * self.random.normal();
        self.drift += step - self.drift * seconds / DRIFT_SECONDS;
        let rate = if web == Web::Stopped { 0.0 } else { self.rate * self.drift.exp() };
        let count = self.random.poisson(rate * seconds);
        if let Web::Flood(times) = web {
            self.owed += times * rate * seconds;
        }
        let flood = std::mem::take(&mut self.owed);
        self.owed = flood.fract();
        let all = count as f64 + flood.trunc();
        self.load += (all / seconds - self.load) * seconds; // over about a second
        let time = now.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
        self.lines.clear();
        for nth in 0..all as usize {
            self.request(web, &time, nth >= count)?;
        }
        self.file.write_all(&self.lines).context("writing the access log")
    }

    fn request(&mut self, web: Web, time: &str, is_flood: bool) -> Result<()> {
        let random = &mut self.random;
        let mut broken = false;
        let mut pool = self.sessions.len();
        match web {
            Web::Errors(share) => broken = random.unit() < share,
            Web::Collapsed(few) => pool = few.clamp(1, pool),
            Web::Steady | Web::Stopped | Web::Flood(_) => (),
        }
        let nth = random.below(pool);
        if random.unit() < 1.0 / REQUESTS_PER_SESSION && !matches!(web, Web::Collapsed(_)) {
            self.sessions[nth] = session(random);
        }
        let session = if is_flood { &self.flooder } else { &self.sessions[nth] };
        let [a, b, c, d] = session.address;
        let path = PATHS[random.skewed(PATHS.len())];
        let usual = STATUSES[random.weighted(&STATUSES.map(|(_, weight)| weight))].0;
        let status = if broken { BROKEN[random.weighted(&[8.0, 1.0, 1.0])] } else { usual };
        let method = if path.contains("cart") || path == "/login" { "POST" } else { "GET" };
        let bytes = match status {
            200 => (8.3 + 0.9 * random.normal()).exp() as u64,
            304 | 499 => 0,
            _ => 150 + random.below(80) as u64,
        };
        let busy = (self.load / (CAPACITY * self.rate)).min(0.95);
        let taken = SERVICE * (0.5 * random.normal()).exp() / (1.0 - busy);
        writeln!(
            self.lines,
            "{a}.{b}.{c}.{d} - - [{time}] \"{method} {path} HTTP/1.1\" {status} {bytes} \"-\" \"{}\" {taken:.3}",
            session.agent
        )?;
        Ok(())
    }
}

/// A client of a network for documentation or for tests (RFC 5737, RFC 2544): nobody's address.
fn session(random: &mut Random) -> Session {
    let (low, high) = (random.below(256) as u8, random.below(256) as u8);
    let address = [198, 18 + (random.below(2) as u8), high, low];
    Session { address, agent: AGENTS[random.skewed(AGENTS.len())] }
}
