//! Operation: the awaitable that every public method returns, with the whole coroutine protocol.
//!
//! Owns the machine that drives a Work: nothing happens before the first `send`, which finds the running loop,
//! lets the Work submit, and suspends in that loop until the Work can go on.
//! Thread: the driving loop's.
//! Invariant: while Python code may run, the machine is out of the object, so a re-entrant call is an error and
//! never a second borrow.

use std::ffi::CString;

use pyo3::exceptions::{PyRuntimeWarning, PyStopIteration, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::exceptions::in_destructor;
use super::exit;
use super::ffi::{Coroutine, Sent};
use super::machine::{Machine, reused};
use super::suspension::State;
use super::work::{Ready, Work};

/// An operation: awaitable, and a coroutine for task groups and nurseries.
#[pyclass(generic, module = "aiolibsql._aiolibsql", weakref)]
pub struct Operation {
    name: &'static str,
    /// `None` while it executes.
    machine: Option<Box<Machine>>,
    awaited: bool,
    entered: Entered,
}

/// Its use as an async context manager.
enum Entered {
    No,
    Yes,
    With(Py<PyAny>),
}

impl Operation {
    pub fn new(work: Box<dyn Work>) -> Self {
        let name = work.name();
        let machine = Box::new(Machine::new(work));
        Self {
            name,
            machine: Some(machine),
            awaited: false,
            entered: Entered::No,
        }
    }

    /// An operation that fails, or gives a value, when it is awaited.
    pub fn ready(name: &'static str, value: PyResult<Py<PyAny>>) -> Self {
        Self::new(Box::new(Ready::new(name, value)))
    }

    /// Leaving a block that was entered before this process was forked: there is nothing to do, and perhaps no loop
    /// any more, but an exception of the block, such as SystemExit, has to get through.
    pub fn leave_inherited(name: &'static str, py: Python<'_>) -> Self {
        let mut operation = Self::new(Box::new(Ready::spent(name)));
        if let Some(machine) = &mut operation.machine {
            machine.state = State::Given(py.None());
        }
        operation
    }

    /// Takes out what it would drive, for a caller that blocks instead of awaiting.
    pub fn take_work(slf: &Bound<'_, Self>) -> PyResult<Box<dyn Work>> {
        let mut machine = Self::take(slf)?;
        let spent = Box::new(Ready::spent(slf.borrow().name));
        let work = std::mem::replace(&mut machine.work, spent);
        machine.state = State::Finished;
        Self::put_back(slf, machine, &Ok(Sent::Yield(slf.py().None())));
        Ok(work)
    }

    /// Raises an exception where it waits.
    pub fn throw_into(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<Sent> {
        let _inside = exit::enter(slf.py())?;
        let mut machine = Self::take(slf)?;
        let sent = machine.throw(slf.py(), error);
        Self::put_back(slf, machine, &sent);
        sent
    }

    fn take(slf: &Bound<'_, Self>) -> PyResult<Box<Machine>> {
        let machine = slf.borrow_mut().machine.take();
        machine.ok_or_else(|| PyValueError::new_err("coroutine already executing"))
    }

    fn put_back(slf: &Bound<'_, Self>, machine: Box<Machine>, sent: &PyResult<Sent>) {
        let py = slf.py();
        let mut this = slf.borrow_mut();
        if let (Ok(Sent::Return(value)), Entered::Yes) = (sent, &this.entered) {
            this.entered = Entered::With(value.clone_ref(py));
        }
        this.machine = Some(machine);
    }
}

impl Coroutine for Operation {
    fn resume(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Sent> {
        let _inside = exit::enter(slf.py())?;
        let mut machine = Self::take(slf)?;
        let sent = machine.send(slf.py(), value);
        Self::put_back(slf, machine, &sent);
        sent
    }
}

#[pymethods]
impl Operation {
    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let mut this = slf.borrow_mut();
        let fresh = matches!(&this.machine, Some(machine) if machine.is_fresh());
        if this.awaited || !fresh {
            return Err(reused());
        }
        this.awaited = true;
        drop(this);
        Ok(slf)
    }

    /// For `yield from operation.__await__()`. Any other loop over it would see what it tells the event loop.
    fn __iter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let this = slf.borrow();
        if !this.awaited {
            let message = format!(
                "{} was not awaited: an operation is not iterable",
                this.name
            );
            return Err(PyTypeError::new_err(message));
        }
        drop(this);
        Ok(slf)
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        as_method(Self::resume(slf, None))
    }

    /// Continue the operation, as `coroutine.send`.
    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        as_method(Self::resume(
            slf,
            Some(value).filter(|value| !value.is_none()),
        ))
    }

    /// Raise an exception where the operation waits, as `coroutine.throw`.
    #[pyo3(signature = (typ, val=None, tb=None, /))]
    fn throw(
        slf: &Bound<'_, Self>,
        typ: &Bound<'_, PyAny>,
        val: Option<&Bound<'_, PyAny>>,
        tb: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        as_method(Self::throw_into(slf, thrown(typ, val, tb)?))
    }

    /// End the operation without a result, as `coroutine.close`.
    pub fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let mut machine = Self::take(slf)?;
        let closed = machine.close(slf.py());
        Self::put_back(slf, machine, &Ok(Sent::Yield(slf.py().None())));
        closed
    }

    fn __aenter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf.borrow_mut().entered = Entered::Yes;
        slf
    }

    #[pyo3(signature = (_exc_type, _exc, _tb, /))]
    fn __aexit__(
        &mut self,
        py: Python<'_>,
        _exc_type: &Bound<'_, PyAny>,
        _exc: &Bound<'_, PyAny>,
        _tb: &Bound<'_, PyAny>,
    ) -> Self {
        if self
            .machine
            .as_ref()
            .is_some_and(|machine| machine.is_inherited())
        {
            return Self::leave_inherited("Operation.__aexit__", py);
        }
        let exit = match (
            std::mem::replace(&mut self.entered, Entered::No),
            &self.machine,
        ) {
            (Entered::With(value), Some(machine)) => machine.work.on_exit(py, &value),
            _ => None,
        };
        exit.map_or_else(
            || Self::ready("Operation.__aexit__", Ok(py.None())),
            Self::new,
        )
    }

    #[getter]
    fn __name__(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    #[getter]
    const fn __qualname__(&self) -> &'static str {
        self.name
    }

    // What `inspect.getcoroutinestate`, and so anyio, looks at. There is no frame, by which trio recognises a
    // coroutine that is not written in Python.
    #[getter]
    const fn cr_frame(&self) -> Option<()> {
        None
    }

    #[getter]
    const fn cr_await(&self) -> Option<()> {
        None
    }

    #[getter]
    const fn cr_running(&self) -> bool {
        self.machine.is_none()
    }

    #[getter]
    fn cr_suspended(&self) -> bool {
        matches!(&self.machine, Some(machine) if !machine.is_fresh() && !matches!(machine.state, State::Finished))
    }

    fn __repr__(&self) -> String {
        let state = match self.machine.as_ref().map(|machine| &machine.state) {
            None => "running",
            Some(State::Idle | State::Given(_)) => "not awaited",
            Some(State::Finished) => "finished",
            Some(_) => "suspended",
        };
        format!("<aiolibsql operation {} ({state})>", self.name)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Entered::With(value) = &self.entered {
            visit.call(value)?;
        }
        match &self.machine {
            Some(machine) => machine.traverse(visit),
            None => Ok(()),
        }
    }

    fn __clear__(&mut self) {
        self.entered = Entered::No;
        self.end_early();
    }
}

impl Operation {
    /// Nobody will drive it any more.
    fn end_early(&mut self) {
        let Some(mut machine) = self.machine.take() else {
            return;
        };
        if matches!(machine.state, State::Finished) || machine.leave_to_parent() {
            return;
        }
        let (name, awaited) = (self.name, self.awaited);
        in_destructor(|py| match machine.state {
            State::Idle if machine.work.must_be_awaited() && !awaited => {
                warn_never_awaited(py, name)
            }
            State::Idle => Ok(()),
            _ => {
                machine.forget(py);
                Ok(())
            }
        });
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.end_early();
    }
}

/// What a `send` method returns, or raises at the end.
pub fn as_method(sent: PyResult<Sent>) -> PyResult<Py<PyAny>> {
    match sent? {
        Sent::Yield(value) => Ok(value),
        Sent::Return(value) => Err(PyStopIteration::new_err((value,))),
    }
}

/// The exception of a `throw` in its old form (type, value, traceback) or its new one.
pub fn thrown(
    typ: &Bound<'_, PyAny>,
    val: Option<&Bound<'_, PyAny>>,
    tb: Option<&Bound<'_, PyAny>>,
) -> PyResult<PyErr> {
    let val = val.filter(|val| !val.is_none());
    let exception = match val {
        _ if typ.is_instance_of::<pyo3::exceptions::PyBaseException>() => typ.clone(),
        Some(val) if val.is_instance_of::<pyo3::exceptions::PyBaseException>() => val.clone(),
        Some(val) => typ.call1((val,))?,
        None => typ.call0()?,
    };
    if let Some(tb) = tb.filter(|tb| !tb.is_none()) {
        exception.setattr("__traceback__", tb)?;
    }
    Ok(PyErr::from_value(exception))
}

fn warn_never_awaited(py: Python<'_>, name: &str) -> PyResult<()> {
    let message = CString::new(format!("coroutine '{name}' was never awaited")).unwrap_or_default();
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)
}
