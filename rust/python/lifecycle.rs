//! The Works that open, leave and close a connection, and those of commands without rows.
//!
//! Owns what an await needs between its submission and its value.
//! Thread: the driving loop's.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::{Action, Cancelled, Outcome, Shared, Shield};

use super::cached::interned;
use super::connection::Connection;
use super::delegate;
use super::exceptions;
use super::ffi::{self, Sent};
use super::options::Autocommit;
use super::statements::Pending;
use super::work::{Step, Work};

/// A command whose value is None.
pub struct Simple {
    name: &'static str,
    connection: Py<Connection>,
    action: Option<Action>,
    shield: Shield,
    pending: Pending,
    submitted_at_call: bool,
    /// To be assigned when it is submitted.
    autocommit: Option<Autocommit>,
}

impl Simple {
    pub fn new(name: &'static str, connection: Py<Connection>, action: Action) -> Self {
        let shield = action.shield();
        Self {
            name,
            connection,
            action: Some(action),
            shield,
            pending: Pending::default(),
            submitted_at_call: false,
            autocommit: None,
        }
    }

    /// An assignment to `autocommit` that is applied at once.
    pub fn assigning(name: &'static str, connection: Py<Connection>, value: Autocommit) -> Self {
        Self {
            autocommit: Some(value),
            ..Self::new(name, connection, Action::SetMode)
        }
    }

    /// Submits before anybody awaits.
    pub fn submit_now(&mut self, py: Python<'_>) -> PyResult<()> {
        self.submitted_at_call = true;
        self.submit(py)?;
        if let Some(shared) = self.pending.shared() {
            shared.dialogue().set_attended(false);
        }
        Ok(())
    }

    fn submit(&mut self, py: Python<'_>) -> PyResult<()> {
        if let Some(action) = self.action.take() {
            let connection = self.connection.get();
            if let Some(value) = self.autocommit {
                connection
                    .link()
                    .change_control(|control| control.set_autocommit(value));
            }
            self.pending.adopt(connection.submit(py, action)?);
        }
        Ok(())
    }
}

impl Work for Simple {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        self.connection.get().link().reentrancy().check(py)?;
        self.submit(py)?;
        match self.pending.poll(py, context) {
            Poll::Pending => Ok(Step::Pending),
            Poll::Ready(result) => {
                result?;
                self.connection.get().link().write_notes(py);
                self.connection.get().link().report_discarded(py)?;
                Ok(Step::Ready(py.None()))
            }
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {
        self.pending.abandon(self.connection.get().link());
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn shield(&self) -> Shield {
        self.shield
    }

    fn must_be_awaited(&self) -> bool {
        !self.submitted_at_call
    }
}

/// Opening; then the user's `init_hook`, in the same task. The value is the connection.
pub struct Open {
    name: &'static str,
    connection: Py<Connection>,
    stage: Stage,
}

enum Stage {
    Start,
    Opening(Shared),
    /// The hook runs; a failure of it undoes the open.
    Hooking,
    /// This opened it; the value may still be lost on its way to the caller.
    Opened,
    Done,
}

impl Open {
    pub const fn new(name: &'static str, connection: Py<Connection>) -> Self {
        Self {
            name,
            connection,
            stage: Stage::Start,
        }
    }
}

/// What an `init_hook` gave, to be driven.
fn begin_hook(given: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = given.py();
    if given.hasattr(interned!(py, "send"))? || given.hasattr(interned!(py, "__await__"))? {
        return delegate::begin(given);
    }
    let kind = given.get_type().qualname()?;
    let message = format!(
        "init_hook, or a pool's init, must be an async callable: this one returned '{kind}'"
    );
    Err(PyTypeError::new_err(message))
}

impl Work for Open {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        if matches!(self.stage, Stage::Start) {
            self.connection.get().link().reentrancy().check(py)?;
            let link = self.connection.get().link();
            self.stage = Stage::Opening(link.submit_here(py, Action::Open, None));
        }
        if let Stage::Opening(shared) = &self.stage {
            let outcome = match shared.poll(context) {
                Poll::Pending => return Ok(Step::Pending),
                Poll::Ready(crate::core::Event::Progress) => return Ok(Step::Yield),
                Poll::Ready(crate::core::Event::Finished(result)) => result,
            };
            self.stage = Stage::Done;
            let outcome = outcome.map_err(|error| exceptions::to_python(py, error))?;
            if outcome.opened {
                self.stage = Stage::Opened;
                let link = self.connection.get().link();
                link.reported.store(false, Ordering::Relaxed);
            }
            if let (true, Some(hook)) = (outcome.opened, self.connection.get().init_hook()) {
                self.stage = Stage::Hooking;
                let hook = hook
                    .bind(py)
                    .call1((&self.connection,))
                    .and_then(begin_hook);
                let hook = hook.inspect_err(|_| self.abandon(py))?;
                match ffi::send(&hook, py.None().bind(py)) {
                    Ok(Sent::Yield(yielded)) => return Ok(Step::Delegate(hook.unbind(), yielded)),
                    Ok(Sent::Return(value)) => self.delegated(py, Ok(value))?,
                    Err(error) => self.delegated(py, Err(error))?,
                }
            }
        }
        Ok(Step::Ready(self.connection.clone_ref(py).into_any()))
    }

    fn abandon(&mut self, _py: Python<'_>) {
        let undo = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Opening(shared) => {
                matches!(
                    shared.abandon(),
                    Cancelled::Undelivered(Ok(Outcome { opened: true, .. }))
                )
            }
            Stage::Hooking | Stage::Opened => true,
            Stage::Start | Stage::Done => false,
        };
        if undo {
            let link = self.connection.get().link();
            // Until that is done it looks open, but nobody has left it so.
            link.reported.store(true, Ordering::Relaxed);
            drop(link.submit(Action::UndoOpen, None));
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)
    }

    fn waits_for(&self) -> Option<&Shared> {
        match &self.stage {
            Stage::Opening(shared) => Some(shared),
            _ => None,
        }
    }

    fn delegated(&mut self, py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        if result.is_err() {
            self.abandon(py);
        } else {
            self.stage = Stage::Opened;
        }
        result.map(drop)
    }
}

/// Leaving `async with connection`: COMMIT, or ROLLBACK after an exception; then close, whatever came of it.
pub struct Exit {
    connection: Py<Connection>,
    commits: bool,
    /// The exception that leaves the block.
    raised: Option<Py<PyAny>>,
    stage: ExitStage,
    failed: Option<PyErr>,
    pending: Pending,
}

#[derive(PartialEq, Eq)]
enum ExitStage {
    Start,
    Ending,
    Closing,
}

impl Exit {
    pub fn new(connection: Py<Connection>, raised: Option<Py<PyAny>>) -> Self {
        let commits = raised.is_none() && !connection.get().link().is_closed();
        Self {
            connection,
            commits,
            raised,
            stage: ExitStage::Start,
            failed: None,
            pending: Pending::default(),
        }
    }

    fn start_closing(&mut self) {
        self.stage = ExitStage::Closing;
        self.pending
            .adopt(self.connection.get().link().submit(Action::Close, None));
    }
}

impl Work for Exit {
    fn name(&self) -> &'static str {
        "Connection.__aexit__"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let connection = self.connection.clone_ref(py);
        let connection = connection.get();
        if self.stage == ExitStage::Start {
            connection.link().reentrancy().check(py)?;
            if self.commits {
                self.stage = ExitStage::Ending;
                self.pending.adopt(connection.submit(py, Action::Commit)?);
            } else {
                drop(connection.link().submit(Action::Rollback, None));
                self.start_closing();
            }
        }
        loop {
            let Poll::Ready(result) = self.pending.poll(py, context) else {
                return Ok(Step::Pending);
            };
            if self.stage == ExitStage::Ending {
                self.failed = result.err();
                if self.failed.is_some() {
                    drop(connection.link().submit(Action::Rollback, None));
                }
                self.start_closing();
                continue;
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if let (Some(raised), Err(error)) = (&self.raised, &result) {
                exceptions::add_note(raised.bind(py), error)?;
            }
            if self.commits {
                result?;
                connection.link().report_discarded(py)?;
            }
            return Ok(Step::Ready(py.None()));
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {
        if self.stage != ExitStage::Closing {
            self.pending.abandon(self.connection.get().link());
            // The COMMIT, if it was submitted, comes first and is kept; else everything is rolled back.
            drop(self.connection.get().link().submit(Action::Rollback, None));
            self.start_closing();
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        visit.call(&self.raised)
    }

    /// Cancelled before it commits or while it does: the close is finished first.
    fn defer(&mut self, _py: Python<'_>, error: PyErr) -> PyResult<()> {
        if self.stage == ExitStage::Closing {
            return Err(error);
        }
        self.failed = Some(error);
        self.pending.abandon(self.connection.get().link());
        drop(self.connection.get().link().submit(Action::Rollback, None));
        self.start_closing();
        Ok(())
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn shield(&self) -> Shield {
        if self.commits {
            Shield::Running
        } else {
            Shield::Always
        }
    }
}
