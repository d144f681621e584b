//! The protobuf encoding against a server's side of it, and against bytes.

use prost::Message as _;

use crate::core::ValueRef;

use super::super::response::{BatchResult, CursorEvent, Response, ServerError, ServerMessage};
use super::super::{Column, CursorBody, Description, Encoding, Entries, Request, SocketRequest};
use super::schema::{self, Answer, Asked, Came, Is, Said, Sent, SocketAnswer, SocketAsked};
use super::{cells, executed, requests, rows_of, value};

fn column(name: &str) -> Column {
    Column {
        name: Some(name.into()),
        decltype: None,
    }
}

pub fn statement_result(rows: usize) -> schema::StatementResult {
    let values = [
        ValueRef::Null,
        ValueRef::Integer(i64::MIN),
        ValueRef::Real(f64::NEG_INFINITY),
        ValueRef::Text("a\0\u{1f980}".as_bytes()),
        ValueRef::Blob(&[0, 255]),
    ];
    let values: Vec<_> = values.map(value).into();
    schema::StatementResult {
        columns: ["a", "b", "c", "d", "e"].map(column).into(),
        rows: vec![schema::Row { values }; rows],
        affected_row_count: 7,
        last_insert_rowid: Some(-1),
        query_duration_ms: 0.5,
    }
}

pub fn error(message: &str) -> ServerError {
    ServerError {
        message: message.into(),
        code: Some("SQLITE_CONSTRAINT".into()),
    }
}

fn ok(answer: Answer) -> schema::StreamResult {
    schema::StreamResult {
        came: Some(Came::Ok(schema::StreamResponse {
            answer: Some(answer),
        })),
    }
}

pub fn pipeline_response() -> schema::PipelineResponse {
    let batch = schema::BatchResult {
        results: [(0, statement_result(1)), (2, statement_result(0))].into(),
        errors: [(1, error("no"))].into(),
        replication_index: Some(9),
    };
    let description = Description {
        parameters: vec![super::super::Parameter { name: None }],
        columns: vec![column("a")],
        is_explain: false,
        is_readonly: true,
    };
    schema::PipelineResponse {
        baton: Some("b".into()),
        base_url: Some("http://h".into()),
        results: vec![
            ok(Answer::Execute(schema::OfResult {
                result: Some(statement_result(3)),
            })),
            ok(Answer::Batch(schema::OfBatchResult {
                result: Some(batch),
            })),
            ok(Answer::Sequence(schema::Empty {})),
            ok(Answer::Describe(schema::OfDescription {
                result: Some(description),
            })),
            ok(Answer::GetAutocommit(schema::OfAutocommit {
                is_autocommit: true,
            })),
            ok(Answer::GetAutocommit(schema::OfAutocommit {
                is_autocommit: false,
            })),
            schema::StreamResult {
                came: Some(Came::Error(error("no"))),
            },
            ok(Answer::Close(schema::Empty {})),
        ],
    }
}

pub fn entries() -> Vec<schema::Entry> {
    let row = statement_result(1).rows.remove(0);
    let is = [
        Is::StepBegin(schema::StepBegin {
            step: 1,
            columns: statement_result(0).columns,
        }),
        Is::Row(row.clone()),
        Is::Row(row),
        Is::StepEnd(schema::StepEnd {
            affected_row_count: 1,
            last_insert_rowid: Some(2),
        }),
        Is::StepError(schema::StepError {
            step: 2,
            error: Some(error("no")),
        }),
        Is::Error(error("all")),
    ];
    is.map(|is| schema::Entry { is: Some(is) }).into()
}

pub fn cursor_response() -> Vec<u8> {
    let begin = schema::CursorResponse {
        baton: Some("b".into()),
    };
    let mut body = begin.encode_length_delimited_to_vec();
    for entry in entries() {
        body.extend(entry.encode_length_delimited_to_vec());
    }
    body
}

pub fn socket_answer(answer: SocketAnswer) -> Vec<u8> {
    let ok = schema::ResponseOk {
        request_id: -7,
        answer: Some(answer),
    };
    schema::ServerMessage {
        sent: Some(Sent::Ok(ok)),
    }
    .encode_to_vec()
}

fn check_events(events: &[CursorEvent]) {
    assert_eq!(rows_of(events), 2);
    assert!(
        matches!(&events[0], CursorEvent::StepBegin { step: 1, columns } if columns.len() == 5)
    );
    let end = CursorEvent::StepEnd {
        affected_row_count: 1,
        last_insert_rowid: Some(2),
    };
    assert!(events.contains(&end));
    let failed = CursorEvent::StepError {
        step: 2,
        error: error("no"),
    };
    assert!(events.contains(&failed));
    assert_eq!(events.last(), Some(&CursorEvent::Error(error("all"))));
}

#[test]
fn a_server_understands_every_request() {
    let body = Encoding::Protobuf.pipeline(Some("b"), &requests()).unwrap();
    let body = schema::PipelineRequest::decode(&*body).unwrap();
    assert_eq!(body.baton.as_deref(), Some("b"));
    let asked: Vec<_> = body
        .requests
        .into_iter()
        .map(|request| request.asked.unwrap())
        .collect();
    let [Request::Execute(statement), Request::Batch(batch), ..] = &requests()[..] else {
        panic!();
    };
    let sql = |sql: Option<&str>, sql_id| schema::OfSql {
        sql: sql.map(str::to_owned),
        sql_id,
    };
    let stored = |sql: &str| schema::Stored {
        sql_id: 3,
        sql: sql.into(),
    };
    let expected = [
        Asked::Execute(schema::OfStatement {
            statement: Some(statement.clone()),
        }),
        Asked::Batch(schema::OfBatch {
            batch: Some(batch.clone()),
        }),
        Asked::Sequence(sql(Some("a; b"), None)),
        Asked::Describe(sql(None, Some(3))),
        Asked::StoreSql(stored("insert")),
        Asked::CloseSql(stored("")),
        Asked::GetAutocommit(schema::Empty {}),
        Asked::Close(schema::Empty {}),
    ];
    assert_eq!(asked, expected);
}

#[test]
fn a_server_understands_every_request_over_a_websocket() {
    let all = requests();
    let [Request::Execute(statement), Request::Batch(batch), ..] = &all[..] else {
        panic!();
    };
    let sql = |sql: Option<&str>, sql_id| schema::StreamSql {
        stream_id: 5,
        sql: sql.map(str::to_owned),
        sql_id,
    };
    let stored = |sql: &str| schema::Stored {
        sql_id: 3,
        sql: sql.into(),
    };
    let of_stream = schema::OfStream { stream_id: 5 };
    let on = |index: usize| SocketRequest::On {
        stream: 5,
        request: &all[index],
    };
    let cases = [
        (
            SocketRequest::OpenStream { stream: 5 },
            SocketAsked::OpenStream(of_stream.clone()),
        ),
        (
            SocketRequest::CloseStream { stream: 5 },
            SocketAsked::CloseStream(of_stream.clone()),
        ),
        (
            SocketRequest::OpenCursor {
                stream: 5,
                cursor: 6,
                batch,
            },
            SocketAsked::OpenCursor(schema::OpenCursor {
                stream_id: 5,
                cursor_id: 6,
                batch: Some(batch.clone()),
            }),
        ),
        (
            SocketRequest::CloseCursor { cursor: 6 },
            SocketAsked::CloseCursor(schema::OfCursor { cursor_id: 6 }),
        ),
        (
            SocketRequest::FetchCursor { cursor: 6, most: 9 },
            SocketAsked::FetchCursor(schema::FetchCursor {
                cursor_id: 6,
                max_count: 9,
            }),
        ),
        (
            on(0),
            SocketAsked::Execute(schema::StreamStatement {
                stream_id: 5,
                statement: Some(statement.clone()),
            }),
        ),
        (
            on(1),
            SocketAsked::Batch(schema::StreamBatch {
                stream_id: 5,
                batch: Some(batch.clone()),
            }),
        ),
        (on(2), SocketAsked::Sequence(sql(Some("a; b"), None))),
        (on(3), SocketAsked::Describe(sql(None, Some(3)))),
        (on(4), SocketAsked::StoreSql(stored("insert"))),
        (on(5), SocketAsked::CloseSql(stored(""))),
        (on(6), SocketAsked::GetAutocommit(of_stream.clone())),
        (on(7), SocketAsked::CloseStream(of_stream)),
    ];
    for (request, expected) in cases {
        let bytes = Encoding::Protobuf.message(8, &request).unwrap();
        let Some(Said::Request(said)) = schema::ClientMessage::decode(&*bytes).unwrap().said else {
            panic!("not a request: {request:?}");
        };
        assert_eq!((said.request_id, said.asked), (8, Some(expected)));
    }
    for jwt in [None, Some("token")] {
        let bytes = Encoding::Protobuf.hello(jwt).unwrap();
        let said = schema::ClientMessage::decode(&*bytes).unwrap().said;
        let jwt = jwt.map(str::to_owned);
        assert_eq!(said, Some(Said::Hello(schema::Hello { jwt })));
    }
}

#[test]
fn a_request_is_these_bytes() {
    let request = [Request::Execute(super::Statement::new("x"))];
    let bytes = Encoding::Protobuf.pipeline(Some("b"), &request).unwrap();
    // baton "b"; request { execute { statement { sql "x" } } }
    let expected = [0x0a, 1, b'b', 0x12, 7, 0x12, 5, 0x0a, 3, 0x0a, 1, b'x'];
    assert_eq!(bytes, expected);
}

#[test]
fn every_answer_is_understood() {
    let answer = Encoding::Protobuf
        .read_pipeline(&pipeline_response().encode_to_vec())
        .unwrap();
    assert_eq!(answer.baton.as_deref(), Some("b"));
    assert_eq!(answer.base_url.as_deref(), Some("http://h"));
    let results = answer.results;
    let result = executed(results[0].as_ref().unwrap());
    assert_eq!(
        (result.rows.len(), result.rows.width(), result.columns.len()),
        (3, 5, 5)
    );
    assert_eq!(
        (result.affected_row_count, result.last_insert_rowid),
        (7, Some(-1))
    );
    let expected = [
        ValueRef::Null,
        ValueRef::Integer(i64::MIN),
        ValueRef::Real(f64::NEG_INFINITY),
        ValueRef::Text("a\0\u{1f980}".as_bytes()),
        ValueRef::Blob(&[0, 255]),
    ];
    assert_eq!(cells(&result.rows, 2), expected);
    let Ok(Response::Batch(BatchResult {
        steps,
        replication_index: Some(9),
    })) = &results[1]
    else {
        panic!("{results:?}");
    };
    assert_eq!(steps.keys().collect::<Vec<_>>(), [&0, &1, &2]);
    assert_eq!(steps[&1].as_ref().unwrap_err(), &error("no"));
    assert_eq!(steps[&2].as_ref().unwrap().rows.width(), 5);
    assert_eq!(results[2], Ok(Response::Sequence));
    let Ok(Response::Describe(description)) = &results[3] else {
        panic!("{results:?}");
    };
    assert!(description.is_readonly && description.parameters.len() == 1);
    assert_eq!(results[4], Ok(Response::GetAutocommit(true)));
    assert_eq!(results[5], Ok(Response::GetAutocommit(false)));
    let failed = results[6].as_ref().unwrap_err();
    assert_eq!(failed.code.as_deref(), Some("SQLITE_CONSTRAINT"));
    assert_eq!(results[7], Ok(Response::Done));
}

#[test]
fn messages_over_a_websocket_are_understood() {
    let read = |sent| {
        let message = schema::ServerMessage { sent: Some(sent) }.encode_to_vec();
        Encoding::Protobuf.read_message(&message).unwrap()
    };
    assert_eq!(
        read(Sent::HelloOk(schema::Empty {})),
        ServerMessage::HelloOk
    );
    let refused = read(Sent::HelloError(schema::HelloError {
        error: Some(error("no")),
    }));
    assert_eq!(refused, ServerMessage::HelloError(error("no")));
    let failed = read(Sent::Error(schema::ResponseError {
        request_id: 9,
        error: Some(error("no")),
    }));
    assert_eq!(failed, ServerMessage::Failed(9, error("no")));

    let message = socket_answer(SocketAnswer::Execute(schema::OfResult {
        result: Some(statement_result(2)),
    }));
    assert_eq!(
        Encoding::Protobuf.read_message(&message).unwrap(),
        ServerMessage::Ok(-7)
    );
    let answer = Encoding::Protobuf.read_answer(&message).unwrap();
    assert_eq!(executed(&answer).rows.len(), 2);
    let message = socket_answer(SocketAnswer::OpenStream(schema::Empty {}));
    assert_eq!(
        Encoding::Protobuf.read_answer(&message).unwrap(),
        Response::Done
    );

    let mut found = Entries::default();
    for (done, entries) in [(false, &entries()[..2]), (true, &entries()[2..])] {
        let message = socket_answer(SocketAnswer::Fetched(schema::Fetched {
            entries: entries.into(),
            done,
        }));
        assert_eq!(
            Encoding::Protobuf.read_fetched(&message, &mut found),
            Ok(done)
        );
    }
    check_events(&found.take().unwrap());
}

#[test]
fn a_cursor_is_understood_in_pieces_of_any_size() {
    let body = cursor_response();
    for size in [1, 2, 3, 7, 64, body.len()] {
        let mut parser = CursorBody::new(Encoding::Protobuf, 1000);
        let mut events = Vec::new();
        for piece in body.chunks(size) {
            parser.feed(piece).unwrap();
            events.extend(parser.take().unwrap());
        }
        parser.finish().unwrap();
        assert_eq!(parser.take_answer().unwrap().baton.as_deref(), Some("b"));
        check_events(&events);
    }
    let mut parser = CursorBody::new(Encoding::Protobuf, 1000);
    parser.feed(&body[..body.len() - 1]).unwrap();
    assert!(parser.finish().is_err());
}
