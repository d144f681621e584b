//! Tuples, strings and lists of rows, made without a detour.

use std::ptr;

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

/// What a tuple may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// None, int, float, str, bytes: they refer to nothing, so the cyclic collector need not look at the tuple. It would
    /// find that out itself, at its first pass.
    Atoms,
    Any,
}

/// While it lives the cyclic collector does not start by itself. Each row counts as an object made, though the collector
/// need not see it; thousands of them would have it walk the application's objects for nothing.
pub struct CollectorPause {
    was_enabled: bool,
}

impl CollectorPause {
    pub fn new(_py: Python<'_>) -> Self {
        // SAFETY: attached.
        let was_enabled = unsafe { ffi::PyGC_Disable() } != 0;
        Self { was_enabled }
    }
}

impl Drop for CollectorPause {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: attached still: nobody detaches while rows are made.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// A tuple, element by element.
///
/// # Errors
/// Those of `make`; `MemoryError`.
pub fn tuple(
    py: Python<'_>,
    elements: Elements,
    length: usize,
    mut make: impl FnMut(usize) -> PyResult<Py<PyAny>>,
) -> PyResult<Bound<'_, PyTuple>> {
    let size = isize::try_from(length)?;
    // SAFETY: attached; a size that is not negative.
    let pointer = unsafe { ffi::PyTuple_New(size) };
    // SAFETY: a new reference, or null with an exception set.
    let tuple = unsafe { Bound::from_owned_ptr_or_err(py, pointer) }?;
    // SAFETY: it is a tuple.
    let tuple = unsafe { tuple.cast_into_unchecked::<PyTuple>() };
    // The empty tuple is everybody's.
    if elements == Elements::Atoms && length > 0 {
        // SAFETY: a tracked object of a type with GC support, owned by us alone so far.
        unsafe { ffi::PyObject_GC_UnTrack(pointer.cast()) };
    }
    for (index, place) in (0..size).zip(0..length) {
        let element = make(place)?.into_ptr();
        // SAFETY: the tuple is new, the index within its size, the place empty, and the reference given away.
        unsafe { ffi::PyTuple_SET_ITEM(pointer, index, element) };
    }
    Ok(tuple)
}

/// A string of characters that are known to be ASCII.
///
/// # Errors
/// `MemoryError`.
pub fn ascii<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
    debug_assert!(text.is_ascii());
    let size = isize::try_from(text.len())?;
    let pointer = if size < 2 {
        // SAFETY: attached; the bytes live, and are UTF-8. The interpreter has these strings already.
        unsafe { ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), size) }
    } else {
        // SAFETY: attached; a size that is not negative.
        let pointer = unsafe { ffi::PyUnicode_New(size, 127) };
        if !pointer.is_null() {
            // SAFETY: a new string of one byte per character.
            let data = unsafe { ffi::PyUnicode_1BYTE_DATA(pointer) };
            // SAFETY: both have that many bytes, and the string is ours alone.
            unsafe { ptr::copy_nonoverlapping(text.as_ptr(), data, text.len()) };
        }
        pointer
    };
    // SAFETY: a new reference, or null with an exception set.
    let string = unsafe { Bound::from_owned_ptr_or_err(py, pointer) }?;
    // SAFETY: it is a string.
    Ok(unsafe { string.cast_into_unchecked() })
}

/// A list of known length on its way, which may take several turns of the loop. Nobody else sees it before it is finished:
/// the places that are still empty would crash them.
pub struct NewList {
    list: Py<PyList>,
    filled: isize,
}

impl NewList {
    /// # Errors
    /// `MemoryError`.
    pub fn new(py: Python<'_>, length: usize) -> PyResult<Self> {
        let size = isize::try_from(length)?;
        // SAFETY: attached; a size that is not negative.
        let pointer = unsafe { ffi::PyList_New(size) };
        // SAFETY: a new reference, or null with an exception set.
        let list = unsafe { Bound::from_owned_ptr_or_err(py, pointer) }?;
        // SAFETY: it is a list.
        let list = unsafe { list.cast_into_unchecked::<PyList>() };
        // SAFETY: a tracked object of a type with GC support, owned by us alone so far.
        unsafe { ffi::PyObject_GC_UnTrack(pointer.cast()) };
        Ok(Self {
            list: list.unbind(),
            filled: 0,
        })
    }

    /// Fills the next place.
    ///
    /// # Errors
    /// `IndexError` when it is full.
    pub fn push(&mut self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        let list = self.list.bind(py).as_ptr();
        // SAFETY: a live list. The reference is given away, also when there is no such place.
        let result = unsafe { ffi::PyList_SetItem(list, self.filled, item.into_ptr()) };
        if result < 0 {
            return Err(PyErr::fetch(py));
        }
        self.filled += 1;
        Ok(())
    }

    /// The list, for everybody.
    ///
    /// # Errors
    /// `SystemError` when places are empty.
    pub fn finish(self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let list = self.list.bind(py);
        if usize::try_from(self.filled) != Ok(list.len()) {
            return Err(PySystemError::new_err("a list with empty places"));
        }
        // SAFETY: a whole list, which `new` has untracked and nobody else has seen.
        unsafe { ffi::PyObject_GC_Track(list.as_ptr().cast()) };
        Ok(self.list)
    }
}
