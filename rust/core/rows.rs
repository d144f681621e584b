//! RowStream: the rows of one execution on their way from the backend to the cursor.
//!
//! Owns the batches that were read and not yet taken, and how the stream ended. A cancelled fetch loses
//! nothing: what it had read stays here for the next one.
//! Threads: the backend pushes, the cursor's callers take.
//! Invariant: batches are taken in the order in which they were read; nothing follows an end.
//! Must not know: Python.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::batch::RowBatch;
use super::error::Error;
use super::tally::{Tally, Timing};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The rows of one execution.
#[derive(Debug)]
pub struct RowStream {
    id: u64,
    /// A server has them.
    is_remote: AtomicBool,
    /// Somebody wants to know what it costs.
    tally: Option<Box<Tally>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The next batch: most results have no more than one.
    next: Option<RowBatch>,
    /// Those after it.
    batches: VecDeque<RowBatch>,
    end: Option<Result<(), Error>>,
}

/// What a cursor finds when it looks for rows.
#[derive(Debug)]
pub enum Next {
    Batch(RowBatch),
    /// Nothing read ahead; the backend has to be asked.
    Empty,
    End,
    Failed(Error),
}

impl State {
    fn push(&mut self, batch: RowBatch) {
        if self.next.is_none() {
            self.next = Some(batch);
        } else {
            self.batches.push_back(batch);
        }
    }

    fn batches(&self) -> impl Iterator<Item = &RowBatch> {
        self.next.iter().chain(&self.batches)
    }
}

impl Default for RowStream {
    fn default() -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            is_remote: AtomicBool::new(false),
            tally: None,
            state: Mutex::default(),
        }
    }
}

impl RowStream {
    /// One that says what it costs.
    pub fn counted() -> Self {
        Self {
            tally: Some(Box::default()),
            ..Self::default()
        }
    }

    /// What it has cost by now, if it was to say so.
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }

    /// The backend works on it as long as this lives.
    pub fn timing(&self) -> Option<Timing<'_>> {
        let tally = self.tally.as_ref()?;
        Some(tally.since(Instant::now()))
    }

    /// The backend has worked on it since then.
    pub fn add_time_since(&self, began: Instant) {
        if let Some(tally) = &self.tally {
            drop(tally.since(began));
        }
    }

    /// Identifies the stream within the process.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Its statement is run by a server, for a connection that has a file too.
    pub fn set_remote(&self, is_remote: bool) {
        self.is_remote.store(is_remote, Ordering::Relaxed);
    }

    pub fn is_remote(&self) -> bool {
        self.is_remote.load(Ordering::Relaxed)
    }

    pub fn push(&self, batch: RowBatch) {
        if !batch.is_empty() {
            if let Some(tally) = &self.tally {
                tally.add_rows(batch.len());
            }
            self.lock().push(batch);
        }
    }

    /// Nothing more will come. The first end stays.
    pub fn end(&self, how: Result<(), Error>) {
        self.lock().end.get_or_insert(how);
    }

    /// Whether the backend is through with it.
    pub fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// The error that ended it, and that nobody has been told.
    pub fn failure(&self) -> Option<Error> {
        self.lock().end.as_ref()?.as_ref().err().cloned()
    }

    /// Whether a batch can be taken, or the end seen, without asking the backend.
    pub fn is_ready(&self) -> bool {
        let state = self.lock();
        state.next.is_some() || state.end.is_some()
    }

    /// Rows that can be taken without asking the backend.
    pub fn available(&self) -> usize {
        self.lock().batches().map(RowBatch::len).sum()
    }

    /// Bytes of memory, about, that the rows take which were read and not yet taken.
    pub fn size(&self) -> usize {
        self.lock().batches().map(RowBatch::size).sum()
    }

    /// Takes the next batch. A failure is reported once; afterwards the stream is at its end.
    pub fn next(&self) -> Next {
        let mut state = self.lock();
        if let Some(batch) = state.next.take() {
            state.next = state.batches.pop_front();
            return Next::Batch(batch);
        }
        match &mut state.end {
            None => Next::Empty,
            Some(Ok(())) => Next::End,
            Some(end @ Err(_)) => match std::mem::replace(end, Ok(())) {
                Err(error) => Next::Failed(error),
                Ok(()) => Next::End,
            },
        }
    }

    /// Its statement is executed again, from the beginning.
    pub fn restart(&self) {
        if let Some(tally) = &self.tally {
            tally.restart();
        }
        let mut state = self.lock();
        state.next = None;
        state.batches.clear();
        state.end = None;
    }

    /// Throws away what was read ahead.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.next = None;
        state.batches.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
