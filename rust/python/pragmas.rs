//! `Connection.set_pragma`.
//!
//! Thread: the caller's.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::awaitable::Operation;
use super::connection::Connection;
use super::options;

#[pymethods]
impl Connection {
    fn set_pragma(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> Operation {
        let method = "Connection.set_pragma";
        match options::pragma(name, value) {
            Ok(sql) => {
                let sql = PyString::new(slf.py(), &sql);
                // What the PRAGMA answers is nothing that its caller asked for.
                Self::only_value(slf, method, (&sql, None, None), |value| {
                    Ok(value.py().None())
                })
            }
            Err(error) => Operation::ready(method, Err(error)),
        }
    }
}
