//! Reads that must not wait, and errors of reads.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::super::{Error, code, files};
use super::*;

const ROWS: i64 = 2000;

fn value(key: i64) -> String {
    format!("{key:0>200}")
}

fn open(path: &str) -> Handle {
    files::watch();
    Handle::open(&options(path)).unwrap()
}

fn filled(path: &str, journal: &str) -> Handle {
    let mut handle = open(path);
    run(&mut handle, &format!("PRAGMA journal_mode={journal}")).unwrap();
    run(&mut handle, "PRAGMA cache_size=5").unwrap();
    run(
        &mut handle,
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)",
    )
    .unwrap();
    run(
        &mut handle,
        &format!(
            "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {ROWS}) INSERT INTO t SELECT i, format('%0200d', i) FROM n"
        ),
    ).unwrap();
    handle
}

fn read(handle: &mut Handle, id: StatementId, key: i64) -> Result<Option<String>, Error> {
    let mut statement = handle.statement(id);
    statement.reset();
    statement.bind(1, ValueRef::Integer(key))?;
    let found = if statement.step()? {
        match statement.column(0)? {
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    } else {
        None
    };
    statement.reset();
    Ok(found)
}

/// Has the system forget what it holds of a file. The descriptor stays open: to close it would end SQLite's locks.
fn forget(file: &File) {
    file.sync_all().unwrap();
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn read_that_would_wait_for_the_disk_fails_and_leaves_nothing_behind() {
    let directory = Directory::new();
    for journal in ["delete", "wal"] {
        let path = directory.file(journal);
        let mut handle = filled(&path, journal);
        if !handle.reads_without_waiting() {
            // A tmpfs.
            return;
        }
        let files: Vec<File> = [path.clone(), format!("{path}-wal")]
            .iter()
            .filter_map(|path| File::open(path).ok())
            .collect();
        let id = prepare(&mut handle, "SELECT v FROM t WHERE k = ?");
        let mut refused = 0;
        for key in (1..=ROWS).step_by(37) {
            files.iter().for_each(forget);
            let (found, can_tell) = handle.at_once(8, |handle| read(handle, id, key));
            assert!(can_tell);
            match found {
                Ok(found) => assert_eq!(found, Some(value(key))),
                Err(error) => {
                    assert_eq!(error.primary(), code::IOERR, "{error:?}");
                    refused += 1;
                }
            }
            assert!(handle.is_autocommit());
            assert_eq!(read(&mut handle, id, key).unwrap(), Some(value(key)));
        }
        assert!(refused > 5, "{journal}: {refused}");
        assert_eq!(integer(&mut handle, "SELECT count(*) FROM t"), ROWS);
        std::mem::forget(files);
    }
}

#[test]
fn statement_that_would_be_compiled_again_fails() {
    let mut handle = open(":memory:");
    run(
        &mut handle,
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)",
    )
    .unwrap();
    let id = prepare(&mut handle, "SELECT v FROM t WHERE k = ?");
    run(&mut handle, "ALTER TABLE t ADD COLUMN w").unwrap();
    let (found, _) = handle.at_once(8, |handle| read(handle, id, 1));
    assert_eq!(found.unwrap_err().primary(), code::AUTH);
    assert_eq!(read(&mut handle, id, 1).unwrap(), None);
    let (found, _) = handle.at_once(8, |handle| read(handle, id, 1));
    assert_eq!(found.unwrap(), None);
}

#[test]
fn what_may_wait_where_nobody_can_tell_is_known() {
    let directory = Directory::new();
    for sql in ["ATTACH ':memory:' AS other", "PRAGMA mmap_size=100000"] {
        let mut handle = open(&directory.file("a.db"));
        assert!(handle.can_read_at_once());
        run(&mut handle, sql).unwrap();
        assert!(!handle.can_read_at_once(), "{sql}");
    }
    let mut handle = open(":memory:");
    for (sql, has) in [
        ("SELECT ?", false),
        ("SELECT count(*) FROM sqlite_schema", false),
        ("SELECT value FROM json_each('[1]')", true),
    ] {
        let id = prepare(&mut handle, sql);
        assert_eq!(handle.statement(id).has_virtual_tables(), has, "{sql}");
    }
}

#[test]
fn file_that_ends_too_early_is_read_as_before() {
    let directory = Directory::new();
    let path = directory.file("short.db");
    drop(filled(&path, "delete"));
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"x", file.metadata().unwrap().len() + 100)
        .unwrap();
    drop(file);
    let mut handle = open(&path);
    assert_eq!(integer(&mut handle, "SELECT count(*) FROM t"), ROWS);
}
