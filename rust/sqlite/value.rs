//! One value on its way into or out of SQLite, borrowed.
//!
//! Owns nothing: a value read from a row points into SQLite's memory until the statement moves on.
//! Thread: that of the statement it came from.
//! Invariant: `Text` is whatever bytes the database holds; they may contain NUL and need not be
//! UTF-8.
//! Must not know: owned values, Python objects.

use std::ffi::{CStr, c_char, c_int};
use std::slice;

use libsql::ffi;

use super::error::{Error, code};

/// A borrowed SQLite value of one of the five storage classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// SQL `NULL`.
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text in UTF-8, unless someone stored something else as text.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// Reads a value of a row, or an argument of a function.
///
/// # Errors
///
/// `SQLITE_NOMEM`.
///
/// # Safety
///
/// SQLite keeps `value` as it is through `'a`: nobody asks for another type than its own. It belongs to a handle that this
/// thread has for itself.
#[expect(
    clippy::inline_always,
    reason = "a value that is handed on in memory costs its reader a stall"
)]
#[inline(always)]
pub(super) unsafe fn value_of<'a>(value: *mut ffi::sqlite3_value) -> Result<ValueRef<'a>, Error> {
    // SAFETY: the caller's promise.
    match unsafe { ffi::sqlite3_value_type(value) } {
        ffi::SQLITE_NULL => Ok(ValueRef::Null),
        // SAFETY: as above.
        ffi::SQLITE_INTEGER => Ok(ValueRef::Integer(unsafe {
            ffi::sqlite3_value_int64(value)
        })),
        // SAFETY: as above.
        ffi::SQLITE_FLOAT => Ok(ValueRef::Real(unsafe { ffi::sqlite3_value_double(value) })),
        ffi::SQLITE_TEXT => {
            // SAFETY: as above. Comes before the length: it may have to convert to UTF-8.
            let text = unsafe { ffi::sqlite3_value_text(value) };
            // SAFETY: as above.
            let length = unsafe { ffi::sqlite3_value_bytes(value) };
            // SAFETY: what SQLite returned for this value.
            unsafe { bytes_of(text, length) }.map(ValueRef::Text)
        }
        _ => {
            // SAFETY: as above. Comes before the length: it may have to expand the value.
            let blob = unsafe { ffi::sqlite3_value_blob(value) };
            // SAFETY: as above.
            let length = unsafe { ffi::sqlite3_value_bytes(value) };
            // SAFETY: what SQLite returned for this value.
            unsafe { bytes_of(blob.cast(), length) }.map(ValueRef::Blob)
        }
    }
}

/// # Safety
///
/// `start` is null, or `length` bytes live there through `'a`.
#[expect(
    clippy::inline_always,
    reason = "a value that is handed on in memory costs its reader a stall"
)]
#[inline(always)]
pub(super) unsafe fn bytes_of<'a>(start: *const u8, length: c_int) -> Result<&'a [u8], Error> {
    match usize::try_from(length) {
        // Null stands for an empty blob here, and for an empty text only if there was no memory for its final NUL.
        Ok(0) | Err(_) => Ok(&[]),
        Ok(_) if start.is_null() => Err(Error::new(code::NOMEM, "out of memory")),
        // SAFETY: the caller's promise.
        Ok(length) => Ok(unsafe { slice::from_raw_parts(start, length) }),
    }
}

/// The text that SQLite makes of a double, as for `CAST(… AS TEXT)`.
pub fn real_text(value: f64) -> String {
    let mut buffer = [0_u8; 64];
    let start = buffer.as_mut_ptr().cast::<c_char>();
    // SAFETY: the buffer is of that size, the format ends with NUL and wants one double, and SQLite ends what it writes
    // with NUL. It needs neither memory nor a handle for it.
    unsafe { ffi::sqlite3_snprintf(64, start, c"%!.15g".as_ptr(), value) };
    let text = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
    text.to_string_lossy().into_owned()
}
