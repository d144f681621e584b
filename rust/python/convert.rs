//! Rows as Python objects.
//!
//! Owns the conversion of cells, but for those of columns that have converters.
//! Thread: the loop's. Invariant: no lock is held, for a factory is Python code.

use std::sync::Arc;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyFloat, PyInt, PyString, PyTuple};

use crate::core::{Cell, Error, RowBatch, Span};

use super::converters;
use super::exceptions;
use super::factories::{RowFactory, TextFactory};
use super::ffi::{self, CollectorPause, Elements};
use super::row::Row;

/// Makes the rows of one cursor.
pub struct RowMaker {
    pub cursor: Py<PyAny>,
    pub columns: Arc<[Box<str>]>,
    /// For each column its converter, or None.
    pub converters: Option<Py<PyTuple>>,
    pub rows: RowFactory,
    pub texts: TextFactory,
}

impl RowMaker {
    /// The object for one row.
    pub fn make(&self, py: Python<'_>, batch: &RowBatch, index: usize) -> PyResult<Py<PyAny>> {
        let cells = batch.row(index);
        let elements = self.elements();
        let tuple = ffi::tuple(py, elements, cells.len(), |column| {
            let cell = cells[column];
            match self.converter(py, column) {
                Some(converter) => converters::convert(&converter, batch, cell),
                None => self.value(py, batch, cell, column),
            }
        })?;
        match &self.rows {
            RowFactory::Tuple => Ok(tuple.into_any().unbind()),
            RowFactory::Row => Py::new(
                py,
                Row::from_parts(tuple.unbind(), Arc::clone(&self.columns)),
            )
            .map(Py::into_any),
            RowFactory::Call(callable) => {
                ffi::call(callable.bind(py), (&self.cursor, tuple)).map(Bound::unbind)
            }
        }
    }

    /// To be held for a slice of rows at most. Nothing where their making runs the application's code.
    pub fn pause_collector(&self, py: Python<'_>) -> Option<CollectorPause> {
        self.makes_atoms().then(|| CollectorPause::new(py))
    }

    /// Whether rows refer to nothing but values, so that none can be part of a cycle.
    pub fn makes_atoms(&self) -> bool {
        self.elements() == Elements::Atoms && !matches!(self.rows, RowFactory::Call(_))
    }

    /// What the tuples hold. A text factory and converters may make anything.
    const fn elements(&self) -> Elements {
        match (&self.texts, &self.converters) {
            (TextFactory::Call(_), _) | (_, Some(_)) => Elements::Any,
            _ => Elements::Atoms,
        }
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)?;
        visit.call(&self.converters)?;
        self.rows.traverse(visit)?;
        self.texts.traverse(visit)
    }

    fn converter<'py>(&self, py: Python<'py>, column: usize) -> Option<Bound<'py, PyAny>> {
        let converters = self.converters.as_ref()?.bind(py);
        let converter = converters.get_item(column).ok()?;
        Some(converter).filter(|converter| !converter.is_none())
    }

    fn value(
        &self,
        py: Python<'_>,
        batch: &RowBatch,
        cell: Cell,
        column: usize,
    ) -> PyResult<Py<PyAny>> {
        value(py, &self.texts, &self.columns, (batch, cell), column)
    }
}

/// The tuple for one row, where there are no factories and no converters.
///
/// # Errors
/// Of a text that is no UTF-8.
pub fn plain_row(
    py: Python<'_>,
    batch: &RowBatch,
    index: usize,
    columns: &[Box<str>],
) -> PyResult<Py<PyAny>> {
    let cells = batch.row(index);
    let tuple = ffi::tuple(py, Elements::Atoms, cells.len(), |column| {
        let cell = (batch, cells[column]);
        value(py, &TextFactory::Str, columns, cell, column)
    })?;
    Ok(tuple.into_any().unbind())
}

fn value(
    py: Python<'_>,
    texts: &TextFactory,
    columns: &[Box<str>],
    (batch, cell): (&RowBatch, Cell),
    column: usize,
) -> PyResult<Py<PyAny>> {
    Ok(match cell {
        Cell::Null => py.None(),
        Cell::Integer(integer) => PyInt::new(py, integer).into_any().unbind(),
        Cell::Real(real) => PyFloat::new(py, real).into_any().unbind(),
        Cell::Ascii(span) if matches!(texts, TextFactory::Str) => {
            ffi::ascii(py, batch.bytes(span))?.into_any().unbind()
        }
        Cell::Ascii(span) | Cell::Text(span) => text(py, texts, columns, (batch, span), column)?,
        Cell::Blob(span) => PyBytes::new(py, batch.bytes(span)).into_any().unbind(),
    })
}

fn text(
    py: Python<'_>,
    texts: &TextFactory,
    columns: &[Box<str>],
    (batch, span): (&RowBatch, Span),
    column: usize,
) -> PyResult<Py<PyAny>> {
    let bytes = batch.bytes(span);
    match texts {
        TextFactory::Str => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(PyString::new(py, text).into_any().unbind()),
            Err(_) => Err(undecodable(
                py,
                columns.get(column).map_or("", |name| name),
                bytes,
            )),
        },
        TextFactory::Bytes => Ok(PyBytes::new(py, bytes).into_any().unbind()),
        TextFactory::ByteArray => Ok(PyByteArray::new(py, bytes).into_any().unbind()),
        TextFactory::Call(callable) => {
            ffi::call(callable.bind(py), (PyBytes::new(py, bytes),)).map(Bound::unbind)
        }
    }
}

fn undecodable(py: Python<'_>, column: &str, bytes: &[u8]) -> PyErr {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let message = format!("Could not decode to UTF-8 column '{column}' with text '{text}'");
    exceptions::to_python(py, Error::operational(message))
}
