//! Diagnostics: who is told of statements, how often they are executed, which are slow, and errors that name them.
//!
//! Owns what a connection was asked to watch; its transaction blocks share it, and the connections of a pool share one.
//! Thread: any that is attached. Invariant: its lock is not held while a callback runs, and what a callback executes is
//! told to none.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::cached::interned;
use super::callbacks::is_async;
use super::connection::Connection;
use super::ffi;
use super::logs::{self, Area, Severity};
use super::parameters;
use super::pool::Pool;
use super::reports::Report;

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
    hooks: Vec<Py<PyAny>>,
}

/// When a statement is slow, and who is told; nobody: the log.
struct Slow {
    threshold: Duration,
    callback: Option<Py<PyAny>>,
}

impl Diagnostics {
    /// Whether executions have to be reported here.
    const fn watches(&self) -> bool {
        self.counts_usage || self.names_queries || self.reports()
    }

    /// Whether somebody is to be told of each.
    const fn reports(&self) -> bool {
        self.slow.is_some() || !self.hooks.is_empty()
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

    /// A statement is about to be submitted. What is to be told of it, if anything is.
    pub fn statement(self: &Arc<Self>, sql: &Arc<str>) -> Option<Box<Report>> {
        (self.is_on() && self.note(sql)).then(|| Box::new(Report::of_statement(self, sql)))
    }

    /// The same of a statement that is executed many times.
    pub fn many(self: &Arc<Self>, sql: &Arc<str>) -> Option<Box<Report>> {
        (self.is_on() && self.note(sql)).then(|| Box::new(Report::of_many(self, sql)))
    }

    /// The same of a script, which is not counted.
    pub fn script(self: &Arc<Self>, script: &Arc<str>) -> Option<Box<Report>> {
        (self.is_on() && self.lock().reports()).then(|| Box::new(Report::of_many(self, script)))
    }

    /// Counts a statement. Whether somebody is to be told of it.
    fn note(&self, sql: &Arc<str>) -> bool {
        let mut diagnostics = self.lock();
        if diagnostics.counts_usage {
            diagnostics.count(sql);
        }
        diagnostics.reports()
    }

    /// Tells of a statement. A callback that fails changes nothing: the statement was executed.
    pub fn tell(
        &self,
        py: Python<'_>,
        sql: &str,
        took: Duration,
        rows: u64,
        error: Option<&PyErr>,
    ) {
        thread_local! {
            static IS_TELLING: Cell<bool> = const { Cell::new(false) };
        }
        // A callback that keeps its notes in the database would never come to an end.
        if IS_TELLING.replace(true) {
            return;
        }
        let (slow, hooks) = {
            let diagnostics = self.lock();
            let slow = diagnostics.slow.as_ref();
            let slow = slow.filter(|slow| took >= slow.threshold);
            let slow = slow.map(|slow| slow.callback.as_ref().map(|call| call.clone_ref(py)));
            let hooks = diagnostics.hooks.iter().map(|hook| hook.clone_ref(py));
            (slow, hooks.collect::<Vec<_>>())
        };
        let seconds = took.as_secs_f64();
        match slow {
            Some(Some(callback)) => call(&callback, py, (seconds, sql)),
            Some(None) => {
                let message = format!("slow query: {seconds:.3} s: {sql}");
                logs::write(py, Area::Query, Severity::Warning, &message);
            }
            None => {}
        }
        for hook in hooks {
            let error = error.map(|error| error.value(py));
            call(&hook, py, (sql, seconds, rows, error));
        }
        IS_TELLING.set(false);
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
        let Ok(diagnostics) = self.diagnostics.try_lock() else {
            return Ok(());
        };
        if let Some(slow) = &diagnostics.slow {
            visit.call(&slow.callback)?;
        }
        diagnostics
            .hooks
            .iter()
            .try_for_each(|hook| visit.call(hook))
    }

    /// Lets go of what is Python's.
    pub fn clear(&self) {
        let objects = self.change(|it| (it.slow.take(), std::mem::take(&mut it.hooks)));
        drop(objects);
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
        if let Some(callback) = &callback {
            refuse_async(callback)?;
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

    /// Has something called after each statement, behind what is called already.
    pub fn add_hook(&self, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        if !callback.is_callable() {
            let class = callback.get_type();
            let message = format!("callback must be callable, not {}", class.name()?);
            return Err(PyTypeError::new_err(message));
        }
        refuse_async(callback)?;
        self.change(|it| it.hooks.push(callback.clone().unbind()));
        Ok(())
    }

    /// Takes out the last one that is equal.
    pub fn remove_hook(&self, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = callback.py();
        let hooks: Vec<_> = self
            .lock()
            .hooks
            .iter()
            .map(|hook| hook.clone_ref(py))
            .collect();
        for hook in hooks.into_iter().rev() {
            // Comparing may be Python code: the list can have changed after it.
            if hook.bind(py).eq(callback)? {
                let removed = self.change(|it| {
                    let place = it.hooks.iter().rposition(|own| own.is(&hook));
                    place.map(|place| it.hooks.remove(place))
                });
                drop(removed);
                return Ok(());
            }
        }
        Err(PyValueError::new_err(
            "the callback was not given to on_query()",
        ))
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

fn call<'py>(
    callback: &Py<PyAny>,
    py: Python<'py>,
    arguments: impl IntoPyObject<
        'py,
        Target = PyTuple,
        Output = Bound<'py, PyTuple>,
        Error: Into<PyErr>,
    >,
) {
    let callback = callback.bind(py);
    if let Err(error) = ffi::call(callback, arguments) {
        error.write_unraisable(py, Some(callback));
    }
}

fn refuse_async(callback: &Bound<'_, PyAny>) -> PyResult<()> {
    if is_async(callback)? {
        let message = "callback must not be async: nobody would await it";
        return Err(PyTypeError::new_err(message));
    }
    Ok(())
}

impl Connection {
    fn watch(&self) -> &Arc<Watch> {
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

            fn on_query<'py>(&self, callback: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
                self.watch().add_hook(&callback)?;
                Ok(callback)
            }

            fn off_query(&self, callback: &Bound<'_, PyAny>) -> PyResult<()> {
                self.watch().remove_hook(callback)
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

#[pymethods]
impl Connection {
    /// What the database is called, without secrets.
    #[getter]
    fn _label(&self) -> &str {
        self.link().label()
    }
}

diagnostics!(Connection);
diagnostics!(Pool);
