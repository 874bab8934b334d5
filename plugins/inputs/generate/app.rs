//! Lines of an application's log: a JSON object each, as the loggers of most languages write them.
//!
//! Keys: `time` (RFC 3339), `level`, `logger`, `message` from a set of templates, `request_id`, `duration_ms`, and `seq`, the
//! line's number.

use super::anomaly::Effect;
use super::random::SplitMix64;
use super::text::{self, Stamp};

/// A part of a message.
#[derive(Clone, Copy, Debug)]
enum Part {
    Text(&'static str),
    /// A number from 1 to this.
    Number(u32),
    Hex,
    Word,
    Address,
}

use Part::{Address, Hex, Number, Text, Word};

/// Who says it, and what.
type Template = (&'static str, &'static [Part]);

const WORDS: [&str; 8] = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron"];

const INFO: [Template; 10] = [
    ("http", &[Text("request served for "), Address]),
    ("http", &[Text("connection from "), Address, Text(" closed")]),
    ("checkout", &[Text("order "), Number(90_000), Text(" paid in "), Number(400), Text(" ms")]),
    ("checkout", &[Text("cart "), Hex, Text(" has "), Number(12), Text(" items")]),
    ("stock", &[Text("reserved "), Number(9), Text(" of product "), Number(900)]),
    ("stock", &[Text("level of product "), Number(900), Text(" is now "), Number(500)]),
    ("auth", &[Text("user "), Word, Text(" signed in from "), Address]),
    ("mail", &[Text("message "), Hex, Text(" queued for "), Word, Text("@example.com")]),
    ("cache", &[Text("refreshed "), Number(2_000), Text(" keys of shard "), Word]),
    ("jobs", &[Text("job "), Word, Text(" done after "), Number(30), Text(" s")]),
];

const DEBUG: [Template; 2] = [
    ("db", &[Text("query took "), Number(80), Text(" ms, "), Number(500), Text(" rows")]),
    ("cache", &[Text("miss for key "), Hex]),
];

const WARN: [Template; 4] = [
    ("db", &[Text("slow query: "), Number(4_000), Text(" ms on table "), Word]),
    ("http", &[Text("client "), Address, Text(" sends too many requests")]),
    ("mail", &[Text("relay "), Word, Text(" answers with 451, trying again")]),
    ("stock", &[Text("product "), Number(900), Text(" is low")]),
];

const ERROR: [Template; 4] = [
    (
        "db",
        &[Text("connection to replica "), Word, Text(" timed out after "), Number(30), Text(" s")],
    ),
    (
        "checkout",
        &[Text("payment of order "), Number(90_000), Text(" was declined by the gateway")],
    ),
    ("http", &[Text("upstream "), Address, Text(" reset the connection")]),
    ("jobs", &[Text("job "), Word, Text(" failed: no space left on queue")]),
];

/// What is only said in a `new_error`; the nth one says the nth.
const NOVEL: [Template; 3] = [
    ("lease", &[Text("cannot renew the lease of shard "), Word, Text(": quorum lost")]),
    ("tls", &[Text("certificate of peer "), Address, Text(" has expired, refusing handshake")]),
    ("store", &[Text("checksum mismatch in segment "), Hex, Text(", page is quarantined")]),
];

/// The maker of one host's lines.
#[derive(Debug)]
pub(super) struct App {
    key: u64,
}

impl App {
    pub(super) fn new(key: u64) -> Self {
        App { key }
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
        let (level, (logger, parts)) = choose(&mut random, effect);
        out.extend_from_slice(b"{\"time\":\"");
        stamp.iso(out, time_ns);
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(level.as_bytes());
        out.extend_from_slice(b"\",\"logger\":\"");
        out.extend_from_slice(logger.as_bytes());
        out.extend_from_slice(b"\",\"message\":\"");
        for part in parts {
            write(*part, &mut random, out);
        }
        out.extend_from_slice(b"\",\"request_id\":\"");
        text::hex(out, random.next());
        out.extend_from_slice(b"\",\"duration_ms\":");
        text::number(out, (20.0 * random.tail()) as u64);
        out.extend_from_slice(b",\"seq\":");
        text::number(out, seq);
        out.extend_from_slice(b"}\n");
    }
}

/// Of a thousand lines four are errors by themselves, 36 warnings, 60 for debugging.
fn choose(random: &mut SplitMix64, effect: &Effect) -> (&'static str, Template) {
    if random.chance(effect.novel) {
        return ("error", NOVEL[effect.which % NOVEL.len()]);
    }
    if random.chance(effect.errors) {
        return ("error", random.pick(&ERROR));
    }
    match random.below(1000) {
        0..4 => ("error", random.pick(&ERROR)),
        4..40 => ("warn", random.pick(&WARN)),
        40..100 => ("debug", random.pick(&DEBUG)),
        _ => ("info", random.pick(&INFO)),
    }
}

fn write(part: Part, random: &mut SplitMix64, out: &mut Vec<u8>) {
    match part {
        Text(words) => out.extend_from_slice(words.as_bytes()),
        Number(most) => text::number(out, 1 + u64::from(random.below(most))),
        Hex => text::hex(out, random.next()),
        Word => out.extend_from_slice(random.pick(&WORDS).as_bytes()),
        Address => {
            out.extend_from_slice(b"198.18.");
            text::number(out, random.below(256).into());
            out.push(b'.');
            text::number(out, random.below(256).into());
        }
    }
}
