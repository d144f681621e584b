//! `Connection.iterdump`, which is written in Python on top of the other methods.
//!
//! Owns nothing. Thread: the caller's.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::cached::cached_attribute;
use super::connection::Connection;

#[pymethods]
impl Connection {
    #[pyo3(signature = (*, filter=None))]
    fn iterdump<'py>(slf: &Bound<'py, Self>, filter: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
        static DUMP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        cached_attribute(slf.py(), &DUMP, "aiolibsql._dump", "Dump")?.call1((slf, filter))
    }
}
