//! Tests of the encodings: against a server's side of them that prost derives, against bytes and JSON written by hand,
//! and against anything else.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

mod hostile;
mod json;
mod protobuf;
mod schema;

use crate::core::{RowBatch, ValueRef};

use super::response::{CursorEvent, Response, StatementResult};
use super::value::Value;
use super::{Batch, Condition, Request, Sql, Statement};

/// The values of one row.
fn cells(rows: &RowBatch, row: usize) -> Vec<ValueRef<'_>> {
    rows.row(row).iter().map(|cell| rows.value(*cell)).collect()
}

fn value(value: ValueRef<'_>) -> Value {
    Value::try_from(value).unwrap()
}

fn executed(response: &Response) -> &StatementResult {
    match response {
        Response::Execute(result) => result,
        other => panic!("not a statement's: {other:?}"),
    }
}

/// One request of each kind.
fn requests() -> Vec<Request> {
    let mut batch = Batch::default();
    let begin = batch.push(None, Statement::new("begin"));
    let args = vec![
        value(ValueRef::Null),
        value(ValueRef::Integer(i64::MIN)),
        value(ValueRef::Real(0.5)),
        value(ValueRef::Text("a\0\u{1f980}".as_bytes())),
        value(ValueRef::Blob(&[0, 255])),
    ];
    let insert = Statement::new(Sql::Stored(3))
        .with_args(args)
        .without_rows();
    let condition = Condition::all(vec![
        Condition::ok(begin),
        !Condition::error(begin),
        Condition::any(vec![Condition::is_autocommit()]),
    ]);
    batch.push(Some(condition), insert);
    vec![
        Request::Execute(Statement::new("select 1")),
        Request::Batch(batch),
        Request::Sequence(Sql::from("a; b")),
        Request::Describe(Sql::Stored(3)),
        Request::StoreSql {
            id: 3,
            sql: "insert".into(),
        },
        Request::CloseSql { id: 3 },
        Request::GetAutocommit,
        Request::Close,
    ]
}

/// What the rows of a cursor are, in pieces.
fn rows_of(events: &[CursorEvent]) -> usize {
    events
        .iter()
        .map(|event| match event {
            CursorEvent::Rows(rows) => rows.len(),
            _ => 0,
        })
        .sum()
}

#[test]
fn a_text_that_is_not_utf8_can_not_be_sent() {
    let error = Value::try_from(ValueRef::Text(&[0xff])).unwrap_err();
    assert_eq!(error.kind, super::super::error::Kind::Usage);
}
