//! RowBatch: a block of rows, or of parameter rows, as owned data in two allocations.
//!
//! Owns the cells and the bytes that text and blobs point into. It crosses threads; SQLite's own memory
//! and Python objects never do.
//! Invariant: `cells.len()` is a multiple of `width`, and each span lies inside `bytes`.
//! Must not know: Python.

use crate::sqlite::ValueRef;

use super::error::{Error, Result};

/// Cells that are allocated before there is a value, at most.
const LARGEST_ALLOCATION: usize = 4096;

/// Where a text or blob lies in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u32,
    length: u32,
}

/// One value, 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    /// Text known to be ASCII, which Python copies without decoding.
    Ascii(Span),
    /// Any other text; not known to be valid UTF-8.
    Text(Span),
    Blob(Span),
}

/// Rows of equal width.
#[derive(Debug, Default, PartialEq)]
pub struct RowBatch {
    width: usize,
    rows: usize,
    cells: Vec<Cell>,
    bytes: Vec<u8>,
}

impl RowBatch {
    /// An empty batch for rows of `width` values, with room for `rows` of them.
    pub fn new(width: usize, rows: usize) -> Self {
        Self {
            width,
            rows: 0,
            cells: Vec::with_capacity(width.saturating_mul(rows).min(LARGEST_ALLOCATION)),
            bytes: Vec::new(),
        }
    }

    /// Begins anew with rows of another width; the room stays.
    pub fn restart(&mut self, width: usize) {
        (self.width, self.rows) = (width, 0);
        self.cells.clear();
        self.bytes.clear();
    }

    /// Bytes of memory that it has room for, about.
    pub const fn room(&self) -> usize {
        self.bytes.capacity() + self.cells.capacity() * size_of::<Cell>()
    }

    /// As `new`, with room for so many bytes of text and blobs.
    pub(super) fn with_room(width: usize, (rows, bytes): (usize, usize)) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::new(width, rows)
        }
    }

    /// Makes room for so many rows in all that are like those which are there, up to so many bytes.
    pub(super) fn make_room(&mut self, rows: usize, most_bytes: usize) {
        let more = rows.saturating_sub(self.rows);
        let cells = more.saturating_mul(self.width).min(LARGEST_ALLOCATION);
        self.cells.reserve(cells);
        let in_a_row = self.bytes.len().checked_div(self.rows).unwrap_or(0);
        let bytes = in_a_row.saturating_mul(more);
        self.bytes.reserve(bytes.min(most_bytes));
    }

    /// Values in each row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Whole rows.
    pub const fn len(&self) -> usize {
        self.rows
    }

    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of text and blobs held.
    pub const fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory in use, about.
    pub const fn size(&self) -> usize {
        self.bytes.len() + self.cells.len() * size_of::<Cell>()
    }

    /// Appends one value to the row under construction.
    ///
    /// # Errors
    /// `Data` when the batch would hold more than 4 GiB of text and blobs.
    #[expect(
        clippy::inline_always,
        reason = "a value that is handed on in memory costs its reader a stall"
    )]
    #[inline(always)]
    pub fn push(&mut self, value: ValueRef<'_>) -> Result<()> {
        let cell = match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(integer) => Cell::Integer(integer),
            ValueRef::Real(real) => Cell::Real(real),
            ValueRef::Text(text) if text.is_ascii() => Cell::Ascii(self.store(text)?),
            ValueRef::Text(text) => Cell::Text(self.store(text)?),
            ValueRef::Blob(blob) => Cell::Blob(self.store(blob)?),
        };
        self.cells.push(cell);
        Ok(())
    }

    /// Ends the row under construction, which must be full.
    pub fn finish_row(&mut self) {
        debug_assert_eq!(self.cells.len(), (self.rows + 1) * self.width);
        self.rows += 1;
    }

    /// Drops the unfinished row, after a value that could not be added.
    pub fn discard_unfinished(&mut self) {
        self.cells.truncate(self.rows * self.width);
    }

    /// The cells of row `index`.
    pub fn row(&self, index: usize) -> &[Cell] {
        &self.cells[index * self.width..(index + 1) * self.width]
    }

    /// The bytes of a span of this batch.
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.start as usize + span.length as usize]
    }

    /// A cell as SQLite takes it.
    pub fn value(&self, cell: Cell) -> ValueRef<'_> {
        match cell {
            Cell::Null => ValueRef::Null,
            Cell::Integer(integer) => ValueRef::Integer(integer),
            Cell::Real(real) => ValueRef::Real(real),
            Cell::Ascii(span) | Cell::Text(span) => ValueRef::Text(self.bytes(span)),
            Cell::Blob(span) => ValueRef::Blob(self.bytes(span)),
        }
    }

    fn store(&mut self, bytes: &[u8]) -> Result<Span> {
        let too_large = |_| Error::data("a row is larger than 4 GiB");
        let start = u32::try_from(self.bytes.len()).map_err(too_large)?;
        let length = u32::try_from(bytes.len()).map_err(too_large)?;
        self.bytes.extend_from_slice(bytes);
        Ok(Span { start, length })
    }
}
