//! How a pool's connections are opened: by the tasks that need them, for a pool belongs to no loop.
//!
//! Owns what a task has to do with that besides what it waits for.
//! Thread: the driving loop's.
//! Invariant: a command that was executed is reported as executed, whatever became of an open beside it.

use std::task::{Context, Poll};

use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::{Action, Cancelled, Command, Error, Opaque, Opening, Outcome, Role, Shared};

use super::cached::interned;
use super::connection::Connection;
use super::exceptions;
use super::lifecycle::Open;
use super::logs::{self, Area, Severity};
use super::pool::Pool;
use super::statements::Pending;
use super::work::{Step, Work};

/// A connection of a pool that is being opened.
struct Filling {
    /// `None`: it has ended.
    opening: Option<Opening>,
    connection: Py<Connection>,
    open: Open,
}

impl Filling {
    fn begin(pool: &Bound<'_, Pool>, opening: Opening) -> PyResult<Self> {
        let is_reader = opening.role() == Role::Reader;
        let connection: Py<Connection> = pool
            .call_method1(interned!(pool.py(), "_make"), (is_reader,))?
            .extract()
            .map_err(PyErr::from)?;
        pool.get().join(connection.clone_ref(pool.py()), &opening);
        Ok(Self {
            opening: Some(opening),
            open: Open::new("ConnectionPool.open", connection.clone_ref(pool.py())),
            connection,
        })
    }

    fn poll(&mut self, py: Python<'_>, pool: &Pool, context: &mut Context<'_>) -> PyResult<Step> {
        let step = match self.open.poll(py, context) {
            Ok(Step::Ready(opened)) => Step::Ready(opened),
            Ok(step) => return Ok(step),
            Err(error) => return Err(self.failed(py, error)),
        };
        let Some(opening) = self.opening.take() else {
            return Ok(step);
        };
        let link = self.connection.get().link();
        let index = opening.index();
        pool.add(index, self.connection.clone_ref(py));
        match opening.opened() {
            Ok(()) => {
                let text = format!("connection {index} was opened");
                logs::write(py, Area::Pool, Severity::Debug, &text);
                link.backend().serve_pool();
                Ok(step)
            }
            Err(opening) => {
                self.opening = Some(opening);
                self.abandon(py);
                Err(exceptions::to_python(py, Error::pool_closed()))
            }
        }
    }

    /// Those who wait are told why there is no connection, if it was no cancellation, which is the opener's alone.
    fn failed(&mut self, py: Python<'_>, error: PyErr) -> PyErr {
        if let Some(opening) = &self.opening
            && error.is_instance_of::<PyException>(py)
        {
            let message = format!("a connection of the pool could not be opened: {error}");
            logs::write(py, Area::Pool, Severity::Warning, &message);
            let cause = Some(Opaque::new(error.clone_ref(py)));
            opening.fail(&Error {
                cause,
                ..Error::operational(message)
            });
        }
        self.abandon(py);
        error
    }

    /// Nothing is left open; then somebody else may have the place.
    fn abandon(&mut self, py: Python<'_>) {
        let Some(opening) = self.opening.take() else {
            return;
        };
        self.open.abandon(py);
        let mut close = Command::new(Action::Close, Vec::new(), None);
        close.opening = Some(Box::new(opening));
        let link = self.connection.get().link();
        link.set_stopped();
        link.submit_command(close);
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        self.open.traverse(visit)
    }
}

/// A command that was given to a pool, whose caller opens a connection if none is there.
pub struct Demand {
    pool: Py<Pool>,
    pending: Pending,
    filling: Option<Filling>,
    /// Why a connection could not be opened.
    failed: Option<PyErr>,
}

impl Demand {
    pub fn new(pool: Py<Pool>) -> Self {
        Self {
            pool,
            pending: Pending::default(),
            filling: None,
            failed: None,
        }
    }

    pub const fn pool(&self) -> &Py<Pool> {
        &self.pool
    }

    /// It is in a queue now.
    pub fn submitted(&mut self, shared: Shared) {
        self.pending.adopt(shared);
    }

    pub const fn is_submitted(&self) -> bool {
        self.pending.shared().is_some()
    }

    /// Waits for its end. After an error it is to be abandoned.
    pub fn poll(
        &mut self,
        py: Python<'_>,
        context: &mut Context<'_>,
    ) -> PyResult<Result<Outcome, Step>> {
        let pool = self.pool.clone_ref(py);
        let pool = pool.bind(py);
        loop {
            if let Some(filling) = &mut self.filling {
                match filling.poll(py, pool.get(), context) {
                    Ok(Step::Ready(_)) => {}
                    Ok(step) => return Ok(Err(step)),
                    Err(error) => self.fail(py, error)?,
                }
                self.filling = None;
            }
            self.fail_if_queued(py)?;
            let shared = self.pending.shared().cloned();
            match self.pending.poll(py, context) {
                Poll::Pending => return Ok(Err(Step::Pending)),
                Poll::Ready(Ok(Some(outcome))) => return Ok(Ok(outcome)),
                Poll::Ready(Ok(None)) => {
                    let opening = shared.and_then(|shared| pool.get().core().answer(&shared));
                    if let Some(opening) = opening {
                        match Filling::begin(pool, opening) {
                            Ok(filling) => self.filling = Some(filling),
                            Err(error) => self.fail(py, error)?,
                        }
                    }
                }
                Poll::Ready(Err(error)) => {
                    if let Some(shared) = shared {
                        pool.get().core().decline(&shared);
                    }
                    if exceptions::is_pool_timeout(py, &error) {
                        let text = error.value(py).to_string();
                        logs::write(py, Area::Pool, Severity::Warning, &text);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The error of the open that this caller tried is his, unless his command was taken on meanwhile.
    fn fail_if_queued(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(error) = self.failed.take() else {
            return Ok(());
        };
        let Some(shared) = self.pending.shared() else {
            return Err(error);
        };
        if !shared.claim() {
            return Ok(());
        }
        drop(shared.finish(Err(Error::closed())));
        self.pool.bind(py).get().core().decline(shared);
        drop(self.pending.take());
        Err(error)
    }

    /// Nobody waits any more. What came of the command, if nobody heard of it.
    pub fn abandon(&mut self, py: Python<'_>) -> Option<Outcome> {
        if let Some(mut filling) = self.filling.take() {
            filling.abandon(py);
        }
        let shared = self.pending.take()?;
        let cancelled = shared.abandon();
        self.pool.get().core().decline(&shared);
        match cancelled {
            Cancelled::Undelivered(Ok(outcome)) => Some(outcome),
            _ => None,
        }
    }

    pub fn waits_for(&self) -> Option<&Shared> {
        match &self.filling {
            Some(filling) => filling.open.waits_for(),
            None => self.pending.shared(),
        }
    }

    /// An awaitable of `init` has ended.
    pub fn delegated(&mut self, py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        let Some(filling) = &mut self.filling else {
            return result.map(drop);
        };
        let Err(error) = filling.open.delegated(py, result) else {
            return Ok(());
        };
        let error = filling.failed(py, error);
        self.filling = None;
        self.fail(py, error)
    }

    /// The open has failed. What ends the task is raised whatever came of the command.
    fn fail(&mut self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if !error.is_instance_of::<PyException>(py) {
            return Err(error);
        }
        self.failed = Some(error);
        Ok(())
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(filling) = &self.filling {
            filling.traverse(visit)?;
        }
        visit.call(&self.pool)
    }
}

/// Opens the next of the connections that are kept though nobody needs them. The value: whether there was one to open.
pub struct OpenNext {
    pool: Py<Pool>,
    filling: Option<Filling>,
}

impl OpenNext {
    pub const fn new(pool: Py<Pool>) -> Self {
        Self {
            pool,
            filling: None,
        }
    }
}

impl Work for OpenNext {
    fn name(&self) -> &'static str {
        "ConnectionPool.open"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let pool = self.pool.bind(py);
        let filling = match &mut self.filling {
            Some(filling) => filling,
            empty @ None => {
                let Some(opening) = pool.get().core().next_opening() else {
                    return Ok(Step::Ready(
                        false.into_pyobject(py)?.to_owned().into_any().unbind(),
                    ));
                };
                empty.insert(Filling::begin(pool, opening)?)
            }
        };
        match filling.poll(py, pool.get(), context)? {
            Step::Ready(_) => Ok(Step::Ready(
                true.into_pyobject(py)?.to_owned().into_any().unbind(),
            )),
            step => Ok(step),
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        // One that is open serves, though nobody has heard of it.
        if let Some(mut filling) = self.filling.take() {
            filling.abandon(py);
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(filling) = &self.filling {
            filling.traverse(visit)?;
        }
        visit.call(&self.pool)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.filling.as_ref()?.open.waits_for()
    }

    fn delegated(&mut self, py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        match &mut self.filling {
            Some(filling) => {
                let ended = filling.open.delegated(py, result);
                ended.map_err(|error| filling.failed(py, error))
            }
            None => result.map(drop),
        }
    }
}
