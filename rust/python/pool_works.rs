//! The Works of a pool: a statement on whichever connection is free, and lending connections.
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
    Action, Amount, Bindings, Command, Error, Execute as Statement, Limits, Loan, Outcome,
    RowStream, Service, Shared, Shield, TransactionMode, end_at,
};

use super::connection::Connection;
use super::converters::Converters;
use super::cursor::Cursor;
use super::exceptions;
use super::logs;
use super::parameters::{self, Converter};
use super::pool::{Pool, RELEASE};
use super::pool_cursor::PoolCursor;
use super::pool_members::Demand;
use super::reports::Report;
use super::statements::{CloseCursor, Pending};
use super::work::{Step, Work};

type Next = Box<dyn FnOnce(Py<Cursor>) -> Option<Box<dyn Work>> + Send + Sync>;

/// A statement, on whichever connection is free and may run it; then what is made of its cursor.
pub struct Pooled {
    name: &'static str,
    demand: Demand,
    request: Option<(Arc<str>, Bindings)>,
    rows: Arc<RowStream>,
    amount: Amount,
    timeout: Option<Duration>,
    converters: Converters,
    next: Option<Next>,
    then: Option<Box<dyn Work>>,
    /// A question of the driver's own: its rows are plain, and nobody hears of it.
    is_plain: bool,
    /// It ran on a connection that the caller has borrowed.
    is_borrowed: bool,
    /// What is to be told of it.
    report: Option<Box<Report>>,
    /// The value, which may not have reached the caller.
    cursor: Option<Py<Cursor>>,
}

impl Pooled {
    pub fn new(
        name: &'static str,
        pool: &Bound<'_, Pool>,
        (sql, parameters, timeout): (&Bound<'_, PyString>, Option<&Bound<'_, PyAny>>, Option<f64>),
        amount: Amount,
        next: Next,
    ) -> PyResult<Self> {
        let py = pool.py();
        let (sql, adapters, converters) = pool.get().member(py, 0)?.get().link().request(sql)?;
        let bindings = Converter::new(Arc::clone(&sql), adapters).one(parameters)?;
        let timeout = timeout
            .map(|timeout| parameters::seconds(timeout, "timeout"))
            .transpose()?;
        Ok(Self {
            name,
            demand: Demand::new(pool.clone().unbind()),
            request: Some((sql, bindings)),
            rows: Arc::default(),
            amount,
            timeout,
            converters,
            next: Some(next),
            then: None,
            is_plain: false,
            is_borrowed: false,
            report: None,
            cursor: None,
        })
    }

    /// A question of the driver's own.
    pub fn plain(mut self) -> Self {
        self.is_plain = true;
        self.converters = Converters::default();
        self
    }

    fn submit(&mut self, py: Python<'_>, sql: Arc<str>, parameters: Bindings) -> PyResult<()> {
        let pool = self.demand.pool().bind(py);
        pool.get().check_reentrancy(py)?;
        let held = Pool::held(pool)?;
        let first = pool.get().member(py, 0)?;
        first.get().link().write_notes(py);
        logs::write_all(py, pool.get().core().notes());
        if !self.is_plain {
            self.report = pool.get().watch().statement(&sql);
            if self.report.is_some() {
                self.rows = Report::stream(self.report.as_deref());
            }
        }
        let statement = Statement {
            sql,
            parameters,
            rows: Arc::clone(&self.rows),
            amount: self.amount,
            wants_decltypes: self.converters.want_decltypes(),
        };
        let action = Action::Execute(statement);
        let shared = if let Some(held) = &held {
            let connection = held.get();
            let block = connection.membership(py)?;
            connection.link().submit_pooled(py, action, block)
        } else {
            let link = first.get().link();
            let mut command = Command::new(action, Vec::new(), None);
            command.surroundings = link.callbacks().surroundings(py);
            command.is_pooled = true;
            let shared = Arc::clone(&command.operation);
            if command.surroundings.is_some() {
                shared.dialogue().set_attended(true);
            }
            pool.get().core().submit(command, pool.get().limits());
            shared
        };
        self.is_borrowed = held.is_some();
        self.demand.submitted(Arc::clone(&shared));
        if let Some(timeout) = self.timeout {
            end_at(Instant::now() + timeout, &shared)
                .map_err(|error| exceptions::to_python(py, error))?;
        }
        Ok(())
    }

    /// The cursor of what was executed.
    fn cursor_of(&mut self, py: Python<'_>, mut outcome: Outcome) -> PyResult<Py<Cursor>> {
        let pool = self.demand.pool().bind(py);
        let index = outcome.member.unwrap_or_default();
        let connection = pool.get().member(py, index)?;
        let cursor = if self.is_plain {
            Py::new(py, Cursor::plain(&connection, py))?
        } else {
            PoolCursor::create(pool, &connection)?
        };
        // From here on the rows end with the cursor, whatever comes.
        cursor.get().begin(Some(Arc::clone(&self.rows)), None);
        if let Some(report) = self.report.take() {
            cursor.get().keep(report.executed(py, &outcome));
        }
        let converters = self.converters.read(py, &mut outcome)?;
        cursor.get().executed(outcome, converters);
        Ok(cursor)
    }
}

impl Work for Pooled {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        if let Some(then) = &mut self.then {
            return then.poll(py, context);
        }
        if let Some((sql, parameters)) = self.request.take() {
            self.submit(py, sql, parameters)?;
        }
        let outcome = match self.demand.poll(py, context) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(step)) => return Ok(step),
            Err(error) => {
                let error = self.demand.pool().get().watch().named(py, error);
                let mut report = self.report.take();
                self.abandon(py);
                Report::fail(&mut report, py, &error);
                return Err(error);
            }
        };
        let cursor = self.cursor_of(py, outcome)?;
        let next = self.next.take();
        let then = next.and_then(|next| next(cursor.clone_ref(py)));
        let Some(then) = then else {
            cursor.get().state().holds_connection = !self.is_borrowed;
            self.cursor = Some(cursor.clone_ref(py));
            return Ok(Step::Ready(cursor.into_any()));
        };
        self.then.insert(then).poll(py, context)
    }

    fn leaves(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some(report) = self.report.take() {
            // Before anybody is told, the statement is stopped.
            self.abandon(py);
            report.cancelled(py, error);
        }
        if let Some(then) = &mut self.then {
            then.leaves(py, error);
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        if let Some(then) = &mut self.then {
            then.abandon(py);
        }
        if let Some(cursor) = self.cursor.take() {
            let cursor = cursor.get();
            if let Some(rows) = cursor.close_now() {
                let link = cursor.connection().get().link();
                drop(link.submit(Action::CloseRows(rows), None));
            }
        }
        let undelivered = self.demand.abandon(py);
        if let Some(index) = undelivered.and_then(|outcome| outcome.member)
            && !self.rows.has_ended()
            && let Ok(connection) = self.demand.pool().get().member(py, index)
        {
            let close = Action::CloseRows(Arc::clone(&self.rows));
            drop(connection.get().link().submit(close, None));
        }
        Report::abandon(&mut self.report, py);
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(then) = &self.then {
            then.traverse(visit)?;
        }
        self.converters.traverse(visit)?;
        visit.call(&self.cursor)?;
        self.demand.traverse(visit)
    }

    fn waits_for(&self) -> Option<&Shared> {
        match &self.then {
            Some(then) => then.waits_for(),
            None => self.demand.waits_for(),
        }
    }

    fn delegated(&mut self, py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        if let Some(then) = &mut self.then {
            return then.delegated(py, result);
        }
        let ended = self.demand.delegated(py, result);
        ended.inspect_err(|_| self.abandon(py))
    }

    fn will_wait(&self) -> bool {
        self.request.is_some()
    }

    fn on_exit(&self, py: Python<'_>, value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        let cursor = value.bind(py).cast::<Cursor>().ok()?.clone().unbind();
        Some(Box::new(CloseCursor::new("Operation.__aexit__", cursor)))
    }
}

/// Borrows a connection.
pub struct Acquire {
    demand: Demand,
    readonly: bool,
    /// The transaction mode is not that of the pool, but SQLite's own.
    is_plain: bool,
    limits: Limits,
    /// What was lent, and may not have reached the caller.
    lent: Option<Py<Connection>>,
}

impl Acquire {
    pub fn new(pool: Py<Pool>, readonly: bool, is_plain: bool, limits: Limits) -> Self {
        Self {
            demand: Demand::new(pool),
            readonly,
            is_plain,
            limits,
            lent: None,
        }
    }
}

impl Work for Acquire {
    fn name(&self) -> &'static str {
        "ConnectionPool.acquire"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let pool = self.demand.pool().clone_ref(py);
        let pool = pool.get();
        if !self.demand.is_submitted() {
            pool.check_reentrancy(py)?;
            logs::write_all(py, pool.core().notes());
            let mode = if self.is_plain {
                TransactionMode::Autocommit { manual_end: true }
            } else {
                pool.member(py, 0)?.get().link().settings().control.mode()
            };
            let action = Action::Serve(Service::Acquire(mode));
            let mut command = Command::new(action, Vec::new(), None);
            command.is_pooled = true;
            self.demand.submitted(Arc::clone(&command.operation));
            pool.core().submit_to(self.readonly, command, self.limits);
        }
        match self.demand.poll(py, context) {
            Err(error) => {
                self.abandon(py);
                Err(error)
            }
            Ok(Err(step)) => Ok(step),
            Ok(Ok(outcome)) => {
                let no_loan = || exceptions::to_python(py, Error::pool_closed());
                let lent = pool.lend(py, outcome.loan.ok_or_else(no_loan)?)?;
                self.lent = Some(lent.clone_ref(py));
                Ok(Step::Ready(lent.into_any()))
            }
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        if let Some(lent) = self.lent.take() {
            let lent = lent.get();
            if lent.lease().is_some_and(Loan::end) {
                drop(lent.link().submit(RELEASE, None));
            }
        }
        // A loan that nobody has heard of ends by itself.
        drop(self.demand.abandon(py));
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.lent)?;
        self.demand.traverse(visit)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.demand.waits_for()
    }

    fn delegated(&mut self, py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        let ended = self.demand.delegated(py, result);
        ended.inspect_err(|_| self.abandon(py))
    }

    fn on_exit(&self, py: Python<'_>, value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        let lent = value.bind(py).cast::<Connection>().ok()?.clone().unbind();
        let pool = self.demand.pool().clone_ref(py);
        Some(Box::new(Release::new(pool, lent)))
    }
}

/// Gives a borrowed connection back.
pub struct Release {
    pool: Py<Pool>,
    connection: Py<Connection>,
    begun: bool,
    pending: Pending,
}

impl Release {
    pub fn new(pool: Py<Pool>, connection: Py<Connection>) -> Self {
        Self {
            pool,
            connection,
            begun: false,
            pending: Pending::default(),
        }
    }
}

impl Work for Release {
    fn name(&self) -> &'static str {
        "ConnectionPool.release"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let connection = self.connection.get();
        if !std::mem::replace(&mut self.begun, true) {
            if !connection.lease().is_some_and(Loan::end) {
                let message = "this connection is not lent by the pool";
                return Err(exceptions::programming(py, message));
            }
            self.pending.adopt(connection.link().submit(RELEASE, None));
        }
        match self.pending.poll(py, context) {
            Poll::Pending => Ok(Step::Pending),
            // With a closed connection there is nothing to give back.
            Poll::Ready(Err(error)) if !connection.link().is_closed() => Err(error),
            Poll::Ready(_) => Ok(Step::Ready(py.None())),
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.pool)?;
        visit.call(&self.connection)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn shield(&self) -> Shield {
        Shield::Always
    }
}

/// Waits until nothing is lent.
pub struct Drained {
    pool: Py<Pool>,
    pending: Pending,
}

impl Drained {
    pub fn new(pool: Py<Pool>) -> Self {
        Self {
            pool,
            pending: Pending::default(),
        }
    }
}

impl Work for Drained {
    fn name(&self) -> &'static str {
        "ConnectionPool.close"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        if self.pending.shared().is_none() {
            let pool = self.pool.get();
            let drained = pool.core().drained();
            end_at(Instant::now() + pool.limits().patience, &drained)
                .map_err(|error| exceptions::to_python(py, error))?;
            self.pending.adopt(drained);
        }
        match self.pending.poll(py, context) {
            Poll::Pending => Ok(Step::Pending),
            Poll::Ready(result) => result.map(|_| Step::Ready(py.None())),
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {
        drop(self.pending.take());
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.pool)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }
}
