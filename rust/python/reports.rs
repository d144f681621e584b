//! Report: what is to be told of one execution once it has ended.
//!
//! Owns what was executed and where its cost is counted. It refers to who watches, and to no connection.
//! Thread: any that is attached. Invariant: it is told once; told of or not, the execution stays what it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyGeneratorExit;
use pyo3::prelude::*;

use crate::core::{Outcome, RowStream, Tally};

use super::cached::interned;
use super::cursor::Cursor;
use super::diagnostics::Watch;
use super::exceptions;

/// What is to be told of one execution.
pub struct Report {
    watch: Arc<Watch>,
    sql: Arc<str>,
    /// Where its backend counts; `None`: many executions are told of as one.
    rows: Option<Arc<RowStream>>,
    /// When it was handed over.
    began: Instant,
}

impl Report {
    /// Of one statement.
    pub fn of_statement(watch: &Arc<Watch>, sql: &Arc<str>) -> Self {
        Self::new(watch, sql, Some(Arc::new(RowStream::counted())))
    }

    /// Of many executions that are told of as one.
    pub fn of_many(watch: &Arc<Watch>, sql: &Arc<str>) -> Self {
        Self::new(watch, sql, None)
    }

    fn new(watch: &Arc<Watch>, sql: &Arc<str>, rows: Option<Arc<RowStream>>) -> Self {
        Self {
            watch: Arc::clone(watch),
            sql: Arc::clone(sql),
            rows,
            began: Instant::now(),
        }
    }

    /// What the rows of a statement are to come in.
    pub fn stream(report: Option<&Self>) -> Arc<RowStream> {
        report
            .and_then(|report| report.rows.clone())
            .unwrap_or_default()
    }

    fn is_of(&self, rows: &Arc<RowStream>) -> bool {
        self.rows.as_ref().is_some_and(|own| Arc::ptr_eq(own, rows))
    }

    /// The statement was executed. Gives the report back if there is more to come: rows, or the error behind them.
    pub fn executed(self: Box<Self>, py: Python<'_>, outcome: &Outcome) -> Option<Box<Self>> {
        self.tell_if_ended(py, outcome.rowcount)
    }

    /// More rows were read. As `executed`.
    pub fn went_on(self: Box<Self>, py: Python<'_>) -> Option<Box<Self>> {
        self.tell_if_ended(py, None)
    }

    fn tell_if_ended(self: Box<Self>, py: Python<'_>, changed: Option<i64>) -> Option<Box<Self>> {
        let rows = self.rows.as_ref();
        if rows.is_some_and(|rows| !rows.has_ended() || rows.failure().is_some()) {
            return Some(self);
        }
        self.tell(py, self.took(), changed, None);
        None
    }

    /// Its rows were taken to their end, or to an error.
    pub fn read(&self, py: Python<'_>, error: Option<&PyErr>) {
        self.tell(py, self.took(), None, error);
    }

    /// Tells of what has failed, if it is still to be told of.
    pub fn fail(report: &mut Option<Box<Self>>, py: Python<'_>, error: &PyErr) {
        if let Some(report) = report.take() {
            report.tell(py, report.took(), None, Some(error));
        }
    }

    /// Its caller leaves with this exception, and does not wait until the backend has stopped.
    pub fn cancelled(&self, py: Python<'_>, error: &PyErr) {
        self.tell(py, self.began.elapsed(), None, Some(error));
    }

    /// Its caller is gone.
    pub fn abandon(report: &mut Option<Box<Self>>, py: Python<'_>) {
        if let Some(report) = report.take() {
            report.cancelled(py, &PyGeneratorExit::new_err(()));
        }
    }

    /// Nobody wants more of its rows.
    pub fn end(report: Option<Box<Self>>) {
        let Some(report) = report else {
            return;
        };
        exceptions::in_destructor(|py| {
            let failure = report.rows.as_ref().and_then(|rows| rows.failure());
            let error = failure.map(|error| exceptions::to_python(py, error));
            report.read(py, error.as_ref());
            Ok(())
        });
    }

    /// Whether an error is that of this statement.
    fn has_raised(&self, py: Python<'_>, error: &PyErr) -> bool {
        let sql = error.value(py).getattr_opt(interned!(py, "sql"));
        let sql = sql.ok().flatten().and_then(|sql| sql.extract().ok());
        sql.is_some_and(|sql: String| *sql == *self.sql)
    }

    fn tally(&self) -> Option<&Tally> {
        self.rows.as_ref().and_then(|rows| rows.tally())
    }

    fn took(&self) -> Duration {
        self.tally()
            .map_or_else(|| self.began.elapsed(), Tally::took)
    }

    fn tell(&self, py: Python<'_>, took: Duration, changed: Option<i64>, error: Option<&PyErr>) {
        let changed = changed.map_or(0, |changed| u64::try_from(changed).unwrap_or(0));
        let rows = self.tally().map_or(0, Tally::rows).max(changed);
        self.watch.tell(py, &self.sql, took, rows, error);
    }
}

impl Cursor {
    /// Keeps what is to be told when its rows have ended.
    pub fn keep(&self, report: Option<Box<Report>>) {
        let Some(report) = report else {
            return;
        };
        let mut state = self.state();
        let is_current = state.rows.as_ref().is_some_and(|rows| report.is_of(rows));
        let early = if is_current {
            state.report.replace(report)
        } else {
            Some(report)
        };
        drop(state);
        Report::end(early);
    }

    /// Whoever wanted all of its rows leaves with this exception.
    pub fn cancelled(&self, py: Python<'_>, error: &PyErr) {
        let report = self.state().report.take();
        if let Some(report) = report {
            report.cancelled(py, error);
        }
    }

    /// More rows were read.
    pub fn went_on(&self, py: Python<'_>) {
        let report = self.state().report.take();
        if let Some(report) = report {
            self.keep(report.went_on(py));
        }
    }
}

/// Several statements that succeed or fail together have failed. The one that has; the first, if it is none of them.
pub fn failed_one(
    mut reports: Vec<Option<Box<Report>>>,
    py: Python<'_>,
    error: &PyErr,
) -> Option<Box<Report>> {
    let has_failed = |it: &Option<Box<Report>>| matches!(it, Some(it) if it.has_raised(py, error));
    let failed = reports.iter().position(has_failed).unwrap_or(0);
    reports.get_mut(failed)?.take()
}
