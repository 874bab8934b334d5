//! Appends protobuf fields to a byte vector: what the hand-written encoders of the hot paths are made of.
//! From the encoding page of the protobuf documentation. It checks nothing: goldens against prost do. What others wrote
//! is read by [`read`].

pub mod read;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

/// Bytes of `value` as a varint: one for each seven bits, at least one.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    ((64 - (value | 1).leading_zeros() as usize) * 9 + 64) / 64
}

/// Bytes of a length-delimited field of `len` bytes, with its tag and length; the field's number is below 16.
#[inline]
pub const fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the head of a length-delimited field; its `len` bytes follow.
#[inline]
pub fn put_head(out: &mut Vec<u8>, field: u64, len: usize) {
    put_varint(out, field << 3 | BYTES);
    put_varint(out, len as u64);
}

/// Appends a string, bytes or an encoded message.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a signed integer (int64, int32, enum).
#[inline]
pub fn put_int(out: &mut Vec<u8>, field: u64, value: i64) {
    put_varint(out, field << 3 | VARINT);
    put_varint(out, value as u64);
}

/// Appends a double.
#[inline]
pub fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_fixed64(out, field, value.to_bits());
}

/// Appends a number of eight bytes (fixed64).
#[inline]
pub fn put_fixed64(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3 | FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Where the length of a message of unknown size will stand.
#[derive(Debug)]
#[must_use = "the length is written by `close`"]
pub struct Open(usize);

/// Opens a message whose size is not known yet: its length takes four bytes, filled with leading zeros, which every
/// decoder accepts. For the few outer messages of a request only.
pub fn open(out: &mut Vec<u8>, field: u64) -> Open {
    put_varint(out, field << 3 | BYTES);
    out.extend_from_slice(&[0; 4]);
    Open(out.len())
}

/// Writes the length of an opened message, which must be below 256 MiB.
pub fn close(out: &mut [u8], open: &Open) {
    let len = out.len() - open.0;
    debug_assert!(len < 1 << 28, "a request is far smaller than 256 MiB");
    let place = &mut out[open.0 - 4..open.0];
    for (index, byte) in place.iter_mut().enumerate() {
        let more = if index < 3 { 0x80 } else { 0 };
        *byte = (len >> (7 * index)) as u8 & 0x7f | more;
    }
}
