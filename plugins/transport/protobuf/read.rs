//! Reads protobuf messages field by field without copying: what the hand-written decoders are made of.
//!
//! From the encoding page of the protobuf documentation. Fields of any number and order are taken, groups are not (proto3
//! has none). A message within a message is handed out as its bytes: who reads it bounds the depth.

/// Why bytes are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A field goes on beyond the end.
    #[error("a field goes on beyond the end of its message")]
    Truncated,
    /// A varint of more than ten bytes.
    #[error("a varint is longer than ten bytes")]
    Varint,
    /// Field number zero or too large, or a wire type that is none.
    #[error("a tag is none")]
    Tag,
    /// A field that is known has another wire type than it must.
    #[error("a field has a wrong type")]
    Type,
}

/// A field's value as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// int32, int64, uint32, uint64, bool, enum.
    Varint(u64),
    /// fixed64, sfixed64, double.
    Fixed64(u64),
    /// string, bytes, a message, packed numbers.
    Bytes(&'a [u8]),
    /// fixed32, sfixed32, float.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// A string, bytes or a message.
    #[inline]
    pub fn bytes(self) -> Result<&'a [u8], Broken> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(Broken::Type) }
    }

    /// An integer or an enum.
    #[inline]
    pub fn varint(self) -> Result<u64, Broken> {
        if let Value::Varint(number) = self { Ok(number) } else { Err(Broken::Type) }
    }

    /// A number of eight bytes.
    #[inline]
    pub fn fixed64(self) -> Result<u64, Broken> {
        if let Value::Fixed64(number) = self { Ok(number) } else { Err(Broken::Type) }
    }

    /// A double.
    #[inline]
    pub fn double(self) -> Result<f64, Broken> {
        self.fixed64().map(f64::from_bits)
    }

    /// Adds the numbers of a repeated field of eight bytes each, packed or not.
    pub fn fixed64s(self, numbers: &mut Vec<u64>) -> Result<(), Broken> {
        match self {
            Value::Fixed64(number) => numbers.push(number),
            Value::Bytes(packed) => {
                let (whole, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(Broken::Truncated);
                }
                numbers.extend(whole.iter().map(|bytes| u64::from_le_bytes(*bytes)));
            }
            _ => return Err(Broken::Type),
        }
        Ok(())
    }
}

/// The fields of one message that were not read yet.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A message.
    pub fn new(message: &'a [u8]) -> Self {
        Reader { rest: message }
    }

    /// The next field's number and value; `None` at the end.
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number >= 1 << 29 {
            return Err(Broken::Tag);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Broken::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Broken::Truncated)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Broken::Tag),
        };
        Ok(Some((number, value)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { Broken::Truncated } else { Broken::Varint })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Broken::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}
