//! A coroutine of the package as an operation.
//!
//! Owns the coroutine from the first await on; its value is the operation's, and a cursor among them is closed where
//! `async with` ends.
//! Thread: the driving loop's.

use std::task::Context;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::core::Shared;

use super::awaitable::Operation;
use super::cursor::Cursor;
use super::delegate;
use super::ffi::{self, Sent};
use super::statements::CloseCursor;
use super::work::{Step, Work};

/// Calls a coroutine function when it is awaited.
pub struct Coroutine {
    name: &'static str,
    /// What makes the coroutine: a module of the package, a function in it, and what that is called with.
    begin: Option<(&'static str, &'static str, Py<PyTuple>)>,
    value: Option<Py<PyAny>>,
}

impl Coroutine {
    pub fn operation(
        name: &'static str,
        (module, function): (&'static str, &'static str),
        arguments: Bound<'_, PyTuple>,
    ) -> Operation {
        Operation::new(Box::new(Self {
            name,
            begin: Some((module, function, arguments.unbind())),
            value: None,
        }))
    }
}

impl Work for Coroutine {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, _context: &mut Context<'_>) -> PyResult<Step> {
        if let Some((module, function, arguments)) = self.begin.take() {
            let function = py.import(module)?.getattr(function)?;
            let coroutine = function.call1(arguments.bind(py))?;
            let coroutine = delegate::begin(coroutine)?;
            match ffi::send(&coroutine, py.None().bind(py))? {
                Sent::Yield(yielded) => return Ok(Step::Delegate(coroutine.unbind(), yielded)),
                Sent::Return(value) => self.value = Some(value),
            }
        }
        let value = self.value.as_ref();
        Ok(Step::Ready(
            value.map_or_else(|| py.None(), |value| value.clone_ref(py)),
        ))
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some((_, _, arguments)) = &self.begin {
            visit.call(arguments)?;
        }
        visit.call(&self.value)
    }

    fn waits_for(&self) -> Option<&Shared> {
        None
    }

    fn delegated(&mut self, _py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        self.value = Some(result?);
        Ok(())
    }

    fn on_exit(&self, py: Python<'_>, value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        let cursor = value.bind(py).cast::<Cursor>().ok()?.clone().unbind();
        Some(Box::new(CloseCursor::new("Operation.__aexit__", cursor)))
    }
}
