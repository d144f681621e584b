//! Handles of the runtime's tasks, which only the process that made them may drop.
//!
//! Owns one handle. To drop it wakes a task, which in a child of a fork belongs to a runtime without threads whose
//! locks may be held by nobody.
//! Must not know: what it is a handle of.

use crate::core::Birth;

/// A value that a child of a fork forgets instead of dropping it.
#[derive(Debug)]
pub struct Native<T> {
    /// Always there until it is dropped.
    value: Option<T>,
    birth: Birth,
}

impl<T> Native<T> {
    pub fn new(value: T) -> Self {
        Self {
            value: Some(value),
            birth: Birth::now(),
        }
    }

    /// The value, in the process that it belongs to.
    pub fn get(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| !self.birth.is_inherited())
    }

    pub fn get_mut(&mut self) -> Option<&mut T> {
        let is_inherited = self.birth.is_inherited();
        self.value.as_mut().filter(|_| !is_inherited)
    }
}

impl<T> Drop for Native<T> {
    fn drop(&mut self) {
        if self.birth.is_inherited() {
            std::mem::forget(self.value.take());
        }
    }
}
