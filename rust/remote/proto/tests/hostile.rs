//! Both encodings against what no server should send: an error, never a panic, a hang, or much memory.

use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;

use super::super::super::error::Kind;
use super::super::{CursorBody, Encoding, Entries};
use super::protobuf::{
    cursor_response, entries, pipeline_response, socket_answer, statement_result,
};
use super::schema::{self, SocketAnswer};
use super::{json as hand, value};

const ENCODINGS: [Encoding; 2] = [Encoding::Protobuf, Encoding::Json];

/// Reads bytes as everything that they could be.
fn read_all(bytes: &[u8], size: usize) {
    for encoding in ENCODINGS {
        drop(encoding.read_pipeline(bytes));
        drop(encoding.read_message(bytes));
        drop(encoding.read_answer(bytes));
        drop(encoding.read_error(bytes));
        let mut entries = Entries::default();
        drop(encoding.read_fetched(bytes, &mut entries));
        drop(entries.take());
        let mut parser = CursorBody::new(encoding, 500);
        for piece in bytes.chunks(size) {
            if parser.feed(piece).is_err() {
                break;
            }
            drop((parser.take_answer(), parser.take(), parser.size()));
        }
        drop(parser.finish());
    }
}

/// Answers as servers send them.
fn good() -> Vec<Vec<u8>> {
    let fetched = SocketAnswer::Fetched(schema::Fetched {
        entries: entries(),
        done: false,
    });
    let executed = SocketAnswer::Execute(schema::OfResult {
        result: Some(statement_result(2)),
    });
    let lines: Vec<_> = hand::entries().iter().map(ToString::to_string).collect();
    let fetched_json = json!({"type": "response_ok", "request_id": 1, "response": {
        "type": "fetch_cursor", "entries": hand::entries(), "done": false,
    }});
    vec![
        pipeline_response().encode_to_vec(),
        cursor_response(),
        socket_answer(fetched),
        socket_answer(executed),
        hand::pipeline_response().to_string().into_bytes(),
        fetched_json.to_string().into_bytes(),
        format!("{{\"baton\":null}}\n{}\n", lines.join("\n")).into_bytes(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1..50_usize) {
        read_all(&bytes, size);
    }

    #[test]
    fn mutated_answers_are_survived(
        which in 0..7_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
        size in 1..200_usize,
    ) {
        let mut bytes = good().swap_remove(which);
        for (place, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match how {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                2 => bytes.truncate(place),
                _ => {
                    let copy: Vec<_> = bytes[place..].to_vec();
                    bytes.extend(copy);
                }
            }
        }
        read_all(&bytes, size);
    }
}

#[test]
fn lengths_beyond_the_bytes_are_refused() {
    // A field of 2**63 bytes, of 4 GiB, and a varint without an end.
    for length in [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff; 20],
    ] {
        let mut bytes = vec![0x1a];
        bytes.extend(length);
        assert!(Encoding::Protobuf.read_pipeline(&bytes).is_err());
        assert!(Encoding::Protobuf.read_message(&bytes).is_err());
        let mut parser = CursorBody::new(Encoding::Protobuf, 1000);
        assert!(parser.feed(length).is_err());
    }
    let mut parser = CursorBody::new(Encoding::Json, 1000);
    let error = parser.feed(&[b' '; 1001]).unwrap_err();
    assert_eq!(error.kind, Kind::TooLarge);
}

#[test]
fn rows_of_another_width_are_refused() {
    for (columns, values) in [(1, 2), (2, 1), (0, 1), (1, 0)] {
        let columns = vec![super::super::Column::default(); columns];
        let values = vec![value(crate::core::ValueRef::Integer(1)); values];
        let rows = vec![schema::Row { values }];
        let result = schema::StatementResult {
            columns: columns.clone(),
            rows: rows.clone(),
            ..schema::StatementResult::default()
        };
        let message = socket_answer(SocketAnswer::Execute(schema::OfResult {
            result: Some(result),
        }));
        let error = Encoding::Protobuf.read_answer(&message).unwrap_err();
        assert_eq!(error.kind, Kind::Protocol);
        let begin = schema::Is::StepBegin(schema::StepBegin { step: 0, columns });
        let row = schema::Is::Row(rows[0].clone());
        let entries = [begin, row].map(|is| schema::Entry { is: Some(is) }).into();
        let message = socket_answer(SocketAnswer::Fetched(schema::Fetched {
            entries,
            done: true,
        }));
        let mut found = Entries::default();
        assert!(
            Encoding::Protobuf
                .read_fetched(&message, &mut found)
                .is_err()
        );
    }
}

#[test]
fn rows_outside_of_a_step_are_refused() {
    let entries = entries().split_off(1);
    let message = socket_answer(SocketAnswer::Fetched(schema::Fetched {
        entries,
        done: true,
    }));
    let mut found = Entries::default();
    assert!(
        Encoding::Protobuf
            .read_fetched(&message, &mut found)
            .is_err()
    );
}

#[test]
fn too_many_columns_are_refused() {
    let result = schema::StatementResult {
        columns: vec![super::super::Column::default(); 40_000],
        ..schema::StatementResult::default()
    };
    let message = socket_answer(SocketAnswer::Execute(schema::OfResult {
        result: Some(result),
    }));
    assert!(Encoding::Protobuf.read_answer(&message).is_err());
}

#[test]
fn deep_nesting_is_refused_without_a_deep_stack() {
    for open in [
        "[",
        "{\"response\":",
        "{\"results\":[",
        "{\"result\":{\"step_results\":[",
    ] {
        let text = open.repeat(200_000);
        read_all(text.as_bytes(), 100_000);
        assert!(Encoding::Json.read_pipeline(text.as_bytes()).is_err());
    }
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        let mut outer = vec![0x1a];
        prost::encoding::encode_varint(nested.len() as u64, &mut outer);
        outer.extend(nested);
        nested = outer;
    }
    read_all(&nested, 1000);
}

#[test]
fn what_is_not_utf8_is_an_error_except_in_values() {
    // A baton.
    assert!(Encoding::Protobuf.read_pipeline(&[0x0a, 1, 0xff]).is_err());
    assert!(
        Encoding::Json
            .read_pipeline(b"{\"baton\":\"\xff\",\"results\":[]}")
            .is_err()
    );
    // A text of a row: the database may hold such, and whoever reads it decides.
    let message: Vec<u8> = {
        let value = [0x22, 1, 0xff];
        let row = [&[0x0a, 3][..], &value].concat();
        let result = [&[0x0a, 0, 0x12, 5][..], &row].concat();
        let of_result = [&[0x0a, 9][..], &result].concat();
        let ok = [&[0x08, 1, 0x22, 11][..], &of_result].concat();
        [&[0x1a, 15][..], &ok].concat()
    };
    let answer = Encoding::Protobuf.read_answer(&message).unwrap();
    let rows = &super::executed(&answer).rows;
    assert_eq!(
        super::cells(rows, 0),
        [crate::core::ValueRef::Text(&[0xff])]
    );
}
