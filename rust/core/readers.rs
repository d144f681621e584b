//! Who of this process holds a snapshot of which file, and since when.
//!
//! Owns a list per file. A snapshot keeps its pages in the write-ahead log, so a log that grows and grows has
//! somebody to blame.
//! Thread: each session enters and leaves on its worker; any session of the file looks.
//! Invariant: a session that has no snapshot between two commands, or was closed, is not in the list.
//! Must not know: Python, what a checkpoint is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

static FILES: Mutex<BTreeMap<PathBuf, Weak<Readers>>> = Mutex::new(BTreeMap::new());

/// One snapshot.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    /// Never used twice.
    pub(super) id: u64,
    pub(super) since: Instant,
    /// The statement that it was taken for.
    pub(super) sql: Arc<str>,
}

/// The snapshots of one file, oldest first.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Vec<Reader>>);

impl Readers {
    fn of(path: &Path) -> Arc<Self> {
        let mut files = lock(&FILES);
        if let Some(readers) = files.get(path).and_then(Weak::upgrade) {
            return readers;
        }
        files.retain(|_, readers| readers.strong_count() > 0);
        let readers = Arc::<Self>::default();
        files.insert(path.to_owned(), Arc::downgrade(&readers));
        readers
    }
}

/// The lists, which stand still.
#[derive(Debug)]
pub struct Held(MutexGuard<'static, BTreeMap<PathBuf, Weak<Readers>>>);

impl Held {
    pub fn take() -> Self {
        Self(lock(&FILES))
    }

    /// In the child nobody is in any.
    pub fn reset(mut self) {
        std::mem::forget(std::mem::take(&mut *self.0));
    }
}

/// One session's place in the list of its file.
#[derive(Debug)]
pub(super) struct Presence {
    readers: Arc<Readers>,
    entered: Option<u64>,
}

impl Presence {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            readers: Readers::of(path),
            entered: None,
        }
    }

    /// Tells whether the session has a snapshot now, after it ran `sql`, or a BEGIN of ours.
    pub(super) fn set(&mut self, is_in_snapshot: bool, sql: Option<Arc<str>>) {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        match (self.entered, is_in_snapshot) {
            (None, true) => {
                let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
                self.entered = Some(id);
                lock(&self.readers.0).push(Reader {
                    id,
                    since: Instant::now(),
                    sql: sql.unwrap_or_else(|| Arc::from("BEGIN")),
                });
            }
            (Some(_), false) => self.leave(),
            (None, false) | (Some(_), true) => {}
        }
    }

    /// The oldest snapshot of the file.
    pub(super) fn oldest(&self) -> Option<Reader> {
        lock(&self.readers.0).first().cloned()
    }

    fn leave(&mut self) {
        if let Some(id) = self.entered.take() {
            lock(&self.readers.0).retain(|reader| reader.id != id);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.leave();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
