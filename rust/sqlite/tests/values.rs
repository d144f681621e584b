//! Tests of binding and reading values, and of the tables of codes and limits.

use std::sync::Arc;

use super::super::{
    ALL_CODES, Error, Limit, Statement, ValueRef, code, code_name, complete, real_text, version,
};
use super::{memory, prepare, run};

#[test]
fn values_of_every_type_come_back_as_bound() {
    let mut handle = memory();
    let id = prepare(&mut handle, "SELECT ?1, typeof(?1)");
    let values: &[(ValueRef<'_>, &[u8])] = &[
        (ValueRef::Null, b"null"),
        (ValueRef::Integer(i64::MIN), b"integer"),
        (ValueRef::Integer(i64::MAX), b"integer"),
        (ValueRef::Real(-1.5), b"real"),
        (ValueRef::Real(f64::INFINITY), b"real"),
        (ValueRef::Text(b""), b"text"),
        (ValueRef::Text("häß \u{1f600}".as_bytes()), b"text"),
        (ValueRef::Text(b"a\0b"), b"text"),
        (ValueRef::Text(b"\xff\xfe\x80"), b"text"),
        (ValueRef::Blob(b""), b"blob"),
        (ValueRef::Blob(b"\0\xff\0"), b"blob"),
    ];
    for (value, type_name) in values {
        let mut statement = handle.statement(id);
        statement.bind(1, *value).unwrap();
        assert!(statement.step().unwrap());
        assert_eq!(statement.column(0).unwrap(), *value);
        assert_eq!(statement.column(1).unwrap(), ValueRef::Text(type_name));
        statement.reset();
    }
}

#[test]
fn text_of_a_utf16_database_comes_as_utf8() {
    let mut handle = memory();
    run(&mut handle, "PRAGMA encoding = 'UTF-16'").unwrap();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    run(
        &mut handle,
        "INSERT INTO t VALUES ('h\u{e4}\u{1f600}'), ('')",
    )
    .unwrap();
    let id = prepare(&mut handle, "SELECT a, a FROM t ORDER BY rowid");
    let mut statement = handle.statement(id);
    assert!(statement.step().unwrap());
    let (first, second) = (statement.column(0).unwrap(), statement.column(1).unwrap());
    assert_eq!(first, ValueRef::Text("h\u{e4}\u{1f600}".as_bytes()));
    assert_eq!((first, statement.column(0).unwrap()), (second, first));
    assert!(statement.step().unwrap());
    assert_eq!(statement.column(0).unwrap(), ValueRef::Text(b""));
}

#[test]
fn column_is_null_without_a_row_or_out_of_range() {
    let mut handle = memory();
    let id = prepare(&mut handle, "SELECT 1, zeroblob(3), zeroblob(0)");
    let mut statement = handle.statement(id);
    assert_eq!(statement.column(0).unwrap(), ValueRef::Null);
    assert!(statement.step().unwrap());
    assert_eq!(statement.column(1).unwrap(), ValueRef::Blob(b"\0\0\0"));
    assert_eq!(statement.column(2).unwrap(), ValueRef::Blob(b""));
    assert_eq!(statement.column(3).unwrap(), ValueRef::Null);
    assert_eq!(statement.column(usize::MAX).unwrap(), ValueRef::Null);
    assert!(!statement.step().unwrap());
    assert_eq!(statement.column(0).unwrap(), ValueRef::Null);
}

#[test]
fn bind_refuses_what_does_not_fit() {
    let mut handle = memory();
    handle.limit(Limit::Length, Some(1000));
    let id = prepare(&mut handle, "SELECT ?");
    let mut statement = handle.statement(id);
    assert_eq!(
        statement.bind(2, ValueRef::Null).unwrap_err().code,
        code::RANGE
    );
    assert_eq!(
        statement.bind(0, ValueRef::Null).unwrap_err().code,
        code::RANGE
    );
    assert_eq!(
        statement.bind(usize::MAX, ValueRef::Null).unwrap_err().code,
        code::RANGE
    );
    assert_eq!(
        statement
            .bind(1, ValueRef::Blob(&[0; 1001]))
            .unwrap_err()
            .code,
        code::TOOBIG
    );
    assert_eq!(
        statement
            .bind(1, ValueRef::Text(&[b'x'; 1001]))
            .unwrap_err()
            .code,
        code::TOOBIG
    );
    statement.bind(1, ValueRef::Integer(7)).unwrap();
    assert!(statement.step().unwrap());
    assert_eq!(
        statement.bind(1, ValueRef::Null).unwrap_err().code,
        code::MISUSE
    );
    assert_eq!(statement.column(0).unwrap(), ValueRef::Integer(7));
}

#[test]
fn clear_bindings_ends_a_row_that_shows_a_bound_value() {
    let mut handle = memory();
    let id = prepare(&mut handle, "SELECT ?");
    let mut statement = handle.statement(id);
    statement
        .bind(1, ValueRef::Text(&vec![b'x'; 100_000]))
        .unwrap();
    assert!(statement.step().unwrap());
    statement.clear_bindings();
    assert!(!statement.is_busy());
    assert_eq!(statement.column(0).unwrap(), ValueRef::Null);
    assert!(statement.step().unwrap());
    assert_eq!(statement.column(0).unwrap(), ValueRef::Null);
}

#[test]
fn statement_describes_itself() {
    let mut handle = memory();
    run(
        &mut handle,
        "CREATE TABLE t(a VARCHAR(10), \"ü b\" INTEGER)",
    )
    .unwrap();
    let sql =
        "SELECT a, \"ü b\", 1 + 1 FROM t WHERE a = :name AND a <> ? AND a <> @at AND a <> $d; rest";
    let prepared = handle.prepare(sql, true).unwrap();
    assert_eq!(&sql[prepared.tail..], " rest");
    let mut statement = handle.statement(prepared.id.unwrap());
    assert_eq!(statement.sql(), &sql[..prepared.tail]);
    let names: Vec<_> = (0..statement.column_count())
        .map(|i| statement.column_name(i))
        .collect();
    assert_eq!(names, ["a", "ü b", "1 + 1"]);
    let decltypes: Vec<_> = (0..4).map(|i| statement.column_decltype(i)).collect();
    assert_eq!(
        decltypes,
        [
            Some("VARCHAR(10)".to_owned()),
            Some("INTEGER".to_owned()),
            None,
            None
        ]
    );
    let parameters: Vec<_> = (0..=5).map(|i| statement.parameter_name(i)).collect();
    assert_eq!(
        parameters,
        [None, Some(":name"), None, Some("@at"), Some("$d"), None]
    );
    assert_eq!(statement.parameter_count(), 4);
    assert_eq!(statement.column_name(9), "");
    statement.bind(1, ValueRef::Text(b"it's")).unwrap();
    assert!(
        statement
            .expanded_sql()
            .unwrap()
            .contains("a = 'it''s' AND a <> NULL")
    );
    assert!(statement.is_readonly() && !statement.is_explain());
}

#[test]
fn tail_begins_where_sqlite_stopped_reading() {
    let mut handle = memory();
    for (sql, is_statement, rest) in [
        ("", false, ""),
        ("  -- only a comment", false, ""),
        (";;", false, ""),
        ("SELECT 1", true, ""),
        ("SELECT 'ä'; SELECT 2", true, " SELECT 2"),
        (" ; /* ü */ SELECT 1;-- end", true, "-- end"),
        ("SELECT 1\0; SELECT 2", true, "\0; SELECT 2"),
    ] {
        let prepared = handle.prepare(sql, false).unwrap();
        assert_eq!(
            (prepared.id.is_some(), &sql[prepared.tail..]),
            (is_statement, rest),
            "{sql:?}"
        );
    }
}

#[test]
fn errors_carry_extended_code_message_and_offset() {
    let mut handle = memory();
    let error = handle
        .prepare("SELECT 1, nonsense FROM sqlite_schema", false)
        .unwrap_err();
    assert_eq!(
        error,
        Error {
            offset: Some(10),
            ..Error::new(code::ERROR, "no such column: nonsense")
        }
    );
    run(&mut handle, "CREATE TABLE t(a UNIQUE)").unwrap();
    run(&mut handle, "INSERT INTO t VALUES (1)").unwrap();
    let error = run(&mut handle, "INSERT INTO t VALUES (1)").unwrap_err();
    assert_eq!(
        (error.code, error.primary()),
        (code::CONSTRAINT_UNIQUE, code::CONSTRAINT)
    );
    assert_eq!(
        (error.to_string().as_str(), error.offset),
        ("UNIQUE constraint failed: t.a", None)
    );
}

#[test]
fn code_names_cover_extended_primary_and_unknown_codes() {
    assert_eq!(code_name(2067), Some("SQLITE_CONSTRAINT_UNIQUE"));
    assert_eq!(code_name(517), Some("SQLITE_BUSY_SNAPSHOT"));
    assert_eq!(code_name(0), Some("SQLITE_OK"));
    assert_eq!(code_name(26), Some("SQLITE_NOTADB"));
    assert_eq!(
        code_name(code::CONSTRAINT + 99 * 256),
        Some("SQLITE_CONSTRAINT")
    );
    assert_eq!(code_name(77), None);
    for (index, (code, name)) in ALL_CODES.iter().enumerate() {
        assert!(
            ALL_CODES[index + 1..]
                .iter()
                .all(|other| other.0 != *code && other.1 != *name),
            "{name} twice"
        );
        let primary = code_name(code & 0xff).unwrap();
        assert!(
            name.starts_with(primary),
            "{name} does not extend {primary}"
        );
    }
    assert!(ALL_CODES.len() >= 108);
}

#[test]
fn library_functions_need_no_handle() {
    assert_eq!(version(), "3.47.0");
    assert!(complete("SELECT 1;") && complete("SELECT 1; -- done") && !complete("SELECT 1"));
    assert!(!complete(
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1;"
    ));
    assert!(complete("SELECT 1;\0 rest") && !complete(""));
}

#[test]
fn declared_types_are_read_again_when_the_statement_was_compiled_again() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t (a DATE, b)").unwrap();
    let id = prepare(&mut handle, "SELECT * FROM t");
    let decltypes = |statement: &Statement<'_>| -> Vec<Option<String>> {
        let found = statement.column_decltypes();
        found
            .iter()
            .map(|of| of.as_deref().map(Into::into))
            .collect()
    };
    let mut statement = handle.statement(id);
    assert_eq!(decltypes(&statement), [Some("DATE".to_owned()), None]);
    assert!(Arc::ptr_eq(
        &statement.column_decltypes(),
        &statement.column_decltypes()
    ));
    assert!(!statement.step().unwrap());
    statement.reset();
    for sql in ["DROP TABLE t", "CREATE TABLE t (a, b TIMESTAMP, c)"] {
        run(&mut handle, sql).unwrap();
    }
    let mut statement = handle.statement(id);
    assert!(!statement.step().unwrap());
    let changed = [None, Some("TIMESTAMP".to_owned()), None];
    assert_eq!(decltypes(&statement), changed);
    assert_eq!(statement.column_names().len(), 3);
}

#[test]
fn real_text_is_what_sqlite_makes_of_a_double() {
    let mut handle = memory();
    let id = prepare(&mut handle, "SELECT CAST(? AS TEXT)");
    let numbers = [
        0.0,
        -0.0,
        1.0,
        0.1,
        1e300,
        -5e-324,
        f64::MAX,
        f64::INFINITY,
        123_456_789.125,
    ];
    for number in numbers {
        let mut statement = handle.statement(id);
        statement.bind(1, ValueRef::Real(number)).unwrap();
        assert!(statement.step().unwrap());
        let expected = real_text(number);
        assert_eq!(
            statement.column(0).unwrap(),
            ValueRef::Text(expected.as_bytes())
        );
        statement.reset();
    }
}
