//! Protobuf's fields, read from borrowed bytes.
//!
//! Owns nothing: a text or blob that was read points into the answer. Messages are read field by field where their parts
//! go somewhere else than into a message of ours; the rest are prost's.
//! Invariant: nothing is allocated for a length that the bytes do not have.
//! Must not know: Hrana.

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::rows::Fault;

pub(super) const MALFORMED: Fault = "malformed protobuf";

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32,
    Bytes(&'a [u8]),
}

/// Calls `visit` with every field of a message and its number.
pub(super) fn read<'a>(
    mut bytes: &'a [u8],
    mut visit: impl FnMut(u32, Field<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).map_err(|_| MALFORMED)?;
        let field = match wire_type {
            WireType::Varint => Field::Varint(varint(&mut bytes)?),
            WireType::SixtyFourBit => {
                let (fixed, rest) = bytes.split_first_chunk().ok_or(MALFORMED)?;
                bytes = rest;
                Field::Fixed64(*fixed)
            }
            WireType::ThirtyTwoBit => {
                let (_, rest) = bytes.split_first_chunk::<4>().ok_or(MALFORMED)?;
                bytes = rest;
                Field::Fixed32
            }
            WireType::LengthDelimited => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| MALFORMED)?;
                let (inner, rest) = bytes.split_at_checked(length).ok_or(MALFORMED)?;
                bytes = rest;
                Field::Bytes(inner)
            }
            WireType::StartGroup | WireType::EndGroup => return Err(MALFORMED),
        };
        visit(number, field)?;
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    decode_varint(bytes).map_err(|_| MALFORMED)
}

impl<'a> Field<'a> {
    pub fn bytes(self) -> Result<&'a [u8], Fault> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(MALFORMED),
        }
    }

    pub fn text(self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| MALFORMED)
    }

    pub fn message<M: Message + Default>(self) -> Result<M, Fault> {
        M::decode(self.bytes()?).map_err(|_| MALFORMED)
    }

    pub fn uint(self) -> Result<u64, Fault> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(MALFORMED),
        }
    }

    pub fn uint32(self) -> Result<u32, Fault> {
        u32::try_from(self.uint()?).map_err(|_| MALFORMED)
    }

    /// An `int32`, which is sent as if it had 64 bits.
    #[allow(
        clippy::cast_possible_wrap,
        reason = "two's complement is the encoding"
    )]
    pub fn int32(self) -> Result<i32, Fault> {
        i32::try_from(self.uint()? as i64).map_err(|_| MALFORMED)
    }

    /// An `sint64`: zigzag, so that small negative numbers are short.
    #[allow(
        clippy::cast_possible_wrap,
        reason = "half of a u64 fits, and its lowest bit too"
    )]
    pub fn sint(self) -> Result<i64, Fault> {
        let zigzag = self.uint()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    pub fn double(self) -> Result<f64, Fault> {
        match self {
            Self::Fixed64(bytes) => Ok(f64::from_le_bytes(bytes)),
            _ => Err(MALFORMED),
        }
    }
}
