//! The functions that SQLite calls for SQL functions, aggregates and collations written in Rust.
//!
//! Owns the translation of C's arguments and answers; the state comes from `function`.
//! Thread: the one that uses the handle.
//! Invariant: no panic enters C. A group whose callback failed is gone, and is not finished.
//! Must not know: connections.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ffi::{CString, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::atomic;

use libsql::ffi;

use super::error::code;
use super::function::{
    Aggregate, AggregateFactory, Answer, Arguments, Failure, Ordered, ScalarFunction,
};
use super::value::bytes_of;

pub(super) type Scalar =
    unsafe extern "C" fn(*mut ffi::sqlite3_context, c_int, *mut *mut ffi::sqlite3_value);
pub(super) type Final = unsafe extern "C" fn(*mut ffi::sqlite3_context);
pub(super) type Destroy = unsafe extern "C" fn(*mut c_void);
pub(super) type Compare =
    unsafe extern "C" fn(*mut c_void, c_int, *const c_void, c_int, *const c_void) -> c_int;

/// The state of a group; `None` while a callback works on it, and for good after a failure.
type Group = Option<Box<dyn Aggregate>>;

impl Failure {
    fn panicked() -> Self {
        Self {
            code: code::INTERNAL,
            message: "a callback panicked".to_owned(),
        }
    }

    fn reentered() -> Self {
        Self {
            code: code::MISUSE,
            message: "a callback was called while it runs".to_owned(),
        }
    }
}

/// Runs what a callback does, so that a panic in it stays on this side.
fn contain<T>(callback: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(callback)).unwrap_or_else(|payload| {
        // The payload's own drop may panic too.
        std::mem::forget(payload);
        Err(Failure::panicked())
    })
}

/// # Safety
///
/// `values` is what SQLite passes to a callback that lives as long as `'a`.
unsafe fn arguments<'a>(count: c_int, values: *mut *mut ffi::sqlite3_value) -> Arguments<'a> {
    match usize::try_from(count) {
        // SAFETY: the caller's promise.
        Ok(count) if count > 0 => Arguments(unsafe { slice::from_raw_parts(values, count) }),
        _ => Arguments(&[]),
    }
}

/// # Safety
///
/// `context` is that of a callback whose function was made with a `T` in a `RefCell`.
unsafe fn state_of<'a, T>(context: *mut ffi::sqlite3_context) -> &'a RefCell<T> {
    // SAFETY: the caller's promise.
    let state = unsafe { ffi::sqlite3_user_data(context) };
    // SAFETY: as above; SQLite keeps it as long as the function runs, and it is only ever shared.
    unsafe { &*state.cast::<RefCell<T>>() }
}

/// # Safety
///
/// `context` is that of the callback that runs.
unsafe fn answer(context: *mut ffi::sqlite3_context, answer: Result<Answer, Failure>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            let message = CString::new(failure.message.replace('\0', "?")).unwrap_or_default();
            // SAFETY: the caller's promise; SQLite copies the text, which ends with NUL.
            unsafe { ffi::sqlite3_result_error(context, message.as_ptr(), -1) };
            // SAFETY: as above; the text stays.
            unsafe { ffi::sqlite3_result_error_code(context, failure.code) };
            return;
        }
    };
    match answer {
        // SAFETY: the caller's promise.
        Answer::Null => unsafe { ffi::sqlite3_result_null(context) },
        // SAFETY: as above.
        Answer::Integer(integer) => unsafe { ffi::sqlite3_result_int64(context, integer) },
        // SAFETY: as above.
        Answer::Real(real) => unsafe { ffi::sqlite3_result_double(context, real) },
        Answer::Text(text) => {
            let encoding = ffi::SQLITE_UTF8.to_le_bytes()[0];
            // SAFETY: as above; pointer and length are one buffer, and SQLite copies it.
            unsafe {
                ffi::sqlite3_result_text64(
                    context,
                    text.as_ptr().cast(),
                    text.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                    encoding,
                );
            }
        }
        // SAFETY: as above; the pointer of an empty buffer is not null.
        Answer::Blob(blob) => unsafe {
            ffi::sqlite3_result_blob64(
                context,
                blob.as_ptr().cast(),
                blob.len() as u64,
                ffi::SQLITE_TRANSIENT(),
            );
        },
    }
}

pub(super) unsafe extern "C" fn scalar_callback(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the function was made with this state.
    let function = unsafe { state_of::<ScalarFunction>(context) };
    // SAFETY: SQLite passes them.
    let arguments = unsafe { arguments(count, values) };
    let result = contain(|| {
        let mut function = function
            .try_borrow_mut()
            .map_err(|_| Failure::reentered())?;
        function(&arguments)
    });
    // SAFETY: it runs.
    unsafe { answer(context, result) };
}

/// The place of a pointer to the group's state, in zeroed memory of SQLite's.
///
/// # Safety
///
/// `context` is that of an aggregate's callback that runs.
unsafe fn place_of(context: *mut ffi::sqlite3_context) -> Result<*mut *mut Group, Failure> {
    let size = c_int::try_from(size_of::<*mut Group>()).unwrap_or(0);
    // SAFETY: the caller's promise.
    let place = unsafe { ffi::sqlite3_aggregate_context(context, size) };
    if place.is_null() {
        return Err(Failure {
            code: code::NOMEM,
            message: "out of memory".to_owned(),
        });
    }
    Ok(place.cast())
}

/// # Safety
///
/// `context` is that of an aggregate's callback that runs.
unsafe fn make_group(context: *mut ffi::sqlite3_context) -> Result<Box<dyn Aggregate>, Failure> {
    // SAFETY: the function was made with this state.
    let factory = unsafe { state_of::<AggregateFactory>(context) };
    contain(|| {
        let mut factory = factory.try_borrow_mut().map_err(|_| Failure::reentered())?;
        factory()
    })
}

/// Works on the group's state, which is made if there is none. After a failure it is gone.
///
/// # Safety
///
/// `context` is that of an aggregate's callback that runs.
unsafe fn with_group<T>(
    context: *mut ffi::sqlite3_context,
    work: impl FnOnce(&mut dyn Aggregate) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // SAFETY: the caller's promise.
    let place = unsafe { place_of(context) }?;
    // SAFETY: null, or what was written below.
    let known = unsafe { place.read() };
    let taken = if known.is_null() {
        // SAFETY: SQLite's memory for this group.
        unsafe { place.write(Box::into_raw(Box::new(None))) };
        // SAFETY: the caller's promise.
        unsafe { make_group(context) }?
    } else {
        // SAFETY: made above, freed by the final callback, and borrowed by nobody else: what is in it is taken out.
        let group = unsafe { &mut *known };
        group.take().ok_or_else(Failure::reentered)?
    };
    let mut taken = AssertUnwindSafe(taken);
    let result = contain(|| work(&mut **taken))?;
    // SAFETY: written above.
    let group = unsafe { place.read() };
    // SAFETY: as above.
    unsafe { group.write(Some(taken.0)) };
    Ok(result)
}

pub(super) unsafe extern "C" fn step_callback(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite passes them.
    let arguments = unsafe { arguments(count, values) };
    // SAFETY: it runs.
    let stepped = unsafe { with_group(context, |group| group.step(&arguments)) };
    if let Err(failure) = stepped {
        // SAFETY: it runs.
        unsafe { answer(context, Err(failure)) };
    }
}

pub(super) unsafe extern "C" fn inverse_callback(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: SQLite passes them.
    let arguments = unsafe { arguments(count, values) };
    // SAFETY: it runs.
    let left = unsafe { with_group(context, |group| group.inverse(&arguments)) };
    if let Err(failure) = left {
        // SAFETY: it runs.
        unsafe { answer(context, Err(failure)) };
    }
}

pub(super) unsafe extern "C" fn value_callback(context: *mut ffi::sqlite3_context) {
    // SAFETY: it runs.
    let value = unsafe { with_group(context, |group| group.value()) };
    // SAFETY: as above.
    unsafe { answer(context, value) };
}

pub(super) unsafe extern "C" fn final_callback(context: *mut ffi::sqlite3_context) {
    // SAFETY: it runs.
    let place = unsafe { place_of(context) };
    let known = match place {
        // SAFETY: null, or the state of this group.
        Ok(place) => unsafe { place.read() },
        Err(failure) => {
            // SAFETY: it runs.
            unsafe { answer(context, Err(failure)) };
            return;
        }
    };
    let group = if known.is_null() {
        // No row came.
        // SAFETY: it runs.
        unsafe { make_group(context) }.map(Some)
    } else {
        // SAFETY: made by `with_group`; this is its last use.
        Ok(*unsafe { Box::from_raw(known) })
    };
    let result = match group {
        Ok(Some(group)) => contain(|| group.finish()),
        // The failure was reported when it happened.
        Ok(None) => return,
        Err(failure) => Err(failure),
    };
    // SAFETY: it runs.
    unsafe { answer(context, result) };
}

pub(super) unsafe extern "C" fn compare_callback(
    state: *mut c_void,
    left_length: c_int,
    left: *const c_void,
    right_length: c_int,
    right: *const c_void,
) -> c_int {
    // SAFETY: the collation was made with this state, which SQLite keeps as long as it runs.
    let ordered = unsafe { &*state.cast::<RefCell<Ordered>>() };
    // SAFETY: SQLite passes that many bytes.
    let left = unsafe { bytes_of(left.cast(), left_length) };
    // SAFETY: as above.
    let right = unsafe { bytes_of(right.cast(), right_length) };
    let (Ok(left), Ok(right)) = (left, right) else {
        // SQLite has no memory, and says so itself.
        return 0;
    };
    let ordering = contain(|| {
        let mut ordered = ordered.try_borrow_mut().map_err(|_| Failure::reentered())?;
        let (collation, spoiled) = &mut *ordered;
        let ordering = collation(left, right);
        if ordering.is_none() {
            spoiled.store(true, atomic::Ordering::Relaxed);
        }
        Ok(ordering.unwrap_or(Ordering::Equal))
    });
    match ordering {
        Ok(Ordering::Less) => -1,
        Ok(Ordering::Greater) => 1,
        Ok(Ordering::Equal) | Err(_) => 0,
    }
}

/// # Safety
///
/// `state` is null, or of a `Box<T>` that nobody uses any more.
pub(super) unsafe extern "C" fn destroy<T>(state: *mut c_void) {
    if state.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let state = unsafe { Box::from_raw(state.cast::<T>()) };
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(state)));
    if let Err(payload) = dropped {
        std::mem::forget(payload);
    }
}
