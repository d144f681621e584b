//! Tests of write-ahead logs: who makes checkpoints, and when.

use std::thread;
use std::time::Duration;

use super::super::{Checkpointed, Handle, code};
use super::{Directory, assert_healthy, integer, options, prepare, run};

fn in_wal_mode(file: &str) -> Handle {
    let mut handle = Handle::open(&options(file)).unwrap();
    handle.watch_wals();
    run(&mut handle, "PRAGMA journal_mode=wal").unwrap();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    handle
}

fn commit_pages(handle: &mut Handle, pages: u32) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {pages}) \
         INSERT INTO t SELECT zeroblob(3500) FROM n"
    );
    run(handle, &sql).unwrap();
}

fn length(handle: &mut Handle) -> u32 {
    let mut pages = 0;
    handle.take_wal_lengths(|length| {
        assert_eq!(length.schema.as_c_str(), c"main");
        pages = length.pages;
    });
    pages
}

#[test]
fn commit_makes_no_checkpoint_and_tells_the_length() {
    let directory = Directory::new();
    let file = directory.file("a.db");
    let mut handle = in_wal_mode(&file);
    let size = || std::fs::metadata(&file).unwrap().len();
    let before = size();
    for _ in 0..5 {
        commit_pages(&mut handle, 1500);
        assert_eq!(size(), before);
    }
    assert!(length(&mut handle) > 7500);
    assert_eq!(length(&mut handle), 0);
    let done = handle.checkpoint(c"main").unwrap();
    assert!(done.pages > 7500);
    assert_eq!(done.written, done.pages);
    assert!(size() > 7500 * 4096);
    handle.truncate_wal(c"main", Duration::ZERO).unwrap();
    assert_eq!(std::fs::metadata(format!("{file}-wal")).unwrap().len(), 0);
    assert_healthy(&mut handle);
}

#[test]
fn pragma_gives_sqlite_its_own_checkpoints_back() {
    let directory = Directory::new();
    let file = directory.file("a.db");
    let mut handle = in_wal_mode(&file);
    assert!(handle.is_watching_wals());
    assert_eq!(integer(&mut handle, "PRAGMA wal_autocheckpoint"), 0);
    assert!(handle.is_watching_wals());
    for pages in [50, 0] {
        run(&mut handle, &format!("PRAGMA wal_autocheckpoint={pages}")).unwrap();
        for _ in 0..3 {
            assert!(!handle.is_watching_wals());
            assert_eq!(integer(&mut handle, "PRAGMA wal_autocheckpoint"), pages);
        }
        length(&mut handle);
        commit_pages(&mut handle, 100);
        assert_eq!(length(&mut handle), 0);
    }
    handle.watch_wals();
    commit_pages(&mut handle, 1);
    assert!(length(&mut handle) > 0);
}

#[test]
fn reader_keeps_the_log_from_being_emptied_and_nobody_waits() {
    let directory = Directory::new();
    let file = directory.file("a.db");
    let mut writer = in_wal_mode(&file);
    let mut reader = Handle::open(&options(&file)).unwrap();
    commit_pages(&mut writer, 10);
    let id = prepare(&mut reader, "SELECT a FROM t");
    assert!(reader.statement(id).step().unwrap());
    assert!(reader.is_in_snapshot());
    assert_eq!(reader.checkpoint(c"main").unwrap_err().code, code::LOCKED);
    commit_pages(&mut writer, 10);
    let Checkpointed { pages, written } = writer.checkpoint(c"main").unwrap();
    assert!(0 < written && written < pages);
    assert_eq!(
        writer
            .truncate_wal(c"main", Duration::ZERO)
            .unwrap_err()
            .primary(),
        code::BUSY
    );
    reader.finalize(id);
    assert!(!reader.is_in_snapshot());
    writer.truncate_wal(c"main", Duration::ZERO).unwrap();
}

#[test]
fn readers_are_waited_for_if_there_is_patience() {
    let directory = Directory::new();
    let file = directory.file("a.db");
    let mut writer = in_wal_mode(&file);
    let mut reader = Handle::open(&options(&file)).unwrap();
    commit_pages(&mut writer, 10);
    let id = prepare(&mut reader, "SELECT a FROM t");
    assert!(reader.statement(id).step().unwrap());
    commit_pages(&mut writer, 10);
    let patience = Duration::from_secs(20);
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(20));
            reader.finalize(id);
        });
        writer.truncate_wal(c"main", patience).unwrap();
    });
    assert_healthy(&mut writer);
}

#[test]
fn database_without_a_log_has_nothing_to_write_back() {
    let directory = Directory::new();
    let mut handle = Handle::open(&options(&directory.file("a.db"))).unwrap();
    handle.watch_wals();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    assert_eq!(length(&mut handle), 0);
    let nothing = Checkpointed {
        pages: 0,
        written: 0,
    };
    assert_eq!(handle.checkpoint(c"main"), Ok(nothing));
}
