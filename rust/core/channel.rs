//! Channel: what a statement and the callbacks that it calls have to tell each other.
//!
//! Owns the surroundings of the caller, which callbacks run in, the operation that asks the caller for them, and why a
//! callback failed, which its statement's error names. What is told is opaque here. There is one for each handle, for
//! one statement of it runs at a time.
//! Thread: the worker that runs the statement; callbacks run on it too.
//! Must not know: Python, what a callback does.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::command::Shared;

/// Something that only another layer understands.
#[derive(Clone)]
pub struct Opaque(Arc<dyn Any + Send + Sync>);

impl Opaque {
    pub fn new(value: impl Any + Send + Sync) -> Self {
        Self(Arc::new(value))
    }

    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Opaque")
    }
}

/// What is told.
#[derive(Debug, Default)]
pub struct Channel(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    surroundings: Option<Opaque>,
    operation: Option<Shared>,
    cause: Option<Opaque>,
}

impl Channel {
    /// What the callbacks of the command that runs are called in.
    pub fn surroundings(&self) -> Option<Opaque> {
        self.lock().surroundings.clone()
    }

    /// The operation that runs, if its callbacks may ask its caller.
    pub fn operation(&self) -> Option<Shared> {
        self.lock().operation.clone()
    }

    /// A callback failed; the first failure of a command is its cause.
    pub fn fail(&self, cause: Opaque) {
        let mut told = self.lock();
        if told.cause.is_none() {
            told.cause = Some(cause);
        }
    }

    /// Why a callback failed in the command that runs.
    pub(super) fn cause(&self) -> Option<Opaque> {
        self.lock().cause.clone()
    }

    /// A command begins.
    pub fn begin(&self, surroundings: Option<Opaque>, operation: &Shared) {
        let told = Told {
            surroundings,
            operation: Some(Arc::clone(operation)),
            cause: None,
        };
        let before = std::mem::replace(&mut *self.lock(), told);
        drop(before);
    }

    /// A command has ended. Returns why a callback failed in it.
    pub fn end(&self) -> Option<Opaque> {
        std::mem::take(&mut *self.lock()).cause
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
