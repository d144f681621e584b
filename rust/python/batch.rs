//! `Connection.batch`, and how a coroutine of the package becomes an operation.
//!
//! Owns the coroutine from the first await on; its value is the operation's.
//! Thread: the driving loop's.

use std::task::Context;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::core::Shared;

use super::awaitable::Operation;
use super::cached::cached_attribute;
use super::connection::Connection;
use super::cursor::Cursor;
use super::delegate;
use super::ffi::{self, Sent};
use super::statements::CloseCursor;
use super::work::{Step, Work};

#[pymethods]
impl Connection {
    fn batch(slf: &Bound<'_, Self>, operations: Py<PyAny>) -> Operation {
        Operation::new(Box::new(Batch {
            request: Some((slf.clone().unbind(), operations)),
            cursor: None,
        }))
    }
}

/// Several statements in one block. The value is the last one's cursor.
struct Batch {
    request: Option<(Py<Connection>, Py<PyAny>)>,
    cursor: Option<Py<PyAny>>,
}

impl Work for Batch {
    fn name(&self) -> &'static str {
        "Connection.batch"
    }

    fn poll(&mut self, py: Python<'_>, _context: &mut Context<'_>) -> PyResult<Step> {
        static BATCH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if let Some(request) = self.request.take() {
            let batch = cached_attribute(py, &BATCH, "aiolibsql._batch", "batch")?;
            let coroutine = delegate::begin(ffi::call(batch, request)?)?;
            match ffi::send(&coroutine, py.None().bind(py))? {
                Sent::Yield(yielded) => return Ok(Step::Delegate(coroutine.unbind(), yielded)),
                Sent::Return(cursor) => self.cursor = Some(cursor),
            }
        }
        let cursor = self.cursor.as_ref();
        Ok(Step::Ready(
            cursor.map_or_else(|| py.None(), |cursor| cursor.clone_ref(py)),
        ))
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some((connection, operations)) = &self.request {
            visit.call(connection)?;
            visit.call(operations)?;
        }
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        None
    }

    fn delegated(&mut self, _py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        self.cursor = Some(result?);
        Ok(())
    }

    fn on_exit(&self, py: Python<'_>, value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        let cursor = value.bind(py).cast::<Cursor>().ok()?.clone().unbind();
        Some(Box::new(CloseCursor::new("Operation.__aexit__", cursor)))
    }
}
