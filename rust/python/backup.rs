//! The parts of `Connection.backup`, which is written in Python on top of them.
//!
//! Owns the name of one backup, and its end: whoever drops it ends it.
//! Thread: any that is attached.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::core::{
    Action, BackupName, BackupRequest, Error, Handover, Local, Reply, Service, Shared,
};

use super::awaitable::Operation;
use super::connection::Connection;
use super::delegate;
use super::exceptions;
use super::ffi::Sent;
use super::lifecycle::Simple;
use super::services::c_string;
use super::work::{Resume, Step, Work};

/// One backup; its methods are called in the order in which they stand here.
#[pyclass(frozen, module = "aiolibsql._aiolibsql")]
pub struct _Backup {
    source: Py<Connection>,
    /// `None`: a database in memory.
    target: Option<Py<Connection>>,
    name: BackupName,
    schema: CString,
    handover: Arc<Handover>,
    has_ended: AtomicBool,
}

impl _Backup {
    fn end(&self) -> Action {
        self.has_ended.store(true, Ordering::Relaxed);
        self.handover.close();
        Action::Serve(Service::FinishBackup(self.name))
    }
}

/// The backend of a connection that takes part in a backup.
fn local<'a>(connection: &'a Bound<'_, Connection>) -> PyResult<&'a Arc<Local>> {
    let link = connection.get().link();
    link.check_local(connection.py(), "Connection.backup")?;
    let gone = || exceptions::to_python(connection.py(), Error::closed());
    link.local().ok_or_else(gone)
}

#[pymethods]
impl _Backup {
    #[new]
    fn new(
        source: &Bound<'_, Connection>,
        target: Option<&Bound<'_, Connection>>,
        name: &str,
    ) -> PyResult<Self> {
        let handover = match target {
            Some(target) if target.get().link().is_same(source.get().link()) => {
                let message = "target cannot be the same connection instance";
                return Err(PyValueError::new_err(message));
            }
            Some(target) => Handover::of(Arc::clone(local(target)?)),
            None => {
                Handover::in_memory().map_err(|error| exceptions::to_python(source.py(), error))?
            }
        };
        Ok(Self {
            source: source.clone().unbind(),
            target: target.map(|target| target.clone().unbind()),
            name: BackupName::new(),
            schema: c_string(name)?,
            handover,
            has_ended: AtomicBool::new(false),
        })
    }

    /// Seconds that the source waits for locks, as it was opened with.
    #[getter]
    fn timeout(&self) -> f64 {
        self.source.get().link().backend().timeout().as_secs_f64()
    }

    /// Whether what is copied is encrypted where it is.
    #[getter]
    fn is_encrypted(&self) -> bool {
        let local = self.source.get().link().local();
        local.is_some_and(|local| local.is_encrypted())
    }

    /// Makes the source one.
    fn begin(&self, py: Python<'_>) -> Operation {
        let service = Service::BeginBackup(self.name);
        Connection::serve(
            self.source.bind(py),
            "Connection.backup",
            Ok(service),
            |py, _| Ok(py.None()),
        )
    }

    /// Gets hold of the target.
    fn borrow_target(&self, py: Python<'_>) -> Operation {
        match &self.target {
            Some(target) => {
                let service = Service::Lend(Arc::clone(&self.handover));
                Connection::serve(
                    target.bind(py),
                    "Connection.backup",
                    Ok(service),
                    |py, _| Ok(py.None()),
                )
            }
            None => Operation::ready("Connection.backup", Ok(py.None())),
        }
    }

    /// Copies some pages, or with a negative number all: the code, and the pages that remain of how many.
    fn step(&self, py: Python<'_>, pages: i32) -> Operation {
        let service = Service::StepBackup(BackupRequest {
            name: self.name,
            schema: self.schema.clone(),
            handover: Arc::clone(&self.handover),
            pages: u32::try_from(pages).ok(),
        });
        let convert = |py: Python<'_>, reply: Option<Reply>| match reply {
            Some(Reply::Backup(step)) => {
                let numbers = [step.code, step.remaining, step.total];
                Ok(PyTuple::new(py, numbers)?.into_any().unbind())
            }
            _ => Ok(py.None()),
        };
        let source = self.source.bind(py);
        Connection::serve(source, "Connection.backup", Ok(service), convert)
    }

    /// Awaits what a progress callback has returned.
    fn answer(&self, py: Python<'_>, awaitable: Py<PyAny>) -> Operation {
        Operation::new(Box::new(Answer {
            target: self.target.as_ref().map(|target| target.clone_ref(py)),
            awaitable: Some(awaitable),
        }))
    }

    /// Ends it, whoever waits for that; its error, if it was not through.
    fn finish(&self, py: Python<'_>) -> PyResult<Operation> {
        let source = self.source.clone_ref(py);
        let mut finish = Simple::new("Connection.backup", source, self.end());
        finish.submit_now(py)?;
        Ok(Operation::new(Box::new(finish)))
    }

    /// Ends one into memory: the bytes of the copy.
    fn image(&self, py: Python<'_>) -> Operation {
        let service = Service::BackupImage(self.name);
        let convert = |py: Python<'_>, reply: Option<Reply>| match reply {
            Some(Reply::Image(image)) => Ok(PyBytes::new(py, image.as_bytes()).into_any().unbind()),
            _ => Ok(py.None()),
        };
        let source = self.source.bind(py);
        Connection::serve(source, "Connection.backup", Ok(service), convert)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.source)?;
        visit.call(&self.target)
    }
}

/// An awaitable of the user's, while the backup waits for it.
struct Answer {
    target: Option<Py<Connection>>,
    awaitable: Option<Py<PyAny>>,
}

impl Work for Answer {
    fn name(&self) -> &'static str {
        "Connection.backup"
    }

    fn poll(&mut self, py: Python<'_>, _context: &mut Context<'_>) -> PyResult<Step> {
        let Some(awaitable) = self.awaitable.take() else {
            return Ok(Step::Ready(py.None()));
        };
        let coroutine = delegate::begin(awaitable.into_bound(py))?;
        match self.drive(&coroutine, Resume::Send, py.None().bind(py))? {
            Sent::Yield(yielded) => Ok(Step::Delegate(coroutine.unbind(), yielded)),
            Sent::Return(_) => Ok(Step::Ready(py.None())),
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {}

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.target)?;
        visit.call(&self.awaitable)
    }

    fn waits_for(&self) -> Option<&Shared> {
        None
    }

    /// The target is lent until the backup has ended: an await of it here could never end.
    fn drive(
        &mut self,
        coroutine: &Bound<'_, PyAny>,
        method: Resume,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Sent> {
        let target = self.target.as_ref().map(|target| target.get().link());
        let _guard = target.map(|link| link.reentrancy().refuse());
        method.call(coroutine, value)
    }
}

impl Drop for _Backup {
    fn drop(&mut self) {
        let source = self.source.get().link();
        if !self.has_ended.load(Ordering::Relaxed) && !source.is_inherited() {
            drop(source.submit(self.end(), None));
            source.settle_in_destructor();
        }
    }
}
