//! The disk queue against a file system that loses, reorders, fails, fills up and is damaged.

mod crashes;
mod damage;
pub(crate) mod simulated;
mod usual;

use super::{AppendError, Disk, Limits, Place, RECORD_HEAD, Record};
use simulated::Simulated;

pub(crate) const LIMITS: Limits = Limits { bytes: 16 << 10, segment: 2 << 10 };

pub(crate) fn open(folder: &Simulated, only_synced: bool) -> Disk {
    Disk::open(Box::new(folder.clone()), LIMITS, only_synced).expect("opens")
}

/// What record `id` holds: its own number, and as many bytes as it says.
fn payload(id: u64, size: usize) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend((0..size).map(|i| (id as usize * 31 + i * 7) as u8));
    bytes
}

fn id_of(record: &Record) -> u64 {
    let id = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
    assert_eq!(record.payload, payload(id, record.payload.len() - 8), "the content is whole");
    id
}

fn append(disk: &mut Disk, id: u64, size: usize, events: u32) -> Result<Place, AppendError> {
    let mut record = vec![0; RECORD_HEAD];
    record.extend(payload(id, size));
    disk.append(&mut record, events, 1_000 + id as i64)
}

/// Reads to the end; settles nothing.
fn read_all(disk: &mut Disk) -> Vec<Record> {
    std::iter::from_fn(|| disk.read().expect("reads")).collect()
}

fn ids(records: &[Record]) -> Vec<u64> {
    records.iter().map(id_of).collect()
}
