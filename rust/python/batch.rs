//! `Connection.batch`: several statements in one command, all of them or none.
//!
//! Owns the cursors of the statements. The operations are read in Python, when the await begins.
//! Thread: the driving loop's.

use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString};

use crate::core::{Action, Amount, Execute, Reply, RowStream, Shared};

use super::awaitable::Operation;
use super::cached::cached_attribute;
use super::connection::Connection;
use super::converters::Converters;
use super::cursor::Cursor;
use super::parameters::Converter;
use super::reports::{self, Report};
use super::statements::{CloseCursor, Pending};
use super::work::{Step, Work};

/// `batch`: the value is the cursor of the last statement, or the list of all of them.
struct Batch {
    name: &'static str,
    connection: Py<Connection>,
    operations: Option<Py<PyAny>>,
    members: Vec<Member>,
    gives_all: bool,
    pending: Pending,
}

/// One statement of a batch.
struct Member {
    cursor: Py<Cursor>,
    rows: Arc<RowStream>,
    converters: Converters,
    /// What is to be told of it.
    report: Option<Box<Report>>,
}

impl Batch {
    fn operation(
        name: &'static str,
        connection: &Bound<'_, Connection>,
        operations: &Bound<'_, PyAny>,
        gives_all: bool,
    ) -> Operation {
        Operation::new(Box::new(Self {
            name,
            connection: connection.clone().unbind(),
            operations: Some(operations.clone().unbind()),
            members: Vec::new(),
            gives_all,
            pending: Pending::default(),
        }))
    }

    /// Reads the operations, which may run code of the caller's, and submits them.
    fn submit(&mut self, py: Python<'_>, operations: &Py<PyAny>) -> PyResult<()> {
        static READ: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let read = cached_attribute(py, &READ, "aiolibsql._batch", "read")?;
        let operations = read.call1((operations,))?;
        let connection = self.connection.bind(py);
        let link = connection.get().link();
        link.check_open(py)?;
        let block = connection.get().membership(py)?;
        let mut statements = Vec::new();
        for operation in operations.try_iter()? {
            let (sql, parameters): (Bound<'_, PyString>, Option<Bound<'_, PyAny>>) =
                operation?.extract()?;
            let (sql, adapters, converters) = link.request(&sql)?;
            let parameters = Converter::new(Arc::clone(&sql), adapters).one(parameters.as_ref())?;
            let report = link.watch().statement(&sql);
            let member = Member {
                cursor: Connection::new_cursor(connection)?,
                rows: Report::stream(report.as_deref()),
                converters,
                report,
            };
            statements.push(Execute {
                sql,
                parameters,
                rows: Arc::clone(&member.rows),
                amount: Amount::All,
                wants_decltypes: member.converters.want_decltypes(),
            });
            let rows = Some(Arc::clone(&member.rows));
            member.cursor.get().begin(rows, block.clone());
            self.members.push(member);
        }
        if !statements.is_empty() {
            let action = Action::Batch(statements);
            self.pending.submit_in(py, link, action, None, block)?;
        }
        Ok(())
    }

    fn value(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.gives_all {
            let cursors = self.members.iter().map(|member| &member.cursor);
            return Ok(PyList::new(py, cursors)?.into_any().unbind());
        }
        match self.members.last() {
            Some(member) => Ok(member.cursor.clone_ref(py).into_any()),
            None => Ok(Connection::new_cursor(self.connection.bind(py))?.into_any()),
        }
    }

    /// What is to be told of each.
    fn reports(&mut self) -> Vec<Option<Box<Report>>> {
        let members = self.members.iter_mut();
        members.map(|member| member.report.take()).collect()
    }

    fn discard(&self) {
        for member in &self.members {
            member.cursor.get().discard(&member.rows);
        }
    }
}

impl Work for Batch {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        if let Some(operations) = self.operations.take() {
            self.connection.get().link().reentrancy().check(py)?;
            self.submit(py, &operations)?;
        }
        loop {
            match self.pending.poll(py, context) {
                Poll::Pending => return Ok(Step::Pending),
                Poll::Ready(Ok(None)) if self.pending.shared().is_some() => {}
                Poll::Ready(Ok(outcome)) => {
                    let outcomes = match outcome.and_then(|outcome| outcome.reply) {
                        Some(Reply::Batch(outcomes)) => outcomes,
                        _ => Arc::default(),
                    };
                    for (member, outcome) in self.members.iter_mut().zip(outcomes.iter()) {
                        let mut outcome = outcome.clone();
                        if let Some(report) = member.report.take() {
                            member.cursor.get().keep(report.executed(py, &outcome));
                        }
                        let converters = member.converters.read(py, &mut outcome)?;
                        member.cursor.get().executed(outcome, converters);
                    }
                    return Ok(Step::Ready(self.value(py)?));
                }
                Poll::Ready(Err(error)) => {
                    self.discard();
                    let link = self.connection.get().link();
                    let error = link.watch().named(py, error);
                    let mut failed = reports::failed_one(self.reports(), py, &error);
                    Report::fail(&mut failed, py, &error);
                    return Err(error);
                }
            }
        }
    }

    fn leaves(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some(first) = self.reports().into_iter().next().flatten() {
            // Before anybody is told, the statement is stopped.
            self.abandon(py);
            first.cancelled(py, error);
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        let mut first = self.reports().into_iter().next().flatten();
        if self.operations.is_none() {
            self.pending.abandon(self.connection.get().link());
            self.discard();
        }
        Report::abandon(&mut first, py);
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        if let Some(operations) = &self.operations {
            visit.call(operations)?;
        }
        for member in &self.members {
            member.converters.traverse(visit)?;
            visit.call(&member.cursor)?;
        }
        Ok(())
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn will_wait(&self) -> bool {
        self.operations.is_some()
    }

    fn on_exit(&self, py: Python<'_>, value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        let cursor = value.bind(py).cast::<Cursor>().ok()?;
        Some(Box::new(CloseCursor::new(
            "Operation.__aexit__",
            cursor.clone().unbind(),
        )))
    }
}

#[pymethods]
impl Connection {
    fn batch(slf: &Bound<'_, Self>, operations: &Bound<'_, PyAny>) -> Operation {
        Batch::operation("Connection.batch", slf, operations, false)
    }

    /// As `batch`, with the cursors of all statements.
    fn _batch(slf: &Bound<'_, Self>, operations: &Bound<'_, PyAny>) -> Operation {
        Batch::operation("Connection._batch", slf, operations, true)
    }
}
