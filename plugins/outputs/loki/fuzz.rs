//! What `tests/fuzz` feeds with texts of its own making, and the tests here with its corpus: the answers of Loki. Compiled
//! for tests and fuzzing only.

use super::answer::refused;
use super::encode::Sent;
use super::labels::render;

const SECOND: i64 = 1_000_000_000;
/// 2026-11-23T02:13:20Z.
const NOON: i64 = 1_795_400_000 * SECOND;

/// Whatever Loki says, only entries that were sent are refused, each once.
pub fn loki_answer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let sent: Vec<Sent> = (0..24_u32).map(entry).collect();
    let names = ["a", "; 3 errors like: ", "b\"c\\"].map(|job| render([("job", job)].into_iter()));
    let Some(refused) = refused(&text, &sent, &names) else { return };
    let events = refused.events;
    assert!(!events.is_empty() && events.is_sorted(), "ascending: {events:?}");
    assert!(events.windows(2).all(|pair| pair[0] < pair[1]), "none twice: {events:?}");
    assert!(events.iter().all(|event| *event < sent.len()), "only what was sent: {events:?}");
}

fn entry(index: u32) -> Sent {
    let time_ns = NOON + i64::from(index / 3) * SECOND + i64::from(index % 3);
    Sent { time_ns, index, len: index * 100, place: index % 3 }
}

#[cfg(test)]
#[path = "../../../tests/fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
#[test]
fn the_corpus_of_loki_answer_finds_nothing() {
    corpus::run("loki_answer", loki_answer);
}
