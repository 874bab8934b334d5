//! What others compressed: snappy blocks and zstd frames, never larger than allowed.
//!
//! From snappy's `format_description.txt` and RFC 8878. The size of a block is judged before its memory is taken.

use std::io::Read as _;

use super::Malformed;

/// How a payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// One block, as remote write has it.
    Snappy,
    /// One or more frames, as VictoriaMetrics' remote write has it.
    Zstd,
}

/// A snappy block grows at most from three bytes to 64.
const MOST_SNAPPY: usize = 22;

/// A zstd frame that needs a window of more than 8 MiB is refused.
const WINDOW_LOG: u32 = 23;

/// The content of `payload`, in `room` unless it is not packed. More than `limit` bytes are refused.
pub fn unpack<'a>(
    payload: &'a [u8],
    packing: Packing,
    limit: usize,
    room: &'a mut Vec<u8>,
) -> Result<&'a [u8], Malformed> {
    room.clear();
    match packing {
        Packing::None if payload.len() > limit => return Err(too_large(limit)),
        Packing::None => return Ok(payload),
        Packing::Snappy => snappy(payload, limit, room)?,
        Packing::Zstd => zstd(payload, limit, room)?,
    }
    Ok(room)
}

fn snappy(payload: &[u8], limit: usize, room: &mut Vec<u8>) -> Result<(), Malformed> {
    let broken = |error| Malformed(format!("not a snappy block: {error}"));
    let len = snap::raw::decompress_len(payload).map_err(broken)?;
    if len > limit {
        return Err(too_large(limit));
    }
    if len > payload.len().saturating_mul(MOST_SNAPPY) {
        return Err(Malformed::new("not a snappy block: it cannot hold what it says"));
    }
    room.resize(len, 0);
    let len = snap::raw::Decoder::new().decompress(payload, room).map_err(broken)?;
    room.truncate(len);
    Ok(())
}

fn zstd(payload: &[u8], limit: usize, room: &mut Vec<u8>) -> Result<(), Malformed> {
    let broken = |error| Malformed(format!("not zstd: {error}"));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(broken)?;
    decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
    decoder.take(limit as u64 + 1).read_to_end(room).map_err(broken)?;
    if room.len() > limit { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large(limit: usize) -> Malformed {
    Malformed(format!("the payload is larger than {limit} bytes"))
}
