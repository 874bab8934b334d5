//! Whether lines of one template are grouped as one, on lines whose templates are known.

use std::collections::HashMap;

use super::super::drain::{Found, Tree};
use super::super::text::Line;
use super::bounds::Random;

/// Templates of servers as one finds them; a mark in braces is a variable.
const KINDS: [&str; 40] = [
    "INFO Rolled new log segment for '{word}-{num}' in {num} ms.",
    "INFO Deleting segment {num} from log {word}-{num}.",
    "INFO Scheduling log segment {num} for log {word}-{num} for deletion.",
    "INFO Partition [{word},{num}] on broker {num}: Expanding ISR for partition [{word},{num}] from {num} to {num},{num}",
    "INFO Partition [{word},{num}] on broker {num}: Shrinking ISR for partition [{word},{num}] from {num},{num} to {num}",
    "WARN Attempting to send response via channel for which there is no open connection, connection id {num}",
    "ERROR Error when sending message to topic {word} with key: {num} bytes, value: {num} bytes",
    "Failed password for {word} from {ip} port {num} ssh2",
    "Failed password for invalid user {word} from {ip} port {num} ssh2",
    "Accepted publickey for {word} from {ip} port {num} ssh2: RSA {hex}",
    "Connection closed by {ip} port {num} [preauth]",
    "Received disconnect from {ip} port {num}:11: disconnected by user",
    "pam_unix(sshd:session): session opened for user {word} by (uid={num})",
    "pam_unix(sshd:session): session closed for user {word}",
    "error: maximum authentication attempts exceeded for {word} from {ip} port {num} ssh2 [preauth]",
    "New session {num} of user {word}.",
    "Removed session {num}.",
    "Started Session {num} of user {word}.",
    "connect() failed (111: Connection refused) while connecting to upstream, client: {ip}, server: {word}",
    "upstream timed out (110: Connection timed out) while reading response header from upstream, client: {ip}, server: {word}",
    "open() \"{path}\" failed (2: No such file or directory), client: {ip}, server: {word}",
    "Out of memory: Killed process {num} ({word}) total-vm:{num}kB, anon-rss:{num}kB, file-rss:{num}kB",
    "EXT4-fs error (device {word}): ext4_find_entry:{num}: inode #{num}: comm {word}: reading directory lblock {num}",
    "level=info msg=\"compact blocks\" count={num} mint={num} maxt={num} duration={num}ms",
    "level=warn component=web caller=handler.go:{num} url={path} err=timeout took={num}s",
    "checkpoint starting: time",
    "checkpoint complete: wrote {num} buffers ({num}%); {num} transaction log file(s) added, {num} removed",
    "duplicate key value violates unique constraint \"{word}_pkey\"",
    "could not receive data from client: Connection reset by peer",
    "automatic vacuum of table \"{word}.public.{word}\": index scans: {num}",
    "Served block blk_{num} to {path}",
    "Receiving block blk_{num} src: {path} dest: {path}",
    "PacketResponder {num} for block blk_{num} terminating",
    "Verification succeeded for blk_{num}",
    "job {uuid} finished with state {word} after {num} attempts",
    "cache miss for key {hex}, loading from {path}",
    "GC pause {num}ms, heap {num}M of {num}M",
    "user {email} requested a new password",
    "TLS handshake with {ip}:{num} failed: certificate has expired",
    "health check of {word} returned status {num} in {num}ms",
];

fn fill(kind: &str, random: &mut Random) -> String {
    let mut line = String::new();
    let mut rest = kind;
    while let Some((before, after)) = rest.split_once('{') {
        let (mark, after) = after.split_once('}').unwrap();
        line.push_str(before);
        let number = random.below(1_000_000);
        let value = match mark {
            "num" => number.to_string(),
            "word" => random.word(),
            "ip" => format!("10.{}.{}.{}", number % 256, number / 256 % 256, number / 4096),
            "hex" => format!("{:08x}a1{number:06x}", number * 2654),
            "uuid" => format!("{number:08x}-1b2c-4d3e-8f4a-{number:012x}"),
            "path" => format!("/{}/{}.{number}", random.word(), random.word()),
            "email" => format!("{}@{}.org", random.word(), random.word()),
            other => panic!("{other}"),
        };
        line.push_str(&value);
        rest = after;
    }
    line + rest
}

/// 20,000 lines, some kinds far more frequent than others.
fn corpus(seed: u64) -> Vec<(usize, String)> {
    let mut random = Random(seed);
    let corpus = (0..20_000).map(|_| {
        let kind = (random.below(40) * random.below(40) / 40) as usize;
        (kind, fill(KINDS[kind], &mut random))
    });
    corpus.collect()
}

/// The template of each line, and how many templates there were.
fn grouped<'l>(lines: impl Iterator<Item = &'l String>) -> (Vec<u32>, Tree) {
    let (mut tree, mut line) = (Tree::new(300, 0.5), Line::default());
    let mut found = Vec::new();
    for text in lines {
        line.read(text.as_bytes(), true);
        let (Found::Known(slot) | Found::New { slot, .. }) =
            tree.find(&line, line.level.unwrap_or_default());
        for (from, to) in tree.absorbed.drain(..) {
            found.iter_mut().filter(|slot| **slot == from).for_each(|slot| *slot = to);
        }
        found.push(slot);
    }
    (found, tree)
}

/// Grouping accuracy (Zhu et al. 2019, "Tools and Benchmarks for Automated Log Parsing"): the share of lines whose
/// group has exactly the lines of their template.
fn accuracy(truth: &[usize], found: &[u32]) -> f64 {
    let mut sizes: HashMap<usize, usize> = HashMap::new();
    let mut groups: HashMap<u32, HashMap<usize, usize>> = HashMap::new();
    for (kind, slot) in truth.iter().zip(found) {
        *sizes.entry(*kind).or_default() += 1;
        *groups.entry(*slot).or_default().entry(*kind).or_default() += 1;
    }
    let right = groups.values().filter(|kinds| kinds.len() == 1).flat_map(HashMap::iter);
    let right: usize =
        right.filter(|(kind, count)| sizes[*kind] == **count).map(|(_, count)| count).sum();
    right as f64 / truth.len() as f64
}

#[test]
fn grouping_accuracy_is_at_least_95_percent() {
    for seed in [1, 2, 3] {
        let corpus = corpus(seed);
        let truth: Vec<usize> = corpus.iter().map(|(kind, _)| *kind).collect();
        let (found, tree) = grouped(corpus.iter().map(|(_, line)| line));
        let accuracy = accuracy(&truth, &found);
        let texts: Vec<String> =
            tree.templates().map(|(_, it)| format!("{} {}", it.count, it.text())).collect();
        assert!(accuracy >= 0.95, "{accuracy}\n{}", texts.join("\n"));
    }
}

#[test]
fn the_order_of_the_lines_hardly_matters() {
    let mut corpus = corpus(5);
    let (found, _) = grouped(corpus.iter().map(|(_, line)| line));
    let mut tagged: Vec<(usize, String)> = found
        .iter()
        .map(|slot| *slot as usize)
        .zip(corpus.drain(..).map(|(_, line)| line))
        .collect();
    let mut random = Random(9);
    for at in (1..tagged.len()).rev() {
        tagged.swap(at, random.below(at as u64 + 1) as usize);
    }
    let before: Vec<usize> = tagged.iter().map(|(slot, _)| *slot).collect();
    let (after, _) = grouped(tagged.iter().map(|(_, line)| line));
    let same = accuracy(&before, &after);
    assert!(same >= 0.95, "{same}");
}

#[test]
fn a_line_that_was_of_a_template_is_of_it_for_ever() {
    let corpus = corpus(6);
    let (_, mut tree) = grouped(corpus.iter().map(|(_, line)| line));
    let known = tree.templates().count();
    let mut line = Line::default();
    for (_, text) in &corpus {
        line.read(text.as_bytes(), true);
        let found = tree.find(&line, line.level.unwrap_or_default());
        assert!(matches!(found, Found::Known(_)), "{text}");
    }
    assert_eq!(tree.templates().count(), known);
}

#[test]
fn lines_of_other_severity_or_other_words_are_other_templates() {
    let lines = [
        "INFO broker 1 changed state now",
        "ERROR broker 1 changed state now",
        "Connection closed by 10.0.0.1",
        "Connection reset by 10.0.0.1",
        "disk sda is full",
        "lamp on desk broken",
    ];
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let (found, _) = grouped(lines.iter());
    assert_eq!(found, [0, 1, 2, 3, 4, 5]);
}
