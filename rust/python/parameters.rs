//! Python values as parameters of a statement.
//!
//! Owns the conversion of sequences and mappings into owned rows; `adapters.rs` says what stands for a value.
//! Thread: the caller's. Must not know: statements, workers.

use std::sync::Arc;

use pyo3::exceptions::{PyBufferError, PyOverflowError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PySequence, PyString, PyTuple,
};

use crate::core::{Bindings, Error, RowBatch, parameter_names};
use crate::sqlite::{self, ValueRef};

use super::adapters::Adapters;
use super::cached::{cached_attribute, interned};
use super::exceptions;

/// SQLITE_MAX_LENGTH as compiled.
const LONGEST: usize = 1_000_000_000;

/// SQLITE_MAX_VARIABLE_NUMBER as compiled.
const MOST_PARAMETERS: usize = 32766;

/// SQL as the core takes it.
pub fn sql(sql: &Bound<'_, PyString>) -> PyResult<Arc<str>> {
    let text = sql.to_str()?;
    if text.contains('\0') {
        return Err(exceptions::programming(
            sql.py(),
            "the query contains a null character",
        ));
    }
    Ok(Arc::from(text))
}

/// A time limit in seconds.
pub fn seconds(value: f64, name: &str) -> PyResult<std::time::Duration> {
    if value.is_nan() {
        return Err(PyValueError::new_err(format!(
            "{name} must be a number of seconds, not nan"
        )));
    }
    // Longer than anybody waits, and short enough to be added to a clock.
    Ok(std::time::Duration::from_secs_f64(value.clamp(0.0, 1e9)))
}

/// What rows of parameters are made of; the first row of a statement decides between the two.
pub struct Converter {
    sql: Arc<str>,
    names: Option<Arc<[Box<str>]>>,
    adapters: Adapters,
}

/// The shape of one row.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum Shape {
    Positional(usize),
    Named,
}

impl Converter {
    pub const fn new(sql: Arc<str>, adapters: Adapters) -> Self {
        Self {
            sql,
            names: None,
            adapters,
        }
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.adapters.traverse(visit)
    }

    /// Converts the parameters of a single statement.
    pub fn one(mut self, parameters: Option<&Bound<'_, PyAny>>) -> PyResult<Bindings> {
        let Some(parameters) = parameters.filter(|parameters| !parameters.is_none()) else {
            let mut bindings = self.start(Shape::Positional(0), 1);
            bindings.rows.finish_row();
            return Ok(bindings);
        };
        let shape = self.shape(parameters)?;
        let mut bindings = self.start(shape, 1);
        self.push(&mut bindings, parameters, shape)?;
        Ok(bindings)
    }

    /// Whether a row is a sequence or a mapping.
    pub fn shape(&mut self, parameters: &Bound<'_, PyAny>) -> PyResult<Shape> {
        let py = parameters.py();
        if parameters.is_exact_instance_of::<PyTuple>()
            || parameters.is_exact_instance_of::<PyList>()
        {
            return positional(parameters);
        }
        if parameters.is_instance_of::<PyDict>() || parameters.is_instance(mapping(py)?)? {
            self.names
                .get_or_insert_with(|| parameter_names(&self.sql).into());
            return Ok(Shape::Named);
        }
        if is_sequence(parameters) {
            return positional(parameters);
        }
        let class = parameters.get_type();
        let message = format!(
            "parameters are of unsupported type '{}': a sequence or a mapping is needed",
            class.name()?
        );
        Err(exceptions::programming(py, message))
    }

    /// An empty batch for rows of this shape.
    pub fn start(&self, shape: Shape, rows: usize) -> Bindings {
        match shape {
            Shape::Positional(width) => Bindings {
                names: None,
                rows: RowBatch::new(width, rows),
            },
            Shape::Named => {
                let width = self.names.as_ref().map_or(0, |names| names.len());
                Bindings {
                    names: self.names.clone(),
                    rows: RowBatch::new(width, rows),
                }
            }
        }
    }

    /// Appends one row.
    pub fn push(
        &self,
        bindings: &mut Bindings,
        parameters: &Bound<'_, PyAny>,
        shape: Shape,
    ) -> PyResult<()> {
        let (batch, adapters) = (&mut bindings.rows, &self.adapters);
        let pushed = match shape {
            Shape::Positional(width) => push_sequence(batch, adapters, parameters, width),
            Shape::Named => self
                .names
                .iter()
                .flat_map(|names| names.iter())
                .try_for_each(|name| {
                    let value = lookup(parameters, name)?;
                    push(batch, adapters, &value, &|| format!("':{name}'"))
                }),
        };
        match pushed {
            Ok(()) => batch.finish_row(),
            Err(_) => batch.discard_unfinished(),
        }
        pushed
    }
}

fn positional(parameters: &Bound<'_, PyAny>) -> PyResult<Shape> {
    let width = parameters.len()?;
    if width > MOST_PARAMETERS {
        let message = format!(
            "Incorrect number of bindings supplied. A statement takes {MOST_PARAMETERS} at most, and there are {width} supplied."
        );
        return Err(exceptions::programming(parameters.py(), message));
    }
    Ok(Shape::Positional(width))
}

fn push_sequence(
    batch: &mut RowBatch,
    adapters: &Adapters,
    parameters: &Bound<'_, PyAny>,
    width: usize,
) -> PyResult<()> {
    if let Ok(tuple) = parameters.cast_exact::<PyTuple>() {
        return tuple
            .iter_borrowed()
            .enumerate()
            .try_for_each(|(i, value)| push(batch, adapters, &value, &|| (i + 1).to_string()));
    }
    (0..width).try_for_each(|i| {
        push(batch, adapters, &parameters.get_item(i)?, &|| {
            (i + 1).to_string()
        })
    })
}

fn lookup<'py>(parameters: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = parameters.py();
    let missing = || {
        exceptions::programming(
            py,
            format!("You did not supply a value for binding parameter :{name}."),
        )
    };
    if let Ok(dict) = parameters.cast_exact::<PyDict>() {
        return dict.get_item(name)?.ok_or_else(missing);
    }
    parameters.get_item(name).map_err(|error| {
        if error.is_instance_of::<pyo3::exceptions::PyLookupError>(py) {
            missing()
        } else {
            error
        }
    })
}

/// Appends one value. `label` names its parameter in errors.
fn push(
    batch: &mut RowBatch,
    adapters: &Adapters,
    value: &Bound<'_, PyAny>,
    label: &dyn Fn() -> String,
) -> PyResult<()> {
    let py = value.py();
    let adapted = adapters.adapt(value)?;
    let value = adapted.as_ref().unwrap_or(value);
    let pushed = if value.is_none() {
        batch.push(ValueRef::Null)
    } else if let Ok(integer) = value.cast::<PyInt>() {
        let fits = integer.extract::<i64>().map_err(|_| {
            PyOverflowError::new_err(format!(
                "cannot bind parameter {}: int does not fit in 64 bits",
                label()
            ))
        })?;
        batch.push(ValueRef::Integer(fits))
    } else if let Ok(text) = value.cast::<PyString>() {
        let text = text.to_str()?;
        within_limit(text.len()).and_then(|()| batch.push(ValueRef::Text(text.as_bytes())))
    } else if let Ok(real) = value.cast::<PyFloat>() {
        batch.push(ValueRef::Real(real.value()))
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        within_limit(bytes.len()).and_then(|()| batch.push(ValueRef::Blob(bytes)))
    } else if let Ok(view) = PyMemoryView::from(value) {
        check_contiguous(&view)?;
        match within_limit(view.getattr(interned!(py, "nbytes"))?.extract()?) {
            Ok(()) => {
                let bytes = view
                    .call_method0(interned!(py, "tobytes"))?
                    .cast_into::<PyBytes>()?;
                batch.push(ValueRef::Blob(bytes.as_bytes()))
            }
            Err(error) => Err(error),
        }
    } else {
        let class = value.get_type();
        let message = format!(
            "Error binding parameter {}: type '{}' is not supported",
            label(),
            class.name()?
        );
        return Err(exceptions::programming(py, message));
    };
    pushed.map_err(|error| exceptions::to_python(py, error))
}

/// Refuses a buffer whose bytes do not follow each other, as `sqlite3`.
///
/// # Errors
/// `BufferError`.
pub fn check_contiguous(view: &Bound<'_, PyMemoryView>) -> PyResult<()> {
    if view
        .getattr(interned!(view.py(), "c_contiguous"))?
        .is_truthy()?
    {
        return Ok(());
    }
    let message = "underlying buffer is not C-contiguous";
    Err(PyBufferError::new_err(message))
}

/// SQLite's limit, looked at before anything is copied.
fn within_limit(length: usize) -> Result<(), Error> {
    if length > LONGEST {
        let message = format!("string or blob too big: {length} bytes, and SQLite takes {LONGEST}");
        return Err(sqlite::Error::new(sqlite::code::TOOBIG, message).into());
    }
    Ok(())
}

fn is_sequence(value: &Bound<'_, PyAny>) -> bool {
    // Anything with `__len__` and `__getitem__`, as PySequence_Check; registered sequences too.
    value.cast::<PySequence>().is_ok()
        || (value.hasattr("__getitem__").unwrap_or(false)
            && value.hasattr("__len__").unwrap_or(false))
}

fn mapping(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MAPPING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    cached_attribute(py, &MAPPING, "collections.abc", "Mapping")
}
