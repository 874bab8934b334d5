//! Reading protobuf as little as counting needs: fields one after another, nothing decoded that is not asked for.
//!
//! Written apart from the agent's encoders and from prost on purpose: a mistake there cannot hide here. The wire format:
//! <https://protobuf.dev/programming-guides/encoding/>.

use anyhow::{Result, bail};

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// Calls `visit(field number, value)` for every field of a message.
pub(crate) fn fields<'a>(
    mut message: &'a [u8],
    mut visit: impl FnMut(u64, Value<'a>) -> Result<()>,
) -> Result<()> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => {
                let (fixed, rest) = split::<8>(message)?;
                message = rest;
                Value::Fixed64(u64::from_le_bytes(fixed))
            }
            2 => {
                let length = usize::try_from(varint(&mut message)?)?;
                let Some((bytes, rest)) = message.split_at_checked(length) else {
                    bail!("field {} is longer than its message", key >> 3)
                };
                message = rest;
                Value::Bytes(bytes)
            }
            5 => {
                let (fixed, rest) = split::<4>(message)?;
                message = rest;
                Value::Number(u64::from(u32::from_le_bytes(fixed)))
            }
            other => bail!("wire type {other}"),
        };
        visit(key >> 3, value)?;
    }
    Ok(())
}

fn split<const N: usize>(message: &[u8]) -> Result<([u8; N], &[u8])> {
    match message.split_first_chunk::<N>() {
        Some((fixed, rest)) => Ok((*fixed, rest)),
        None => bail!("the message ends inside a number"),
    }
}

fn varint(message: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = message.split_first() else {
            bail!("the message ends inside a number")
        };
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number of more than ten bytes")
}
