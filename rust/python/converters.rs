//! Converters: what a value becomes by the declared type or the name of its column.
//!
//! Owns the module's registry, and the type of a connection's own one with its `detect_types`, which its settings hold;
//! `convert.rs` applies what is found here.
//! Thread: any that is attached. Invariant: no lock is held, for converters are Python code.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::core::{Cell, Outcome, RowBatch};
use crate::sqlite;

use super::cached::{cached, cached_attribute};
use super::connection::Connection;
use super::ffi;

/// `PARSE_DECLTYPES`, a bit of `detect_types`.
const DECLTYPES: i32 = 1;

/// `PARSE_COLNAMES`, another one.
const COLNAMES: i32 = 2;

/// How a connection finds converters.
#[derive(Debug, Default)]
pub struct Converters {
    detect_types: i32,
    /// By name in upper case. They apply to declared types whatever `detect_types` says.
    own: Option<Py<PyDict>>,
}

impl Converters {
    pub const fn new(detect_types: i32) -> Self {
        Self {
            detect_types,
            own: None,
        }
    }

    /// The same ones, in a table of their own.
    pub fn separate(self, py: Python<'_>) -> PyResult<Self> {
        let own = self.own.map(|own| own.bind(py).copy().map(Bound::unbind));
        Ok(Self {
            own: own.transpose()?,
            ..self
        })
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            detect_types: self.detect_types,
            own: self.own.as_ref().map(|own| own.clone_ref(py)),
        }
    }

    /// Whether no column has one.
    pub const fn is_none(&self) -> bool {
        !self.want_decltypes() && !self.detects(COLNAMES)
    }

    /// Whether the declared types of a statement's columns are needed.
    pub const fn want_decltypes(&self) -> bool {
        self.own.is_some() || self.detects(DECLTYPES)
    }

    const fn detects(&self, what: i32) -> bool {
        self.detect_types & what != 0
    }

    /// Takes the types out of the columns' names, and gives the converter of each column, or None in its place.
    pub fn read(&self, py: Python<'_>, outcome: &mut Outcome) -> PyResult<Option<Py<PyTuple>>> {
        let Some(names) = &outcome.columns else {
            return Ok(None);
        };
        if self.is_none() {
            return Ok(None);
        }
        let decltypes = outcome.decltypes.as_deref().unwrap_or_default();
        let found: PyResult<Vec<_>> = names
            .iter()
            .enumerate()
            .map(|(column, name)| {
                let decltype = decltypes.get(column).and_then(Option::as_deref);
                self.of_column(py, name, decltype)
            })
            .collect();
        let found = found?;
        if self.detects(COLNAMES) {
            let stripped: Arc<[Box<str>]> = names.iter().map(|name| without_type(name)).collect();
            outcome.columns = Some(stripped);
        }
        if found.iter().all(Option::is_none) {
            return Ok(None);
        }
        PyTuple::new(py, found).map(|found| Some(found.unbind()))
    }

    /// The converter of a column; the type in its name comes first.
    fn of_column<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        decltype: Option<&str>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.detects(COLNAMES)
            && let Some(name) = type_in(name)
            && let Some(converter) = self.named(py, name, true)?
        {
            return Ok(Some(converter));
        }
        match decltype {
            Some(decltype) => self.named(py, first_word(decltype), self.detects(DECLTYPES)),
            None => Ok(None),
        }
    }

    /// The converter of a name: the connection's own, the module's or the stdlib's.
    fn named<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        shared: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        static STDLIB: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let name = name.to_uppercase();
        if let Some(own) = &self.own
            && let Some(converter) = own.bind(py).get_item(&name)?
        {
            return Ok(Some(converter));
        }
        if !shared {
            return Ok(None);
        }
        if let Some(converter) = registry(py)?.get_item(&name)? {
            return Ok(Some(converter));
        }
        cached_attribute(py, &STDLIB, "sqlite3", "converters")?
            .cast::<PyDict>()?
            .get_item(&name)
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.own)
    }
}

/// What a converter makes of a cell. As in sqlite3 it gets the bytes that SQLite has for a value of any type, and nothing
/// where there are none.
pub fn convert(converter: &Bound<'_, PyAny>, batch: &RowBatch, cell: Cell) -> PyResult<Py<PyAny>> {
    let py = converter.py();
    let rendered;
    let bytes = match cell {
        Cell::Null => &[],
        Cell::Integer(integer) => {
            rendered = integer.to_string();
            rendered.as_bytes()
        }
        Cell::Real(real) => {
            rendered = sqlite::real_text(real);
            rendered.as_bytes()
        }
        Cell::Ascii(span) | Cell::Text(span) | Cell::Blob(span) => batch.bytes(span),
    };
    if bytes.is_empty() {
        return Ok(py.None());
    }
    ffi::call(converter, (PyBytes::new(py, bytes),)).map(Bound::unbind)
}

/// The type in brackets at the end of a column's name, as in `birthday [date]`.
fn type_in(name: &str) -> Option<&str> {
    let mut start = None;
    for (place, byte) in name.bytes().enumerate() {
        match (byte, start) {
            (b'[', _) => start = Some(place + 1),
            (b']', Some(start)) => return name.get(start..place),
            _ => {}
        }
    }
    None
}

/// A column's name without the type in brackets.
fn without_type(name: &str) -> Box<str> {
    let (bare, _) = name.split_once('[').unwrap_or((name, ""));
    if bare.len() == name.len() {
        return name.into();
    }
    bare.strip_suffix(' ').unwrap_or(bare).into()
}

/// The name of a declared type such as `NUMBER(10)` or `INTEGER NOT NULL`.
fn first_word(decltype: &str) -> &str {
    decltype.split([' ', '(']).next().unwrap_or_default()
}

/// The module's registry, by name in upper case.
fn registry(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static REGISTRY: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    cached(py, &REGISTRY, || Ok(PyDict::new(py).unbind())).map(|registry| registry.bind(py))
}

fn check_callable(converter: &Bound<'_, PyAny>) -> PyResult<()> {
    if converter.is_callable() {
        return Ok(());
    }
    let class = converter.get_type();
    let message = format!("a converter must be callable, not {}", class.name()?);
    Err(PyTypeError::new_err(message))
}

/// Register a callable for the values of a declared type, as `sqlite3.register_converter`.
#[pyfunction]
#[pyo3(signature = (typename, converter, /))]
fn register_converter(typename: &str, converter: &Bound<'_, PyAny>) -> PyResult<()> {
    check_callable(converter)?;
    registry(converter.py())?.set_item(typename.to_uppercase(), converter)
}

/// Fills the extension module.
///
/// # Errors
/// Python's.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("PARSE_DECLTYPES", DECLTYPES)?;
    module.add("PARSE_COLNAMES", COLNAMES)?;
    module.add("converters", registry(module.py())?)?;
    module.add_function(wrap_pyfunction!(register_converter, module)?)
}

#[pymethods]
impl Connection {
    #[pyo3(signature = (typename, converter))]
    fn register_converter(&self, typename: &str, converter: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = converter.py();
        self.link().check_not_closed(py)?;
        if !converter.is_none() {
            check_callable(converter)?;
        }
        let fresh = PyDict::new(py).unbind();
        let own = {
            let mut settings = self.link().settings();
            let own = settings.converters.own.get_or_insert(fresh);
            own.clone_ref(py).into_bound(py)
        };
        let name = typename.to_uppercase();
        if !converter.is_none() {
            own.set_item(name, converter)
        } else if own.contains(&name)? {
            own.del_item(name)
        } else {
            Ok(())
        }
    }
}
