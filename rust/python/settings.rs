//! Settings: what a connection's attributes hold between operations.
//!
//! Owns the adapters and converters, the factories that new cursors take over, and the transaction attributes with their unapplied changes.
//! Thread: under the connection's lock. Must not know: backends.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::{Action, ModeChange};

use super::adapters::Adapters;
use super::connection::Connection;
use super::converters::Converters;
use super::factories::{RowFactory, TextFactory};
use super::options::Control;
use super::texts::Texts;

/// What may be assigned to a connection.
pub struct Settings {
    pub row_factory: RowFactory,
    pub text_factory: TextFactory,
    pub adapters: Adapters,
    pub converters: Converters,
    pub control: Control,
    /// Assignments to `isolation_level` and `autocommit` that the next command applies.
    pub modes: Vec<ModeChange>,
    pub chunk: usize,
    /// Of the statements that were executed.
    pub texts: Texts,
}

impl Settings {
    pub fn new(
        (row_factory, text_factory): (Option<&Bound<'_, PyAny>>, Option<&Bound<'_, PyAny>>),
        detect_types: i32,
        control: Control,
        chunk: usize,
    ) -> PyResult<Self> {
        Ok(Self {
            row_factory: row_factory.map_or(Ok(RowFactory::Tuple), RowFactory::new)?,
            text_factory: text_factory.map_or(Ok(TextFactory::Str), TextFactory::new)?,
            adapters: Adapters::default(),
            converters: Converters::new(detect_types),
            control,
            modes: Vec::new(),
            chunk: chunk.max(1),
            texts: Texts::default(),
        })
    }

    /// The changes that a command applies first, if its caller will hear of their errors.
    pub fn modes_for(&mut self, action: &Action) -> Vec<ModeChange> {
        if action.is_heard() {
            std::mem::take(&mut self.modes)
        } else {
            Vec::new()
        }
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.row_factory.traverse(visit)?;
        self.text_factory.traverse(visit)?;
        self.adapters.traverse(visit)?;
        self.converters.traverse(visit)
    }

    /// Takes what is Python's out, to be dropped without the lock.
    pub fn take_objects(&mut self) -> (RowFactory, TextFactory, Adapters, Converters) {
        (
            std::mem::replace(&mut self.row_factory, RowFactory::Tuple),
            std::mem::replace(&mut self.text_factory, TextFactory::Str),
            std::mem::take(&mut self.adapters),
            std::mem::take(&mut self.converters),
        )
    }
}

#[pymethods]
impl Connection {
    #[getter]
    fn row_factory(&self, py: Python<'_>) -> Py<PyAny> {
        self.link().settings().row_factory.to_python(py)
    }

    #[setter]
    fn set_row_factory(&self, factory: &Bound<'_, PyAny>) -> PyResult<()> {
        let factory = RowFactory::new(factory)?;
        let old = std::mem::replace(&mut self.link().settings().row_factory, factory);
        drop(old);
        Ok(())
    }

    #[getter]
    fn text_factory(&self, py: Python<'_>) -> Py<PyAny> {
        self.link().settings().text_factory.to_python(py)
    }

    #[setter]
    fn set_text_factory(&self, factory: &Bound<'_, PyAny>) -> PyResult<()> {
        let factory = TextFactory::new(factory)?;
        let old = std::mem::replace(&mut self.link().settings().text_factory, factory);
        drop(old);
        Ok(())
    }

    #[getter]
    fn iter_chunk_size(&self) -> usize {
        self.link().settings().chunk
    }

    #[setter]
    fn set_iter_chunk_size(&self, size: usize) {
        self.link().settings().chunk = size.max(1);
    }
}
