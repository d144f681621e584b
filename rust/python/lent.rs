//! Lent: a connection as a borrower of it has it.
//!
//! Owns the way from a loan to a connection whose settings are the borrower's own: what is assigned to it, factories,
//! adapters, transaction mode, ends with the loan.
//! Thread: any that is attached.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;

use crate::core::{Action, Block, Command, Loan, Shared};

use super::connection::Connection;
use super::link::Link;
use super::quick::Spare;
use super::settings::Settings;
use super::texts::Texts;

impl Settings {
    /// The same ones, for somebody who may change them. What tables they share is copied by `separate`.
    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            row_factory: self.row_factory.clone_ref(py),
            text_factory: self.text_factory.clone_ref(py),
            adapters: self.adapters.clone_ref(py),
            converters: self.converters.clone_ref(py),
            control: self.control.clone(),
            modes: Vec::new(),
            chunk: self.chunk,
            texts: Texts::default(),
        }
    }
}

impl Link {
    fn lent(&self, py: Python<'_>) -> PyResult<Self> {
        let mut settings = self.settings().clone_ref(py);
        settings.adapters = settings.adapters.separate(py)?;
        settings.converters = settings.converters.separate(py)?;
        Ok(Self {
            id: self.id,
            backend: self.backend.clone(),
            guest: self.guest.clone(),
            shared: self.shared.clone(),
            callbacks: Arc::clone(&self.callbacks),
            label: self.label.clone(),
            settings: Mutex::new(settings),
            has_modes: AtomicBool::new(false),
            watch: Arc::default(),
            common: self.common.clone(),
            reported: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            spare: Spare::default(),
        })
    }

    /// As `submit_here`, for a statement of the pool whose connection the caller has borrowed: it runs here, unless it
    /// belongs to another one.
    pub fn submit_pooled(
        &self,
        py: Python<'_>,
        action: Action,
        block: Option<Arc<Block>>,
    ) -> Shared {
        let mut command = Command::new(action, Vec::new(), block);
        command.guest.clone_from(&self.guest);
        command.surroundings = self.callbacks.surroundings(py);
        command.is_pooled = true;
        command.stays_with_writer = true;
        if command.surroundings.is_some() {
            command.operation.dialogue().set_attended(true);
        }
        let shared = Arc::clone(&command.operation);
        self.submit_command(command);
        shared
    }
}

impl Connection {
    /// A connection as a borrower of it sees it.
    pub fn lent(py: Python<'_>, member: &Py<Self>, lease: Arc<Loan>) -> PyResult<Self> {
        Ok(Self {
            link: Arc::new(member.get().link().lent(py)?),
            init_hook: None,
            view: None,
            lease: Some(lease),
        })
    }
}
