//! What a server answers, whatever it was encoded as.
//!
//! Owns the rows, in a RowBatch.
//! Must not know: transports, encodings.

use std::collections::BTreeMap;

use crate::core::RowBatch;

use super::super::error::{Error, Result};

/// The answer to a request of the same name.
#[derive(Debug, PartialEq)]
pub enum Response {
    Execute(StatementResult),
    Batch(BatchResult),
    Sequence,
    Describe(Description),
    StoreSql,
    CloseSql,
    GetAutocommit(bool),
    /// A stream or a cursor was opened or closed.
    Done,
}

/// What a statement came to.
#[derive(Debug, Default, PartialEq)]
pub struct StatementResult {
    pub columns: Vec<Column>,
    /// As wide as there are columns.
    pub rows: RowBatch,
    pub affected_row_count: u64,
    pub last_insert_rowid: Option<i64>,
    /// The number of the last change that the database had after it, if the server numbers them.
    pub replication_index: Option<u64>,
}

/// A column of a result.
#[derive(Clone, PartialEq, Eq, prost::Message, serde::Deserialize)]
pub struct Column {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub decltype: Option<String>,
}

/// A parameter of a described statement; `?` has no name.
#[derive(Clone, PartialEq, Eq, prost::Message, serde::Deserialize)]
pub struct Parameter {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
}

/// What a statement is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Description {
    #[prost(message, repeated, tag = "1")]
    pub parameters: Vec<Parameter>,
    #[prost(message, repeated, tag = "2")]
    pub columns: Vec<Column>,
    #[prost(bool, tag = "3")]
    pub is_explain: bool,
    #[prost(bool, tag = "4")]
    pub is_readonly: bool,
}

/// What the steps of a batch came to; one whose condition did not hold is not in it.
#[derive(Debug, Default, PartialEq)]
pub struct BatchResult {
    pub steps: BTreeMap<u32, std::result::Result<StatementResult, ServerError>>,
    /// As a statement's, for all of it.
    pub replication_index: Option<u64>,
}

/// An error as the server words it.
#[derive(Clone, PartialEq, Eq, prost::Message, serde::Deserialize)]
pub struct ServerError {
    #[prost(string, tag = "1")]
    pub message: String,
    #[prost(string, optional, tag = "2")]
    pub code: Option<String>,
}

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        Self::from_server(error.code.as_deref(), error.message)
    }
}

/// The answer to a whole pipeline.
#[derive(Debug, Default)]
pub struct PipelineAnswer {
    /// What names the stream in the next request; none: it is closed.
    pub baton: Option<String>,
    /// Where the next request has to go, if elsewhere.
    pub base_url: Option<String>,
    pub results: Vec<Result<Response>>,
}

/// How a cursor's answer begins.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CursorAnswer {
    pub baton: Option<String>,
    pub base_url: Option<String>,
}

/// What a cursor yields.
#[derive(Debug, PartialEq)]
pub enum CursorEvent {
    /// A step begins, with these columns.
    StepBegin { step: u32, columns: Vec<Column> },
    /// Rows of the step, as wide as it has columns.
    Rows(RowBatch),
    /// The step succeeded.
    StepEnd {
        affected_row_count: u64,
        last_insert_rowid: Option<i64>,
    },
    /// The step failed; others may follow.
    StepError { step: u32, error: ServerError },
    /// The whole batch failed.
    Error(ServerError),
}

/// What a server sends over a WebSocket, as far as its reader has to know.
#[derive(Debug, PartialEq)]
pub enum ServerMessage {
    HelloOk,
    HelloError(ServerError),
    /// The message holds the answer to this request.
    Ok(i32),
    /// The request failed.
    Failed(i32, ServerError),
}
