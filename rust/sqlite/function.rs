//! SQL functions, aggregates, window functions and collations that are written in Rust.
//!
//! Owns the state of each, through SQLite, which gives it back when it is replaced or the connection
//! is closed.
//! Thread: the one that uses the handle; SQLite calls back on the thread that called it.
//! Invariant: no panic enters C, and what a call is given is borrowed and cannot leave it.
//! Must not know: what the functions do, nor Python.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use libsql::ffi;

use super::error::Error;
use super::function_callback::{
    Compare, Destroy, Final, Scalar, compare_callback, destroy, final_callback, inverse_callback,
    scalar_callback, step_callback, value_callback,
};
use super::handle::Handle;
use super::value::{ValueRef, value_of};

/// The arguments of one call.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a>(pub(super) &'a [*mut ffi::sqlite3_value]);

/// What a call answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Null,
    Integer(i64),
    Real(f64),
    /// UTF-8.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// Why a call has no answer; its statement fails with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A result code of SQLite's.
    pub code: i32,
    pub message: String,
}

/// A function of its arguments.
pub type ScalarFunction = Box<dyn FnMut(&Arguments<'_>) -> Result<Answer, Failure> + Send>;

/// One group of rows, or one window.
pub trait Aggregate: Send {
    /// A row joins.
    ///
    /// # Errors
    /// Ends the statement.
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<(), Failure>;

    /// The row that joined first leaves; of window functions only.
    ///
    /// # Errors
    /// Ends the statement.
    fn inverse(&mut self, arguments: &Arguments<'_>) -> Result<(), Failure>;

    /// The answer for the rows in the window; of window functions only.
    ///
    /// # Errors
    /// Ends the statement.
    fn value(&mut self) -> Result<Answer, Failure>;

    /// The answer for all rows. Not called after a failure.
    ///
    /// # Errors
    /// Ends the statement.
    fn finish(self: Box<Self>) -> Result<Answer, Failure>;
}

/// Makes the state of a group when its first row comes, or when it ends without one.
pub type AggregateFactory = Box<dyn FnMut() -> Result<Box<dyn Aggregate>, Failure> + Send>;

/// Orders two texts. `None`: it has no answer. SQLite can't be told, and goes on; the statement fails at its end, and what
/// it has written is rolled back.
pub type Collation = Box<dyn FnMut(&[u8], &[u8]) -> Option<Ordering> + Send>;

/// A collation, and what it sets when it has no answer.
pub(super) type Ordered = (Collation, Arc<AtomicBool>);

/// How a function may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionOptions {
    /// The number of its arguments; -1: any.
    pub arguments: i32,
    /// The same arguments have the same answer, so that SQLite may leave calls out.
    pub is_deterministic: bool,
}

impl<'a> Arguments<'a> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values, in their order, or `SQLITE_NOMEM`.
    pub fn iter(&self) -> impl Iterator<Item = Result<ValueRef<'a>, Error>> + '_ {
        // SAFETY: SQLite keeps the values of a call, each always asked for as its own type, and calls on the handle's thread.
        self.0.iter().map(|value| unsafe { value_of(*value) })
    }
}

impl Handle {
    /// Makes a function, or with `None` removes the one of this name and number of arguments.
    ///
    /// # Errors
    /// `MISUSE` for a name or a number of arguments that SQLite does not take; `BUSY` while statements run.
    pub fn create_function(
        &mut self,
        name: &CStr,
        options: FunctionOptions,
        function: Option<ScalarFunction>,
    ) -> Result<(), Error> {
        let call: Option<Scalar> = function.as_ref().map(|_| scalar_callback as Scalar);
        let state = function.map_or(std::ptr::null_mut(), |function| {
            Box::into_raw(Box::new(RefCell::new(function))).cast::<c_void>()
        });
        let destroy: Option<Destroy> = call.map(|_| destroy::<RefCell<ScalarFunction>> as Destroy);
        // SAFETY: the handle is open, the name ends with NUL; SQLite calls the destructor also when it fails.
        let rc = unsafe {
            ffi::sqlite3_create_function_v2(
                self.database.as_ptr(),
                name.as_ptr(),
                options.arguments,
                options.flags(),
                state,
                call,
                None,
                None,
                destroy,
            )
        };
        self.made(rc)
    }

    /// Makes an aggregate, as a window function if `is_window`, or with `None` removes it.
    ///
    /// # Errors
    /// As `create_function`.
    pub fn create_aggregate(
        &mut self,
        name: &CStr,
        options: FunctionOptions,
        is_window: bool,
        factory: Option<AggregateFactory>,
    ) -> Result<(), Error> {
        let Some(factory) = factory else {
            return self.create_function(name, options, None);
        };
        let state = Box::into_raw(Box::new(RefCell::new(factory))).cast::<c_void>();
        let (value, inverse): (Option<Final>, Option<Scalar>) = if is_window {
            (Some(value_callback), Some(inverse_callback))
        } else {
            (None, None)
        };
        // SAFETY: the handle is open, the name ends with NUL; SQLite calls the destructor also when it fails.
        let rc = unsafe {
            ffi::sqlite3_create_window_function(
                self.database.as_ptr(),
                name.as_ptr(),
                options.arguments,
                options.flags(),
                state,
                Some(step_callback),
                Some(final_callback),
                value,
                inverse,
                Some(destroy::<RefCell<AggregateFactory>>),
            )
        };
        self.made(rc)
    }

    /// Makes a collation, or with `None` removes it. One that panics answers "equal".
    ///
    /// # Errors
    /// `BUSY` while statements run.
    pub fn create_collation(
        &mut self,
        name: &CStr,
        collation: Option<Collation>,
    ) -> Result<(), Error> {
        let call: Option<Compare> = collation.as_ref().map(|_| compare_callback as Compare);
        let state = collation.map_or(std::ptr::null_mut(), |collation| {
            let ordered: Ordered = (collation, self.hooks.spoiler());
            Box::into_raw(Box::new(RefCell::new(ordered))).cast::<c_void>()
        });
        // SAFETY: the handle is open, the name ends with NUL, and the state is a collation's or null.
        let rc = unsafe {
            ffi::sqlite3_create_collation_v2(
                self.database.as_ptr(),
                name.as_ptr(),
                ffi::SQLITE_UTF8,
                state,
                call,
                Some(destroy::<RefCell<Ordered>>),
            )
        };
        if rc != ffi::SQLITE_OK {
            // SAFETY: unlike for functions, SQLite has not taken it over.
            unsafe { destroy::<RefCell<Ordered>>(state) };
        }
        self.made(rc)
    }

    fn made(&self, rc: c_int) -> Result<(), Error> {
        if rc == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(self.database.error(rc))
        }
    }
}

impl FunctionOptions {
    fn flags(self) -> c_int {
        if self.is_deterministic {
            ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC
        } else {
            ffi::SQLITE_UTF8
        }
    }
}
