//! One value on its way into or out of SQLite, borrowed.
//!
//! Owns nothing: a value read from a row points into SQLite's memory until the statement moves on.
//! Thread: that of the statement it came from.
//! Invariant: `Text` is whatever bytes the database holds; they may contain NUL and need not be
//! UTF-8.
//! Must not know: owned values, Python objects.

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
