//! `executemany`: one statement for each row of an iterable.
//!
//! Owns the rows that were converted and not yet executed. The iterable runs between two commands, so it may use the
//! connection itself, but not the cursor.
//! Thread: attached, but for the time that SQLite takes.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyIterator;

use crate::core::{Action, Bindings, Outcome, ParameterFeed};
use crate::python::ffi;
use crate::python::link::Link;
use crate::python::parameters::{Converter, Shape};
use crate::python::reports::Report;

use super::cursor::Cursor;
use super::runner;
use super::signals;

/// Rows in a command, at most.
const BATCH_ROWS: usize = 1000;
/// Bytes of parameters in a command, about.
const BATCH_BYTES: usize = 256 * 1024;

/// An execution in the middle.
struct Rows<'a> {
    link: &'a Link,
    sql: Arc<str>,
    batch: Option<(Bindings, Shape)>,
    changed: i64,
    has_run: bool,
}

impl Rows<'_> {
    fn add(&mut self, converter: &mut Converter, row: &Bound<'_, PyAny>) -> PyResult<()> {
        let shape = converter.shape(row)?;
        if matches!(&self.batch, Some((_, other)) if *other != shape) {
            self.flush(row.py())?;
        }
        let (batch, _) = self
            .batch
            .get_or_insert_with(|| (converter.start(shape, 64), shape));
        converter.push(batch, row, shape)?;
        if batch.rows.len() >= BATCH_ROWS || batch.rows.byte_len() >= BATCH_BYTES {
            self.flush(row.py())?;
        }
        Ok(())
    }

    /// Executes what was added.
    fn flush(&mut self, py: Python<'_>) -> PyResult<()> {
        let feed = ParameterFeed::default();
        if let Some((batch, _)) = self.batch.take() {
            feed.push(batch);
        } else if self.has_run {
            return Ok(());
        }
        feed.end();
        self.has_run = true;
        let action = Action::ExecuteMany {
            sql: Arc::clone(&self.sql),
            feed: Arc::new(feed),
            is_atomic: false,
        };
        let outcome = runner::run(py, self.link, action)?;
        self.changed += outcome.rowcount.unwrap_or(0);
        signals::check(py)
    }

    fn run(&mut self, converter: &mut Converter, rows: &Bound<'_, PyIterator>) -> PyResult<()> {
        while let Some(row) = ffi::next(rows)? {
            self.add(converter, &row)?;
        }
        Ok(())
    }
}

#[pymethods]
impl Cursor {
    #[pyo3(signature = (sql, seq_of_parameters, /))]
    fn executemany<'py>(
        slf: &Bound<'py, Self>,
        sql: &Bound<'py, PyAny>,
        seq_of_parameters: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        let (connection, link) = this.usable(py)?;
        let _taken = this.take(py)?;
        let (sql, adapters, _) = link.request(sql.cast()?)?;
        connection.get().check_length(py, &sql)?;
        let iterator = seq_of_parameters.try_iter()?;
        this.begin(None);
        let mut converter = Converter::new(Arc::clone(&sql), adapters);
        let mut report = link.own_watch().many(&sql);
        let mut rows = Rows {
            link: &link,
            sql,
            batch: None,
            changed: 0,
            has_run: false,
        };
        let ran = rows.run(&mut converter, &iterator);
        // The rows before the one that could not be had or converted are executed, as in sqlite3.
        let ran = rows.flush(py).and(ran);
        ran.inspect_err(|error| Report::fail(&mut report, py, error))?;
        let outcome = Outcome {
            rowcount: Some(rows.changed),
            ..Outcome::default()
        };
        if let Some(report) = report {
            report.executed(py, &outcome);
        }
        this.executed(outcome, None);
        Ok(slf.clone())
    }
}
