//! Scope: which transaction blocks a task is inside of.
//!
//! Owns the context variable that says it. Tasks that are started inside of a block inherit it, and a block that
//! has ended means nothing any more, whoever still carries it.
//! Thread: any that is attached.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::core::Block;

use super::cached::{cached, interned};

/// A block, and those around it, of this connection or of others.
#[pyclass(frozen, module = "aiolibsql._aiolibsql", name = "_Scope")]
pub struct Scope {
    connection: u64,
    block: Arc<Block>,
    outer: Option<Py<Self>>,
}

/// The innermost open block of a connection that the running task is in.
pub fn current(py: Python<'_>, connection: u64) -> PyResult<Option<Arc<Block>>> {
    let mut scope = innermost(py)?;
    while let Some(here) = scope {
        let here = here.get();
        if here.connection == connection && here.block.is_open() {
            return Ok(Some(Arc::clone(&here.block)));
        }
        scope = here.outer.as_ref().map(|outer| outer.clone_ref(py));
    }
    Ok(None)
}

/// The running task is in this block from now on.
pub fn enter(py: Python<'_>, connection: u64, block: Arc<Block>) -> PyResult<()> {
    let outer = open_ones(py, innermost(py)?)?;
    let scope = Scope {
        connection,
        block,
        outer,
    };
    set(py, Some(Py::new(py, scope)?))
}

/// Forgets the blocks that have ended.
pub fn leave(py: Python<'_>) -> PyResult<()> {
    let open = open_ones(py, innermost(py)?)?;
    set(py, open)
}

/// The same scopes without the blocks that have ended.
fn open_ones(py: Python<'_>, scope: Option<Py<Scope>>) -> PyResult<Option<Py<Scope>>> {
    let Some(scope) = scope else {
        return Ok(None);
    };
    let this = scope.get();
    let before = this.outer.as_ref().map(|outer| outer.clone_ref(py));
    let outer = open_ones(py, before)?;
    if !this.block.is_open() {
        return Ok(outer);
    }
    let is_same = match (&outer, &this.outer) {
        (Some(new), Some(old)) => new.is(old),
        (None, None) => true,
        _ => false,
    };
    if is_same {
        return Ok(Some(scope));
    }
    let scope = Scope {
        connection: this.connection,
        block: Arc::clone(&this.block),
        outer,
    };
    Py::new(py, scope).map(Some)
}

fn innermost(py: Python<'_>) -> PyResult<Option<Py<Scope>>> {
    Ok(variable(py)?
        .call_method0(interned!(py, "get"))?
        .extract()?)
}

fn set(py: Python<'_>, scope: Option<Py<Scope>>) -> PyResult<()> {
    variable(py)?
        .call_method1(interned!(py, "set"), (scope,))
        .map(drop)
}

fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let variable = cached(py, &VARIABLE, || {
        let default = [("default", py.None())];
        py.import("contextvars")?
            .getattr("ContextVar")?
            .call(
                ("aiolibsql.blocks",),
                Some(&pyo3::types::IntoPyDict::into_py_dict(default, py)?),
            )
            .map(Bound::unbind)
    })?;
    Ok(variable.bind(py))
}
