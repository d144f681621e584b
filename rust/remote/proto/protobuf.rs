//! Hrana 3 as protobuf, over HTTP and over WebSockets.
//!
//! Owns the numbers of the fields around the shared messages. Rows go straight from the answer's bytes into a RowBatch.
//! Must not know: transports.

use prost::Message as _;
use prost::encoding::{WireType, bytes, decode_key, decode_varint, int32, message, string, uint32};

use crate::core::ValueRef;

use super::request::{Batch, Request, SocketRequest, Sql};
use super::response::{
    BatchResult, CursorAnswer, CursorEvent, Description, PipelineAnswer, Response, ServerError,
    ServerMessage, StatementResult,
};
use super::rows::{Draft, Entries, Fault, Rows};
use super::wire::{Field, MALFORMED, read};

/// As many as SQLite's own limit can be set to.
pub(super) const MOST_COLUMNS: usize = 32767;
pub(super) const TOO_WIDE: Fault = "a result has too many columns";
const EMPTY: Fault = "an answer is empty";

/// Appends a message that is made field by field.
fn nested(number: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    bytes::encode(number, &inner, out);
}

fn put_text(number: u32, text: &str, out: &mut Vec<u8>) {
    prost::encoding::encode_key(number, WireType::LengthDelimited, out);
    prost::encoding::encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// A text at `number`, or a stored text's number at the one after.
fn put_sql(number: u32, sql: &Sql, out: &mut Vec<u8>) {
    match sql {
        Sql::Text(text) => string::encode(number, text, out),
        Sql::Stored(id) => int32::encode(number + 1, id, out),
    }
}

/// The body of `POST …/pipeline`.
pub fn encode_pipeline(baton: Option<&str>, requests: &[Request]) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(baton) = baton {
        put_text(1, baton, &mut body);
    }
    for request in requests {
        nested(2, &mut body, |out| match request {
            Request::Execute(statement) => nested(2, out, |out| message::encode(1, statement, out)),
            Request::Batch(batch) => nested(3, out, |out| message::encode(1, batch, out)),
            Request::Sequence(sql) => nested(4, out, |out| put_sql(1, sql, out)),
            Request::Describe(sql) => nested(5, out, |out| put_sql(1, sql, out)),
            Request::StoreSql { id, sql } => nested(6, out, |out| {
                int32::encode(1, id, out);
                string::encode(2, sql, out);
            }),
            Request::CloseSql { id } => nested(7, out, |out| int32::encode(1, id, out)),
            Request::GetAutocommit => nested(8, out, |_| {}),
            Request::Close => nested(1, out, |_| {}),
        });
    }
    body
}

/// The body of `POST …/cursor`.
pub fn encode_cursor(baton: Option<&str>, batch: &Batch) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(baton) = baton {
        put_text(1, baton, &mut body);
    }
    message::encode(2, batch, &mut body);
    body
}

/// The first message over a WebSocket, and every new token.
pub fn encode_hello(token: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    nested(1, &mut out, |out| {
        if let Some(token) = token {
            put_text(1, token, out);
        }
    });
    out
}

/// A request over a WebSocket.
pub fn encode_message(id: i32, request: &SocketRequest<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    nested(2, &mut out, |out| {
        int32::encode(1, &id, out);
        put_request(request, out);
    });
    out
}

fn put_request(request: &SocketRequest<'_>, out: &mut Vec<u8>) {
    match request {
        SocketRequest::OpenStream { stream } => nested(2, out, |out| int32::encode(1, stream, out)),
        SocketRequest::CloseStream { stream } => {
            nested(3, out, |out| int32::encode(1, stream, out));
        }
        SocketRequest::OpenCursor {
            stream,
            cursor,
            batch,
        } => nested(6, out, |out| {
            int32::encode(1, stream, out);
            int32::encode(2, cursor, out);
            message::encode(3, *batch, out);
        }),
        SocketRequest::CloseCursor { cursor } => {
            nested(7, out, |out| int32::encode(1, cursor, out));
        }
        SocketRequest::FetchCursor { cursor, most } => nested(8, out, |out| {
            int32::encode(1, cursor, out);
            uint32::encode(2, most, out);
        }),
        SocketRequest::On { stream, request } => put_stream_request(*stream, request, out),
    }
}

fn put_stream_request(stream: i32, request: &Request, out: &mut Vec<u8>) {
    let on = |out: &mut Vec<u8>| int32::encode(1, &stream, out);
    match request {
        Request::Execute(statement) => nested(4, out, |out| {
            on(out);
            message::encode(2, statement, out);
        }),
        Request::Batch(batch) => nested(5, out, |out| {
            on(out);
            message::encode(2, batch, out);
        }),
        Request::Sequence(sql) => nested(9, out, |out| {
            on(out);
            put_sql(2, sql, out);
        }),
        Request::Describe(sql) => nested(10, out, |out| {
            on(out);
            put_sql(2, sql, out);
        }),
        Request::StoreSql { id, sql } => nested(11, out, |out| {
            int32::encode(1, id, out);
            string::encode(2, sql, out);
        }),
        Request::CloseSql { id } => nested(12, out, |out| int32::encode(1, id, out)),
        Request::GetAutocommit => nested(13, out, on),
        Request::Close => nested(3, out, on),
    }
}

/// The answer to `POST …/pipeline`.
pub fn decode_pipeline(body: &[u8]) -> Result<PipelineAnswer, Fault> {
    let mut answer = PipelineAnswer::default();
    read(body, |number, field| {
        match number {
            1 => answer.baton = Some(field.text()?.to_owned()),
            2 => answer.base_url = Some(field.text()?.to_owned()),
            3 => {
                let mut result = Err(EMPTY);
                read(field.bytes()?, |number, field| {
                    match number {
                        1 => result = Ok(Ok(stream_response(field.bytes()?)?)),
                        2 => result = Ok(Err(field.message::<ServerError>()?.into())),
                        _ => {}
                    }
                    Ok(())
                })?;
                answer.results.push(result?);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(answer)
}

/// The kinds of answers, whose numbers differ between the transports.
#[derive(Clone, Copy)]
enum Kind {
    Done,
    Execute,
    Batch,
    Sequence,
    Describe,
    StoreSql,
    CloseSql,
    GetAutocommit,
}

fn stream_response(bytes: &[u8]) -> Result<Response, Fault> {
    let mut response = None;
    read(bytes, |number, field| {
        let kind = match number {
            1 => Kind::Done,
            2 => Kind::Execute,
            3 => Kind::Batch,
            4 => Kind::Sequence,
            5 => Kind::Describe,
            6 => Kind::StoreSql,
            7 => Kind::CloseSql,
            8 => Kind::GetAutocommit,
            _ => return Ok(()),
        };
        response = Some(decode_response(kind, field.bytes()?)?);
        Ok(())
    })?;
    response.ok_or(EMPTY)
}

/// The answer in a message that [`decode_message`] called `Ok`.
pub fn decode_answer(message: &[u8]) -> Result<Response, Fault> {
    let mut response = None;
    each_answer(message, |number, field| {
        let kind = match number {
            2 | 3 | 6 | 7 => Kind::Done,
            4 => Kind::Execute,
            5 => Kind::Batch,
            9 => Kind::Sequence,
            10 => Kind::Describe,
            11 => Kind::StoreSql,
            12 => Kind::CloseSql,
            13 => Kind::GetAutocommit,
            _ => return Ok(()),
        };
        response = Some(decode_response(kind, field.bytes()?)?);
        Ok(())
    })?;
    response.ok_or(EMPTY)
}

/// Adds what a cursor yielded to `entries`; whether it ends there.
pub fn decode_fetched(message: &[u8], entries: &mut Entries) -> Result<bool, Fault> {
    let mut done = None;
    each_answer(message, |number, field| {
        if number != 8 {
            return Ok(());
        }
        done.get_or_insert(false);
        read(field.bytes()?, |number, field| {
            match number {
                1 => decode_entry(field.bytes()?, entries)?,
                2 => done = Some(field.uint()? != 0),
                _ => {}
            }
            Ok(())
        })
    })?;
    done.ok_or(EMPTY)
}

fn each_answer<'a>(
    message: &'a [u8],
    mut visit: impl FnMut(u32, Field<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    read(message, |number, field| match number {
        3 => read(field.bytes()?, &mut visit),
        _ => Ok(()),
    })
}

/// What a message over a WebSocket is about.
pub fn decode_message(message: &[u8]) -> Result<ServerMessage, Fault> {
    let mut found = None;
    read(message, |number, field| {
        let inner = field.bytes()?;
        let (mut id, mut error) = (0, ServerError::default());
        match number {
            1 => found = Some(ServerMessage::HelloOk),
            2 => {
                read(inner, |number, field| {
                    if number == 1 {
                        error = field.message()?;
                    }
                    Ok(())
                })?;
                found = Some(ServerMessage::HelloError(error));
            }
            3 | 4 => {
                read(inner, |inner_number, field| {
                    match (number, inner_number) {
                        (_, 1) => id = field.int32()?,
                        (4, 2) => error = field.message()?,
                        _ => {}
                    }
                    Ok(())
                })?;
                found = Some(match number {
                    3 => ServerMessage::Ok(id),
                    _ => ServerMessage::Failed(id, error),
                });
            }
            _ => {}
        }
        Ok(())
    })?;
    found.ok_or(EMPTY)
}

/// Which request is answered by a message that begins so.
pub fn request_of(mut front: &[u8]) -> Option<i32> {
    let (number, _) = decode_key(&mut front).ok()?;
    decode_varint(&mut front).ok()?;
    if !matches!(number, 3 | 4) {
        return None;
    }
    // Proto3 leaves out what is zero.
    match decode_key(&mut front).ok()? {
        (1, WireType::Varint) => i32::try_from(decode_varint(&mut front).ok()?).ok(),
        _ => Some(0),
    }
}

fn decode_response(kind: Kind, bytes: &[u8]) -> Result<Response, Fault> {
    // Proto3 leaves out what is empty or false.
    let mut inner: &[u8] = &[];
    let mut is_autocommit = false;
    read(bytes, |number, field| {
        if number == 1 {
            match kind {
                Kind::GetAutocommit => is_autocommit = field.uint()? != 0,
                Kind::Execute | Kind::Batch | Kind::Describe => inner = field.bytes()?,
                _ => {}
            }
        }
        Ok(())
    })?;
    Ok(match kind {
        Kind::Done => Response::Done,
        Kind::Execute => Response::Execute(decode_statement(inner)?),
        Kind::Batch => Response::Batch(decode_batch(inner)?),
        Kind::Sequence => Response::Sequence,
        Kind::Describe => Response::Describe(Description::decode(inner).map_err(|_| MALFORMED)?),
        Kind::StoreSql => Response::StoreSql,
        Kind::CloseSql => Response::CloseSql,
        Kind::GetAutocommit => Response::GetAutocommit(is_autocommit),
    })
}

fn decode_statement(bytes: &[u8]) -> Result<StatementResult, Fault> {
    let mut draft = Draft::default();
    read(bytes, |number, field| {
        match number {
            1 if draft.columns.len() == MOST_COLUMNS => return Err(TOO_WIDE),
            1 => draft.columns.push(field.message()?),
            2 => {
                draft.rows.begin(draft.columns.len());
                decode_row(field.bytes()?, &mut draft.rows)?;
            }
            3 => draft.affected_row_count = field.uint()?,
            4 => draft.last_insert_rowid = Some(field.sint()?),
            5 => draft.replication_index = Some(field.uint()?),
            _ => {}
        }
        Ok(())
    })?;
    draft.finish()
}

fn decode_batch(bytes: &[u8]) -> Result<BatchResult, Fault> {
    let mut result = BatchResult::default();
    read(bytes, |map, field| {
        if map == 3 {
            result.replication_index = Some(field.uint()?);
            return Ok(());
        }
        // A map is a list of messages: the key is field 1, the value field 2.
        let (mut step, mut value): (u32, &[u8]) = (0, &[]);
        read(field.bytes()?, |number, field| {
            match number {
                1 => step = field.uint32()?,
                2 => value = field.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        match map {
            1 => {
                let statement = decode_statement(value)?;
                result.steps.insert(step, Ok(statement));
            }
            2 => {
                let error = ServerError::decode(value).map_err(|_| MALFORMED)?;
                result.steps.insert(step, Err(error));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(result)
}

fn decode_row(bytes: &[u8], rows: &mut Rows) -> Result<(), Fault> {
    read(bytes, |number, field| {
        if number == 1 {
            rows.push(decode_value(field.bytes()?)?)?;
        }
        Ok(())
    })?;
    rows.end()
}

fn decode_value(bytes: &[u8]) -> Result<ValueRef<'_>, Fault> {
    let mut value = None;
    read(bytes, |number, field| {
        value = Some(match number {
            1 => ValueRef::Null,
            2 => ValueRef::Integer(field.sint()?),
            3 => ValueRef::Real(field.double()?),
            4 => ValueRef::Text(field.bytes()?),
            5 => ValueRef::Blob(field.bytes()?),
            _ => return Ok(()),
        });
        Ok(())
    })?;
    value.ok_or("a value has no type")
}

/// How a cursor's answer over HTTP begins.
pub fn decode_cursor_answer(bytes: &[u8]) -> Result<CursorAnswer, Fault> {
    let mut answer = CursorAnswer::default();
    read(bytes, |number, field| {
        match number {
            1 => answer.baton = Some(field.text()?.to_owned()),
            2 => answer.base_url = Some(field.text()?.to_owned()),
            _ => {}
        }
        Ok(())
    })?;
    Ok(answer)
}

/// One entry of a cursor.
pub fn decode_entry(bytes: &[u8], entries: &mut Entries) -> Result<(), Fault> {
    read(bytes, |number, field| {
        let inner = field.bytes()?;
        match number {
            1 => entries.push(decode_step_begin(inner)?),
            2 => {
                let (mut affected_row_count, mut last_insert_rowid) = (0, None);
                read(inner, |number, field| {
                    match number {
                        1 => affected_row_count = field.uint()?,
                        2 => last_insert_rowid = Some(field.sint()?),
                        _ => {}
                    }
                    Ok(())
                })?;
                entries.push(CursorEvent::StepEnd {
                    affected_row_count,
                    last_insert_rowid,
                })
            }
            3 => {
                let (mut step, mut error) = (0, ServerError::default());
                read(inner, |number, field| {
                    match number {
                        1 => step = field.uint32()?,
                        2 => error = field.message()?,
                        _ => {}
                    }
                    Ok(())
                })?;
                entries.push(CursorEvent::StepError { step, error })
            }
            4 => decode_row(inner, entries.begin_row()?),
            5 => entries.push(CursorEvent::Error(field.message()?)),
            _ => Ok(()),
        }
    })
}

fn decode_step_begin(bytes: &[u8]) -> Result<CursorEvent, Fault> {
    let (mut step, mut columns) = (0, Vec::new());
    read(bytes, |number, field| {
        match number {
            1 => step = field.uint32()?,
            2 if columns.len() == MOST_COLUMNS => return Err(TOO_WIDE),
            2 => columns.push(field.message()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(CursorEvent::StepBegin { step, columns })
}
