//! Keeps the cyclic garbage collector away from rows that can't be part of a cycle.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Takes a tuple of atoms (None, int, float, str, bytes) out of the collector's lists, as the collector itself
/// would at its first pass. The caller vouches that no element can refer to other objects.
pub fn untrack(tuple: &Bound<'_, PyTuple>) {
    // SAFETY: the pointer is to a live tuple and the interpreter is attached; the check makes a second call,
    // or one on the shared empty tuple, do nothing.
    if unsafe { ffi::PyObject_GC_IsTracked(tuple.as_ptr()) } == 1 {
        // SAFETY: a tracked object of a type with GC support, owned by us alone so far.
        unsafe { ffi::PyObject_GC_UnTrack(tuple.as_ptr().cast()) };
    }
}
