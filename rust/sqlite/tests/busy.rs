//! Tests of the busy slot: who waits for a lock, and how long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::super::{BusyPolicy, Handle, ValueRef, code};
use super::{Directory, Flag, assert_healthy, options, prepare, run};

/// Gives up at the given number of attempts, and keeps what it was told.
struct Recorded {
    give_up_at: u32,
    calls: Arc<Mutex<Vec<(u32, bool)>>>,
}

impl BusyPolicy for Recorded {
    fn on_busy(&mut self, attempts: u32, holds_write_lock: bool) -> bool {
        self.calls
            .lock()
            .unwrap()
            .push((attempts, holds_write_lock));
        attempts < self.give_up_at
    }
}

/// Two handles on one file, the first of which holds the write lock.
fn contended(directory: &Directory) -> (Handle, Handle) {
    let options = options(&directory.file("busy.db"));
    let mut holder = Handle::open(&options).unwrap();
    run(&mut holder, "CREATE TABLE t(a)").unwrap();
    run(&mut holder, "BEGIN IMMEDIATE").unwrap();
    (holder, Handle::open(&options).unwrap())
}

fn record(handle: &mut Handle, give_up_at: u32) -> Arc<Mutex<Vec<(u32, bool)>>> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    handle.set_busy_policy(Box::new(Recorded {
        give_up_at,
        calls: Arc::clone(&calls),
    }));
    calls
}

#[test]
fn busy_policy_waits_for_the_write_of_another_handle() {
    let directory = Directory::new();
    let (mut holder, mut waiter) = contended(&directory);
    let calls = record(&mut waiter, 3);
    assert_eq!(
        run(&mut waiter, "INSERT INTO t VALUES (1)")
            .unwrap_err()
            .code,
        code::BUSY
    );
    assert_eq!(
        *calls.lock().unwrap(),
        [(0, false), (1, false), (2, false), (3, false)]
    );
    run(&mut holder, "ROLLBACK").unwrap();
    run(&mut waiter, "INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(calls.lock().unwrap().len(), 4);
}

#[test]
fn busy_policy_is_told_of_our_own_write_lock() {
    let directory = Directory::new();
    let (mut reader, mut writer) = contended(&directory);
    run(&mut reader, "ROLLBACK").unwrap();
    let select = prepare(
        &mut reader,
        "SELECT 1 FROM sqlite_schema UNION ALL SELECT 2",
    );
    assert!(reader.statement(select).step().unwrap());
    run(&mut writer, "BEGIN IMMEDIATE").unwrap();
    run(&mut writer, "INSERT INTO t VALUES (1)").unwrap();
    let calls = record(&mut writer, 1);
    // A rollback journal: the commit has to wait for the reader.
    assert_eq!(run(&mut writer, "COMMIT").unwrap_err().code, code::BUSY);
    assert_eq!(*calls.lock().unwrap(), [(0, true), (1, true)]);
}

#[test]
fn stop_ends_the_wait_for_a_lock_without_asking_the_policy() {
    let directory = Directory::new();
    let (_holder, mut waiter) = contended(&directory);
    let calls = record(&mut waiter, 3);
    waiter.set_stop(Some(Flag::raised()));
    assert_eq!(
        run(&mut waiter, "BEGIN IMMEDIATE").unwrap_err().code,
        code::BUSY
    );
    assert_eq!(*calls.lock().unwrap(), []);
}

#[test]
fn user_busy_handler_decides_instead_of_the_policy() {
    let directory = Directory::new();
    let (_holder, mut waiter) = contended(&directory);
    let calls = record(&mut waiter, 0);
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    waiter.set_busy_handler(Some(Box::new(move |attempts| {
        counter.fetch_add(1, Ordering::Relaxed);
        attempts < 5
    })));
    assert_eq!(
        run(&mut waiter, "BEGIN IMMEDIATE").unwrap_err().code,
        code::BUSY
    );
    assert_eq!(
        (seen.load(Ordering::Relaxed), calls.lock().unwrap().len()),
        (6, 0)
    );
    waiter.set_busy_handler(None);
    assert_eq!(
        run(&mut waiter, "BEGIN IMMEDIATE").unwrap_err().code,
        code::BUSY
    );
    assert_eq!(
        (seen.load(Ordering::Relaxed), calls.lock().unwrap().len()),
        (6, 1)
    );
}

#[test]
fn busy_timeout_pragma_does_not_take_the_slot_away() {
    let directory = Directory::new();
    let (_holder, mut waiter) = contended(&directory);
    let calls = record(&mut waiter, 0);
    // It answers with the new value although our handler is back.
    let pragma = prepare(&mut waiter, "PRAGMA busy_timeout = 60000");
    assert!(waiter.statement(pragma).step().unwrap());
    assert_eq!(
        waiter.statement(pragma).column(0).unwrap(),
        ValueRef::Integer(60_000)
    );
    assert_eq!(
        run(&mut waiter, "BEGIN IMMEDIATE").unwrap_err().code,
        code::BUSY
    );
    assert_eq!(calls.lock().unwrap().len(), 1);
    // A new authorizer makes SQLite compile, and thereby execute, the pragma once more.
    waiter.statement(pragma).reset();
    waiter.set_authorizer(None);
    assert!(waiter.statement(pragma).step().unwrap());
    assert_eq!(
        run(&mut waiter, "BEGIN IMMEDIATE").unwrap_err().code,
        code::BUSY
    );
    assert_eq!(calls.lock().unwrap().len(), 2);
    waiter.restore_busy_slot();
    assert_eq!(
        run(&mut waiter, "BEGIN IMMEDIATE").unwrap_err().code,
        code::BUSY
    );
    assert_eq!(calls.lock().unwrap().len(), 3);
}

#[test]
fn panicking_busy_policy_is_contained() {
    struct Panicking;
    impl BusyPolicy for Panicking {
        fn on_busy(&mut self, _attempts: u32, _holds_write_lock: bool) -> bool {
            panic!("on purpose")
        }
    }
    let directory = Directory::new();
    let (_holder, mut waiter) = contended(&directory);
    waiter.set_busy_policy(Box::new(Panicking));
    assert_eq!(
        run(&mut waiter, "BEGIN IMMEDIATE").unwrap_err().code,
        code::INTERNAL
    );
    assert_healthy(&mut waiter);
}
