//! SQL functions, aggregates, window functions and collations written in Python.
//!
//! Owns what SQLite calls for them; the Python objects are in the connection's table of callbacks.
//! Thread: the methods on any that is attached; what SQLite calls, on the worker.

use std::cmp::Ordering;
use std::ffi::CString;
use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::core::{Error, Service, Setup};
use crate::sqlite::{
    self, Aggregate, AggregateFactory, Answer, Arguments, Collation, Failure, FunctionOptions,
    Handle, ScalarFunction,
};

use super::awaitable::Operation;
use super::callback_values::{answer, arguments};
use super::callbacks::{Call, Callback, Callbacks};
use super::connection::Connection;

const FUNCTION: &str = "user-defined function raised exception";

/// An aggregate's group: an instance of the user's class.
struct Group {
    callback: Callback,
    has_rows: bool,
    /// Without rows there is no result, whatever the class says, as in `sqlite3`.
    is_null_without: bool,
}

impl Aggregate for Group {
    fn step(&mut self, values: &Arguments<'_>) -> Result<(), Failure> {
        self.has_rows = true;
        self.run("step", |step, call| {
            call.call(step, arguments(step.py(), values)?).map(drop)
        })
    }

    fn inverse(&mut self, values: &Arguments<'_>) -> Result<(), Failure> {
        self.run("inverse", |inverse, call| {
            call.call(inverse, arguments(inverse.py(), values)?)
                .map(drop)
        })
    }

    fn value(&mut self) -> Result<Answer, Failure> {
        self.run("value", |value, call| {
            answer(&call.call(value, PyTuple::empty(value.py()))?)
        })
    }

    fn finish(self: Box<Self>) -> Result<Answer, Failure> {
        if self.is_null_without && !self.has_rows {
            return Ok(Answer::Null);
        }
        self.run("finalize", |finalize, call| {
            answer(&call.call(finalize, PyTuple::empty(finalize.py()))?)
        })
    }
}

impl Group {
    /// Works with a method. That there is none is said, as in `sqlite3`.
    fn run<T>(
        &self,
        method: &str,
        work: impl FnOnce(&Bound<'_, PyAny>, &Call<'_, '_>) -> PyResult<T>,
    ) -> Result<T, Failure> {
        let mut is_defined = false;
        let what = format!("user-defined aggregate's '{method}' method raised error");
        let ran = self.callback.run(&what, |group, call| {
            let method = group.getattr(method)?;
            is_defined = true;
            work(&method, call)
        });
        ran.map_err(|failure| {
            if is_defined || failure.message != what {
                return failure;
            }
            let message = format!("user-defined aggregate's '{method}' method not defined");
            Failure { message, ..failure }
        })
    }
}

fn scalar(callback: Callback) -> ScalarFunction {
    Box::new(move |values| {
        callback.run(FUNCTION, |function, call| {
            answer(&call.call(function, arguments(function.py(), values)?)?)
        })
    })
}

fn factory(callbacks: &Arc<Callbacks>, callback: Callback) -> AggregateFactory {
    let callbacks = Arc::downgrade(callbacks);
    Box::new(move || {
        let what = "user-defined aggregate's '__init__' method raised error";
        callback.run(what, |class, call| {
            let group = call.call(class, PyTuple::empty(class.py()))?;
            let callbacks = callbacks
                .upgrade()
                .ok_or_else(|| PyValueError::new_err("the connection is gone"))?;
            let group = Group {
                is_null_without: callbacks.is_blocking(),
                callback: callbacks.add(group.unbind()),
                has_rows: false,
            };
            Ok(Box::new(group) as Box<dyn Aggregate>)
        })
    })
}

fn collation(callback: Callback) -> Collation {
    Box::new(move |left, right| {
        // None, and its statement fails, if it can't be called.
        let mut order = None;
        callback.run_unheard(|compare, call| {
            let py = compare.py();
            // SQLite has no way to fail here: after an exception two texts are equal.
            order = Some(Ordering::Equal);
            let texts = [
                PyString::from_bytes(py, left)?,
                PyString::from_bytes(py, right)?,
            ];
            let result = call.call(compare, PyTuple::new(py, texts)?);
            if call.was_refused() {
                order = None;
            }
            order = Some(result?.extract::<i64>()?.cmp(&0));
            Ok(())
        });
        order
    })
}

/// A name as SQLite takes it.
fn name_of(name: &str) -> PyResult<CString> {
    CString::new(name).map_err(|_| PyValueError::new_err("embedded null character"))
}

fn check_callable(object: &Bound<'_, PyAny>) -> PyResult<()> {
    if object.is_callable() {
        return Ok(());
    }
    Err(PyTypeError::new_err("parameter must be callable"))
}

/// A refusal by SQLite that says what could not be made.
fn refused(what: &'static str) -> impl Fn(sqlite::Error) -> Error {
    move |error| match error.primary() {
        // A name or number that can't be, which sqlite3 has an OperationalError for.
        sqlite::code::MISUSE => Error::operational(what),
        _ => Error {
            message: format!("{what}: {}", error.message),
            ..Error::from(error)
        },
    }
}

impl Connection {
    pub(super) fn configure(
        slf: &Bound<'_, Self>,
        name: &'static str,
        work: impl FnOnce(&mut Handle) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Operation {
        let service = Service::Configure(Setup(Box::new(work)));
        Self::serve(slf, name, Ok(service), |py, _| Ok(py.None()))
    }

    /// The place of a callback; `None`, which removes one, has none.
    pub(super) fn callback(
        slf: &Bound<'_, Self>,
        callable: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Callback>> {
        let Some(callable) = callable else {
            return Ok(None);
        };
        check_callable(callable)?;
        slf.get()
            .link()
            .callbacks()
            .add_callable(callable)
            .map(Some)
    }

    fn make_aggregate(
        slf: &Bound<'_, Self>,
        name: &'static str,
        (function, options, is_window): (&str, FunctionOptions, bool),
        class: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let function = name_of(function)?;
        let callback = Self::callback(slf, class)?;
        let callbacks = Arc::clone(slf.get().link().callbacks());
        Ok(Self::configure(slf, name, move |handle| {
            let factory = callback.map(|callback| factory(&callbacks, callback));
            handle
                .create_aggregate(&function, options, is_window, factory)
                .map_err(refused("Error creating aggregate"))
        }))
    }
}

#[pymethods]
impl Connection {
    #[pyo3(signature = (name, narg, func, deterministic=false))]
    fn create_function(
        slf: &Bound<'_, Self>,
        name: &str,
        narg: i32,
        func: Option<&Bound<'_, PyAny>>,
        deterministic: bool,
    ) -> PyResult<Operation> {
        let name = name_of(name)?;
        let options = FunctionOptions {
            arguments: narg,
            is_deterministic: deterministic,
        };
        let function = Self::callback(slf, func)?;
        let work = move |handle: &mut Handle| {
            handle
                .create_function(&name, options, function.map(scalar))
                .map_err(refused("Error creating function"))
        };
        Ok(Self::configure(slf, "Connection.create_function", work))
    }

    fn create_aggregate(
        slf: &Bound<'_, Self>,
        name: &str,
        n_arg: i32,
        aggregate_class: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let options = FunctionOptions {
            arguments: n_arg,
            is_deterministic: false,
        };
        let what = "Connection.create_aggregate";
        Self::make_aggregate(slf, what, (name, options, false), aggregate_class)
    }

    fn create_window_function(
        slf: &Bound<'_, Self>,
        name: &str,
        num_params: i32,
        aggregate_class: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let options = FunctionOptions {
            arguments: num_params,
            is_deterministic: false,
        };
        let what = "Connection.create_window_function";
        Self::make_aggregate(slf, what, (name, options, true), aggregate_class)
    }

    fn create_collation(
        slf: &Bound<'_, Self>,
        name: &str,
        callback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let name = name_of(name)?;
        let callback = Self::callback(slf, callback)?;
        let work = move |handle: &mut Handle| {
            handle
                .create_collation(&name, callback.map(collation))
                .map_err(Error::from)
        };
        Ok(Self::configure(slf, "Connection.create_collation", work))
    }
}
