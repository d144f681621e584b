//! Notes: what whoever operates the program should know of, and no caller is told.
//!
//! Owns the texts until somebody writes them to a log, which threads of our own can't.
//! Thread: any. Invariant: a text names no parameter, key or token. Of too many the oldest are dropped.
//! Must not know: Python, where they are written.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Notes that are kept, at most.
const MOST: usize = 64;

/// What a note is about: each has a logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    Query,
    Transaction,
    File,
    Pool,
    Remote,
    Replica,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Debug,
    Info,
    Warning,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub area: Area,
    pub level: Severity,
    pub text: String,
}

/// What nobody has written down.
#[derive(Debug, Default)]
pub struct Notes {
    has_some: AtomicBool,
    waiting: Mutex<VecDeque<Note>>,
}

impl Notes {
    pub fn add(&self, area: Area, level: Severity, text: impl Into<String>) {
        let text = text.into();
        let note = Note { area, level, text };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == MOST {
            waiting.pop_front();
        }
        waiting.push_back(note);
        self.has_some.store(true, Ordering::Release);
    }

    /// Whether there are some.
    pub fn has_some(&self) -> bool {
        self.has_some.load(Ordering::Acquire)
    }

    /// Takes all of them, the oldest first.
    pub fn take(&self) -> VecDeque<Note> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_some.store(false, Ordering::Release);
        std::mem::take(&mut *waiting)
    }
}
