//! Row: a tuple with names, as `sqlite3.Row`, and with the conveniences of other drivers.
//!
//! Owns the values; shares the names with all rows of its result.
//! Thread: any that is attached. Must not know: where it came from.

use std::sync::Arc;

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyIndexError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyIterator, PyList, PySlice, PyString, PyTuple};

use super::blocking;
use super::cursor::Cursor;

/// A row whose values can be reached by index, slice, and case-insensitive column name.
#[pyclass(frozen, subclass, module = "aiolibsql", sequence, weakref)]
pub struct Row {
    values: Py<PyTuple>,
    names: Arc<[Box<str>]>,
}

impl Row {
    pub const fn from_parts(values: Py<PyTuple>, names: Arc<[Box<str>]>) -> Self {
        Self { values, names }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.names
            .iter()
            .position(|own| own.eq_ignore_ascii_case(name))
    }
}

#[pymethods]
impl Row {
    #[new]
    fn new(cursor: &Bound<'_, PyAny>, values: Bound<'_, PyTuple>) -> PyResult<Self> {
        let columns = match cursor.cast::<blocking::Cursor>() {
            Ok(cursor) => cursor.get().columns(),
            Err(_) => cursor.cast::<Cursor>()?.get().columns(),
        };
        Ok(Self {
            values: values.unbind(),
            names: columns.unwrap_or_default(),
        })
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let values = self.values.bind(py);
        if let Ok(name) = key.cast::<PyString>() {
            let place = self
                .find(name.to_str()?)
                .ok_or_else(|| PyIndexError::new_err("No item with that key"))?;
            return values.get_item(place);
        }
        if key.is_instance_of::<PyInt>() || key.is_instance_of::<PySlice>() {
            return values.as_any().get_item(key).map_err(|error| {
                let is_index = error.is_instance_of::<PyIndexError>(py);
                if is_index {
                    PyIndexError::new_err("Index out of range")
                } else {
                    error
                }
            });
        }
        Err(PyIndexError::new_err("Index must be int or string"))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.values.bind(py).len()
    }

    fn __contains__(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.values.bind(py).contains(value)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.values.bind(py).try_iter()
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        let names = PyTuple::new(py, self.names.iter().map(|name| &**name))?;
        Ok(names.hash()? ^ self.values.bind(py).hash()?)
    }

    fn __richcmp__(
        &self,
        py: Python<'_>,
        other: &Bound<'_, PyAny>,
        op: CompareOp,
    ) -> PyResult<Py<PyAny>> {
        let (CompareOp::Eq | CompareOp::Ne, Ok(other)) = (op, other.cast::<Self>()) else {
            return Ok(py.NotImplemented());
        };
        let other = other.get();
        let equal = self.names == other.names && self.values.bind(py).eq(other.values.bind(py))?;
        Ok((equal == matches!(op, CompareOp::Eq))
            .into_pyobject(py)?
            .to_owned()
            .into_any()
            .unbind())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let pairs = self.asdict(py)?;
        let shown: PyResult<Vec<String>> = pairs
            .iter()
            .map(|(name, value)| Ok(format!("{name}={}", value.repr()?)))
            .collect();
        Ok(format!("<aiolibsql.Row {}>", shown?.join(" ")))
    }

    /// Return the column names, in order.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.names.iter().map(|name| &**name))
    }

    /// Return the values, in order.
    fn values<'py>(&self, py: Python<'py>) -> Bound<'py, PyList> {
        self.values.bind(py).to_list()
    }

    /// Return (name, value) pairs, in order.
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let values = self.values.bind(py);
        PyList::new(
            py,
            self.names
                .iter()
                .map(|name| &**name)
                .zip(values.iter())
                .collect::<Vec<_>>(),
        )
    }

    /// Return the value of a column, or `default` if there is no such column.
    #[pyo3(signature = (name, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.find(name) {
            Some(place) => self.values.bind(py).get_item(place).map(Some),
            None => Ok(default),
        }
    }

    /// Return the row as a dict; of equal names the last one stays.
    fn asdict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.names.iter().zip(self.values.bind(py).iter()) {
            dict.set_item(&**name, value)?;
        }
        Ok(dict)
    }

    /// Return the row as a dict, as a named tuple does.
    fn _asdict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.asdict(py)
    }

    /// Return the row as a tuple.
    fn astuple(&self, py: Python<'_>) -> Py<PyTuple> {
        self.values.clone_ref(py)
    }

    /// The column names, as a named tuple has them.
    #[getter]
    fn _fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.names.iter().map(|name| &**name))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.values)
    }
}
