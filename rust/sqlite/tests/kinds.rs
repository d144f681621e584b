//! Tests of how a statement is classified from what was prepared.

use super::super::{Handle, StatementKind};
use super::{Directory, integer, memory, options, prepare, run};

use StatementKind::{
    Attach, Begin, Commit, Ddl, Detach, Dml, Explain, Pragma, Rollback, Savepoint, Select, Vacuum,
};

const SCHEMA: &[&str] = &[
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b UNIQUE)",
    "CREATE TABLE log(a)",
    "CREATE TABLE wide(a, b)",
    "CREATE INDEX i ON t(b)",
    "CREATE TRIGGER fire AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); DELETE FROM log WHERE a < 0; END",
    "CREATE VIEW v AS SELECT * FROM t",
    "CREATE TRIGGER instead INSTEAD OF INSERT ON v BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE ft USING fts5(body)",
    "CREATE VIRTUAL TABLE ft4 USING fts4(body)",
    "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1)",
];

const KINDS: &[(&str, StatementKind)] = &[
    ("SELECT 1", Select),
    ("SELECT * FROM t", Select),
    ("SELECT * FROM v", Select),
    ("SELECT * FROM box", Select),
    ("SELECT * FROM ft4", Select),
    ("SELECT * FROM ft WHERE ft MATCH 'x'", Select),
    ("SELECT * FROM pragma_table_info('t')", Select),
    ("VALUES (1), (2)", Select),
    ("WITH x AS (SELECT 1) SELECT * FROM x", Select),
    ("/* INSERT */ -- DELETE\n SELECT 1", Select),
    ("INSERT INTO t VALUES (1, 2)", Dml),
    ("insert or replace into t values (1, 2)", Dml),
    ("REPLACE INTO t VALUES (1, 2)", Dml),
    ("/* SELECT */ -- BEGIN\n INSERT INTO t VALUES (1, 2)", Dml),
    ("WITH x AS (SELECT 1, 2) INSERT INTO t SELECT * FROM x", Dml),
    (
        "WITH x AS (SELECT 1) UPDATE t SET b = (SELECT * FROM x)",
        Dml,
    ),
    ("WITH x AS (SELECT 1) DELETE FROM t WHERE a IN x", Dml),
    ("INSERT INTO t VALUES (1, 2) RETURNING a", Dml),
    (
        "INSERT INTO t VALUES (1, 2) ON CONFLICT DO UPDATE SET b = 1",
        Dml,
    ),
    ("INSERT INTO t DEFAULT VALUES", Dml),
    ("INSERT INTO v VALUES (1, 2)", Dml),
    ("INSERT INTO ft VALUES ('x')", Dml),
    ("INSERT INTO ft(ft) VALUES ('optimize')", Dml),
    ("DELETE FROM ft4", Dml),
    ("UPDATE ft4 SET body = 'x'", Dml),
    ("UPDATE box SET x0 = 1", Dml),
    ("INSERT INTO box VALUES (1, 2, 3)", Dml),
    ("UPDATE t SET b = 1", Dml),
    ("DELETE FROM t", Dml),
    ("DELETE FROM t WHERE 0", Dml),
    ("BEGIN", Begin),
    ("BEGIN IMMEDIATE", Begin),
    ("/* COMMIT */ begin exclusive transaction", Begin),
    ("COMMIT", Commit),
    ("END TRANSACTION", Commit),
    ("ROLLBACK", Rollback),
    ("SAVEPOINT s", Savepoint),
    ("RELEASE s", Savepoint),
    ("ROLLBACK TO s", Savepoint),
    ("PRAGMA user_version", Pragma),
    ("PRAGMA user_version = 3", Pragma),
    ("PRAGMA main.journal_mode = memory", Pragma),
    ("PRAGMA table_info(box)", Pragma),
    ("PRAGMA table_info(ft4)", Pragma),
    ("PRAGMA integrity_check", Pragma),
    ("PRAGMA optimize", Pragma),
    ("PRAGMA wal_checkpoint", Pragma),
    ("PRAGMA no_such_pragma", Pragma),
    ("ATTACH ':memory:' AS other", Attach),
    ("DETACH other", Detach),
    ("VACUUM", Vacuum),
    ("VACUUM main", Vacuum),
    ("VACUUM INTO 'copy'", Vacuum),
    ("VACUUM INTO printf('%s', 'copy')", Vacuum),
    ("VACUUM INTO (SELECT 'copy')", Vacuum),
    ("CREATE TABLE n(a)", Ddl),
    ("CREATE TEMP TABLE n(a)", Ddl),
    ("CREATE TABLE IF NOT EXISTS t(a)", Ddl),
    ("CREATE TABLE n AS SELECT * FROM t", Ddl),
    ("CREATE INDEX n ON t(b)", Ddl),
    ("CREATE VIEW n AS SELECT 1", Ddl),
    (
        "CREATE TRIGGER n AFTER INSERT ON t BEGIN SELECT 1; END",
        Ddl,
    ),
    ("CREATE VIRTUAL TABLE n USING fts5(a)", Ddl),
    ("DROP TABLE t", Ddl),
    ("DROP TABLE ft4", Ddl),
    ("DROP TABLE box", Ddl),
    ("DROP INDEX i", Ddl),
    ("DROP VIEW v", Ddl),
    ("DROP TRIGGER fire", Ddl),
    ("ALTER TABLE t RENAME TO u", Ddl),
    ("ALTER TABLE t RENAME COLUMN b TO c", Ddl),
    ("ALTER TABLE t ADD COLUMN c", Ddl),
    ("ALTER TABLE wide DROP COLUMN b", Ddl),
    ("ALTER TABLE log ALTER COLUMN a TO a INTEGER", Ddl),
    ("REINDEX", Ddl),
    ("REINDEX t", Ddl),
    ("ANALYZE", Ddl),
    ("ANALYZE t", Ddl),
    ("EXPLAIN INSERT INTO t VALUES (1, 2)", Explain),
    ("EXPLAIN SELECT 1", Explain),
    ("EXPLAIN BEGIN", Explain),
    ("EXPLAIN QUERY PLAN DELETE FROM t", Explain),
    ("DROP TABLE IF EXISTS missing", Ddl),
    ("DROP INDEX IF EXISTS missing", Ddl),
    (";; /* x */ DROP VIEW IF EXISTS missing", Ddl),
    ("CREATE INDEX IF NOT EXISTS i ON t(b)", Ddl),
    (";; VACUUM", Vacuum),
];

#[test]
fn kinds_are_told_from_what_sqlite_compiled() {
    let mut handle = memory();
    for sql in SCHEMA {
        run(&mut handle, sql).unwrap();
    }
    let mut wrong = Vec::new();
    for (sql, expected) in KINDS {
        let id = prepare(&mut handle, sql);
        let kind = handle.statement(id).kind();
        if kind != *expected {
            wrong.push((sql, kind));
        }
        handle.finalize(id);
    }
    assert_eq!(wrong, []);
}

/// A virtual table is connected by the first statement that names it, which prepares the table's
/// own statements within ours.
#[test]
fn kinds_are_the_same_when_the_statement_is_the_first_to_connect_a_virtual_table() {
    let directory = Directory::new();
    let options = options(&directory.file("kinds.db"));
    let mut handle = Handle::open(&options).unwrap();
    for sql in SCHEMA {
        run(&mut handle, sql).unwrap();
    }
    handle.close().unwrap();
    let mut wrong = Vec::new();
    for (sql, expected) in KINDS {
        let mut handle = Handle::open(&options).unwrap();
        let id = prepare(&mut handle, sql);
        let kind = handle.statement(id).kind();
        if kind != *expected {
            wrong.push((sql, kind));
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn kinds_are_told_on_an_empty_database() {
    let mut handle = memory();
    for (sql, expected) in [
        ("ANALYZE", Ddl),
        ("REINDEX", Ddl),
        ("VACUUM", Vacuum),
        ("PRAGMA optimize", Pragma),
    ] {
        let id = prepare(&mut handle, sql);
        assert_eq!(handle.statement(id).kind(), expected, "{sql}");
    }
}

#[test]
fn kind_is_not_disturbed_by_what_runs_inside_a_statement() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    let vacuum = prepare(&mut handle, "VACUUM");
    let insert = prepare(&mut handle, "INSERT INTO t VALUES (1)");
    handle.statement(vacuum).step().unwrap();
    run(&mut handle, "ALTER TABLE t ADD COLUMN b DEFAULT 7").unwrap();
    run(
        &mut handle,
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM t WHERE a = 9; END",
    )
    .unwrap();
    let select = prepare(&mut handle, "SELECT a FROM t");
    // Compiled anew, since the schema has changed; its columns now differ, so the error is the
    // right answer.
    assert!(handle.statement(insert).step().is_err());
    handle.statement(insert).reset();
    assert_eq!(handle.statement(insert).kind(), Dml);
    assert_eq!(handle.statement(select).kind(), Select);
    assert_eq!(handle.statement(vacuum).kind(), Vacuum);
    assert_eq!(integer(&mut handle, "SELECT count(*) FROM t"), 0);
}

#[test]
fn pragma_name_is_lower_case_and_only_for_pragmas() {
    let mut handle = memory();
    run(&mut handle, "CREATE VIRTUAL TABLE ft4 USING fts4(body)").unwrap();
    let id = prepare(&mut handle, "/* x */ PRAGMA main.User_Version");
    assert_eq!(handle.statement(id).pragma(), Some("user_version"));
    let id = prepare(&mut handle, "SELECT * FROM pragma_user_version");
    assert_eq!(handle.statement(id).pragma(), None);
    let id = prepare(&mut handle, "DELETE FROM ft4");
    assert_eq!(handle.statement(id).pragma(), None);
}

#[test]
fn busy_timeout_is_recognised_with_its_argument() {
    let mut handle = memory();
    for (sql, touches, argument) in [
        ("PRAGMA busy_timeout", true, None),
        ("pragma main.Busy_Timeout = 250", true, Some("250")),
        ("PRAGMA busy_timeout(-1)", true, Some("-1")),
        ("EXPLAIN PRAGMA busy_timeout(9)", true, Some("9")),
        ("SELECT * FROM pragma_busy_timeout", false, None),
        ("PRAGMA user_version = 4", false, None),
    ] {
        let id = prepare(&mut handle, sql);
        let statement = handle.statement(id);
        assert_eq!(
            (
                statement.touches_busy_timeout(),
                statement.busy_timeout_argument()
            ),
            (touches, argument),
            "{sql}"
        );
    }
}
