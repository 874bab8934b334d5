//! The bytes of the queue's files, version 1. All numbers are little endian; each head carries a CRC32C (Castagnoli,
//! RFC 3720 appendix B.4) of what follows it.
//!
//! ```text
//! segment   "SOQS" version:u16 0:u16 | crc:u32 of the rest of the head | number:u64 event:u64 after:u64
//! record    length:u32 of the payload | crc:u32 of all that follows | number:u64 event:u64 events:u32 time_ms:i64 | payload
//! position  "SOQP" version:u16 0:u16 | crc:u32 of the rest | number:u64 event:u64
//! ```

/// What this agent writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 1;
/// Bytes of a segment's head.
pub(crate) const SEGMENT_HEAD: u64 = 36;
/// Bytes of a record's head.
pub(crate) const RECORD_HEAD: usize = 36;
/// Bytes of a position.
pub(crate) const POSITION: usize = 28;
/// No queue comes so far in its life, at a billion a second: a number beyond it is damage, and what is counted on from one
/// below it does not wrap.
const BEYOND: u64 = 1 << 62;
/// The largest payload. What is larger is dropped and counted: a length beyond it is damage.
pub(crate) const LARGEST: usize = 16 << 20;

const SEGMENT_MAGIC: [u8; 4] = *b"SOQS";
const POSITION_MAGIC: [u8; 4] = *b"SOQP";

/// A place between two records: the number of the next record and of the next event. Numbers only grow and are never
/// used twice; events are counted, so that what a damaged stretch held is known to the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Of the next record.
    pub number: u64,
    /// Of its first event.
    pub event: u64,
}

/// The head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    /// Its first record.
    pub first: Mark,
    /// What older segments hold from this number on is void: a write of it could not be brought to disk.
    pub after: u64,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    /// Bytes of the payload.
    pub length: u32,
    /// Of all that follows.
    pub crc: u32,
    /// Its own place.
    pub mark: Mark,
    /// How many events it holds.
    pub events: u32,
    /// When it was queued: milliseconds since 1970 UTC.
    pub time_ms: i64,
}

/// Why a head cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Too short, another magic, or a wrong checksum.
    Damaged,
    /// Written by a newer agent: it is left alone.
    Newer(u16),
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// The magic, the version and the checksum are right.
fn verify(bytes: &[u8], magic: [u8; 4]) -> Result<(), Unusable> {
    if bytes[..4] != magic {
        return Err(Unusable::Damaged);
    }
    let version = u16::from_le_bytes([bytes[4], bytes[5]]);
    // A newer layout may carry its checksum elsewhere, so the version is judged first.
    if version > VERSION {
        return Err(Unusable::Newer(version));
    }
    let known = version == VERSION && bytes[6..8] == [0, 0];
    let right = known && u32_at(bytes, 8) == crc32c::crc32c(&bytes[12..]);
    if right { Ok(()) } else { Err(Unusable::Damaged) }
}

fn seal(magic: [u8; 4], body: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + body.len() * 8);
    bytes.extend(magic);
    bytes.extend(u32::from(VERSION).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body.iter().flat_map(|number| number.to_le_bytes()));
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

impl SegmentHead {
    /// Its bytes.
    pub(crate) fn encode(self) -> Vec<u8> {
        seal(SEGMENT_MAGIC, &[self.first.number, self.first.event, self.after])
    }

    /// Reads what stands at the begin of a segment.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let head = bytes.get(..SEGMENT_HEAD as usize);
        // A newer head may be longer or shorter: eight bytes tell its version.
        let Some(head) = head else {
            return Err(version_of(bytes, SEGMENT_MAGIC).unwrap_or(Unusable::Damaged));
        };
        verify(head, SEGMENT_MAGIC)?;
        let first = Mark::possible(u64_at(head, 12), u64_at(head, 20))?;
        Ok(SegmentHead { first, after: u64_at(head, 28) })
    }
}

fn version_of(bytes: &[u8], magic: [u8; 4]) -> Option<Unusable> {
    let head = bytes.get(..8).filter(|head| head[..4] == magic)?;
    let version = u16::from_le_bytes([head[4], head[5]]);
    (version > VERSION).then_some(Unusable::Newer(version))
}

impl Mark {
    /// The bytes of a position file.
    pub(crate) fn encode(self) -> Vec<u8> {
        seal(POSITION_MAGIC, &[self.number, self.event])
    }

    /// Reads a position file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let Some(head) = bytes.get(..POSITION) else {
            return Err(version_of(bytes, POSITION_MAGIC).unwrap_or(Unusable::Damaged));
        };
        verify(head, POSITION_MAGIC)?;
        Mark::possible(u64_at(head, 12), u64_at(head, 20))
    }

    fn possible(number: u64, event: u64) -> Result<Self, Unusable> {
        let is_possible = number < BEYOND && event < BEYOND;
        if is_possible { Ok(Mark { number, event }) } else { Err(Unusable::Damaged) }
    }
}

impl RecordHead {
    /// Fills the first [`RECORD_HEAD`] bytes of a record; the payload stands behind them.
    pub(crate) fn seal(record: &mut [u8], mark: Mark, events: u32, time_ms: i64) {
        let length = (record.len() - RECORD_HEAD) as u32;
        record[..4].copy_from_slice(&length.to_le_bytes());
        record[8..16].copy_from_slice(&mark.number.to_le_bytes());
        record[16..24].copy_from_slice(&mark.event.to_le_bytes());
        record[24..28].copy_from_slice(&events.to_le_bytes());
        record[28..36].copy_from_slice(&time_ms.to_le_bytes());
        let crc = crc32c::crc32c(&record[8..]);
        record[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a head; whether it is one is for [`RecordHead::holds`] to say.
    pub(crate) fn decode(head: &[u8; RECORD_HEAD]) -> Self {
        RecordHead {
            length: u32_at(head, 0),
            crc: u32_at(head, 4),
            mark: Mark { number: u64_at(head, 8), event: u64_at(head, 16) },
            events: u32_at(head, 24),
            time_ms: u64_at(head, 28) as i64,
        }
    }

    /// Whether head and payload are what was written.
    pub(crate) fn holds(&self, head: &[u8; RECORD_HEAD], payload: &[u8]) -> bool {
        Mark::possible(self.mark.number, self.mark.event).is_ok()
            && crc32c::crc32c_append(crc32c::crc32c(&head[8..]), payload) == self.crc
    }

    /// The place behind it.
    pub(crate) fn next(&self) -> Mark {
        Mark { number: self.mark.number + 1, event: self.mark.event + u64::from(self.events) }
    }

    /// Bytes with its payload.
    pub(crate) fn size(&self) -> u64 {
        RECORD_HEAD as u64 + u64::from(self.length)
    }
}
