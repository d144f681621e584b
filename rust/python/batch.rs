//! `Connection.batch`: several statements in one block, which is written in Python.
//!
//! Thread: the caller's.

use pyo3::prelude::*;

use super::awaitable::Operation;
use super::connection::Connection;
use super::coroutine::Coroutine;

#[pymethods]
impl Connection {
    fn batch(slf: &Bound<'_, Self>, operations: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let arguments = (slf, operations).into_pyobject(slf.py())?;
        let function = ("aiolibsql._batch", "batch");
        Ok(Coroutine::operation(
            "Connection.batch",
            function,
            arguments,
        ))
    }
}
