//! Transaction: a `transaction()` or `savepoint()` block, and the connection as it is used inside of one.
//!
//! Owns the block. Its statements always take part; those of the connection do in tasks that carry the block.
//! Thread: any that is attached.

use std::ffi::CString;
use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::exceptions::{PyResourceWarning, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{Action, Block, BlockKind, Shared, Shield};

use super::awaitable::Operation;
use super::cached::interned;
use super::connection::Connection;
use super::exceptions;
use super::link::Link;
use super::options;
use super::scope;
use super::statements::Pending;
use super::view::View;
use super::work::{Step, Work};

/// A transaction block.
#[pyclass(frozen, extends = Connection, weakref, generic, module = "aiolibsql")]
pub struct Transaction {
    link: Arc<Link>,
    block: Arc<Block>,
    /// The block that it was made in by name.
    outer: Option<Arc<Block>>,
    force_rollback: bool,
}

impl Transaction {
    /// A block of `connection`, or inside of the block that `connection` is.
    pub fn begin<'py>(
        connection: &Bound<'py, Connection>,
        mode: &str,
        force_rollback: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let kind = if mode.eq_ignore_ascii_case("READ") {
            BlockKind::Read
        } else if let Some(begin) = options::begin(mode) {
            BlockKind::Transaction(begin)
        } else {
            return Err(PyValueError::new_err(format!(
                "transaction mode must be 'DEFERRED', 'IMMEDIATE', 'EXCLUSIVE' or 'READ', not '{mode}'"
            )));
        };
        let label = format!("transaction('{}')", mode.to_ascii_uppercase());
        Self::create(connection, kind, &label, force_rollback)
    }

    pub fn savepoint<'py>(
        connection: &Bound<'py, Connection>,
        name: Option<&Bound<'py, PyString>>,
    ) -> PyResult<Bound<'py, Self>> {
        let name = name
            .map(|name| name.to_str())
            .transpose()?
            .map(str::to_owned);
        let label = match &name {
            Some(name) if name.contains('\0') => {
                let message = "the name of a savepoint can't contain a null character";
                return Err(PyValueError::new_err(message));
            }
            Some(name) => format!("savepoint('{name}')"),
            None => "savepoint()".to_owned(),
        };
        Self::create(connection, BlockKind::Savepoint { name }, &label, false)
    }

    fn create<'py>(
        connection: &Bound<'py, Connection>,
        kind: BlockKind,
        what: &str,
        force_rollback: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let py = connection.py();
        let block = Block::new(kind, format!("{what} at {}", caller(py)?));
        let link = Arc::clone(connection.get().shared_link());
        let view = View {
            root: Connection::root(connection),
            block: Arc::clone(&block),
        };
        let this = Self {
            link: Arc::clone(&link),
            block,
            outer: connection.get().own_block().cloned(),
            force_rollback,
        };
        let base = PyClassInitializer::from(Connection::view(link, view));
        Bound::new(py, base.add_subclass(this))
    }

    fn refused(&self, name: &'static str, py: Python<'_>) -> Operation {
        let message = format!("{name}() can't be used inside {}", self.block);
        Operation::ready(name, Err(exceptions::programming(py, message)))
    }
}

#[pymethods]
impl Transaction {
    fn __await__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a transaction block can't be awaited; use 'async with'",
        ))
    }

    fn __aenter__(slf: Py<Self>) -> Operation {
        Operation::new(Box::new(Enter {
            transaction: slf,
            is_submitted: false,
            pending: Pending::default(),
        }))
    }

    #[pyo3(signature = (exc_type, exc, _tb, /))]
    fn __aexit__(
        slf: Py<Self>,
        py: Python<'_>,
        exc_type: Option<Py<PyAny>>,
        exc: Option<Py<PyAny>>,
        _tb: &Bound<'_, PyAny>,
    ) -> Operation {
        let raised = exc.or(exc_type);
        if slf.get().link.is_inherited() && raised.is_some() {
            return Operation::leave_inherited("Transaction.__aexit__", py);
        }
        let commits = raised.is_none() && !slf.get().force_rollback;
        Operation::new(Box::new(Leave {
            transaction: slf,
            commits,
            raised,
            is_submitted: false,
            pending: Pending::default(),
        }))
    }

    fn close(&self, py: Python<'_>) -> Operation {
        self.refused("Transaction.close", py)
    }

    fn stop(&self, py: Python<'_>) -> Operation {
        self.refused("Transaction.stop", py)
    }

    #[getter]
    fn connection(slf: &Bound<'_, Self>) -> Py<Connection> {
        Connection::root(slf.as_super())
    }

    fn __repr__(&self) -> String {
        let state = if self.block.is_open() {
            "open"
        } else {
            "not open"
        };
        format!(
            "<aiolibsql.Transaction on '{}': {} ({state})>",
            self.link.label(),
            self.block
        )
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.link.is_inherited() || !self.block.leave() {
            return;
        }
        drop(self.link.submit(roll_back(&self.block), None));
        exceptions::in_destructor(|py| {
            let message = format!("{} was never left; it is rolled back", self.block);
            let message = CString::new(message).unwrap_or_default();
            PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1)
        });
    }
}

fn roll_back(block: &Arc<Block>) -> Action {
    Action::Leave {
        block: Arc::clone(block),
        commits: false,
    }
}

/// File and line of the Python code that runs.
fn caller(py: Python<'_>) -> PyResult<String> {
    let frame = py
        .import(interned!(py, "sys"))?
        .call_method0(interned!(py, "_getframe"))?;
    let code = frame.getattr(interned!(py, "f_code"))?;
    let file = code.getattr(interned!(py, "co_filename"))?;
    let line = frame.getattr(interned!(py, "f_lineno"))?;
    Ok(format!("{file}:{line}"))
}

/// Entering: BEGIN or SAVEPOINT. The value is the transaction.
struct Enter {
    transaction: Py<Transaction>,
    is_submitted: bool,
    pending: Pending,
}

impl Work for Enter {
    fn name(&self) -> &'static str {
        "Transaction.__aenter__"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let this = self.transaction.get();
        let (link, block) = (&this.link, &this.block);
        if !self.is_submitted {
            link.reentrancy().check(py)?;
            let parent = link.membership(py, this.outer.as_ref())?;
            if !block.enter(parent.clone()) {
                let message = format!("{block} can be entered only once");
                return Err(exceptions::programming(py, message));
            }
            self.is_submitted = true;
            let enter = Action::Enter(Arc::clone(block));
            self.pending.adopt(link.submit_here(py, enter, parent));
        }
        match self.pending.poll(py, context) {
            Poll::Pending => Ok(Step::Pending),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) => {
                scope::enter(py, link.id(), Arc::clone(block))?;
                Ok(Step::Ready(self.transaction.clone_ref(py).into_any()))
            }
        }
    }

    fn abandon(&mut self, _py: Python<'_>) {
        let this = self.transaction.get();
        if self.is_submitted {
            self.pending.abandon(&this.link);
            this.block.give_up();
            drop(this.link.submit(roll_back(&this.block), None));
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.transaction)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }
}

/// Leaving: COMMIT or RELEASE; after an exception ROLLBACK.
struct Leave {
    transaction: Py<Transaction>,
    commits: bool,
    raised: Option<Py<PyAny>>,
    is_submitted: bool,
    pending: Pending,
}

impl Leave {
    fn submit(&mut self, py: Python<'_>) -> PyResult<()> {
        let this = self.transaction.get();
        self.is_submitted = true;
        this.block.leave();
        let leave = Action::Leave {
            block: Arc::clone(&this.block),
            commits: self.commits,
        };
        self.pending.adopt(this.link.submit_here(py, leave, None));
        scope::leave(py)
    }
}

impl Work for Leave {
    fn name(&self) -> &'static str {
        "Transaction.__aexit__"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        if !self.is_submitted {
            self.transaction.get().link.reentrancy().check(py)?;
            self.submit(py)?;
        }
        match (self.pending.poll(py, context), &self.raised) {
            (Poll::Pending, _) => Ok(Step::Pending),
            (Poll::Ready(Ok(_)), _) => Ok(Step::Ready(py.None())),
            (Poll::Ready(Err(error)), None) => Err(error),
            (Poll::Ready(Err(error)), Some(raised)) => {
                exceptions::add_note(raised.bind(py), &error)?;
                Ok(Step::Ready(py.None()))
            }
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        let this = self.transaction.get();
        if self.is_submitted {
            self.pending.abandon(&this.link);
        }
        // A COMMIT that was submitted comes first and is kept, or never ran.
        if self.commits || !self.is_submitted {
            self.commits = false;
            if let Err(error) = self.submit(py) {
                error.write_unraisable(py, None);
            }
            // Nobody waits for that.
            self.pending.abandon(&self.transaction.get().link);
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.transaction)?;
        visit.call(&self.raised)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn shield(&self) -> Shield {
        if self.commits {
            Shield::Running
        } else {
            Shield::Always
        }
    }
}
