//! A cursor's answer over HTTP, as it arrives: how it begins, then entries, in pieces of any size.
//!
//! Owns the bytes of the item that is not whole yet.
//! Invariant: no item is larger than the limit, so neither is what is kept.
//! Must not know: HTTP.

use bytes::{Buf as _, BytesMut};

use super::super::error::{Error, Fate, Kind, Result};
use super::codec::Encoding;
use super::response::{CursorAnswer, CursorEvent};
use super::rows::Entries;

/// The answer to `POST …/cursor`, read piece by piece.
#[derive(Debug)]
pub struct CursorBody {
    encoding: Encoding,
    limit: usize,
    pending: BytesMut,
    /// How much of what is pending has no end of a line.
    searched: usize,
    answer: Option<CursorAnswer>,
    entries: Entries,
}

impl CursorBody {
    /// An answer of which nothing arrived, whose items are not larger than `limit` bytes.
    pub fn new(encoding: Encoding, limit: usize) -> Self {
        Self {
            encoding,
            limit,
            pending: BytesMut::new(),
            searched: 0,
            answer: None,
            entries: Entries::default(),
        }
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// `Protocol` for what can't be, `TooLarge` for an item beyond the limit.
    pub fn feed(&mut self, piece: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(piece);
        while let Some((start, end, next)) = self.item()? {
            let item = &self.pending[start..end];
            if self.answer.is_none() {
                self.answer = Some(self.encoding.read_cursor_answer(item)?);
            } else {
                self.encoding.read_entry(item, &mut self.entries)?;
            }
            self.pending.advance(next);
            self.searched = 0;
        }
        Ok(())
    }

    /// Where the first whole item begins and ends, and where the next one begins.
    fn item(&mut self) -> Result<Option<(usize, usize, usize)>> {
        match self.encoding {
            Encoding::Json => {
                let end = self.pending[self.searched..]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map(|end| self.searched + end);
                self.searched = self.pending.len();
                if end.is_none() && self.pending.len() > self.limit {
                    return Err(self.too_large());
                }
                Ok(end.map(|end| (0, end, end + 1)))
            }
            Encoding::Protobuf => {
                let mut rest: &[u8] = &self.pending;
                let is_whole = rest.iter().take(10).any(|byte| *byte < 0x80);
                if !is_whole && rest.len() < 10 {
                    return Ok(None);
                }
                let length = prost::encoding::decode_varint(&mut rest)
                    .map_err(|_| Error::protocol("malformed protobuf"))?;
                let length = usize::try_from(length)
                    .ok()
                    .filter(|length| *length <= self.limit)
                    .ok_or_else(|| self.too_large())?;
                let start = self.pending.len() - rest.len();
                let end = start + length;
                Ok((end <= self.pending.len()).then_some((start, end, end)))
            }
        }
    }

    fn too_large(&self) -> Error {
        let message = format!("a row is larger than the limit of {} bytes", self.limit);
        Error::new(Kind::TooLarge, Fate::Unknown, message)
    }

    /// How the answer begins, once.
    pub fn take_answer(&mut self) -> Option<CursorAnswer> {
        // What follows is not mistaken for a beginning again.
        self.answer.as_mut().map(std::mem::take)
    }

    /// Whether the beginning arrived.
    pub fn has_begun(&self) -> bool {
        self.answer.is_some()
    }

    /// Bytes of rows that wait to be taken, about.
    pub fn size(&self) -> usize {
        self.entries.size()
    }

    /// What arrived since the last call.
    ///
    /// # Errors
    /// `Protocol` for rows that can't be.
    pub fn take(&mut self) -> Result<Vec<CursorEvent>> {
        self.entries.take().map_err(Error::protocol)
    }

    /// The body is at its end.
    ///
    /// # Errors
    /// `Connect` when it is in the middle of something.
    pub fn finish(&self) -> Result<()> {
        if self.pending.is_empty() && self.answer.is_some() {
            return Ok(());
        }
        Err(Error::lost("the rows end in the middle"))
    }
}
