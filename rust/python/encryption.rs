//! Encryption keys as Python gives them.
//!
//! Owns nothing: a key is copied out of the caller's object, which Python alone can overwrite.
//! Thread: the caller's.
//! Invariant: no message shows a key, or anything of it but its length.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::sqlite::Key;

/// Reads a key.
///
/// # Errors
/// `TypeError` if it is neither str nor bytes, `ValueError` if it is empty, longer than the cipher
/// takes, or has surrogates.
pub fn read(given: &Bound<'_, PyAny>, name: &str) -> PyResult<Key> {
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return checked(bytes.as_bytes(), name);
    }
    let Ok(text) = given.cast::<PyString>() else {
        let kind = given.get_type().qualname()?;
        let message = format!("{name} must be str or bytes, not {kind}");
        return Err(PyTypeError::new_err(message));
    };
    // UnicodeEncodeError would carry the whole text in its arguments.
    let text = text.to_str().map_err(|_| {
        PyValueError::new_err(format!("{name} has surrogates, which UTF-8 can't encode"))
    })?;
    checked(text.as_bytes(), name)
}

/// Reads a key, or None.
///
/// # Errors
/// As `read`.
pub fn read_optional(given: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Key>> {
    if given.is_none() {
        return Ok(None);
    }
    read(given, name).map(Some)
}

/// Whether a name stands for a database that has no file.
pub fn is_memory(filename: &[u8]) -> bool {
    let has = |part: &[u8]| filename.windows(part.len()).any(|window| window == part);
    let is_uri = filename.starts_with(b"file:");
    filename.is_empty()
        || filename == b":memory:"
        || is_uri && (has(b"file::memory:") || has(b"mode=memory"))
}

fn checked(bytes: &[u8], name: &str) -> PyResult<Key> {
    if bytes.is_empty() {
        return Err(PyValueError::new_err(format!("{name} must not be empty")));
    }
    if bytes.len() > Key::LONGEST {
        return Err(PyValueError::new_err(format!(
            "{name} has {} bytes, of which the cipher would use the first {} only; a file that libSQL \
             encrypted with a longer key opens with these",
            bytes.len(),
            Key::LONGEST
        )));
    }
    Ok(Key::new(bytes))
}
