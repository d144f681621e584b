//! View: a connection as it is seen inside of a transaction block.
//!
//! Owns no state of its own: the commands of a view name its block, those of a connection the block of the task.
//! Thread: any that is attached.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::core::{Action, Block, Shared};

use super::connection::Connection;
use super::link::Link;

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
        self.link.membership(py, self.own_block())
    }

    /// Queues a command.
    pub fn submit(&self, py: Python<'_>, action: Action) -> PyResult<Shared> {
        let block = self.membership(py)?;
        Ok(self.link.submit_here(py, action, block))
    }
}
