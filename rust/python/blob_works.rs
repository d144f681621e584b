//! The Works of a Blob: opening it, moving bytes, moving its position, closing it.
//!
//! Owns what an await needs between its submission and its value. A position moves when the command is
//! submitted, and back if nothing came of it.
//! Thread: the driving loop's.

use std::task::{Context, Poll};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

use crate::core::{Action, BlobName, BlobRequest, Places, Reply, Service, Shared, Shield};

use super::blob::{Blob, Origin};
use super::connection::Connection;
use super::statements::Pending;
use super::work::{Step, Work};

/// `blobopen`; the value is the blob.
pub struct Open {
    method: &'static str,
    connection: Py<Connection>,
    name: BlobName,
    request: Option<BlobRequest>,
    pending: Pending,
}

impl Open {
    pub fn new(method: &'static str, connection: Py<Connection>, request: BlobRequest) -> Self {
        Self {
            method,
            connection,
            name: BlobName::new(),
            request: Some(request),
            pending: Pending::default(),
        }
    }
}

impl Work for Open {
    fn name(&self) -> &'static str {
        self.method
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let connection = self.connection.get();
        if let Some(request) = self.request.take() {
            connection.link().check_local(py, self.method)?;
            connection.link().reentrancy().check(py)?;
            let open = Action::Serve(Service::OpenBlob(self.name, request));
            self.pending.submit(py, connection, open, None)?;
        }
        let Some(outcome) = finished(&mut self.pending, py, context)? else {
            return Ok(Step::Pending);
        };
        let length = match outcome {
            Some(Reply::Length(length)) => length,
            _ => 0,
        };
        let blob = Blob::new(self.connection.clone_ref(py), self.name, length);
        Ok(Step::Ready(Py::new(py, blob)?.into_any()))
    }

    fn abandon(&mut self, _py: Python<'_>) {
        if self.request.is_none() {
            let link = self.connection.get().link();
            self.pending.abandon(link);
            // Whether it was opened or not, and whoever has heard of it.
            let close = Service::CloseBlob(self.name);
            drop(link.submit(Action::Serve(close), None));
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn on_exit(&self, py: Python<'_>, value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        let blob = value.bind(py).cast::<Blob>().ok()?.clone().unbind();
        Some(Box::new(Close::new("Operation.__aexit__", blob)))
    }
}

/// The answer of a command that has ended; `None`: it has not.
#[allow(clippy::option_option, reason = "a command may have no answer")]
fn finished(
    pending: &mut Pending,
    py: Python<'_>,
    context: &mut Context<'_>,
) -> PyResult<Option<Option<Reply>>> {
    loop {
        match pending.poll(py, context) {
            Poll::Pending => return Ok(None),
            Poll::Ready(Ok(None)) => {}
            Poll::Ready(Ok(Some(outcome))) => return Ok(Some(outcome.reply)),
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
}

/// What is moved.
enum Bytes {
    /// The next ones, at most so many.
    Next(Option<usize>),
    At(Places),
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Bytes,
    Byte,
    Nothing,
}

/// Reads or writes.
pub struct Transfer {
    method: &'static str,
    blob: Py<Blob>,
    bytes: Bytes,
    /// What is written.
    data: Option<Vec<u8>>,
    value: Value,
    is_submitted: bool,
    /// Bytes that the position has moved over.
    taken: Option<(usize, usize)>,
    pending: Pending,
}

impl Transfer {
    pub fn read(method: &'static str, blob: Py<Blob>, most: Option<usize>) -> Self {
        Self::new(method, blob, Bytes::Next(most), None, Value::Bytes)
    }

    pub fn write(method: &'static str, blob: Py<Blob>, data: Vec<u8>) -> Self {
        let bytes = Bytes::Next(Some(data.len()));
        Self::new(method, blob, bytes, Some(data), Value::Nothing)
    }

    pub fn get(method: &'static str, blob: Py<Blob>, places: Places, is_slice: bool) -> Self {
        let value = if is_slice { Value::Bytes } else { Value::Byte };
        Self::new(method, blob, Bytes::At(places), None, value)
    }

    pub fn set(method: &'static str, blob: Py<Blob>, places: Places, data: Vec<u8>) -> Self {
        Self::new(method, blob, Bytes::At(places), Some(data), Value::Nothing)
    }

    fn new(
        method: &'static str,
        blob: Py<Blob>,
        bytes: Bytes,
        data: Option<Vec<u8>>,
        value: Value,
    ) -> Self {
        Self {
            method,
            blob,
            bytes,
            data,
            value,
            is_submitted: false,
            taken: None,
            pending: Pending::default(),
        }
    }

    fn submit(&mut self, py: Python<'_>) -> PyResult<()> {
        let blob = self.blob.get();
        blob.connection().link().reentrancy().check(py)?;
        blob.check(py)?;
        let places = match (&self.bytes, &self.data) {
            (Bytes::At(places), _) => *places,
            (Bytes::Next(most), None) => {
                let (start, count) = blob.take(*most);
                self.taken = Some((start, count));
                Places::run(start, count)
            }
            (Bytes::Next(_), Some(data)) => {
                let start = blob.reserve(data.len())?;
                self.taken = Some((start, data.len()));
                Places::run(start, data.len())
            }
        };
        let service = match self.data.take() {
            Some(data) => Service::WriteBlob(blob.name(), places, data),
            None => Service::ReadBlob(blob.name(), places),
        };
        self.is_submitted = true;
        self.pending
            .submit(py, blob.connection(), Action::Serve(service), None)
    }

    fn give_back(&mut self) {
        if let Some((start, count)) = self.taken.take() {
            self.blob.get().give_back(start, count);
        }
    }
}

impl Work for Transfer {
    fn name(&self) -> &'static str {
        self.method
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        if !self.is_submitted {
            self.submit(py).inspect_err(|_| self.give_back())?;
        }
        let ended = finished(&mut self.pending, py, context);
        let Some(reply) = ended.inspect_err(|_| self.give_back())? else {
            return Ok(Step::Pending);
        };
        let bytes = match &reply {
            Some(Reply::Bytes(bytes)) => bytes.as_slice(),
            _ => &[],
        };
        let value = match self.value {
            Value::Nothing => py.None(),
            Value::Bytes => PyBytes::new(py, bytes).into_any().unbind(),
            Value::Byte => {
                let byte = bytes.first().copied().unwrap_or_default();
                PyInt::new(py, byte).into_any().unbind()
            }
        };
        self.taken = None;
        Ok(Step::Ready(value))
    }

    fn abandon(&mut self, _py: Python<'_>) {
        self.pending.abandon(self.blob.get().connection().link());
        self.give_back();
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.blob)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }
}

/// What needs no worker: `seek`, `tell`, entering `async with`.
pub struct Move {
    method: &'static str,
    blob: Py<Blob>,
    kind: Kind,
}

enum Kind {
    Seek(i64, Origin),
    Tell,
    Enter,
}

impl Move {
    pub const fn seek(method: &'static str, blob: Py<Blob>, offset: i64, origin: Origin) -> Self {
        let kind = Kind::Seek(offset, origin);
        Self { method, blob, kind }
    }

    pub const fn tell(method: &'static str, blob: Py<Blob>) -> Self {
        let kind = Kind::Tell;
        Self { method, blob, kind }
    }

    pub const fn enter(method: &'static str, blob: Py<Blob>) -> Self {
        let kind = Kind::Enter;
        Self { method, blob, kind }
    }
}

impl Work for Move {
    fn name(&self) -> &'static str {
        self.method
    }

    fn poll(&mut self, py: Python<'_>, _context: &mut Context<'_>) -> PyResult<Step> {
        let blob = self.blob.get();
        blob.check(py)?;
        let value = match self.kind {
            Kind::Seek(offset, origin) => {
                blob.move_to(offset, origin)?;
                py.None()
            }
            Kind::Tell => blob.position().into_pyobject(py)?.into_any().unbind(),
            Kind::Enter => self.blob.clone_ref(py).into_any(),
        };
        Ok(Step::Ready(value))
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.blob)
    }

    fn waits_for(&self) -> Option<&Shared> {
        None
    }

    /// A cancellation in the loop's turn must not come when the position has moved.
    fn takes_at_once(&self) -> bool {
        matches!(self.kind, Kind::Seek(..))
    }
}

/// Ends a blob; what was written outside of a transaction is committed with the last one.
pub struct Close {
    method: &'static str,
    blob: Py<Blob>,
    is_begun: bool,
    pending: Pending,
}

impl Close {
    pub fn new(method: &'static str, blob: Py<Blob>) -> Self {
        Self {
            method,
            blob,
            is_begun: false,
            pending: Pending::default(),
        }
    }
}

impl Work for Close {
    fn name(&self) -> &'static str {
        self.method
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let blob = self.blob.get();
        let link = blob.connection().link();
        if !self.is_begun {
            link.reentrancy().check(py)?;
            self.is_begun = true;
            if blob.close_now() && !link.is_closed() {
                let close = Service::CloseBlob(blob.name());
                self.pending.adopt(link.submit(Action::Serve(close), None));
            }
        }
        match self.pending.poll(py, context) {
            Poll::Pending => Ok(Step::Pending),
            // Closed together with its connection: then there is nothing left to close.
            Poll::Ready(Err(_)) if link.is_closed() => Ok(Step::Ready(py.None())),
            Poll::Ready(result) => result.map(|_| Step::Ready(py.None())),
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.blob)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn shield(&self) -> Shield {
        Shield::Always
    }
}
