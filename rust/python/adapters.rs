//! Adapters: what a parameter of a class that SQLite has no type for is stored as.
//!
//! Owns the module's registry, and the type of a connection's own one, which its settings hold.
//! Thread: any that is attached. Invariant: no lock is held, for adapters are Python code.
//! Must not know: statements, how values are bound.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::PyTypeObject;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyNone, PyString, PyTuple, PyType,
};

use super::cached::{cached, cached_attribute, interned};
use super::connection::Connection;
use super::exceptions;
use super::ffi;

/// Whether the registry has an adapter for a class that SQLite has a type for. Without one, values of these classes are
/// not looked up.
static ADAPTS_PLAIN: AtomicBool = AtomicBool::new(false);

/// The adapters of a connection, before those of the module.
#[derive(Debug, Default)]
pub struct Adapters {
    /// By class.
    own: Option<Py<PyDict>>,
}

impl Adapters {
    /// The same ones, in a table of their own.
    pub fn separate(self, py: Python<'_>) -> PyResult<Self> {
        let own = self.own.map(|own| own.bind(py).copy().map(Bound::unbind));
        Ok(Self {
            own: own.transpose()?,
        })
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        let own = self.own.as_ref().map(|own| own.clone_ref(py));
        Self { own }
    }

    /// Whether values that SQLite has a type for are bound as they are.
    pub fn are_plain(&self) -> bool {
        self.own.is_none() && !ADAPTS_PLAIN.load(Ordering::Relaxed)
    }

    /// What stands for a value; `None`: the value itself.
    pub fn adapt<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = value.py();
        let is_plain = is_plain(py, value.get_type_ptr());
        if is_plain && self.are_plain() {
            return Ok(None);
        }
        let class = value.get_type();
        if let Some(own) = &self.own
            && let Some(adapter) = own.bind(py).get_item(&class)?
        {
            return ffi::call(&adapter, (value,)).map(Some);
        }
        let protocol = protocol(py)?;
        if let Some(adapter) = registered(&class, protocol)? {
            return ffi::call(&adapter, (value,)).map(Some);
        }
        if is_plain {
            return Ok(None);
        }
        offered(value, interned!(py, "__conform__"), protocol)
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.own)
    }
}

/// Whether SQLite has a type for a class.
fn is_plain(py: Python<'_>, class: *mut PyTypeObject) -> bool {
    class == PyInt::type_object_raw(py)
        || class == PyString::type_object_raw(py)
        || class == PyNone::type_object_raw(py)
        || class == PyFloat::type_object_raw(py)
        || class == PyBytes::type_object_raw(py)
        || class == PyBool::type_object_raw(py)
        || class == PyByteArray::type_object_raw(py)
}

/// The protocol that objects conform to; the stdlib's own, for that is what their classes compare with.
fn protocol(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static PROTOCOL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    cached_attribute(py, &PROTOCOL, "sqlite3", "PrepareProtocol")
}

/// The module's registry: by class and protocol, as the stdlib's.
fn registry(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static REGISTRY: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    cached(py, &REGISTRY, || Ok(PyDict::new(py).unbind())).map(|registry| registry.bind(py))
}

/// The adapter of a class in the module's registry, or else in the stdlib's.
fn registered<'py>(
    class: &Bound<'py, PyType>,
    protocol: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    static STDLIB: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = class.py();
    let key = PyTuple::new(py, [class.as_any(), protocol])?;
    if let Some(adapter) = registry(py)?.get_item(&key)? {
        return Ok(Some(adapter));
    }
    cached_attribute(py, &STDLIB, "sqlite3", "adapters")?
        .cast::<PyDict>()?
        .get_item(key)
}

/// What a method of the protocol or of the object offers. A TypeError, or None, means "nothing".
fn offered<'py>(
    owner: &Bound<'py, PyAny>,
    method: &Bound<'py, PyString>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(method) = owner.getattr_opt(method)? else {
        return Ok(None);
    };
    match ffi::call(&method, (argument,)) {
        Ok(adapted) => Ok(Some(adapted).filter(|adapted| !adapted.is_none())),
        Err(error) if error.is_instance_of::<PyTypeError>(owner.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn check_callable(adapter: &Bound<'_, PyAny>) -> PyResult<()> {
    if adapter.is_callable() {
        return Ok(());
    }
    let class = adapter.get_type();
    let message = format!("an adapter must be callable, not {}", class.name()?);
    Err(PyTypeError::new_err(message))
}

/// Register a callable for the values of a class, as `sqlite3.register_adapter`.
#[pyfunction]
#[pyo3(signature = (r#type, adapter, /))]
fn register_adapter(r#type: &Bound<'_, PyType>, adapter: &Bound<'_, PyAny>) -> PyResult<()> {
    check_callable(adapter)?;
    let py = adapter.py();
    registry(py)?.set_item((r#type, protocol(py)?), adapter)?;
    if is_plain(py, r#type.as_type_ptr()) {
        ADAPTS_PLAIN.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// An argument that may be missing; None is a value of its own.
pub struct Given(pub Option<Py<PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Given {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(Some(value.to_owned().unbind())))
    }
}

/// Adapt an object to a protocol, as `sqlite3.adapt`.
#[pyfunction]
#[pyo3(signature = (obj, proto=Given(None), alt=Given(None), /))]
fn adapt<'py>(obj: &Bound<'py, PyAny>, proto: Given, alt: Given) -> PyResult<Bound<'py, PyAny>> {
    let py = obj.py();
    let proto = match proto.0 {
        Some(proto) => proto.into_bound(py),
        None => protocol(py)?.clone(),
    };
    if let Some(adapter) = registered(&obj.get_type(), &proto)? {
        return ffi::call(&adapter, (obj,));
    }
    if let Some(adapted) = offered(&proto, interned!(py, "__adapt__"), obj)? {
        return Ok(adapted);
    }
    if let Some(adapted) = offered(obj, interned!(py, "__conform__"), &proto)? {
        return Ok(adapted);
    }
    match alt.0 {
        Some(alt) => Ok(alt.into_bound(py)),
        None => Err(exceptions::programming(py, "can't adapt")),
    }
}

/// Fills the extension module.
///
/// # Errors
/// Python's.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("adapters", registry(py)?)?;
    module.add_function(wrap_pyfunction!(register_adapter, module)?)?;
    module.add_function(wrap_pyfunction!(adapt, module)?)
}

#[pymethods]
impl Connection {
    #[pyo3(signature = (type_, adapter))]
    fn register_adapter(
        &self,
        type_: &Bound<'_, PyType>,
        adapter: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = adapter.py();
        self.link().check_not_closed(py)?;
        if !adapter.is_none() {
            check_callable(adapter)?;
        }
        let fresh = PyDict::new(py).unbind();
        let own = {
            let mut settings = self.link().settings();
            let own = settings.adapters.own.get_or_insert(fresh);
            own.clone_ref(py).into_bound(py)
        };
        if !adapter.is_none() {
            own.set_item(type_, adapter)
        } else if own.contains(type_)? {
            own.del_item(type_)
        } else {
            Ok(())
        }
    }
}
