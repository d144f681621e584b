//! `_batch`: several statements in one command, all of them or none.
//!
//! Owns nothing; each statement has a cursor with all of its rows.
//! Thread: attached, but for the time that SQLite takes.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{Action, Amount, Execute, Reply, RowStream};
use crate::python::parameters::Converter;

use super::connection::Connection;
use super::cursor::Cursor;
use super::runner;

type Given<'py> = (Bound<'py, PyString>, Option<Bound<'py, PyAny>>);

#[pymethods]
impl Connection {
    /// The cursors of all statements, each given as its text and parameters.
    fn _batch(slf: &Bound<'_, Self>, statements: Vec<Given<'_>>) -> PyResult<Vec<Py<Cursor>>> {
        let (py, this) = (slf.py(), slf.get());
        let link = this.usable(py)?;
        let mut members = Vec::with_capacity(statements.len());
        let mut executes = Vec::with_capacity(statements.len());
        for (sql, parameters) in statements {
            let (sql, adapters, converters) = link.request(&sql)?;
            this.check_length(py, &sql)?;
            let parameters = Converter::new(Arc::clone(&sql), adapters).one(parameters.as_ref())?;
            let rows = Arc::new(RowStream::default());
            executes.push(Execute {
                sql,
                parameters,
                rows: Arc::clone(&rows),
                amount: Amount::All,
                wants_decltypes: converters.want_decltypes(),
                is_timed: false,
            });
            members.push((Cursor::of(slf, &link), rows, converters));
        }
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let outcome = runner::run(py, &link, Action::Batch(executes))?;
        let outcomes = match outcome.reply {
            Some(Reply::Batch(outcomes)) => outcomes,
            _ => Arc::default(),
        };
        let mut cursors = Vec::with_capacity(members.len());
        for ((cursor, rows, converters), outcome) in members.into_iter().zip(outcomes.iter()) {
            let mut outcome = outcome.clone();
            let converters = converters.read(py, &mut outcome)?;
            cursor.begin(Some((rows, Arc::clone(&link))));
            cursor.executed(outcome, converters);
            cursors.push(Py::new(py, cursor)?);
        }
        Ok(cursors)
    }
}
