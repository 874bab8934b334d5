//! Corpora made from a seed: the same arguments give the same bytes everywhere.
//!
//! `text`: lines of 200 bytes with their newline, words of random letters from a vocabulary of 4,096, so that neither
//! snappy nor a branch predictor has it easy. `wide`: the same with 1,024 bytes. `combined`: an access log as nginx and Apache write it; a few thousand
//! clients, most requests to few paths, times that never go back, 1,000 requests in each second. No real log is in it.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

/// Bytes of a `text` line, newline included.
const TEXT_LINE: usize = 200;
/// Bytes of a `wide` line.
const WIDE_LINE: usize = 1024;
const WORDS: usize = 4096;
const REQUESTS_PER_SECOND: u32 = 1000;

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.14.1",
    "Go-http-client/1.1",
];
const PATHS: [&str; 8] = [
    "/",
    "/catalog",
    "/catalog/shoes",
    "/cart",
    "/login",
    "/api/v1/orders",
    "/static/app.js",
    "/search",
];
const REFERRERS: [&str; 3] = ["-", "https://shop.example.org/", "https://www.google.com/"];

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    Text,
    Wide,
    Combined,
}

pub(crate) fn write(kind: Kind, path: &Path, lines: u32, seed: u64) -> Result<()> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut random = Random(seed);
    let words: Vec<String> = (0..WORDS).map(|_| random.word()).collect();
    let mut line = Vec::with_capacity(2048);
    for id in 0..lines {
        line.clear();
        match kind {
            Kind::Text => text(&mut line, TEXT_LINE, id, &words, &mut random),
            Kind::Wide => text(&mut line, WIDE_LINE, id, &words, &mut random),
            Kind::Combined => combined(&mut line, id, &mut random)?,
        }
        out.write_all(&line)?;
    }
    out.flush().context("writing the corpus")
}

fn text(line: &mut Vec<u8>, bytes: usize, id: u32, words: &[String], random: &mut Random) {
    line.extend_from_slice(format!("id={id:08}").as_bytes());
    while line.len() < bytes {
        line.push(b' ');
        line.extend_from_slice(words[random.below(WORDS)].as_bytes());
    }
    line.truncate(bytes - 1);
    if line.ends_with(b" ") {
        line.pop();
        line.push(b'.'); // Telegraf trims a line: what arrives could not be compared
    }
    line.push(b'\n');
}

fn combined(line: &mut Vec<u8>, id: u32, random: &mut Random) -> Result<()> {
    let client = random.skewed(5000);
    let second = id / REQUESTS_PER_SECOND;
    let status = match random.below(100) {
        0 => 500,
        1..=3 => 404,
        4..=8 => 304,
        _ => 200,
    };
    let method = if random.below(10) == 0 { "POST" } else { "GET" };
    writeln!(
        line,
        "10.{}.{}.{} - - [22/Nov/2026:{:02}:{:02}:{:02} +0000] \"{method} {}?id={id:08} HTTP/1.1\" {status} {} \"{}\" \"{}\"",
        client >> 16 & 255,
        client >> 8 & 255,
        client & 255,
        second / 3600 % 24,
        second / 60 % 60,
        second % 60,
        PATHS[random.skewed(PATHS.len())],
        200 + random.below(50_000),
        REFERRERS[random.below(REFERRERS.len())],
        AGENTS[client % AGENTS.len()],
    )?;
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Small numbers more often than large ones: the square of a uniform variable.
    fn skewed(&mut self, limit: usize) -> usize {
        let uniform = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((uniform * uniform * limit as f64) as usize).min(limit - 1)
    }

    fn word(&mut self) -> String {
        let letters = 2 + self.below(9);
        (0..letters).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}
