//! Rows on their way into a RowBatch, one value at a time, for both encodings.
//!
//! Owns the batch under construction and the events of a cursor that were read.
//! Invariant: every row is as wide as its columns, or the answer is refused.
//! Must not know: transports.

use crate::core::{RowBatch, ValueRef};

use super::response::{Column, CursorEvent, StatementResult};

/// Why an answer is refused.
pub type Fault = &'static str;

const WIDTH: Fault = "a row has not as many values as there are columns";
const SIZE: Fault = "the rows of one answer are larger than 4 GiB";
const ORDER: Fault = "a row is outside of a step";

/// Rows that are being read.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Made when the width is known.
    batch: Option<RowBatch>,
    width: usize,
    /// Values of the row that is being read.
    values: usize,
}

impl Rows {
    /// Begins a row of `width` values.
    pub fn begin(&mut self, width: usize) {
        self.values = 0;
        self.width = width;
    }

    /// Adds a value to the row.
    pub fn push(&mut self, value: ValueRef<'_>) -> Result<(), Fault> {
        let batch = self
            .batch
            .get_or_insert_with(|| RowBatch::new(self.width, 0));
        self.values += 1;
        if self.values > batch.width() {
            return Err(WIDTH);
        }
        batch.push(value).map_err(|_| SIZE)
    }

    /// Ends the row.
    pub fn end(&mut self) -> Result<(), Fault> {
        let batch = self
            .batch
            .get_or_insert_with(|| RowBatch::new(self.width, 0));
        if self.values != batch.width() {
            return Err(WIDTH);
        }
        batch.finish_row();
        Ok(())
    }

    /// Bytes of memory in use, about.
    pub fn size(&self) -> usize {
        self.batch.as_ref().map_or(0, RowBatch::size)
    }

    /// What was read, which has to be `width` wide.
    pub fn take(&mut self, width: usize) -> Result<RowBatch, Fault> {
        match self.batch.take() {
            None => Ok(RowBatch::new(width, 0)),
            Some(batch) if batch.width() == width => Ok(batch),
            Some(_) => Err(WIDTH),
        }
    }
}

/// A statement's result that is being read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub columns: Vec<Column>,
    pub rows: Rows,
    pub affected_row_count: u64,
    pub last_insert_rowid: Option<i64>,
    pub replication_index: Option<u64>,
}

impl Draft {
    pub fn finish(mut self) -> Result<StatementResult, Fault> {
        Ok(StatementResult {
            rows: self.rows.take(self.columns.len())?,
            columns: self.columns,
            affected_row_count: self.affected_row_count,
            last_insert_rowid: self.last_insert_rowid,
            replication_index: self.replication_index,
        })
    }
}

/// What was read of a cursor and not yet taken.
#[derive(Debug, Default)]
pub struct Entries {
    events: Vec<CursorEvent>,
    rows: Rows,
    /// Columns of the step that runs.
    width: Option<usize>,
}

impl Entries {
    /// Where a row of the step goes, begun.
    pub(super) fn begin_row(&mut self) -> Result<&mut Rows, Fault> {
        self.rows.begin(self.width.ok_or(ORDER)?);
        Ok(&mut self.rows)
    }

    /// Adds what is not a row.
    pub(super) fn push(&mut self, event: CursorEvent) -> Result<(), Fault> {
        self.flush()?;
        self.width = match &event {
            CursorEvent::StepBegin { columns, .. } => Some(columns.len()),
            _ => None,
        };
        self.events.push(event);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if let Some(width) = self.width {
            let rows = self.rows.take(width)?;
            if !rows.is_empty() {
                self.events.push(CursorEvent::Rows(rows));
            }
        }
        Ok(())
    }

    /// Bytes of rows that wait to be taken, about.
    pub fn size(&self) -> usize {
        self.rows.size()
    }

    /// The events so far, in order.
    pub fn take(&mut self) -> Result<Vec<CursorEvent>, Fault> {
        self.flush()?;
        Ok(std::mem::take(&mut self.events))
    }
}
