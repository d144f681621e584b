//! Blob: a BLOB as a file, and `Connection.blobopen`.
//!
//! Owns the position, and whether the blob was closed.
//! Thread: any that is attached. Invariant: its lock is never held while Python code may run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyMemoryView, PySlice, PyTuple};

use crate::core::{Action, BlobName, BlobRequest, Places, Service};

use super::awaitable::Operation;
use super::blob_works::{Close, Move, Open, Transfer};
use super::cached::interned;
use super::connection::Connection;
use super::exceptions;
use super::services::c_string;

/// A BLOB or text of a table, read and written in place.
#[pyclass(frozen, weakref, module = "aiolibsql")]
pub struct Blob {
    connection: Py<Connection>,
    name: BlobName,
    length: usize,
    state: Mutex<State>,
}

struct State {
    position: usize,
    is_closed: bool,
}

/// What `seek` counts from.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    Start,
    Position,
    End,
}

impl Blob {
    pub const fn new(connection: Py<Connection>, name: BlobName, length: usize) -> Self {
        let state = State {
            position: 0,
            is_closed: false,
        };
        Self {
            connection,
            name,
            length,
            state: Mutex::new(state),
        }
    }

    pub fn connection(&self) -> &Connection {
        self.connection.get()
    }

    pub const fn name(&self) -> BlobName {
        self.name
    }

    /// Raises if nothing can be done with it any more.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.connection().link().check_not_closed(py)?;
        if self.state().is_closed {
            return Err(exceptions::programming(
                py,
                "Cannot operate on a closed blob.",
            ));
        }
        Ok(())
    }

    /// Takes the next bytes for a read of at most `most`: from where, and how many.
    pub fn take(&self, most: Option<usize>) -> (usize, usize) {
        let mut state = self.state();
        let start = state.position;
        let left = self.length - start;
        let count = most.map_or(left, |most| most.min(left));
        state.position += count;
        (start, count)
    }

    /// Takes the next bytes for a write.
    pub fn reserve(&self, count: usize) -> PyResult<usize> {
        let mut state = self.state();
        let start = state.position;
        if count > self.length - start {
            return Err(PyValueError::new_err("data longer than blob length"));
        }
        state.position += count;
        Ok(start)
    }

    /// Gives back what was taken for nothing, unless the position was changed since.
    pub fn give_back(&self, start: usize, count: usize) {
        let mut state = self.state();
        if state.position == start + count {
            state.position = start;
        }
    }

    /// Bytes in it.
    pub const fn length(&self) -> usize {
        self.length
    }

    pub fn position(&self) -> usize {
        self.state().position
    }

    pub fn move_to(&self, offset: i64, origin: Origin) -> PyResult<()> {
        let mut state = self.state();
        let base = match origin {
            Origin::Start => 0,
            Origin::Position => state.position,
            Origin::End => self.length,
        };
        let position = i64::try_from(base)
            .ok()
            .and_then(|base| base.checked_add(offset))
            .and_then(|position| usize::try_from(position).ok())
            .filter(|position| *position <= self.length)
            .ok_or_else(|| PyValueError::new_err("offset out of blob range"))?;
        state.position = position;
        Ok(())
    }

    /// Closes it for its users. `false`: it was closed before.
    pub fn close_now(&self) -> bool {
        !std::mem::replace(&mut self.state().is_closed, true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that an index or slice means.
    fn places(&self, key: &Bound<'_, PyAny>) -> PyResult<Places> {
        let length = isize::try_from(self.length).unwrap_or(isize::MAX);
        if let Ok(slice) = key.cast::<PySlice>() {
            let slice = slice.indices(length)?;
            return Ok(Places {
                start: usize::try_from(slice.start).unwrap_or(0),
                step: slice.step,
                count: slice.slicelength,
            });
        }
        if !key.hasattr(interned!(key.py(), "__index__"))? {
            return Err(PyTypeError::new_err("Blob indices must be integers"));
        }
        let out_of_range = || PyIndexError::new_err("Blob index out of range");
        let index: isize = key.extract().map_err(|_| out_of_range())?;
        let index = if index < 0 { index + length } else { index };
        let start = usize::try_from(index)
            .ok()
            .filter(|start| *start < self.length)
            .ok_or_else(out_of_range)?;
        Ok(Places::run(start, 1))
    }
}

/// A copy of the bytes of a buffer.
fn bytes_of(data: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    let bytes = PyMemoryView::from(data)?
        .call_method0(interned!(data.py(), "tobytes"))?
        .cast_into::<PyBytes>()?;
    Ok(bytes.as_bytes().to_vec())
}

fn byte_of(value: &Bound<'_, PyAny>) -> PyResult<u8> {
    let integer = value.cast::<PyInt>().map_err(|_| {
        let class = value.get_type();
        let name = class
            .name()
            .map_or_else(|_| String::new(), |name| name.to_string());
        PyTypeError::new_err(format!(
            "'{name}' object cannot be interpreted as an integer"
        ))
    })?;
    let range = |_| PyValueError::new_err("byte must be in range(0, 256)");
    integer.extract::<u8>().map_err(range)
}

#[pymethods]
impl Blob {
    #[pyo3(signature = (length=-1, /))]
    fn read(slf: Py<Self>, length: isize) -> Operation {
        let most = usize::try_from(length).ok();
        Operation::new(Box::new(Transfer::read("Blob.read", slf, most)))
    }

    #[pyo3(signature = (data, /))]
    fn write(slf: Py<Self>, data: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let bytes = bytes_of(data)?;
        Ok(Operation::new(Box::new(Transfer::write(
            "Blob.write",
            slf,
            bytes,
        ))))
    }

    #[pyo3(signature = (offset, origin=0, /))]
    fn seek(slf: Py<Self>, offset: i64, origin: i64) -> Operation {
        let name = "Blob.seek";
        let origin = match origin {
            0 => Origin::Start,
            1 => Origin::Position,
            2 => Origin::End,
            _ => {
                let message = "'origin' should be os.SEEK_SET, os.SEEK_CUR, or os.SEEK_END";
                return Operation::ready(name, Err(PyValueError::new_err(message)));
            }
        };
        Operation::new(Box::new(Move::seek(name, slf, offset, origin)))
    }

    fn tell(slf: Py<Self>) -> Operation {
        Operation::new(Box::new(Move::tell("Blob.tell", slf)))
    }

    fn close(slf: Py<Self>) -> Operation {
        Operation::new(Box::new(Close::new("Blob.close", slf)))
    }

    /// The operation gives an int for an index, bytes for a slice.
    fn __getitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> Operation {
        let name = "Blob.__getitem__";
        match slf.get().places(key) {
            Ok(places) => {
                let is_slice = key.is_instance_of::<PySlice>();
                let work = Transfer::get(name, slf.clone().unbind(), places, is_slice);
                Operation::new(Box::new(work))
            }
            Err(error) => Operation::ready(name, Err(error)),
        }
    }

    #[pyo3(signature = (key, value, /))]
    fn set(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> Operation {
        let name = "Blob.set";
        let work = || {
            let places = slf.get().places(key)?;
            let bytes = if key.is_instance_of::<PySlice>() {
                bytes_of(value)?
            } else {
                vec![byte_of(value)?]
            };
            if bytes.len() != places.count {
                let message = "Blob slice assignment is wrong size";
                return Err(PyIndexError::new_err(message));
            }
            Ok(Transfer::set(name, slf.clone().unbind(), places, bytes))
        };
        match work() {
            Ok(work) => Operation::new(Box::new(work)),
            Err(error) => Operation::ready(name, Err(error)),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.check(py)?;
        Ok(self.length)
    }

    /// Refused, or Python would go through it by index, without end.
    fn __iter__(&self) -> PyResult<Py<PyAny>> {
        Err(PyTypeError::new_err("'Blob' object is not iterable"))
    }

    /// An empty one is a blob too.
    const fn __bool__(&self) -> bool {
        true
    }

    fn __aenter__(slf: Py<Self>) -> Operation {
        Operation::new(Box::new(Move::enter("Blob.__aenter__", slf)))
    }

    #[pyo3(signature = (*args))]
    fn __aexit__(slf: Py<Self>, args: &Bound<'_, PyTuple>) -> Operation {
        let name = "Blob.__aexit__";
        if slf.get().connection().link().is_inherited() {
            return Operation::leave_inherited(name, args.py());
        }
        Operation::new(Box::new(Close::new(name, slf)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        let link = self.connection.get().link();
        if !link.is_inherited() && self.close_now() {
            let close = Service::CloseBlob(self.name);
            drop(link.submit(Action::Serve(close), None));
            link.settle_in_destructor();
        }
    }
}

#[pymethods]
impl Connection {
    #[pyo3(signature = (table, column, rowid, /, *, readonly=false, name="main"))]
    fn blobopen(
        slf: &Bound<'_, Self>,
        table: &str,
        column: &str,
        rowid: i64,
        readonly: bool,
        name: &str,
    ) -> Operation {
        let method = "Connection.blobopen";
        let request = || {
            Ok(BlobRequest {
                schema: c_string(name)?,
                table: c_string(table)?,
                column: c_string(column)?,
                rowid,
                is_writable: !readonly,
            })
        };
        match request() {
            Ok(request) => {
                Operation::new(Box::new(Open::new(method, slf.clone().unbind(), request)))
            }
            Err(error) => Operation::ready(method, Err(error)),
        }
    }
}
