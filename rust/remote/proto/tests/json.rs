//! The JSON encoding against objects written by hand.

use serde_json::{Value as Json, json};

use crate::core::ValueRef;

use super::super::super::error::Kind;
use super::super::response::{BatchResult, CursorEvent, Response, ServerMessage};
use super::super::{CursorBody, Encoding, Entries, Request, SocketRequest, Statement};
use super::{cells, executed, requests, rows_of, value};

fn written(bytes: &[u8]) -> Json {
    serde_json::from_slice(bytes).unwrap()
}

fn batch() -> Json {
    json!({"steps": [
        {"stmt": {"sql": "begin"}},
        {
            "condition": {"type": "and", "conds": [
                {"type": "ok", "step": 0},
                {"type": "not", "cond": {"type": "error", "step": 0}},
                {"type": "or", "conds": [{"type": "is_autocommit"}]},
            ]},
            "stmt": {"sql_id": 3, "want_rows": false, "args": [
                {"type": "null"},
                {"type": "integer", "value": "-9223372036854775808"},
                {"type": "float", "value": 0.5},
                {"type": "text", "value": "a\0\u{1f980}"},
                {"type": "blob", "base64": "AP8"},
            ]},
        },
    ]})
}

#[test]
fn requests_are_these_objects() {
    let body = Encoding::Json.pipeline(None, &requests()).unwrap();
    let expected = json!({"baton": null, "requests": [
        {"type": "execute", "stmt": {"sql": "select 1"}},
        {"type": "batch", "batch": batch()},
        {"type": "sequence", "sql": "a; b"},
        {"type": "describe", "sql_id": 3},
        {"type": "store_sql", "sql_id": 3, "sql": "insert"},
        {"type": "close_sql", "sql_id": 3},
        {"type": "get_autocommit"},
        {"type": "close"},
    ]});
    assert_eq!(written(&body), expected);
}

#[test]
fn requests_over_a_websocket_are_these_objects() {
    let all = requests();
    let Request::Batch(steps) = &all[1] else {
        panic!();
    };
    let on = |index: usize| SocketRequest::On {
        stream: 5,
        request: &all[index],
    };
    let cases = [
        (
            SocketRequest::OpenStream { stream: 5 },
            json!({"type": "open_stream", "stream_id": 5}),
        ),
        (
            SocketRequest::CloseStream { stream: 5 },
            json!({"type": "close_stream", "stream_id": 5}),
        ),
        (
            SocketRequest::OpenCursor {
                stream: 5,
                cursor: 6,
                batch: steps,
            },
            json!({"type": "open_cursor", "stream_id": 5, "cursor_id": 6, "batch": batch()}),
        ),
        (
            SocketRequest::CloseCursor { cursor: 6 },
            json!({"type": "close_cursor", "cursor_id": 6}),
        ),
        (
            SocketRequest::FetchCursor { cursor: 6, most: 9 },
            json!({"type": "fetch_cursor", "cursor_id": 6, "max_count": 9}),
        ),
        (
            on(0),
            json!({"type": "execute", "stream_id": 5, "stmt": {"sql": "select 1"}}),
        ),
        (
            on(2),
            json!({"type": "sequence", "stream_id": 5, "sql": "a; b"}),
        ),
        (
            on(4),
            json!({"type": "store_sql", "sql_id": 3, "sql": "insert"}),
        ),
        (on(5), json!({"type": "close_sql", "sql_id": 3})),
        (on(6), json!({"type": "get_autocommit", "stream_id": 5})),
        (on(7), json!({"type": "close_stream", "stream_id": 5})),
    ];
    for (request, expected) in cases {
        let message = written(&Encoding::Json.message(8, &request).unwrap());
        assert_eq!(
            message,
            json!({"type": "request", "request_id": 8, "request": expected})
        );
    }
    let hello = written(&Encoding::Json.hello(Some("t")).unwrap());
    assert_eq!(hello, json!({"type": "hello", "jwt": "t"}));
}

#[test]
fn a_float_that_is_not_finite_can_not_be_sent() {
    for real in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let statement = Statement::new("select ?").with_args(vec![value(ValueRef::Real(real))]);
        let error = Encoding::Json
            .pipeline(None, &[Request::Execute(statement)])
            .unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
        assert!(error.message.contains(&real.to_string()), "{error:?}");
    }
}

pub fn result() -> Json {
    json!({
        "cols": [{"name": "a", "decltype": "INT"}, {"name": null}, {}, {}, {}],
        "rows": [[
            {"type": "null"},
            {"type": "integer", "value": "9223372036854775807"},
            {"value": 1, "type": "float"},
            {"type": "text", "value": "\n\0\u{1f980}"},
            {"type": "blob", "base64": "AP8="},
        ]],
        "affected_row_count": 7,
        "last_insert_rowid": "-1",
        "rows_read": 5,
    })
}

pub fn pipeline_response() -> Json {
    json!({"baton": "b", "base_url": null, "results": [
        {"type": "ok", "response": {"result": result(), "type": "execute"}},
        {"type": "ok", "response": {"type": "batch", "result": {
            "step_results": [result(), null, null],
            "step_errors": [null, {"message": "no", "code": "C"}, null],
        }}},
        {"type": "ok", "response": {"type": "sequence"}},
        {"type": "ok", "response": {"type": "describe", "result": {
            "params": [{"name": ":a"}, {"name": null}], "cols": [{"name": "b", "decltype": null}],
            "is_explain": true, "is_readonly": false,
        }}},
        {"type": "ok", "response": {"type": "get_autocommit", "is_autocommit": false}},
        {"type": "error", "error": {"message": "no", "code": null}},
        {"type": "ok", "response": {"type": "close"}},
    ]})
}

pub fn entries() -> Vec<Json> {
    vec![
        json!({"type": "step_begin", "step": 0, "cols": [{"name": "a"}]}),
        json!({"type": "row", "row": [{"type": "integer", "value": "1"}]}),
        json!({"row": [{"type": "integer", "value": "2"}], "type": "row"}),
        json!({"type": "step_end", "affected_row_count": 0, "last_insert_rowid": null}),
        json!({"type": "replication_index", "replication_index": 5}),
        json!({"type": "step_error", "step": 1, "error": {"message": "no", "code": "C"}}),
    ]
}

#[test]
fn every_answer_is_understood() {
    let body = pipeline_response().to_string();
    let answer = Encoding::Json.read_pipeline(body.as_bytes()).unwrap();
    assert_eq!(
        (answer.baton.as_deref(), answer.base_url),
        (Some("b"), None)
    );
    let results = answer.results;
    let result = executed(results[0].as_ref().unwrap());
    let expected = [
        ValueRef::Null,
        ValueRef::Integer(i64::MAX),
        ValueRef::Real(1.0),
        ValueRef::Text("\n\0\u{1f980}".as_bytes()),
        ValueRef::Blob(&[0, 255]),
    ];
    assert_eq!(cells(&result.rows, 0), expected);
    assert_eq!(result.columns[0].decltype.as_deref(), Some("INT"));
    assert_eq!(
        (result.affected_row_count, result.last_insert_rowid),
        (7, Some(-1))
    );
    let Ok(Response::Batch(BatchResult { steps, .. })) = &results[1] else {
        panic!("{results:?}");
    };
    assert!(steps[&0].is_ok() && steps[&1].is_err() && steps.len() == 2);
    assert_eq!(results[2], Ok(Response::Sequence));
    let Ok(Response::Describe(description)) = &results[3] else {
        panic!("{results:?}");
    };
    assert!(description.is_explain && description.parameters.len() == 2);
    assert_eq!(results[4], Ok(Response::GetAutocommit(false)));
    assert_eq!(results[5].as_ref().unwrap_err().code, None);
    assert_eq!(results[6], Ok(Response::Done));
}

#[test]
fn rows_may_come_before_their_columns() {
    let row = r#"{"rows":[[{"type":"null"}]],"cols":[{}]}"#;
    let read = |result: &str| {
        let body =
            format!(r#"{{"results":[{{"response":{{"result":{result},"type":"execute"}}}}]}}"#);
        Encoding::Json
            .read_pipeline(body.as_bytes())
            .map(|answer| answer.results.len())
    };
    assert_eq!(read(row), Ok(1));
    for wrong in [
        r#"{"rows":[[{"type":"null"}]],"cols":[]}"#,
        r#"{"cols":[{}],"rows":[[{"type":"null"}],[]]}"#,
        r#"{"cols":[{}],"rows":[[{"type":"integer","value":"9223372036854775808"}]]}"#,
        r#"{"cols":[{}],"rows":[[{"type":"integer","value":1.5}]]}"#,
        r#"{"cols":[{}],"rows":[[{"type":"blob","base64":"?"}]]}"#,
        r#"{"cols":[{}],"rows":[[{"type":"blob"}]]}"#,
        r#"{"cols":[{}],"rows":[[{"type":"date","value":"x"}]]}"#,
        // What an infinite number becomes in this server's JSON; it must not turn into NULL.
        r#"{"cols":[{}],"rows":[[{"type":"float","value":null}]]}"#,
    ] {
        assert_eq!(read(wrong).unwrap_err().kind, Kind::Protocol, "{wrong}");
    }
}

#[test]
fn messages_over_a_websocket_are_understood() {
    let read = |message: Json| Encoding::Json.read_message(message.to_string().as_bytes());
    assert_eq!(
        read(json!({"type": "hello_ok"})),
        Ok(ServerMessage::HelloOk)
    );
    let error = json!({"message": "no", "code": "AUTH_X"});
    assert!(matches!(
        read(json!({"type": "hello_error", "error": error})),
        Ok(ServerMessage::HelloError(_))
    ));
    assert!(matches!(
        read(json!({"type": "response_error", "request_id": 3, "error": error})),
        Ok(ServerMessage::Failed(3, _))
    ));
    assert!(read(json!({"type": "response_error", "request_id": 3})).is_err());
    assert!(read(json!({"type": "response_ok"})).is_err());
    assert!(read(json!({"type": "surprise"})).is_err());
    let message = json!({
        "type": "response_ok", "request_id": 4, "response": {"type": "execute", "result": result()},
    });
    assert_eq!(read(message.clone()), Ok(ServerMessage::Ok(4)));
    let answer = Encoding::Json
        .read_answer(message.to_string().as_bytes())
        .unwrap();
    assert_eq!(executed(&answer).rows.len(), 1);
    let fetched = json!({"type": "response_ok", "request_id": 4, "response": {
        "type": "fetch_cursor", "entries": entries(), "done": true,
    }});
    let mut found = Entries::default();
    let done = Encoding::Json.read_fetched(fetched.to_string().as_bytes(), &mut found);
    assert_eq!(done, Ok(true));
    assert_eq!(rows_of(&found.take().unwrap()), 2);
}

#[test]
fn a_cursor_is_understood_in_pieces_of_any_size() {
    let mut lines = vec![json!({"baton": "b", "base_url": null}).to_string()];
    lines.extend(entries().iter().map(ToString::to_string));
    let body = lines.join("\n") + "\n";
    for size in [1, 3, 64, body.len()] {
        let mut parser = CursorBody::new(Encoding::Json, 200);
        let mut events = Vec::new();
        for piece in body.as_bytes().chunks(size) {
            parser.feed(piece).unwrap();
            events.extend(parser.take().unwrap());
        }
        parser.finish().unwrap();
        assert_eq!(rows_of(&events), 2);
        assert!(matches!(
            events.last(),
            Some(CursorEvent::StepError { step: 1, .. })
        ));
    }
}
