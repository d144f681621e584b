//! The Works that run statements: execute, executescript, and closing a cursor.
//!
//! Owns what an await needs between its submission and its value.
//! Thread: the driving loop's.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{
    Action, Amount, Block, Cancelled, Event, Execute as Statement, Outcome, RowStream, Shared,
    Shield,
};

use super::connection::Connection;
use super::converters::Converters;
use super::cursor::Cursor;
use super::exceptions;
use super::link::Link;
use super::parameters;
use super::quick::Request;
use super::reports::Report;
use super::work::{Step, Work};

/// Converting goes on this long before the loop gets its turn.
pub const SLICE: Duration = Duration::from_micros(200);

/// A submitted command, as a Work waits for it.
#[derive(Default)]
pub struct Pending {
    shared: Option<Shared>,
    /// The transaction that the last one began, which has ended.
    began: Option<u64>,
}

impl Pending {
    pub fn submit(
        &mut self,
        py: Python<'_>,
        connection: &Connection,
        action: Action,
        timeout: Option<Duration>,
    ) -> PyResult<()> {
        let block = connection.membership(py)?;
        self.submit_in(py, connection.link(), action, timeout, block)
    }

    /// Submits a command that takes part in a block.
    pub fn submit_in(
        &mut self,
        py: Python<'_>,
        link: &Link,
        action: Action,
        timeout: Option<Duration>,
        block: Option<Arc<Block>>,
    ) -> PyResult<()> {
        link.write_notes(py);
        let shared = self.shared.insert(link.submit_here(py, action, block));
        if let Some(timeout) = timeout {
            crate::core::end_at(Instant::now() + timeout, shared)
                .map_err(|error| exceptions::to_python(py, error))?;
        }
        Ok(())
    }

    /// Waits for a command that was submitted already.
    pub fn adopt(&mut self, shared: Shared) {
        shared.dialogue().set_attended(true);
        self.shared = Some(shared);
    }

    pub const fn take(&mut self) -> Option<Shared> {
        self.shared.take()
    }

    pub const fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// `Ready(None)`: there is progress, or nothing was submitted.
    pub fn poll(
        &mut self,
        py: Python<'_>,
        context: &mut Context<'_>,
    ) -> Poll<PyResult<Option<Outcome>>> {
        let Some(shared) = &self.shared else {
            return Poll::Ready(Ok(None));
        };
        match shared.poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Event::Progress) => Poll::Ready(Ok(None)),
            Poll::Ready(Event::Finished(result)) => {
                self.shared = None;
                self.began = result.as_ref().ok().and_then(|outcome| outcome.began);
                Poll::Ready(
                    result
                        .map(Some)
                        .map_err(|error| exceptions::to_python(py, error)),
                )
            }
        }
    }

    /// Lets go of the command, and undoes a transaction that it began. Its end may be known already: the caller was
    /// cancelled before he got the value.
    pub fn abandon(&mut self, link: &Link) {
        let began = match self.shared.take().map(|shared| shared.abandon()) {
            Some(Cancelled::Undelivered(Ok(outcome))) => outcome.began,
            Some(_) => None,
            None => self.began.take(),
        };
        if let Some(serial) = began {
            drop(link.submit(Action::UndoBegin(serial), None));
        }
    }
}

impl Drop for Pending {
    /// An await that ends early abandons what it waits for; a panic leaves it no time to.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(shared) = self.shared.take()
        {
            drop(shared.abandon());
        }
    }
}

/// `execute`: one statement, and its first rows. The value is the cursor.
pub struct Execute {
    name: &'static str,
    cursor: Py<Cursor>,
    request: Option<Request>,
    rows: Option<Arc<RowStream>>,
    amount: Amount,
    timeout: Option<Duration>,
    converters: Converters,
    pending: Pending,
    /// What is to be told of it.
    report: Option<Box<Report>>,
}

impl Execute {
    pub fn new(
        name: &'static str,
        cursor: Py<Cursor>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        amount: Amount,
    ) -> PyResult<Self> {
        let link = cursor.get().connection().get().link();
        let (request, converters) = Request::new(link, sql, parameters, timeout.is_some())?;
        let timeout = timeout
            .map(|timeout| parameters::seconds(timeout, "timeout"))
            .transpose()?;
        Ok(Self {
            name,
            cursor,
            request: Some(request),
            rows: None,
            amount,
            timeout,
            converters,
            pending: Pending::default(),
            report: None,
        })
    }

    fn submit(&mut self, py: Python<'_>, request: Request) -> PyResult<()> {
        let cursor = self.cursor.get();
        let connection = cursor.connection().get();
        let link = connection.link();
        let (sql, parameters) = request.convert(py, link)?;
        if link.watch().is_on() && !cursor.is_plain() {
            self.report = link.watch().statement(&sql);
        }
        let rows = Report::stream(self.report.as_deref());
        self.rows = Some(Arc::clone(&rows));
        let statement = Statement {
            sql,
            parameters,
            rows: Arc::clone(&rows),
            amount: self.amount,
            wants_decltypes: self.converters.want_decltypes(),
        };
        let block = connection.membership(py)?;
        cursor.begin(Some(rows), block.clone());
        let action = Action::Execute(statement);
        self.pending
            .submit_in(py, link, action, self.timeout, block)
    }

    fn discard(&self) {
        if let Some(rows) = &self.rows {
            self.cursor.get().discard(rows);
        }
    }
}

impl Work for Execute {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let cursor = self.cursor.get();
        if let Some(request) = self.request.take() {
            cursor.check(py)?;
            if let Some(done) = request.run_here(py, cursor.connection().get(), self.amount)? {
                cursor.executed_here(done);
                return Ok(Step::Ready(self.cursor.clone_ref(py).into_any()));
            }
            self.submit(py, request)?;
        }
        let cursor = self.cursor.get();
        loop {
            match self.pending.poll(py, context) {
                Poll::Pending => return Ok(Step::Pending),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(mut outcome))) => {
                    if let Some(report) = self.report.take() {
                        cursor.keep(report.executed(py, &outcome));
                    }
                    let converters = self.converters.read(py, &mut outcome)?;
                    cursor.executed(outcome, converters);
                    return Ok(Step::Ready(self.cursor.clone_ref(py).into_any()));
                }
                Poll::Ready(Err(error)) => {
                    self.discard();
                    let link = cursor.connection().get().link();
                    let error = link.watch().named(py, error);
                    Report::fail(&mut self.report, py, &error);
                    return Err(error);
                }
            }
        }
    }

    fn leaves(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some(report) = self.report.take() {
            // Before anybody is told, the statement is stopped.
            self.abandon(py);
            report.cancelled(py, error);
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        if self.request.is_some() {
            return;
        }
        let cursor = self.cursor.get();
        self.pending.abandon(cursor.connection().get().link());
        self.discard();
        Report::abandon(&mut self.report, py);
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.converters.traverse(visit)?;
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn will_wait(&self) -> bool {
        self.request.is_some()
    }

    fn takes_at_once(&self) -> bool {
        let connection = self.cursor.get().connection().get();
        let request = self.request.as_ref();
        request.is_some_and(|request| request.runs_here(connection))
    }

    fn on_exit(&self, py: Python<'_>, _value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        Some(Box::new(CloseCursor::new(
            "Operation.__aexit__",
            self.cursor.clone_ref(py),
        )))
    }
}

/// `executescript`: any number of statements, no parameters, no rows.
pub struct ExecuteScript {
    name: &'static str,
    cursor: Py<Cursor>,
    script: Option<Arc<str>>,
    timeout: Option<Duration>,
    pending: Pending,
    /// What is to be told of it.
    report: Option<Box<Report>>,
}

impl ExecuteScript {
    pub fn new(
        name: &'static str,
        cursor: Py<Cursor>,
        script: &Bound<'_, PyString>,
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let script = Some(parameters::sql(script)?);
        let timeout = timeout
            .map(|timeout| parameters::seconds(timeout, "timeout"))
            .transpose()?;
        Ok(Self {
            name,
            cursor,
            script,
            timeout,
            pending: Pending::default(),
            report: None,
        })
    }
}

impl Work for ExecuteScript {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let cursor = self.cursor.get();
        if let Some(script) = self.script.take() {
            cursor.check(py)?;
            cursor.begin(None, None);
            let watch = cursor.connection().get().link().watch();
            self.report = watch.script(&script);
            let action = Action::ExecuteScript(script);
            self.pending
                .submit(py, cursor.connection().get(), action, self.timeout)?;
        }
        match self.pending.poll(py, context) {
            Poll::Pending => Ok(Step::Pending),
            Poll::Ready(result) => {
                let link = cursor.connection().get().link();
                let outcome = result
                    .map_err(|error| link.watch().named(py, error))
                    .inspect_err(|error| Report::fail(&mut self.report, py, error))?
                    .unwrap_or_default();
                if let Some(report) = self.report.take() {
                    report.executed(py, &outcome);
                }
                cursor.executed(outcome, None);
                Ok(Step::Ready(self.cursor.clone_ref(py).into_any()))
            }
        }
    }

    fn leaves(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some(report) = self.report.take() {
            // Before anybody is told, the statement is stopped.
            self.abandon(py);
            report.cancelled(py, error);
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        self.pending
            .abandon(self.cursor.get().connection().get().link());
        Report::abandon(&mut self.report, py);
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn on_exit(&self, py: Python<'_>, _value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        Some(Box::new(CloseCursor::new(
            "Operation.__aexit__",
            self.cursor.clone_ref(py),
        )))
    }
}

/// Ends a cursor; its statement, if one still reads, is reset.
pub struct CloseCursor {
    name: &'static str,
    cursor: Py<Cursor>,
    begun: bool,
    pending: Pending,
}

impl CloseCursor {
    pub fn new(name: &'static str, cursor: Py<Cursor>) -> Self {
        Self {
            name,
            cursor,
            begun: false,
            pending: Pending::default(),
        }
    }
}

impl Work for CloseCursor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let cursor = self.cursor.get();
        if !self.begun {
            cursor.connection().get().link().reentrancy().check(py)?;
        }
        if !std::mem::replace(&mut self.begun, true)
            && let Some(rows) = cursor.close_now()
        {
            let link = cursor.connection().get().link();
            self.pending
                .adopt(link.submit(Action::CloseRows(rows), None));
        }
        match self.pending.poll(py, context) {
            Poll::Pending => Ok(Step::Pending),
            // Closed together with its connection: then there is nothing left to reset.
            Poll::Ready(_) => Ok(Step::Ready(py.None())),
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn shield(&self) -> Shield {
        Shield::Always
    }
}
