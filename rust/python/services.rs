//! What a connection does besides statements: limits, switches, checkpoints, images, extensions.
//!
//! Owns these methods of Connection, and the Work that waits for a service's answer.
//! Thread: the caller's; the Work's is the driving loop's.

use std::ffi::CString;
use std::task::{Context, Poll};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyMemoryView, PyString, PyTuple};

use crate::core::{Action, Error, Reply, Service, Shared, Shield};
use crate::sqlite::{CheckpointMode, Image, Switch};

use super::awaitable::Operation;
use super::cached::interned;
use super::connection::Connection;
use super::exceptions;
use super::statements::Pending;
use super::work::{Step, Work};

/// What becomes of an answer.
type Convert = fn(Python<'_>, Option<Reply>) -> PyResult<Py<PyAny>>;

/// One service; the value is made of its answer.
pub struct Serve {
    name: &'static str,
    connection: Py<Connection>,
    service: Option<Service>,
    shield: Shield,
    convert: Convert,
    pending: Pending,
}

impl Serve {
    pub fn new(
        name: &'static str,
        connection: Py<Connection>,
        service: Service,
        convert: Convert,
    ) -> Self {
        Self {
            name,
            connection,
            shield: service.shield(),
            service: Some(service),
            convert,
            pending: Pending::default(),
        }
    }
}

impl Work for Serve {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let connection = self.connection.get();
        if let Some(service) = self.service.take() {
            connection.link().reentrancy().check(py)?;
            self.pending
                .submit(py, connection, Action::Serve(service), None)?;
        }
        loop {
            match self.pending.poll(py, context) {
                Poll::Pending => return Ok(Step::Pending),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(outcome))) => {
                    return (self.convert)(py, outcome.reply).map(Step::Ready);
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {
        self.pending.abandon(self.connection.get().link());
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn shield(&self) -> Shield {
        self.shield
    }
}

/// A name for SQLite.
pub fn c_string(text: &str) -> PyResult<CString> {
    CString::new(text).map_err(|_| PyValueError::new_err("embedded null character"))
}

/// What Python takes for true.
#[derive(Clone, Copy)]
pub struct Truth(pub bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        value.is_truthy().map(Self)
    }
}

fn value(py: Python<'_>, reply: Option<Reply>) -> PyResult<Py<PyAny>> {
    Ok(match reply {
        Some(Reply::Number(number)) => PyInt::new(py, number).into_any().unbind(),
        Some(Reply::Flag(flag)) => flag.into_pyobject(py)?.to_owned().into_any().unbind(),
        Some(Reply::Image(image)) => PyBytes::new(py, image.as_bytes()).into_any().unbind(),
        Some(Reply::Checkpoint(is_busy, counted)) => {
            let count = |count: u32| i64::from(count);
            let pages = counted.map_or(-1, |counted| count(counted.pages));
            let written = counted.map_or(-1, |counted| count(counted.written));
            let values = [i64::from(is_busy), pages, written];
            PyTuple::new(py, values)?.into_any().unbind()
        }
        Some(Reply::Length(length)) => length.into_pyobject(py)?.into_any().unbind(),
        Some(Reply::Bytes(bytes)) => PyBytes::new(py, &bytes).into_any().unbind(),
        Some(Reply::Backup(_) | Reply::Batch(_) | Reply::Synced(_) | Reply::SyncStatus(_))
        | None => py.None(),
    })
}

/// Of what is done for its effect.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of several ways to read a reply"
)]
fn none(py: Python<'_>, _reply: Option<Reply>) -> PyResult<Py<PyAny>> {
    Ok(py.None())
}

/// The bytes of a database: of any buffer, or of a text as UTF-8.
fn image(data: &Bound<'_, PyAny>) -> PyResult<Image> {
    let copy = |bytes: &[u8]| {
        Image::copy_of(bytes).map_err(|error| exceptions::to_python(data.py(), Error::from(error)))
    };
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return copy(bytes.as_bytes());
    }
    if let Ok(text) = data.cast::<PyString>() {
        return copy(text.to_str()?.as_bytes());
    }
    let bytes = PyMemoryView::from(data)?
        .call_method0(interned!(data.py(), "tobytes"))?
        .cast_into::<PyBytes>()?;
    copy(bytes.as_bytes())
}

fn switch(option: i32) -> PyResult<Switch> {
    let unknown = || PyValueError::new_err(format!("unknown config 'op': {option}"));
    Switch::new(option).ok_or_else(unknown)
}

fn checkpoint_mode(name: &str) -> Option<CheckpointMode> {
    match name.to_ascii_uppercase().as_str() {
        "PASSIVE" => Some(CheckpointMode::Passive),
        "FULL" => Some(CheckpointMode::Full),
        "RESTART" => Some(CheckpointMode::Restart),
        "TRUNCATE" => Some(CheckpointMode::Truncate),
        _ => None,
    }
}

impl Connection {
    /// The operation of a service, or of the error in its arguments.
    pub(super) fn serve(
        slf: &Bound<'_, Self>,
        name: &'static str,
        service: PyResult<Service>,
        convert: Convert,
    ) -> Operation {
        let service = service.and_then(|service| {
            slf.get().link().check_local(slf.py(), name)?;
            Ok(service)
        });
        match service {
            Ok(service) => Operation::new(Box::new(Serve::new(
                name,
                slf.clone().unbind(),
                service,
                convert,
            ))),
            Err(error) => Operation::ready(name, Err(error)),
        }
    }
}

#[pymethods]
impl Connection {
    #[pyo3(signature = (category, /))]
    fn getlimit(slf: &Bound<'_, Self>, category: i32) -> Operation {
        let service = Service::Limit {
            category,
            new: None,
        };
        Self::serve(slf, "Connection.getlimit", Ok(service), value)
    }

    #[pyo3(signature = (category, limit, /))]
    fn setlimit(slf: &Bound<'_, Self>, category: i32, limit: i32) -> Operation {
        let service = Service::Limit {
            category,
            new: Some(limit),
        };
        Self::serve(slf, "Connection.setlimit", Ok(service), value)
    }

    #[pyo3(signature = (op, /))]
    fn getconfig(slf: &Bound<'_, Self>, op: i32) -> Operation {
        let service = switch(op).map(|switch| Service::Switch { switch, new: None });
        Self::serve(slf, "Connection.getconfig", service, value)
    }

    #[pyo3(signature = (op, enable=Truth(true), /))]
    fn setconfig(slf: &Bound<'_, Self>, op: i32, enable: Truth) -> Operation {
        let new = Some(enable.0);
        let service = switch(op).map(|switch| Service::Switch { switch, new });
        Self::serve(slf, "Connection.setconfig", service, none)
    }

    #[pyo3(signature = (enabled))]
    fn enable_load_extension(slf: &Bound<'_, Self>, enabled: Truth) -> Operation {
        let service = Service::Switch {
            switch: Switch::load_extension(),
            new: Some(enabled.0),
        };
        let name = "Connection.enable_load_extension";
        Self::serve(slf, name, Ok(service), none)
    }

    #[pyo3(signature = (path, *, entrypoint=None))]
    fn load_extension(slf: &Bound<'_, Self>, path: &str, entrypoint: Option<&str>) -> Operation {
        let service = || {
            Ok(Service::LoadExtension {
                path: c_string(path)?,
                entry_point: entrypoint.map(c_string).transpose()?,
            })
        };
        Self::serve(slf, "Connection.load_extension", service(), value)
    }

    #[pyo3(signature = (mode="PASSIVE", *, name="main"))]
    fn wal_checkpoint(slf: &Bound<'_, Self>, mode: &str, name: &str) -> Operation {
        let service = || {
            let unknown = || {
                PyValueError::new_err(format!(
                    "checkpoint mode must be 'PASSIVE', 'FULL', 'RESTART' or 'TRUNCATE', not '{mode}'"
                ))
            };
            Ok(Service::Checkpoint {
                mode: checkpoint_mode(mode).ok_or_else(unknown)?,
                schema: c_string(name)?,
            })
        };
        Self::serve(slf, "Connection.wal_checkpoint", service(), value)
    }

    #[pyo3(signature = (*, name="main"))]
    fn serialize(slf: &Bound<'_, Self>, name: &str) -> Operation {
        let service = c_string(name).map(|schema| Service::Serialize { schema });
        Self::serve(slf, "Connection.serialize", service, value)
    }

    #[pyo3(signature = (data, /, *, name="main"))]
    fn deserialize(
        slf: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        name: &str,
    ) -> PyResult<Operation> {
        // A wrong type is an error of the call, as everywhere.
        let image = image(data)?;
        let service = c_string(name).map(|schema| Service::Deserialize { schema, image });
        Ok(Self::serve(slf, "Connection.deserialize", service, value))
    }
}
