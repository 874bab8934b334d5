//! The newest frames of a group on their way to another member, in blocks: what its next model is trained on there.
//!
//! As many as a day has minutes. A block is read from history when it is given and appended to history where it is taken, so it
//! costs no memory but its count; one that is whole is given once.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use sentinel_contract::Cause;
use sentinel_contract::history::Frame;

use super::group::{Group, Shared};

/// Frames of a block, and the blocks that are kept: a day of minutes, and the block that grows.
const BLOCK: i64 = 240;
const BLOCKS: usize = 7;

/// The blocks that there are, by number, each with how many frames it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks(BTreeMap<i64, u64>);

impl Blocks {
    /// One more frame.
    pub(super) fn add(&mut self, time_ms: i64, interval_ms: i64) {
        *self.0.entry(time_ms.div_euclid(BLOCK * interval_ms)).or_insert(0) += 1;
        while self.0.len() > BLOCKS {
            self.0.pop_first();
        }
    }

    /// Their numbers and counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.0.iter().map(|(block, count)| (*block, *count))
    }
}

impl Group {
    /// The frames of a block: time, score, and one value a signal of each; all little-endian, eight bytes a number.
    pub(super) fn block(&self, block: i64, shared: &Shared) -> Option<Vec<u8>> {
        let from_ms = block * BLOCK * shared.options.interval_ms;
        let to_ms = from_ms + BLOCK * shared.options.interval_ms;
        let frames = shared.history.frames(&self.history_name, &shared.names, from_ms, to_ms);
        let frames = frames
            .inspect_err(|error| {
                tracing::warn!(error = %format!("{error:#}"), "history cannot be read");
            })
            .ok()?;
        let mut bytes = Vec::with_capacity(frames.len() * 8 * (2 + shared.names.len()));
        for frame in frames {
            bytes.extend_from_slice(&frame.time_ms.to_le_bytes());
            let numbers = std::iter::once(frame.score).chain(frame.values);
            numbers.for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        }
        Some(bytes)
    }

    /// Takes a block into history.
    pub(super) fn take_block(&mut self, bytes: &[u8], shared: &Shared) -> Result<(), Cause> {
        let width = 8 * (2 + shared.names.len());
        ensure!(bytes.len().is_multiple_of(width), "frames of other signals");
        for frame in bytes.chunks_exact(width) {
            let (time, numbers) = frame.split_first_chunk::<8>().context("no time")?;
            let mut numbers = numbers.as_chunks::<8>().0.iter().map(|one| f64::from_le_bytes(*one));
            let score = numbers.next().unwrap_or(f64::NAN);
            let (time_ms, values) = (i64::from_le_bytes(*time), numbers.collect());
            let frame = Frame { time_ms, values, score };
            self.blocks.add(time_ms, shared.options.interval_ms);
            shared.history.append_frame(&self.history_name, &shared.names, &frame);
        }
        // History's queue is for what is live: a read waits until it has taken these.
        shared.history.frames(&self.history_name, &shared.names, i64::MAX - 1, i64::MAX)?;
        Ok(())
    }
}
