//! The module `aiolibsql._aiolibsql._dbapi`: what `aiolibsql.dbapi` is made of.
//!
//! Owns nothing. Thread: the importing one.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::python::callbacks;
use crate::python::connection::Connection as Inner;
use crate::python::ffi;
use crate::python::options::{Arguments, Autocommit, Control, Level};
use crate::python::server::Companions;
use crate::python::settings::Settings;

use super::blob::Blob;
use super::connection::{Connection, Statement};
use super::cursor::Cursor;

/// The place of `factory` among the parameters of `connect`.
const FACTORY: usize = 5;

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

impl Inner {
    /// A connection whose operations are brought to their ends by blocking callers.
    pub(super) fn blocking(
        (database, timeout, cached_statements, uri): (&Bound<'_, PyAny>, f64, usize, bool),
        (encryption_key, foreign_keys, pragmas): (Given<'_, '_>, bool, Given<'_, '_>),
        (isolation_level, autocommit, detect_types): (Level, Autocommit, i32),
        companions: Companions<'_, '_>,
    ) -> PyResult<Self> {
        let control = Control::new(isolation_level, autocommit);
        let arguments = Arguments {
            database,
            timeout,
            cached_statements,
            uri,
            encryption_key,
            foreign_keys,
            pragmas,
            trusted_schema: None,
            defensive: None,
            companions,
            is_blocking: true,
            inline_budget: 0,
        };
        let settings = Settings::new((None, None), detect_types, control, 1)?;
        Ok(Self {
            link: Arc::new(arguments.link(settings)?),
            init_hook: None,
            view: None,
            lease: None,
        })
    }
}

/// Open a database, as `sqlite3.connect`.
#[pyfunction]
#[pyo3(signature = (*args, **kwargs))]
fn connect<'py>(
    py: Python<'py>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let named = match kwargs {
        Some(kwargs) => kwargs.get_item("factory")?,
        None => None,
    };
    let factory = match named {
        Some(factory) => factory,
        None if args.len() > FACTORY => args.get_item(FACTORY)?,
        None => py.get_type::<Connection>().into_any(),
    };
    ffi::call_with(&factory, args, kwargs)
}

/// Fills the extension module.
///
/// # Errors
/// Python's.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let ours = PyModule::new(py, "_dbapi")?;
    ours.add_class::<Connection>()?;
    ours.add_class::<Cursor>()?;
    ours.add_class::<Blob>()?;
    ours.add_function(wrap_pyfunction!(connect, &ours)?)?;
    ours.add_function(wrap_pyfunction!(
        callbacks::enable_callback_tracebacks,
        &ours
    )?)?;
    py.get_type::<Statement>();
    module.add("_dbapi", ours)
}
