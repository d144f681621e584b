//! Operations under trio, and anyio over it. Only trio's public `lowlevel` interface is used.
//!
//! Owns the abort function of a suspension. The port of a run lives in a `RunVar`; a system task waits for its
//! descriptor and drains it.
//! Thread: the run's.
//! Invariant: an abort that succeeded has removed its ticket, for a reschedule after that would crash trio.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};

use crate::core::Error;
use crate::wakeup::Ticket;

use super::cached::{cached, interned};
use super::event_loop::LoopPort;
use super::exceptions;
use super::suspension::Held;

const LATE_LOOK: Duration = Duration::from_micros(200);

struct Trio {
    in_task: Option<Py<PyAny>>,
    current_task: Py<PyAny>,
    reschedule: Py<PyAny>,
    wait_task_rescheduled: Py<PyAny>,
    checkpoint: Py<PyAny>,
    checkpoint_if_cancelled: Py<PyAny>,
    cancel_shielded_checkpoint: Py<PyAny>,
    spawn_system_task: Py<PyAny>,
    wait_readable: Py<PyAny>,
    succeeded: Py<PyAny>,
    failed: Py<PyAny>,
    cancel_scope: Py<PyAny>,
    port: Py<PyAny>,
}

/// The ports of the runs that have not ended, for the child of a fork.
static PORTS: Mutex<Vec<Py<LoopPort>>> = Mutex::new(Vec::new());

static TRIO: PyOnceLock<Trio> = PyOnceLock::new();

impl Trio {
    fn load(py: Python<'_>, trio: &Bound<'_, PyAny>) -> PyResult<Self> {
        let lowlevel = trio.getattr("lowlevel")?;
        let get = |name: &str| lowlevel.getattr(name).map(Bound::unbind);
        let abort = lowlevel.getattr("Abort")?;
        Ok(Self {
            in_task: lowlevel.getattr_opt("in_trio_task")?.map(Bound::unbind),
            current_task: get("current_task")?,
            reschedule: get("reschedule")?,
            wait_task_rescheduled: get("wait_task_rescheduled")?,
            checkpoint: get("checkpoint")?,
            checkpoint_if_cancelled: get("checkpoint_if_cancelled")?,
            cancel_shielded_checkpoint: get("cancel_shielded_checkpoint")?,
            spawn_system_task: get("spawn_system_task")?,
            wait_readable: get("wait_readable")?,
            succeeded: abort.getattr("SUCCEEDED")?.unbind(),
            failed: abort.getattr("FAILED")?.unbind(),
            cancel_scope: trio.getattr("CancelScope")?.unbind(),
            port: lowlevel
                .getattr("RunVar")?
                .call1((interned!(py, "aiolibsql port"), py.None()))?
                .unbind(),
        })
    }

    fn in_task(&self, py: Python<'_>) -> PyResult<bool> {
        match &self.in_task {
            Some(in_task) => in_task.bind(py).call0()?.is_truthy(),
            None => Ok(self.current_task.bind(py).call0().is_ok()),
        }
    }
}

/// trio, if the program has imported it.
fn loaded(py: Python<'_>) -> PyResult<Option<&Trio>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    if let Some(trio) = TRIO.get(py) {
        return Ok(Some(trio));
    }
    let modules = cached(py, &MODULES, || {
        py.import("sys")?
            .getattr("modules")?
            .cast_into::<PyDict>()
            .map(Bound::unbind)
            .map_err(PyErr::from)
    })?;
    match modules.bind(py).get_item(interned!(py, "trio"))? {
        // Half-way through its own import it is in no task either.
        Some(trio) if trio.getattr_opt("lowlevel")?.is_some() => {
            cached(py, &TRIO, || Trio::load(py, &trio)).map(Some)
        }
        _ => Ok(None),
    }
}

fn here(py: Python<'_>) -> PyResult<&Trio> {
    TRIO.get(py)
        .ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("trio is not running here"))
}

/// The port of the trio run that this is called in, if it is called in a trio task.
pub fn current_port(py: Python<'_>) -> PyResult<Option<Py<LoopPort>>> {
    let Some(trio) = loaded(py)? else {
        return Ok(None);
    };
    if !trio.in_task(py)? {
        return Ok(None);
    }
    let variable = trio.port.bind(py);
    let port = variable.call_method0(interned!(py, "get"))?;
    if !port.is_none() {
        let port = port.cast_into::<LoopPort>()?.unbind();
        if port.get().is_inherited() {
            let message =
                "this run of trio was started before a fork and can't be used in the child";
            return Err(exceptions::to_python(py, Error::operational(message)));
        }
        return Ok(Some(port));
    }
    let port = Py::new(py, LoopPort::of_trio()?)?;
    let pump = PyModule::import(py, "aiolibsql._pump")?.getattr("pump")?;
    let drain = port.getattr(py, interned!(py, "drain"))?;
    let retire = port.getattr(py, interned!(py, "retire"))?;
    let spawn = trio.spawn_system_task.bind(py);
    spawn.call1((pump, &trio.wait_readable, port.get().fd(), drain, retire))?;
    variable.call_method1(interned!(py, "set"), (&port,))?;
    let ended = remember(port.clone_ref(py));
    drop(ended);
    Ok(Some(port))
}

/// Adds a port to those of running runs, and returns the ones of ended runs.
fn remember(port: Py<LoopPort>) -> Vec<Py<LoopPort>> {
    let mut ports = ports();
    let (ended, running) = std::mem::take(&mut *ports)
        .into_iter()
        .partition(|port| port.get().is_retired());
    *ports = running;
    ports.push(port);
    ended
}

/// Takes the ports out that belong to the parent of this process.
pub fn take_inherited() -> Vec<Py<LoopPort>> {
    let mut ports = ports();
    let (theirs, ours) = std::mem::take(&mut *ports)
        .into_iter()
        .partition(|port| port.get().is_inherited());
    *ports = ours;
    theirs
}

fn ports() -> MutexGuard<'static, Vec<Py<LoopPort>>> {
    PORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn reschedule(task: &Bound<'_, PyAny>) -> PyResult<()> {
    here(task.py())?
        .reschedule
        .bind(task.py())
        .call1((task,))
        .map(drop)
}

pub fn current_task(py: Python<'_>) -> PyResult<Py<PyAny>> {
    here(py)?.current_task.call0(py)
}

/// A coroutine that sleeps until the task is rescheduled or `abort` lets it go.
pub fn wait(py: Python<'_>, abort: &Py<Abort>) -> PyResult<Py<PyAny>> {
    here(py)?.wait_task_rescheduled.call1(py, (abort,))
}

/// Sleeps between two looks at an operation that nobody wakes.
pub fn wait_for_late_look(py: Python<'_>) {
    py.detach(|| std::thread::sleep(LATE_LOOK));
}

/// A coroutine that raises `Cancelled` if the task's scope is cancelled, and else ends at once.
pub fn checkpoint_if_cancelled(py: Python<'_>) -> PyResult<Py<PyAny>> {
    here(py)?.checkpoint_if_cancelled.call0(py)
}

/// A coroutine that lets other tasks run and can't be cancelled.
pub fn cancel_shielded_checkpoint(py: Python<'_>) -> PyResult<Py<PyAny>> {
    here(py)?.cancel_shielded_checkpoint.call0(py)
}

/// A coroutine that lets other tasks run.
pub fn checkpoint(py: Python<'_>) -> PyResult<Py<PyAny>> {
    here(py)?.checkpoint.call0(py)
}

/// A scope that nobody has entered.
pub fn cancel_scope(py: Python<'_>) -> PyResult<Py<PyAny>> {
    here(py)?.cancel_scope.call0(py)
}

/// What trio calls to cancel a suspension.
#[pyclass(frozen, module = "aiolibsql._aiolibsql", name = "_Abort")]
pub struct Abort {
    port: Py<LoopPort>,
    ticket: Ticket,
    held: Held,
    raise_cancel: PyOnceLock<Py<PyAny>>,
}

impl Abort {
    pub const fn new(port: Py<LoopPort>, ticket: Ticket, held: Held) -> Self {
        Self {
            port,
            ticket,
            held,
            raise_cancel: PyOnceLock::new(),
        }
    }

    /// What raises trio's `Cancelled`, if it asked for it and was told to wait.
    pub fn raise_cancel(&self, py: Python<'_>) -> Option<&Py<PyAny>> {
        self.raise_cancel.get(py)
    }
}

#[pymethods]
impl Abort {
    fn __call__(&self, py: Python<'_>, raise_cancel: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let trio = here(py)?;
        if self.held.cancel(self.port.get().is_inherited()) {
            let _ = self.raise_cancel.set(py, raise_cancel);
            return Ok(trio.failed.clone_ref(py));
        }
        drop(self.port.get().forget(self.ticket));
        Ok(trio.succeeded.clone_ref(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.port)
    }
}
