//! One value on its way into or out of SQLite, borrowed.
//!
//! Owns nothing: a value read from a row points into SQLite's memory until the statement moves on.
//! Thread: that of the statement it came from.
//! Invariant: `Text` is whatever bytes the database holds; they may contain NUL and need not be
//! UTF-8.
//! Must not know: owned values, Python objects.

use std::ffi::{CStr, c_char};

use libsql::ffi;

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
