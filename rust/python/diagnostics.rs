//! Diagnostics: how often statements are executed, which are slow, and errors that name them.
//!
//! Owns what a connection was asked to watch; its transaction blocks share it, and the connections of a pool share one.
//! Thread: any that is attached. Invariant: its lock is not held while a callback runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::cached::interned;
use super::callbacks::is_async;
use super::connection::Connection;
use super::ffi;
use super::parameters;
use super::pool::Pool;

/// Different texts that are counted; executions of others are dropped.
const TEXTS: usize = 1000;

/// Who looks at statements.
#[derive(Default)]
pub struct Watch {
    /// Somebody wants to know of executions.
    is_on: AtomicBool,
    diagnostics: Mutex<Diagnostics>,
}

/// What is watched.
#[derive(Default)]
struct Diagnostics {
    counts_usage: bool,
    names_queries: bool,
    usage: HashMap<Arc<str>, u64>,
    dropped: u64,
    slow: Option<Slow>,
}

/// When a statement is slow, and who is told; nobody: the log.
struct Slow {
    threshold: Duration,
    callback: Option<Py<PyAny>>,
}

impl Diagnostics {
    /// Whether executions have to be reported here.
    const fn watches(&self) -> bool {
        self.counts_usage || self.names_queries || self.slow.is_some()
    }

    fn count(&mut self, sql: &Arc<str>) {
        if let Some(count) = self.usage.get_mut(sql) {
            *count += 1;
        } else if self.usage.len() < TEXTS {
            self.usage.insert(Arc::clone(sql), 1);
        } else {
            self.dropped += 1;
        }
    }
}

impl Watch {
    /// Whether anybody looks.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// A statement is about to be submitted. Whether its time is wanted.
    pub fn note(&self, sql: &Arc<str>) -> bool {
        if !self.is_on() {
            return false;
        }
        let mut diagnostics = self.lock();
        if diagnostics.counts_usage {
            diagnostics.count(sql);
        }
        diagnostics.slow.is_some()
    }

    /// It took so long. A callback that fails changes nothing: the statement was executed.
    pub fn report_time(&self, py: Python<'_>, sql: &Arc<str>, took: Duration) {
        let callback = match &self.lock().slow {
            Some(slow) if took >= slow.threshold => {
                slow.callback.as_ref().map(|call| call.clone_ref(py))
            }
            _ => return,
        };
        let seconds = took.as_secs_f64();
        let told = match callback {
            Some(callback) => ffi::call(callback.bind(py), (seconds, &**sql)),
            None => log(py, seconds, sql),
        };
        if let Err(error) = told {
            error.write_unraisable(py, None);
        }
    }

    /// The error of an execution, with its query in the message if that was asked for.
    pub fn named(&self, py: Python<'_>, error: PyErr) -> PyErr {
        if !self.is_on() || !self.lock().names_queries {
            return error;
        }
        let name = || -> PyResult<()> {
            let exception = error.value(py);
            let sql = exception.getattr_opt(interned!(py, "sql"))?;
            if let Some(sql) = sql.filter(|sql| !sql.is_none()) {
                let sql = sql.str()?.to_string();
                let message = format!("{exception}\nQuery: {}", sql.trim());
                exception.setattr(interned!(py, "args"), (message,))?;
            }
            Ok(())
        };
        name().err().unwrap_or(error)
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.diagnostics.try_lock() {
            Ok(diagnostics) => match &diagnostics.slow {
                Some(slow) => visit.call(&slow.callback),
                None => Ok(()),
            },
            Err(_) => Ok(()),
        }
    }

    /// Lets go of what is Python's.
    pub fn clear(&self) {
        let slow = self.change(|it| it.slow.take());
        drop(slow);
    }

    fn usage(&self) -> HashMap<String, u64> {
        let diagnostics = self.lock();
        let usage = diagnostics.usage.iter();
        usage
            .map(|(sql, count)| (sql.to_string(), *count))
            .collect()
    }

    fn clear_usage(&self) {
        self.change(|it| {
            it.usage.clear();
            it.dropped = 0;
        });
    }

    fn tell_of_slow(&self, seconds: f64, callback: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        if let Some(callback) = &callback
            && is_async(callback)?
        {
            return Err(PyTypeError::new_err(
                "callback must not be async: nobody would await it",
            ));
        }
        let callback = callback.map(Bound::unbind);
        let threshold = parameters::seconds(seconds, "threshold_secs")?;
        if seconds < 0.0 {
            return Err(PyValueError::new_err("threshold_secs can't be negative"));
        }
        let slow = (!threshold.is_zero()).then_some(Slow {
            threshold,
            callback,
        });
        let replaced = self.change(|it| std::mem::replace(&mut it.slow, slow));
        drop(replaced);
        Ok(())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Diagnostics) -> T) -> T {
        let mut diagnostics = self.lock();
        let changed = change(&mut diagnostics);
        self.is_on.store(diagnostics.watches(), Ordering::Relaxed);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Diagnostics> {
        self.diagnostics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn log<'py>(py: Python<'py>, seconds: f64, sql: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import(interned!(py, "logging"))?
        .call_method1(interned!(py, "getLogger"), ("aiolibsql",))?
        .call_method1(
            interned!(py, "warning"),
            ("slow query: %.3f s: %s", seconds, sql),
        )
}

impl Connection {
    fn watch(&self) -> &Watch {
        self.link().watch()
    }
}

/// The methods are those of a connection and of a pool alike.
macro_rules! diagnostics {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            #[getter]
            fn query_usage_tracking(&self) -> bool {
                self.watch().lock().counts_usage
            }

            #[setter]
            fn set_query_usage_tracking(&self, value: bool) {
                self.watch().change(|it| it.counts_usage = value);
            }

            fn query_usage(&self) -> HashMap<String, u64> {
                self.watch().usage()
            }

            fn query_usage_dropped(&self) -> u64 {
                self.watch().lock().dropped
            }

            fn clear_query_usage(&self) {
                self.watch().clear_usage();
            }

            #[getter]
            fn include_query_in_errors(&self) -> bool {
                self.watch().lock().names_queries
            }

            #[setter]
            fn set_include_query_in_errors(&self, value: bool) {
                self.watch().change(|it| it.names_queries = value);
            }

            #[pyo3(signature = (threshold_secs, callback=None))]
            fn set_slow_query_threshold(
                &self,
                threshold_secs: f64,
                callback: Option<Bound<'_, PyAny>>,
            ) -> PyResult<()> {
                self.watch().tell_of_slow(threshold_secs, callback)
            }
        }
    };
}

diagnostics!(Connection);
diagnostics!(Pool);
