//! Process: what becomes of Python's objects after a fork.
//!
//! Owns nothing. The core stands still over a fork by itself; here the operations are woken, in the child, that no
//! worker thread will finish there, so that they raise instead of hanging.
//! Thread: the forking one, attached.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{asyncio, exceptions, trio};

/// Makes forks safe from now on.
///
/// # Errors
/// SQLite's, when it can't be initialised; Python's.
pub fn watch(py: Python<'_>) -> PyResult<()> {
    crate::core::watch_forks().map_err(|error| exceptions::to_python(py, error))?;
    let os = py.import("os")?;
    if let Some(register) = os.getattr_opt("register_at_fork")? {
        let functions = PyDict::new(py);
        functions.set_item("after_in_child", wrap_pyfunction!(after_in_child, &os)?)?;
        register.call((), Some(&functions))?;
    }
    Ok(())
}

#[pyfunction]
fn after_in_child(py: Python<'_>) {
    for port in asyncio::inherited(py)
        .into_iter()
        .chain(trio::take_inherited())
    {
        port.get().wake_inherited(py);
    }
}
