//! View: a connection as it is seen inside of a transaction block.
//!
//! Owns no state of its own: the commands of a view name its block, those of a connection the block of the task.
//! Thread: any that is attached.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::core::{Action, Block, Loan, Shared};

use super::connection::Connection;
use super::exceptions;
use super::link::Link;
use super::pool::RELEASE;

/// What makes a connection the view of a block.
pub struct View {
    pub root: Py<Connection>,
    pub block: Arc<Block>,
}

impl Connection {
    pub const fn view(link: Arc<Link>, view: View) -> Self {
        Self {
            link,
            init_hook: None,
            view: Some(view),
            lease: None,
        }
    }

    /// The borrower's right to use it; `None`: it was not borrowed.
    pub fn lease(&self) -> Option<&Loan> {
        self.lease.as_deref()
    }

    /// A borrower let go of it without giving it back.
    pub fn forget_lent(&self, lease: &Loan) {
        if lease.end() && !self.link.is_inherited() && !self.link.is_closed() {
            drop(self.link.submit(RELEASE, None));
            exceptions::in_destructor(|py| self.link.report_not_released(py));
        }
    }

    /// Refuses to close what was borrowed.
    pub fn check_own(&self, py: Python<'_>) -> PyResult<()> {
        if self.lease.is_none() {
            return Ok(());
        }
        let message = "a borrowed connection can't be closed: give it back with release(), or borrow it with 'async with \
                       pool.read()' or 'pool.write()'";
        Err(exceptions::programming(py, message))
    }

    /// Refuses to use what was given back.
    pub fn check_lease(&self, py: Python<'_>) -> PyResult<()> {
        if self.lease().is_some_and(Loan::is_over) {
            let message = "the connection was given back to its pool";
            return Err(exceptions::programming(py, message));
        }
        match &self.view {
            Some(view) => view.root.get().check_lease(py),
            None => Ok(()),
        }
    }

    /// The connection itself.
    pub fn root(slf: &Bound<'_, Self>) -> Py<Self> {
        match &slf.get().view {
            Some(view) => view.root.clone_ref(slf.py()),
            None => slf.clone().unbind(),
        }
    }

    /// The block that it is the view of.
    pub fn own_block(&self) -> Option<&Arc<Block>> {
        self.view.as_ref().map(|view| &view.block)
    }

    /// The block that a statement takes part in here.
    pub fn membership(&self, py: Python<'_>) -> PyResult<Option<Arc<Block>>> {
        self.check_lease(py)?;
        self.link.membership(py, self.own_block())
    }

    /// Queues a command.
    pub fn submit(&self, py: Python<'_>, action: Action) -> PyResult<Shared> {
        let block = self.membership(py)?;
        Ok(self.link.submit_here(py, action, block))
    }
}
