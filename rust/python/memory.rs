//! Databases in memory that are known by a name in this process: connections to one share its handle.
//!
//! Owns the names. A handle is kept by its connections, and its database lives as long as one of them is open.
//! Thread: any that is attached. Invariant: the list is locked only by a thread that stays attached, so no fork finds it
//! locked.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;

use crate::core::{Backend, Local, Options, Phase};

use super::callbacks::{Callbacks, Uses};
use super::reentrancy::Reentrancy;

static KNOWN: Mutex<Vec<Weak<SharedMemory>>> = Mutex::new(Vec::new());

/// What connections to one database in memory share.
pub struct SharedMemory {
    pub name: String,
    pub backend: Arc<Local>,
    pub reentrancy: Arc<Reentrancy>,
    pub uses: Arc<Uses>,
    /// Those of every connection, for as long as the handle may call them.
    pub callbacks: Mutex<Vec<Arc<Callbacks>>>,
}

impl SharedMemory {
    /// Whether it is this process's, and no panic has ended it.
    fn is_usable(&self) -> bool {
        !self.backend.is_inherited() && self.backend.status().phase() != Phase::Closed
    }
}

/// Stands for a path where a database in memory is meant, by its name.
#[pyclass(frozen, module = "aiolibsql._aiolibsql")]
pub struct _MemoryName(String);

#[pymethods]
impl _MemoryName {
    #[new]
    const fn new(name: String) -> Self {
        Self(name)
    }

    /// What the options are read for.
    fn __str__(&self) -> &'static str {
        ":memory:"
    }
}

/// The database that is meant by a name, if it is one.
pub fn find(database: &Bound<'_, PyAny>, options: &Options) -> Option<Arc<SharedMemory>> {
    let Ok(name) = database.cast::<_MemoryName>() else {
        return None;
    };
    let name = &name.get().0;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|shared| shared.strong_count() > 0);
    let mut usable = known
        .iter()
        .filter_map(Weak::upgrade)
        .filter(|shared| shared.is_usable());
    if let Some(shared) = usable.find(|shared| shared.name == *name) {
        return Some(shared);
    }
    drop(usable);
    let shared = Arc::new(SharedMemory {
        name: name.clone(),
        backend: Local::new(options.for_sharing()),
        reentrancy: Arc::default(),
        uses: Arc::default(),
        callbacks: Mutex::default(),
    });
    known.push(Arc::downgrade(&shared));
    Some(shared)
}
