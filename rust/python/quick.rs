//! Quick: a query that is run on the thread that waits for it, without a command, in either kind of connection.
//!
//! `core/quick.rs` and `core/inline.rs` say which these are. Left to a command are, on this side, parameters other than a tuple
//! of exact None, bool, int, float, str and bytes; adapters for these; converters; callbacks, once there were any; a change of
//! how transactions begin; hooks that are told of statements; notes to be logged; and every error.
//! Owns the room for the rows of the next one. Thread: attached; SQLite's part of it may be detached.
//! Invariant: if it does not succeed, nothing has happened.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::core::{self, Amount, Attempt, Bindings, Quick, RowBatch};

use super::binding;
use super::connection::Connection;
use super::converters::Converters;
use super::cursor::Cursor;
use super::exceptions;
use super::home::Home;
use super::link::Link;
use super::parameters::Converter;
use super::reports::Report;

/// Bytes that are kept for the rows of the next quick query.
const MOST_ROOM: usize = 4096;

/// What a query has come to, and all of its rows.
pub type Done = (Quick, Arc<RowBatch>);

/// Room for rows, which is used again.
#[derive(Default)]
pub struct Spare(Mutex<Option<Arc<RowBatch>>>);

impl Spare {
    fn take(&self) -> Arc<RowBatch> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.take().unwrap_or_default()
    }

    /// Keeps rows that are done with for their room, if nobody else has them.
    pub fn keep(&self, batch: Arc<RowBatch>) {
        if batch.room() > MOST_ROOM || Arc::strong_count(&batch) > 1 {
            return;
        }
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = spare.replace(batch);
        drop(spare);
        drop(before);
    }
}

/// Binds, and has `run` run it. `None`: it takes a command.
///
/// # Errors
/// SQLite's, after which it has rolled back the transaction.
pub fn run(
    py: Python<'_>,
    link: &Link,
    attempt: Option<Attempt<'_>>,
    parameters: Option<&Bound<'_, PyAny>>,
    run: impl FnOnce(Attempt<'_>, &mut RowBatch) -> core::Result<Option<Quick>>,
) -> PyResult<Option<Done>> {
    let Some(mut attempt) = attempt else {
        return Ok(None);
    };
    let is_bound = attempt
        .statement()
        .is_some_and(|mut statement| binding::bind(&mut statement, parameters));
    if !is_bound {
        return Ok(None);
    }
    let mut batch = link.spare.take();
    let Some(rows) = Arc::get_mut(&mut batch) else {
        return Ok(None);
    };
    let quick = run(attempt, rows).map_err(|error| exceptions::to_python(py, error))?;
    Ok(quick.map(|quick| (quick, batch)))
}

/// What an asynchronous connection is to execute: with parameters that are bound as they are, or with converted ones.
pub enum Request {
    Plain(Arc<str>, Option<Py<PyTuple>>),
    Converted(Arc<str>, Bindings),
}

impl Request {
    /// Also what makes other values of those that it returns. `is_timed`: it has a time limit of its own.
    pub fn new(
        link: &Link,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        is_timed: bool,
    ) -> PyResult<(Self, Converters)> {
        if !is_timed && let Some(plain) = Self::plain(link, sql, parameters) {
            return Ok((plain, Converters::default()));
        }
        let (text, adapters, converters) = link.request(sql)?;
        let bindings = Converter::new(Arc::clone(&text), adapters).one(parameters)?;
        Ok((Self::Converted(text, bindings), converters))
    }

    /// If it may be that it is run here, and what it is given does not change until then.
    fn plain(
        link: &Link,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
    ) -> Option<Self> {
        let Home::Local(local) = link.backend() else {
            return None;
        };
        let parameters = parameters.filter(|parameters| !parameters.is_none());
        if local.inline_budget() == 0 || !parameters.is_none_or(binding::is_plain) {
            return None;
        }
        let (text, _) = link.plain_request(sql)?;
        let tuple = parameters.and_then(|parameters| parameters.cast_exact::<PyTuple>().ok());
        Some(Self::Plain(text, tuple.map(|tuple| tuple.clone().unbind())))
    }

    /// Whether `run_here` will likely succeed.
    pub fn runs_here(&self, connection: &Connection) -> bool {
        match (self, connection.link().backend()) {
            (Self::Plain(text, _), Home::Local(local)) => {
                !connection.link().status().in_block() && local.runs_here(text)
            }
            _ => false,
        }
    }

    /// Runs it on this thread, without letting go of the interpreter: nothing in it waits. `None`: it takes a command.
    pub fn run_here(
        &self,
        py: Python<'_>,
        connection: &Connection,
        amount: Amount,
    ) -> PyResult<Option<Done>> {
        let link = connection.link();
        let is_elsewhere = connection.own_block().is_some() || link.status().in_block();
        match (self, link.backend()) {
            (Self::Plain(text, parameters), Home::Local(local))
                if !is_elsewhere && link.is_plain(&link.settings()) =>
            {
                let parameters = parameters.as_ref().map(|tuple| tuple.bind(py).as_any());
                let attempt = local.attempt_here(text, amount);
                run(py, link, attempt, parameters, |attempt, rows| {
                    attempt.run(rows)
                })
            }
            _ => Ok(None),
        }
    }

    /// As a command takes it.
    pub fn convert(self, py: Python<'_>, link: &Link) -> PyResult<(Arc<str>, Bindings)> {
        match self {
            Self::Converted(text, bindings) => Ok((text, bindings)),
            Self::Plain(text, parameters) => {
                let adapters = link.settings().adapters.clone_ref(py);
                let parameters = parameters.as_ref().map(|tuple| tuple.bind(py).as_any());
                let bindings = Converter::new(Arc::clone(&text), adapters).one(parameters)?;
                Ok((text, bindings))
            }
        }
    }
}

impl Cursor {
    /// Stores what a query came to that was run here, and has all of its rows.
    pub fn executed_here(&self, done: Done) {
        let mut state = self.state();
        let last = state.current.take();
        let converters = state.converters.take();
        let replaced = state.begin(None, None);
        state.fill(done);
        let report = state.report.take();
        drop(state);
        drop((converters, replaced));
        Report::end(report);
        if let Some((batch, _)) = last {
            self.connection().get().link().spare.keep(batch);
        }
    }
}
