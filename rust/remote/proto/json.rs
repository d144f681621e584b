//! Hrana 2 and 3 as JSON, for servers that lack the protobuf encoding.
//!
//! Owns the shapes of the objects around the shared ones. An answer's objects are read into structs that have all
//! fields of all kinds: the tag that tells which kind it is may come last.
//! Must not know: transports.

use serde::{Deserialize, Serialize};

use super::super::error::{Error, Result as RemoteResult};
use super::json_values::{Cells, Int, Rows as JsonRows};
use super::request::{Batch, Request, SocketRequest, Sql, Statement};
use super::response::{
    BatchResult, Column, CursorAnswer, CursorEvent, Description, Parameter, PipelineAnswer,
    Response, ServerError, ServerMessage, StatementResult,
};
use super::rows::{Draft, Entries, Fault, Rows};

const MALFORMED: Fault = "malformed JSON";
const MISSING: Fault = "an answer lacks what its type says";
const UNKNOWN: Fault = "an answer of an unknown type";

/// A request in either transport; over a WebSocket it names its stream.
#[derive(Default, Serialize)]
struct JsonRequest<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stmt: Option<&'a Statement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a Batch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_count: Option<u32>,
}

impl<'a> JsonRequest<'a> {
    fn new(r#type: &'static str) -> Self {
        Self {
            r#type,
            ..Self::default()
        }
    }

    fn with_sql(r#type: &'static str, sql: &'a Sql) -> Self {
        let (sql, sql_id) = sql.parts();
        Self {
            sql,
            sql_id,
            ..Self::new(r#type)
        }
    }
}

impl<'a> From<&'a Request> for JsonRequest<'a> {
    fn from(request: &'a Request) -> Self {
        match request {
            Request::Execute(statement) => Self {
                stmt: Some(statement),
                ..Self::new("execute")
            },
            Request::Batch(batch) => Self {
                batch: Some(batch),
                ..Self::new("batch")
            },
            Request::Sequence(sql) => Self::with_sql("sequence", sql),
            Request::Describe(sql) => Self::with_sql("describe", sql),
            Request::StoreSql { id, sql } => Self {
                sql_id: Some(*id),
                sql: Some(sql),
                ..Self::new("store_sql")
            },
            Request::CloseSql { id } => Self {
                sql_id: Some(*id),
                ..Self::new("close_sql")
            },
            Request::GetAutocommit => Self::new("get_autocommit"),
            Request::Close => Self::new("close"),
        }
    }
}

impl<'a> From<&SocketRequest<'a>> for JsonRequest<'a> {
    fn from(request: &SocketRequest<'a>) -> Self {
        match *request {
            SocketRequest::OpenStream { stream } => Self {
                stream_id: Some(stream),
                ..Self::new("open_stream")
            },
            SocketRequest::CloseStream { stream } => Self {
                stream_id: Some(stream),
                ..Self::new("close_stream")
            },
            SocketRequest::OpenCursor {
                stream,
                cursor,
                batch,
            } => Self {
                stream_id: Some(stream),
                cursor_id: Some(cursor),
                batch: Some(batch),
                ..Self::new("open_cursor")
            },
            SocketRequest::CloseCursor { cursor } => Self {
                cursor_id: Some(cursor),
                ..Self::new("close_cursor")
            },
            SocketRequest::FetchCursor { cursor, most } => Self {
                cursor_id: Some(cursor),
                max_count: Some(most),
                ..Self::new("fetch_cursor")
            },
            SocketRequest::On { stream, request } => {
                let mut json = Self::from(request);
                match request {
                    // Stored texts belong to the socket.
                    Request::StoreSql { .. } | Request::CloseSql { .. } => {}
                    Request::Close => {
                        json.r#type = "close_stream";
                        json.stream_id = Some(stream);
                    }
                    _ => json.stream_id = Some(stream),
                }
                json
            }
        }
    }
}

fn encode(body: &impl Serialize) -> RemoteResult<Vec<u8>> {
    serde_json::to_vec(body).map_err(|error| Error::usage(error.to_string()))
}

/// The body of `POST …/pipeline`.
///
/// # Errors
/// `Usage` for a float that is not finite.
pub fn encode_pipeline(baton: Option<&str>, requests: &[Request]) -> RemoteResult<Vec<u8>> {
    #[derive(Serialize)]
    struct Body<'a> {
        baton: Option<&'a str>,
        requests: Vec<JsonRequest<'a>>,
    }
    encode(&Body {
        baton,
        requests: requests.iter().map(JsonRequest::from).collect(),
    })
}

/// The body of `POST …/cursor`.
///
/// # Errors
/// `Usage` for a float that is not finite.
pub fn encode_cursor(baton: Option<&str>, batch: &Batch) -> RemoteResult<Vec<u8>> {
    #[derive(Serialize)]
    struct Body<'a> {
        baton: Option<&'a str>,
        batch: &'a Batch,
    }
    encode(&Body { baton, batch })
}

/// The first message over a WebSocket, and every new token.
///
/// # Errors
/// None in practice.
pub fn encode_hello(token: Option<&str>) -> RemoteResult<Vec<u8>> {
    #[derive(Serialize)]
    struct Hello<'a> {
        r#type: &'static str,
        jwt: Option<&'a str>,
    }
    encode(&Hello {
        r#type: "hello",
        jwt: token,
    })
}

/// A request over a WebSocket.
///
/// # Errors
/// `Usage` for a float that is not finite.
pub fn encode_message(id: i32, request: &SocketRequest<'_>) -> RemoteResult<Vec<u8>> {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        request_id: i32,
        request: JsonRequest<'a>,
    }
    encode(&Message {
        r#type: "request",
        request_id: id,
        request: request.into(),
    })
}

/// The fields of every kind of result.
#[derive(Default, Deserialize)]
#[serde(default)]
struct JsonResult {
    cols: Vec<Column>,
    rows: JsonRows,
    affected_row_count: u64,
    last_insert_rowid: Option<Int>,
    replication_index: Option<Index>,
    step_results: Vec<Option<Box<JsonResult>>>,
    step_errors: Vec<Option<ServerError>>,
    params: Vec<Parameter>,
    is_explain: bool,
    is_readonly: bool,
}

/// The number of a change: a text, as it may be larger than what JSON's numbers are good for, or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Index {
    Text(String),
    Number(u64),
    Other(serde::de::IgnoredAny),
}

impl Index {
    fn number(self) -> Option<u64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => Some(number),
            Self::Other(_) => None,
        }
    }
}

impl JsonResult {
    fn into_statement(self) -> Result<StatementResult, Fault> {
        let draft = Draft {
            columns: self.cols,
            rows: self.rows.0,
            affected_row_count: self.affected_row_count,
            last_insert_rowid: self.last_insert_rowid.map(|rowid| rowid.0),
            replication_index: self.replication_index.and_then(Index::number),
        };
        draft.finish()
    }

    fn into_batch(self) -> Result<BatchResult, Fault> {
        let mut batch = BatchResult {
            replication_index: self.replication_index.and_then(Index::number),
            ..BatchResult::default()
        };
        for (step, result) in (0..).zip(self.step_results) {
            if let Some(result) = result {
                batch.steps.insert(step, Ok(result.into_statement()?));
            }
        }
        for (step, error) in (0..).zip(self.step_errors) {
            if let Some(error) = error {
                batch.steps.insert(step, Err(error));
            }
        }
        Ok(batch)
    }

    fn into_description(self) -> Description {
        Description {
            parameters: self.params,
            columns: self.cols,
            is_explain: self.is_explain,
            is_readonly: self.is_readonly,
        }
    }
}

/// The fields of every kind of answer.
#[derive(Deserialize)]
struct JsonResponse<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
    #[serde(default)]
    result: Option<JsonResult>,
    #[serde(default)]
    is_autocommit: Option<bool>,
    #[serde(default, borrow)]
    entries: Option<Vec<JsonEntry<'a>>>,
    #[serde(default)]
    done: bool,
}

impl JsonResponse<'_> {
    fn into_response(self) -> Result<Response, Fault> {
        let result = self.result.ok_or(MISSING);
        Ok(match &*self.r#type {
            "execute" => Response::Execute(result?.into_statement()?),
            "batch" => Response::Batch(result?.into_batch()?),
            "sequence" => Response::Sequence,
            "describe" => Response::Describe(result?.into_description()),
            "store_sql" => Response::StoreSql,
            "close_sql" => Response::CloseSql,
            "get_autocommit" => Response::GetAutocommit(self.is_autocommit.ok_or(MISSING)?),
            "close" | "open_stream" | "close_stream" | "open_cursor" | "close_cursor" => {
                Response::Done
            }
            _ => return Err(UNKNOWN),
        })
    }
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|_| MALFORMED)
}

/// The answer to `POST …/pipeline`.
pub fn decode_pipeline(body: &[u8]) -> Result<PipelineAnswer, Fault> {
    #[derive(Deserialize)]
    struct StreamResult<'a> {
        #[serde(default, borrow)]
        response: Option<JsonResponse<'a>>,
        #[serde(default)]
        error: Option<ServerError>,
    }
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(default)]
        baton: Option<String>,
        #[serde(default)]
        base_url: Option<String>,
        #[serde(borrow)]
        results: Vec<StreamResult<'a>>,
    }
    let body: Body<'_> = decode(body)?;
    let results = body
        .results
        .into_iter()
        .map(|result| match (result.response, result.error) {
            (Some(response), None) => Ok(Ok(response.into_response()?)),
            (None, Some(error)) => Ok(Err(error.into())),
            _ => Err(MISSING),
        })
        .collect::<Result<_, Fault>>()?;
    Ok(PipelineAnswer {
        baton: body.baton,
        base_url: body.base_url,
        results,
    })
}

/// How a cursor's answer over HTTP begins.
pub fn decode_cursor_answer(line: &[u8]) -> Result<CursorAnswer, Fault> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        baton: Option<String>,
        #[serde(default)]
        base_url: Option<String>,
    }
    let body: Body = decode(line)?;
    Ok(CursorAnswer {
        baton: body.baton,
        base_url: body.base_url,
    })
}

/// The fields of every kind of entry.
#[derive(Deserialize)]
struct JsonEntry<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
    #[serde(default)]
    step: Option<u32>,
    #[serde(default)]
    cols: Vec<Column>,
    #[serde(default, borrow)]
    row: Option<Cells<'a>>,
    #[serde(default)]
    affected_row_count: u64,
    #[serde(default)]
    last_insert_rowid: Option<Int>,
    #[serde(default)]
    error: Option<ServerError>,
}

impl JsonEntry<'_> {
    fn put(self, entries: &mut Entries) -> Result<(), Fault> {
        match &*self.r#type {
            "step_begin" => entries.push(CursorEvent::StepBegin {
                step: self.step.ok_or(MISSING)?,
                columns: self.cols,
            }),
            "step_end" => entries.push(CursorEvent::StepEnd {
                affected_row_count: self.affected_row_count,
                last_insert_rowid: self.last_insert_rowid.map(|rowid| rowid.0),
            }),
            "step_error" => entries.push(CursorEvent::StepError {
                step: self.step.ok_or(MISSING)?,
                error: self.error.ok_or(MISSING)?,
            }),
            "row" => {
                let rows: &mut Rows = entries.begin_row()?;
                self.row.ok_or(MISSING)?.put(rows)
            }
            "error" => entries.push(CursorEvent::Error(self.error.ok_or(MISSING)?)),
            // Newer servers tell more, such as where their replication is.
            _ => Ok(()),
        }
    }
}

/// One entry of a cursor.
pub fn decode_entry(line: &[u8], entries: &mut Entries) -> Result<(), Fault> {
    decode::<JsonEntry<'_>>(line)?.put(entries)
}

/// What a message over a WebSocket is about. What it answers is only skipped over.
pub fn decode_message(message: &[u8]) -> Result<ServerMessage, Fault> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        r#type: std::borrow::Cow<'a, str>,
        #[serde(default)]
        request_id: Option<i32>,
        #[serde(default)]
        error: Option<ServerError>,
    }
    let message: Message<'_> = decode(message)?;
    Ok(match &*message.r#type {
        "hello_ok" => ServerMessage::HelloOk,
        "hello_error" => ServerMessage::HelloError(message.error.ok_or(MISSING)?),
        "response_ok" => ServerMessage::Ok(message.request_id.ok_or(MISSING)?),
        "response_error" => ServerMessage::Failed(
            message.request_id.ok_or(MISSING)?,
            message.error.ok_or(MISSING)?,
        ),
        _ => return Err(UNKNOWN),
    })
}

/// Which request is answered by a message that begins so.
pub fn request_of(front: &[u8]) -> Option<i32> {
    const NAME: &[u8] = b"\"request_id\":";
    let place = front.windows(NAME.len()).position(|part| part == NAME)?;
    let number = front[place + NAME.len()..].trim_ascii_start();
    let end = number.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&number[..end]).ok()?.parse().ok()
}

#[derive(Deserialize)]
struct JsonAnswer<'a> {
    #[serde(borrow)]
    response: JsonResponse<'a>,
}

/// The answer in a message that [`decode_message`] called `Ok`.
pub fn decode_answer(message: &[u8]) -> Result<Response, Fault> {
    decode::<JsonAnswer<'_>>(message)?.response.into_response()
}

/// Adds what a cursor yielded to `entries`; whether it ends there.
pub fn decode_fetched(message: &[u8], entries: &mut Entries) -> Result<bool, Fault> {
    let response = decode::<JsonAnswer<'_>>(message)?.response;
    for entry in response.entries.ok_or(MISSING)? {
        entry.put(entries)?;
    }
    Ok(response.done)
}
