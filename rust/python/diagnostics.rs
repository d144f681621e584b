//! Diagnostics: how often statements are executed, which are slow, and errors that name them.
//!
//! Owns what a connection was asked to watch; its transaction blocks share it.
//! Thread: any that is attached. Invariant: the settings' lock is not held while a callback runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::cached::interned;
use super::connection::Connection;
use super::ffi;
use super::link::Link;
use super::parameters;

/// Different texts that are counted; executions of others are dropped.
const TEXTS: usize = 1000;

/// What a connection watches.
#[derive(Default)]
pub struct Diagnostics {
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
    pub const fn watches(&self) -> bool {
        self.counts_usage || self.names_queries || self.slow.is_some()
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.slow {
            Some(slow) => visit.call(&slow.callback),
            None => Ok(()),
        }
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

impl Link {
    /// A statement is about to be submitted. Whether its time is wanted.
    pub fn watch(&self, sql: &Arc<str>) -> bool {
        if !self.is_watched() {
            return false;
        }
        let diagnostics = &mut self.settings().diagnostics;
        if diagnostics.counts_usage {
            diagnostics.count(sql);
        }
        diagnostics.slow.is_some()
    }

    /// It took so long. A callback that fails changes nothing: the statement was executed.
    pub fn report_time(&self, py: Python<'_>, sql: &Arc<str>, took: Duration) {
        let callback = match &self.settings().diagnostics.slow {
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
        if !self.is_watched() || !self.settings().diagnostics.names_queries {
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

    fn change_diagnostics<T>(&self, change: impl FnOnce(&mut Diagnostics) -> T) -> T {
        let mut settings = self.settings();
        let changed = change(&mut settings.diagnostics);
        self.set_watched(settings.diagnostics.watches());
        changed
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

#[pymethods]
impl Connection {
    #[getter]
    fn query_usage_tracking(&self) -> bool {
        self.link.settings().diagnostics.counts_usage
    }

    #[setter]
    fn set_query_usage_tracking(&self, value: bool) {
        self.link.change_diagnostics(|it| it.counts_usage = value);
    }

    fn query_usage(&self) -> HashMap<String, u64> {
        let usage = &self.link.settings().diagnostics.usage;
        usage
            .iter()
            .map(|(sql, count)| (sql.to_string(), *count))
            .collect()
    }

    fn query_usage_dropped(&self) -> u64 {
        self.link.settings().diagnostics.dropped
    }

    fn clear_query_usage(&self) {
        self.link.change_diagnostics(|it| {
            it.usage.clear();
            it.dropped = 0;
        });
    }

    #[getter]
    fn include_query_in_errors(&self) -> bool {
        self.link.settings().diagnostics.names_queries
    }

    #[setter]
    fn set_include_query_in_errors(&self, value: bool) {
        self.link.change_diagnostics(|it| it.names_queries = value);
    }

    #[pyo3(signature = (threshold_secs, callback=None))]
    fn set_slow_query_threshold(
        &self,
        threshold_secs: f64,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let threshold = parameters::seconds(threshold_secs, "threshold_secs")?;
        if threshold_secs < 0.0 {
            return Err(PyValueError::new_err("threshold_secs can't be negative"));
        }
        let slow = (!threshold.is_zero()).then_some(Slow {
            threshold,
            callback,
        });
        let replaced = self
            .link
            .change_diagnostics(|it| std::mem::replace(&mut it.slow, slow));
        drop(replaced);
        Ok(())
    }
}
