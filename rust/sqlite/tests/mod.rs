//! Tests of the safe layer as its users see it: only what `super` exports.

#![allow(clippy::unwrap_used)]

mod backups;
mod busy;
mod functions;
mod hooks;
mod kinds;
mod lifecycle;
mod reads;
mod values;
mod wals;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Handle, OpenOptions, StatementId, Stop, ValueRef};

/// 100 million rows, which takes seconds unless somebody stops it.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM (SELECT i FROM n LIMIT 100000000)";

fn options(filename: &str) -> OpenOptions {
    OpenOptions {
        filename: CString::new(filename).unwrap(),
        read_only: false,
        create: true,
        syncs: false,
        uri: false,
        key: None,
    }
}

pub(super) fn memory() -> Handle {
    Handle::open(&options(":memory:")).unwrap()
}

fn prepare(handle: &mut Handle, sql: &str) -> StatementId {
    let prepared = handle.prepare(sql, false);
    prepared
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .id
        .unwrap()
}

/// Runs one statement to its end.
fn run(handle: &mut Handle, sql: &str) -> Result<(), super::Error> {
    let Some(id) = handle.prepare(sql, false)?.id else {
        return Ok(());
    };
    let mut result = Ok(true);
    while let Ok(true) = result {
        result = handle.statement(id).step();
    }
    handle.finalize(id);
    result.map(drop)
}

/// The integer in the first column of the first row.
fn integer(handle: &mut Handle, sql: &str) -> i64 {
    let id = prepare(handle, sql);
    let mut statement = handle.statement(id);
    assert!(statement.step().unwrap(), "no row from {sql}");
    let ValueRef::Integer(value) = statement.column(0).unwrap() else {
        panic!("no integer from {sql}")
    };
    handle.finalize(id);
    value
}

/// The handle works and reports nothing old.
fn assert_healthy(handle: &mut Handle) {
    assert_eq!(integer(handle, "SELECT 7"), 7);
    assert!(handle.is_autocommit());
}

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("aiolibsql-sqlite-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A flag that counts how often it was looked at, and can raise itself at the n-th look.
#[derive(Default)]
struct Flag {
    is_raised: AtomicBool,
    looks: AtomicUsize,
    raise_at: usize,
}

impl Flag {
    fn raised() -> Arc<Self> {
        Arc::new(Self {
            is_raised: AtomicBool::new(true),
            ..Self::default()
        })
    }

    fn raised_at(look: usize) -> Arc<Self> {
        Arc::new(Self {
            raise_at: look,
            ..Self::default()
        })
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }
}

impl Stop for Flag {
    fn stop_requested(&self) -> bool {
        let look = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        self.is_raised.load(Ordering::Relaxed) || (self.raise_at > 0 && look >= self.raise_at)
    }
}
