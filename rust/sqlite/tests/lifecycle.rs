//! Tests of opening, closing, keys, and what outlives what.

use std::sync::Arc;

use super::super::{BusyPolicy, Handle, Key, Limit, OpenOptions, code, initialize};
use super::{Directory, integer, memory, options, prepare, run};

fn with_key(filename: &str, key: Option<&str>) -> OpenOptions {
    let mut options = options(filename);
    options.key = key.map(|key| Arc::new(Key::new(key.as_bytes())));
    options
}

#[test]
fn initialize_can_be_called_again_and_inside_an_executor() {
    futures::executor::block_on(async {
        initialize().unwrap();
        initialize().unwrap();
    });
}

#[test]
fn handle_moves_between_threads_with_a_running_statement() {
    let mut handle = memory();
    let id = prepare(&mut handle, "VALUES (1), (2)");
    assert!(handle.statement(id).step().unwrap());
    let mut handle = std::thread::spawn(move || {
        assert!(handle.statement(id).step().unwrap());
        handle
    })
    .join()
    .unwrap();
    assert!(!handle.statement(id).step().unwrap());
}

#[test]
fn open_missing_file_without_create_fails() {
    let directory = Directory::new();
    let mut options = options(&directory.file("missing.db"));
    options.create = false;
    let error = Handle::open(&options).unwrap_err();
    assert_eq!(
        (error.primary(), error.to_string().as_str()),
        (code::CANTOPEN, "unable to open database file")
    );
}

#[test]
fn open_read_only_refuses_writes() {
    let directory = Directory::new();
    let mut options = options(&directory.file("a.db"));
    let mut handle = Handle::open(&options).unwrap();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    assert_eq!(handle.is_readonly_database(), Some(false));
    let path = std::fs::canonicalize(directory.path())
        .unwrap()
        .join("a.db");
    let path = path.to_str().unwrap().as_bytes().to_vec();
    assert_eq!(handle.filename(), Some(path));
    options.read_only = true;
    let mut handle = Handle::open(&options).unwrap();
    assert_eq!(handle.is_readonly_database(), Some(true));
    assert_eq!(
        run(&mut handle, "INSERT INTO t VALUES (1)")
            .unwrap_err()
            .primary(),
        code::READONLY
    );
    assert_eq!(memory().filename(), None);
}

#[test]
fn wrong_key_is_told_by_the_readable_check() {
    let directory = Directory::new();
    let file = directory.file("secret.db");
    let right = with_key(&file, Some("right"));
    let mut handle = Handle::open(&right).unwrap();
    handle.check_readable(&right).unwrap();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    handle.close().unwrap();
    for key in [Some("wrong"), None] {
        let options = with_key(&file, key);
        let mut handle = Handle::open(&options).unwrap();
        assert_eq!(
            handle.check_readable(&options).unwrap_err().code,
            code::NOTADB
        );
        assert_eq!(handle.active_statements(), 0);
    }
    let mut handle = Handle::open(&right).unwrap();
    handle.check_readable(&right).unwrap();
    assert_eq!(integer(&mut handle, "SELECT count(*) FROM t"), 0);
}

#[test]
fn open_options_do_not_show_their_key() {
    let shown = format!("{:?}", with_key("a.db", Some("hunter2")));
    assert!(
        shown.contains("has_key: true") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn close_with_open_statements_rolls_back_and_frees_the_file() {
    let directory = Directory::new();
    let options = options(&directory.file("a.db"));
    let mut handle = Handle::open(&options).unwrap();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    run(&mut handle, "INSERT INTO t VALUES (1), (2)").unwrap();
    run(&mut handle, "BEGIN").unwrap();
    run(&mut handle, "INSERT INTO t VALUES (3)").unwrap();
    let select = prepare(&mut handle, "SELECT a FROM t");
    assert!(handle.statement(select).step().unwrap());
    let _unused = prepare(&mut handle, "DELETE FROM t");
    assert_eq!(handle.active_statements(), 1);
    assert!(!handle.is_autocommit() && handle.holds_write_lock());
    handle.close().unwrap();
    let mut handle = Handle::open(&options).unwrap();
    assert_eq!(integer(&mut handle, "SELECT count(*) FROM t"), 2);
    run(&mut handle, "INSERT INTO t VALUES (3)").unwrap();
}

#[test]
fn drop_with_open_statements_closes_too() {
    let directory = Directory::new();
    let options = options(&directory.file("a.db"));
    let mut handle = Handle::open(&options).unwrap();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    run(&mut handle, "BEGIN IMMEDIATE").unwrap();
    let select = prepare(&mut handle, "SELECT a FROM sqlite_schema, (SELECT 1 AS a)");
    assert!(handle.statement(select).step().unwrap());
    drop(handle);
    let mut handle = Handle::open(&options).unwrap();
    run(&mut handle, "INSERT INTO t VALUES (3)").unwrap();
}

#[test]
fn finalize_twice_is_harmless_and_leaves_the_successor_alone() {
    let mut handle = memory();
    let first = prepare(&mut handle, "SELECT 1");
    handle.finalize(first);
    let second = prepare(&mut handle, "SELECT 2");
    assert_ne!(first, second);
    handle.finalize(first);
    assert!(handle.statement(second).step().unwrap());
}

#[test]
#[should_panic(expected = "was finalized")]
fn statement_of_a_finalized_id_panics() {
    let mut handle = memory();
    let id = prepare(&mut handle, "SELECT 1");
    handle.finalize(id);
    let _ = prepare(&mut handle, "SELECT 2");
    handle.statement(id);
}

#[test]
fn handle_counts_changes_and_rowids() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t(a INTEGER PRIMARY KEY)").unwrap();
    run(&mut handle, "INSERT INTO t VALUES (10), (20), (30)").unwrap();
    assert_eq!(
        (
            handle.changes(),
            handle.total_changes(),
            handle.last_insert_rowid()
        ),
        (3, 3, 30)
    );
    run(&mut handle, "DELETE FROM t WHERE a > 10").unwrap();
    assert_eq!((handle.changes(), handle.total_changes()), (2, 5));
    handle.set_last_insert_rowid(-4);
    assert_eq!(handle.last_insert_rowid(), -4);
}

#[test]
fn limit_reads_sets_and_tells_the_old_value() {
    let mut handle = memory();
    let before = handle.limit(Limit::VariableNumber, None);
    assert_eq!(handle.limit(Limit::VariableNumber, Some(5)), before);
    assert_eq!(handle.limit(9, None), 5);
    assert!(handle.prepare("SELECT ?6", false).is_err());
    assert_eq!(handle.limit(-7, Some(1)), -1);
}

#[test]
fn transaction_state_follows_begin_and_commit() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    run(&mut handle, "BEGIN").unwrap();
    assert!(!handle.is_autocommit() && !handle.holds_write_lock());
    run(&mut handle, "INSERT INTO t VALUES (1)").unwrap();
    assert!(handle.holds_write_lock());
    run(&mut handle, "COMMIT").unwrap();
    assert!(handle.is_autocommit() && !handle.holds_write_lock());
}

#[test]
fn open_without_a_policy_reports_a_lock_at_once() {
    struct Never;
    impl BusyPolicy for Never {
        fn on_busy(&mut self, _attempts: u32, _holds_write_lock: bool) -> bool {
            unreachable!("the policy of another handle")
        }
    }
    let directory = Directory::new();
    let options = options(&directory.file("a.db"));
    let mut first = Handle::open(&options).unwrap();
    first.set_busy_policy(Box::new(Never));
    run(&mut first, "BEGIN IMMEDIATE").unwrap();
    let mut second = Handle::open(&options).unwrap();
    assert_eq!(
        run(&mut second, "BEGIN IMMEDIATE").unwrap_err().code,
        code::BUSY
    );
}

#[test]
fn file_names_are_literal_unless_uri_is_asked_for() {
    let directory = Directory::new();
    let name = format!("file:{}?mode=memory", directory.file("uri.db"));
    let mut with_uri = options(&name);
    with_uri.uri = true;
    let handle = Handle::open(&with_uri).unwrap();
    assert!(
        std::fs::read_dir(directory.path())
            .unwrap()
            .next()
            .is_none()
    );
    assert!(
        handle
            .filename()
            .is_none_or(|path| path.ends_with(b"uri.db"))
    );
    // Literal: there is no directory `file:`.
    let error = Handle::open(&options(&name)).unwrap_err();
    assert_eq!(error.primary(), code::CANTOPEN);
    let mut handle = memory();
    assert_eq!(integer(&mut handle, "SELECT 1"), 1);
}
