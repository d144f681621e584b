//! `_batch`: several statements in one command, all of them or none.
//!
//! Owns nothing; each statement has a cursor with all of its rows.
//! Thread: attached, but for the time that SQLite takes.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{Action, Amount, Execute, Reply};
use crate::python::parameters::Converter;
use crate::python::reports::{self, Report};

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
        let mut reports = Vec::with_capacity(statements.len());
        for (sql, parameters) in statements {
            let (sql, adapters, converters) = link.request(&sql)?;
            this.check_length(py, &sql)?;
            let parameters = Converter::new(Arc::clone(&sql), adapters).one(parameters.as_ref())?;
            let report = link.own_watch().statement(&sql);
            let rows = Report::stream(report.as_deref());
            executes.push(Execute {
                sql,
                parameters,
                rows: Arc::clone(&rows),
                amount: Amount::All,
                wants_decltypes: converters.want_decltypes(),
            });
            members.push((Cursor::of(slf, &link), rows, converters));
            reports.push(report);
        }
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let outcome = match runner::run(py, &link, Action::Batch(executes)) {
            Ok(outcome) => outcome,
            Err(error) => {
                let mut failed = reports::failed_one(reports, py, &error);
                Report::fail(&mut failed, py, &error);
                return Err(error);
            }
        };
        let outcomes = match outcome.reply {
            Some(Reply::Batch(outcomes)) => outcomes,
            _ => Arc::default(),
        };
        let mut cursors = Vec::with_capacity(members.len());
        let members = members.into_iter().zip(reports);
        for (((cursor, rows, converters), report), outcome) in members.zip(outcomes.iter()) {
            let mut outcome = outcome.clone();
            if let Some(report) = report {
                report.executed(py, &outcome);
            }
            let converters = converters.read(py, &mut outcome)?;
            cursor.begin(Some((rows, Arc::clone(&link))));
            cursor.executed(outcome, converters);
            cursors.push(Py::new(py, cursor)?);
        }
        Ok(cursors)
    }
}
