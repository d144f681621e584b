//! Work: what an Operation drives.
//!
//! Owns the trait between the coroutine protocol and what a public method does. A Work is a future that needs
//! the interpreter: it submits at its first poll and makes Python objects at its last.
//! Thread: attached to the interpreter, on the thread of the loop that drives it.

use std::task::Context;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::{Shared, Shield};

use super::cursor::Cursor;
use super::delegate;
use super::ffi::{self, Sent};

/// What a poll came to.
pub enum Step {
    /// The value of the await.
    Ready(Py<PyAny>),
    /// The waker will be called.
    Pending,
    /// There is more to convert; the loop comes first.
    Yield,
    /// An awaitable of the user's waits in the same task: what takes its `send`, and what it yielded. When it
    /// has ended, `delegated` is called.
    Delegate(Py<PyAny>, Py<PyAny>),
}

/// What an Operation drives.
pub trait Work: Send + Sync {
    /// The method that returned the operation, for warnings and `repr`.
    fn name(&self) -> &'static str;

    /// Submits at the first call, and goes on until it has to wait.
    ///
    /// # Errors
    /// What the await raises.
    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step>;

    /// The caller was cancelled, or is gone; undoes or stops what can be.
    fn abandon(&mut self, py: Python<'_>);

    /// The caller leaves with this exception; called before `abandon`.
    fn leaves(&mut self, _py: Python<'_>, _error: &PyErr) {}

    /// The command that it waits for.
    fn waits_for(&self) -> Option<&Shared>;

    /// The Python objects that it holds, for the garbage collector.
    ///
    /// # Errors
    /// The collector's.
    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError>;

    /// An exception was thrown into the wait. A Work that has more to finish keeps it and goes on.
    ///
    /// # Errors
    /// The exception, to be raised at once.
    fn defer(&mut self, _py: Python<'_>, error: PyErr) -> PyResult<()> {
        Err(error)
    }

    /// How far a cancellation may reach. `Always`: it is submitted even when the caller is already cancelled.
    fn shield(&self) -> Shield {
        Shield::None
    }

    /// Whether the first poll will take something that only it can give, so that the loop's turn has to come
    /// before and not after it: a cancellation in that turn must not lose a row.
    fn takes_at_once(&self) -> bool {
        false
    }

    /// Whether the next poll will surely have to wait: a hint.
    fn will_wait(&self) -> bool {
        false
    }

    /// What `async with` closes at its end.
    fn on_exit(&self, _py: Python<'_>, _value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        None
    }

    /// Whether dropping the operation without awaiting it is a mistake.
    fn must_be_awaited(&self) -> bool {
        true
    }

    /// Continues the awaitable given by `Delegate` with `send` or `throw`.
    ///
    /// # Errors
    /// What it raises.
    fn drive(
        &mut self,
        coroutine: &Bound<'_, PyAny>,
        method: Resume,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Sent> {
        method.call(coroutine, value)
    }

    /// The awaitable given by `Delegate` has ended; poll again.
    ///
    /// # Errors
    /// Its exception, unless the Work handles it.
    fn delegated(&mut self, _py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        result.map(drop)
    }
}

/// How a coroutine is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    Send,
    Throw,
}

impl Resume {
    pub fn call(self, coroutine: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Sent> {
        match self {
            Self::Send => ffi::send(coroutine, value),
            Self::Throw => delegate::throw(coroutine, value),
        }
    }
}

/// A value that is there already, or an error that was found when the arguments were converted.
pub struct Ready {
    name: &'static str,
    value: Option<PyResult<Py<PyAny>>>,
    must_be_awaited: bool,
}

impl Ready {
    pub const fn new(name: &'static str, value: PyResult<Py<PyAny>>) -> Self {
        Self {
            name,
            value: Some(value),
            must_be_awaited: true,
        }
    }

    /// What is left of a Work that nobody may touch any more.
    pub const fn spent(name: &'static str) -> Self {
        Self {
            name,
            value: None,
            must_be_awaited: false,
        }
    }

    /// The awaitable of a method that has done its work when it was called.
    pub const fn done(name: &'static str, value: PyResult<Py<PyAny>>) -> Self {
        Self {
            name,
            value: Some(value),
            must_be_awaited: false,
        }
    }
}

impl Work for Ready {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, _context: &mut Context<'_>) -> PyResult<Step> {
        self.value
            .take()
            .unwrap_or_else(|| Ok(py.None()))
            .map(Step::Ready)
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.value {
            Some(Ok(value)) => visit.call(value),
            _ => Ok(()),
        }
    }

    fn waits_for(&self) -> Option<&Shared> {
        None
    }

    fn must_be_awaited(&self) -> bool {
        self.must_be_awaited
    }
}

/// Two Works in a row; the value is the second's.
pub struct Then {
    first: Box<dyn Work>,
    second: Box<dyn Work>,
    at_second: bool,
}

impl Then {
    pub fn new(first: Box<dyn Work>, second: Box<dyn Work>) -> Self {
        Self {
            first,
            second,
            at_second: false,
        }
    }
}

impl Work for Then {
    fn name(&self) -> &'static str {
        self.first.name()
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        if !self.at_second {
            match self.first.poll(py, context)? {
                Step::Ready(_) => self.at_second = true,
                step => return Ok(step),
            }
        }
        self.second.poll(py, context)
    }

    fn leaves(&mut self, py: Python<'_>, error: &PyErr) {
        if self.at_second {
            self.second.leaves(py, error);
        } else {
            self.first.leaves(py, error);
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        if self.at_second {
            self.second.abandon(py);
        }
        // Also ends the rows that the first one left for the second.
        self.first.abandon(py);
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.first.traverse(visit)?;
        self.second.traverse(visit)
    }

    fn waits_for(&self) -> Option<&Shared> {
        if self.at_second {
            self.second.waits_for()
        } else {
            self.first.waits_for()
        }
    }

    fn will_wait(&self) -> bool {
        !self.at_second && self.first.will_wait()
    }

    fn takes_at_once(&self) -> bool {
        !self.at_second && self.first.takes_at_once()
    }
}

/// The rowid of the row that a cursor's statement has inserted, in a tuple.
pub struct Inserted {
    cursor: Py<Cursor>,
}

impl Inserted {
    pub const fn new(cursor: Py<Cursor>) -> Self {
        Self { cursor }
    }
}

impl Work for Inserted {
    fn name(&self) -> &'static str {
        "Connection.execute_insert"
    }

    fn poll(&mut self, py: Python<'_>, _context: &mut Context<'_>) -> PyResult<Step> {
        let cursor = self.cursor.get();
        Ok(Step::Ready(
            (cursor.lastrowid(),).into_pyobject(py)?.into_any().unbind(),
        ))
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        None
    }
}
