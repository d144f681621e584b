//! Texts: what was made of the SQL of statements, for a literal is mostly the same object again.
//!
//! Owns a few of them, found by the address of the object. Thread: under the lock of the connection's settings.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// How many are kept.
const PLACES: usize = 8;

/// The bytes of one that is kept, at most.
const LONGEST: usize = 1 << 14;

/// An object, which keeps its address as long as it is here, and its text.
type Known = (Py<PyString>, Arc<str>);

/// Texts by their objects.
#[derive(Default)]
pub struct Texts([Option<Known>; PLACES]);

impl Texts {
    /// The text of this object.
    pub fn get(&self, sql: &Bound<'_, PyAny>) -> Option<&Arc<str>> {
        let known = self.0[place(sql)].as_ref();
        known
            .filter(|(object, _)| object.is(sql))
            .map(|(_, text)| text)
    }

    /// Keeps it. Returns what has to go, to be dropped without a lock.
    pub fn put(&mut self, sql: &Bound<'_, PyString>, text: &Arc<str>) -> Option<Known> {
        // One of a class of its own might refer to anything.
        if text.len() > LONGEST || !sql.is_exact_instance_of::<PyString>() {
            return None;
        }
        self.0[place(sql)].replace((sql.clone().unbind(), Arc::clone(text)))
    }
}

fn place(sql: &Bound<'_, PyAny>) -> usize {
    // Objects begin at multiples of 16.
    let address = sql.as_ptr().addr() >> 4;
    (address ^ address >> 3 ^ address >> 8) % PLACES
}
