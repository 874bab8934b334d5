//! Lines of a shop's access log: nginx's `combined`, and behind it the request time in seconds, as processors.parse reads them.
//!
//! Addresses are of networks that nobody has: 198.18.0.0/15 (RFC 2544), and 203.0.113.0/24 (RFC 5737) for those who mean ill.
//! A line's number is in its query, `seq=`, which counting by path leaves out. Clients come and go: four hundred at a time, a
//! few of them making most of the requests; five leave and five come every five minutes.

use super::anomaly::Effect;
use super::random::{SplitMix64, mix};
use super::text::{self, Stamp};

/// Clients at a time.
const CLIENTS: f64 = 400.0;
/// How long it takes until five are others.
const TURN_NS: i64 = 300_000_000_000;

/// A kind of request.
#[derive(Debug)]
struct Route {
    /// Its share, of all weights.
    weight: u32,
    method: &'static str,
    path: &'static str,
    /// Numbers that may stand behind the path, and what comes behind the number; 0: none.
    ids: u32,
    behind: &'static str,
    /// Milliseconds it usually takes.
    usual_ms: f64,
    /// Bytes it usually sends.
    bytes: u32,
}

const fn route(
    weight: u32,
    (method, path): (&'static str, &'static str),
    (ids, behind): (u32, &'static str),
    usual_ms: f64,
    bytes: u32,
) -> Route {
    Route { weight, method, path, ids, behind, usual_ms, bytes }
}

const ROUTES: [Route; 16] = [
    route(60, ("GET", "/"), (0, "?seq="), 22.0, 18_400),
    route(52, ("GET", "/products/"), (900, "?seq="), 31.0, 12_800),
    route(26, ("GET", "/products"), (0, "?page=2&seq="), 44.0, 21_000),
    route(20, ("GET", "/search"), (0, "?q=lamp&seq="), 85.0, 9_600),
    route(24, ("GET", "/static/app.js"), (0, "?seq="), 1.0, 88_000),
    route(20, ("GET", "/static/app.css"), (0, "?seq="), 1.0, 24_000),
    route(40, ("GET", "/images/"), (900, ".webp?seq="), 2.0, 46_000),
    route(12, ("GET", "/cart"), (0, "?seq="), 28.0, 5_200),
    route(10, ("POST", "/cart/items"), (0, "?seq="), 37.0, 420),
    route(2, ("DELETE", "/cart/items/"), (900, "?seq="), 24.0, 90),
    route(4, ("POST", "/checkout"), (0, "?seq="), 190.0, 1_100),
    route(6, ("GET", "/orders/"), (90_000, "?seq="), 33.0, 3_400),
    route(5, ("POST", "/login"), (0, "?seq="), 120.0, 640),
    route(15, ("GET", "/api/v1/stock/"), (900, "?seq="), 9.0, 210),
    route(1, ("PUT", "/api/v1/profile"), (0, "?seq="), 40.0, 180),
    route(3, ("HEAD", "/health"), (0, "?seq="), 1.0, 0),
];

const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "okhttp/4.12.0",
];

const REFERERS: [&str; 8] = [
    "-",
    "-",
    "-",
    "https://shop.example/",
    "https://shop.example/products",
    "https://shop.example/search?q=lamp",
    "https://www.google.com/",
    "https://shop.example/cart",
];

/// What a scan asks for.
const STRANGE: [&str; 12] = [
    "/.env",
    "/.git/config",
    "/wp-login.php",
    "/wp-admin/setup-config.php",
    "/phpmyadmin/index.php",
    "/cgi-bin/luci",
    "/actuator/env",
    "/server-status",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/backup.sql.gz",
    "/boaform/admin/formLogin",
    "/solr/admin/info/system",
];

const FLOODER: (&str, &str) = ("203.0.113.66", "python-requests/2.32.3");
const SCANNER: (&str, &str) = ("203.0.113.99", "Mozilla/5.0 zgrab/0.x");

/// The maker of one host's lines.
#[derive(Debug)]
pub(super) struct Web {
    key: u64,
    /// Routes by their weights.
    routes: Vec<u8>,
}

impl Web {
    pub(super) fn new(key: u64) -> Self {
        let times = |(at, route): (usize, &Route)| vec![at as u8; route.weight as usize];
        Web { key, routes: ROUTES.iter().enumerate().flat_map(times).collect() }
    }

    /// Appends line `seq`, with its line end.
    pub(super) fn line(
        &self,
        (seq, time_ns): (u64, i64),
        effect: &Effect,
        stamp: &mut Stamp,
        out: &mut Vec<u8>,
    ) {
        let mut random = SplitMix64::of(self.key, seq);
        if random.chance(effect.scan) {
            return scan(&mut random, (seq, time_ns), stamp, out);
        }
        let flooded = random.chance(effect.flood);
        let route = &ROUTES[self.routes[random.below(self.routes.len() as u32) as usize] as usize];
        let status = status(&mut random, route, effect.errors);
        let (agent, referer) = if flooded {
            out.extend_from_slice(FLOODER.0.as_bytes());
            (FLOODER.1, "-")
        } else {
            (self.client(&mut random, time_ns, out), random.pick(&REFERERS))
        };
        out.extend_from_slice(b" - - [");
        stamp.web(out, time_ns);
        out.extend_from_slice(b"] \"");
        out.extend_from_slice(route.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(route.path.as_bytes());
        if route.ids > 0 {
            text::number(out, 1 + u64::from(random.below(route.ids)));
        }
        out.extend_from_slice(route.behind.as_bytes());
        text::number(out, seq);
        let bytes = match status {
            204 | 304 => 0,
            200 | 201 => route.bytes / 2 + random.below(route.bytes + 1),
            _ => 150 + random.below(400),
        };
        let failed = if status >= 500 { 2.0 } else { 1.0 };
        let ms = route.usual_ms * random.tail() * failed * effect.slow;
        finish(out, (status, bytes, ms as u64), referer, agent);
    }

    /// Appends the address of a client, and gives its browser.
    fn client(&self, random: &mut SplitMix64, time_ns: i64, out: &mut Vec<u8>) -> &'static str {
        let unit = random.unit();
        let turns = time_ns.div_euclid(TURN_NS) as u64;
        let who =
            mix(self.key ^ turns.wrapping_mul(5).wrapping_add((unit * unit * CLIENTS) as u64));
        out.extend_from_slice(b"198.1");
        out.push(b'8' + (who & 1) as u8);
        out.push(b'.');
        text::number(out, who >> 8 & 255);
        out.push(b'.');
        text::number(out, who >> 16 & 255);
        AGENTS[(who >> 32 & 7) as usize]
    }
}

/// Appends a request of a scan.
fn scan(random: &mut SplitMix64, (seq, time_ns): (u64, i64), stamp: &mut Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(SCANNER.0.as_bytes());
    out.extend_from_slice(b" - - [");
    stamp.web(out, time_ns);
    out.extend_from_slice(b"] \"GET ");
    out.extend_from_slice(random.pick(&STRANGE).as_bytes());
    out.extend_from_slice(b"?seq=");
    text::number(out, seq);
    let status = if random.chance(0.05) { 403 } else { 404 };
    finish(out, (status, 150 + random.below(30), u64::from(random.below(3))), "-", SCANNER.1);
}

/// Appends all that comes behind the path.
fn finish(out: &mut Vec<u8>, (status, bytes, ms): (u32, u32, u64), referer: &str, agent: &str) {
    out.extend_from_slice(b" HTTP/1.1\" ");
    text::number(out, status.into());
    out.push(b' ');
    text::number(out, bytes.into());
    out.extend_from_slice(b" \"");
    out.extend_from_slice(referer.as_bytes());
    out.extend_from_slice(b"\" \"");
    out.extend_from_slice(agent.as_bytes());
    out.extend_from_slice(b"\" ");
    text::number(out, ms / 1000);
    out.push(b'.');
    text::padded::<3>(out, ms % 1000);
    out.push(b'\n');
}

/// The status of an answer; three in a thousand are errors of the server by themselves.
fn status(random: &mut SplitMix64, route: &Route, errors: f64) -> u32 {
    if random.chance(errors) {
        return random.pick(&[500, 502, 503, 503, 504]);
    }
    let draw = random.below(1000);
    match (route.method, draw) {
        (_, 0..3) => random.pick(&[500, 502, 503, 504]),
        (_, 3..8) => 403,
        ("GET", 8..38) => 404,
        ("GET", 38..98) => 304,
        ("GET", 98..118) => 301,
        ("GET" | "HEAD", _) => 200,
        (_, 8..38) => 422,
        (_, 38..58) => 401,
        ("DELETE" | "PUT", _) => 204,
        (_, 58..400) => 201,
        _ => 302,
    }
}
