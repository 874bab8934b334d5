//! A compressed request body in a buffer that is used again and again: snappy's block format and zstd.
//! Measured on the shipped host metrics (`cargo run --example encode_cost -p sentinel-outputs`).

use bytes::{Bytes, BytesMut};
use sentinel_contract::Cause;
use zstd::zstd_safe::CParameter;

/// A buffer larger than this is given back when four times too large for what it now holds.
const KEEP: usize = 256 << 10;

/// Up to this size zstd may take more time: one gather of a host is 20 KiB, every 10 seconds.
const SMALL: usize = 64 << 10;

/// How hard zstd tries; 0 is the level's own.
struct Effort {
    level: i32,
    /// Logarithm of the hash and chain tables' sizes.
    table: u32,
    /// Logarithm of the candidates looked at.
    search: u32,
    shortest_match: u32,
}

/// Of 180 settings, tried on real gathers of 10 KiB: as small as level 5 (13.7 bytes a sample, within 1 %), about
/// a tenth faster, and .4 MB less memory. Level 4 has 14.5 bytes, level 3 14.9.
const ZSTD_SMALL: Effort = Effort { level: 5, table: 12, search: 2, shortest_match: 4 };
/// Large requests are labels seen again and again: level 1 is as small and three times as fast.
const ZSTD_LARGE: Effort = Effort { level: 1, table: 0, search: 0, shortest_match: 0 };

/// A reused, compressed body.
#[derive(Default)]
pub struct Body {
    bytes: Vec<u8>,
    len: usize,
    snappy: Option<snap::raw::Encoder>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Body {
    /// An empty body. Compressors are made when they are first needed.
    pub fn new() -> Self {
        Body::default()
    }

    /// Replaces the content by `raw` as one snappy block. Fails only above 4 GiB.
    pub fn snappy(&mut self, raw: &[u8]) -> Result<(), Cause> {
        self.room(snap::raw::max_compress_len(raw.len()));
        let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
        self.len = encoder.compress(raw, &mut self.bytes)?;
        Ok(())
    }

    /// Replaces the content by `raw` as one zstd frame.
    pub fn zstd(&mut self, raw: &[u8]) -> Result<(), Cause> {
        self.room(zstd::zstd_safe::compress_bound(raw.len()));
        let compressor = match &mut self.zstd {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(ZSTD_LARGE.level)?),
        };
        let effort = if raw.len() <= SMALL { ZSTD_SMALL } else { ZSTD_LARGE };
        for parameter in [
            CParameter::CompressionLevel(effort.level),
            CParameter::HashLog(effort.table),
            CParameter::ChainLog(effort.table),
            CParameter::SearchLog(effort.search),
            CParameter::MinMatch(effort.shortest_match),
        ] {
            compressor.set_parameter(parameter)?;
        }
        self.len = compressor.compress_to_buffer(raw, &mut self.bytes[..])?;
        Ok(())
    }

    /// The compressed bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Frees zstd's context: the backend does not take zstd.
    pub fn forget_zstd(&mut self) {
        self.zstd = None;
    }

    /// Lends the bytes to a request; [`Body::restore`] brings the buffer back.
    pub fn lend(&mut self) -> (Bytes, usize) {
        (Bytes::from(std::mem::take(&mut self.bytes)), std::mem::take(&mut self.len))
    }

    /// Takes the lent buffer back, if the request has let go of it.
    pub fn restore(&mut self, lent: Bytes) {
        self.bytes = lent.try_into_mut().map(|bytes: BytesMut| bytes.into()).unwrap_or_default();
    }

    fn room(&mut self, needed: usize) {
        if self.bytes.len() < needed {
            self.bytes = Vec::new();
            self.bytes = vec![0; needed]; // pages of zeros, of which only those that are written are there
        } else if self.bytes.len() > KEEP && self.bytes.len() / 4 > needed {
            self.bytes.truncate(needed);
            self.bytes.shrink_to_fit();
        }
    }
}

/// Gives back what a reused buffer holds beyond four times its content. Call it after use.
pub fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEEP && buffer.capacity() / 4 > buffer.len() {
        buffer.shrink_to(buffer.len());
    }
}
