//! A server's side of the protobuf encoding, as the specification has it.

use prost::{Message, Oneof};

use super::super::request::{Batch, Statement};
use super::super::response::{Column, Description, ServerError};
use super::super::value::Value;

macro_rules! messages {
    ($($(#[$outer:meta])* $name:ident { $($(#[$field:meta])* $member:ident: $type:ty,)* })*) => {
        $($(#[$outer])* #[derive(Clone, PartialEq, Message)]
        pub struct $name { $($(#[$field])* pub $member: $type,)* })*
    };
}

messages! {
    PipelineRequest {
        #[prost(string, optional, tag = "1")] baton: Option<String>,
        #[prost(message, repeated, tag = "2")] requests: Vec<StreamRequest>,
    }
    StreamRequest {
        #[prost(oneof = "Asked", tags = "1, 2, 3, 4, 5, 6, 7, 8")] asked: Option<Asked>,
    }
    OfStatement { #[prost(message, optional, tag = "1")] statement: Option<Statement>, }
    OfBatch { #[prost(message, optional, tag = "1")] batch: Option<Batch>, }
    OfSql {
        #[prost(string, optional, tag = "1")] sql: Option<String>,
        #[prost(int32, optional, tag = "2")] sql_id: Option<i32>,
    }
    Stored {
        #[prost(int32, tag = "1")] sql_id: i32,
        #[prost(string, tag = "2")] sql: String,
    }
    Empty {}
    PipelineResponse {
        #[prost(string, optional, tag = "1")] baton: Option<String>,
        #[prost(string, optional, tag = "2")] base_url: Option<String>,
        #[prost(message, repeated, tag = "3")] results: Vec<StreamResult>,
    }
    StreamResult { #[prost(oneof = "Came", tags = "1, 2")] came: Option<Came>, }
    StreamResponse {
        #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7, 8")] answer: Option<Answer>,
    }
    OfResult { #[prost(message, optional, tag = "1")] result: Option<StatementResult>, }
    StatementResult {
        #[prost(message, repeated, tag = "1")] columns: Vec<Column>,
        #[prost(message, repeated, tag = "2")] rows: Vec<Row>,
        #[prost(uint64, tag = "3")] affected_row_count: u64,
        #[prost(sint64, optional, tag = "4")] last_insert_rowid: Option<i64>,
        #[prost(double, tag = "8")] query_duration_ms: f64,
    }
    Row { #[prost(message, repeated, tag = "1")] values: Vec<Value>, }
    OfBatchResult { #[prost(message, optional, tag = "1")] result: Option<BatchResult>, }
    BatchResult {
        #[prost(btree_map = "uint32, message", tag = "1")]
        results: std::collections::BTreeMap<u32, StatementResult>,
        #[prost(btree_map = "uint32, message", tag = "2")]
        errors: std::collections::BTreeMap<u32, ServerError>,
        #[prost(uint64, optional, tag = "3")] replication_index: Option<u64>,
    }
    OfDescription { #[prost(message, optional, tag = "1")] result: Option<Description>, }
    OfAutocommit { #[prost(bool, tag = "1")] is_autocommit: bool, }
    ServerMessage { #[prost(oneof = "Sent", tags = "1, 2, 3, 4")] sent: Option<Sent>, }
    HelloError { #[prost(message, optional, tag = "1")] error: Option<ServerError>, }
    ResponseOk {
        #[prost(int32, tag = "1")] request_id: i32,
        #[prost(oneof = "SocketAnswer", tags = "2, 4, 8")] answer: Option<SocketAnswer>,
    }
    ResponseError {
        #[prost(int32, tag = "1")] request_id: i32,
        #[prost(message, optional, tag = "2")] error: Option<ServerError>,
    }
    Fetched {
        #[prost(message, repeated, tag = "1")] entries: Vec<Entry>,
        #[prost(bool, tag = "2")] done: bool,
    }
    CursorResponse { #[prost(string, optional, tag = "1")] baton: Option<String>, }
    Entry { #[prost(oneof = "Is", tags = "1, 2, 3, 4, 5")] is: Option<Is>, }
    StepBegin {
        #[prost(uint32, tag = "1")] step: u32,
        #[prost(message, repeated, tag = "2")] columns: Vec<Column>,
    }
    StepEnd {
        #[prost(uint64, tag = "1")] affected_row_count: u64,
        #[prost(sint64, optional, tag = "2")] last_insert_rowid: Option<i64>,
    }
    StepError {
        #[prost(uint32, tag = "1")] step: u32,
        #[prost(message, optional, tag = "2")] error: Option<ServerError>,
    }
    ClientMessage { #[prost(oneof = "Said", tags = "1, 2")] said: Option<Said>, }
    Hello { #[prost(string, optional, tag = "1")] jwt: Option<String>, }
    SocketRequest {
        #[prost(int32, tag = "1")] request_id: i32,
        #[prost(oneof = "SocketAsked", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
        asked: Option<SocketAsked>,
    }
    OfStream { #[prost(int32, tag = "1")] stream_id: i32, }
    OfCursor { #[prost(int32, tag = "1")] cursor_id: i32, }
    StreamStatement {
        #[prost(int32, tag = "1")] stream_id: i32,
        #[prost(message, optional, tag = "2")] statement: Option<Statement>,
    }
    StreamBatch {
        #[prost(int32, tag = "1")] stream_id: i32,
        #[prost(message, optional, tag = "2")] batch: Option<Batch>,
    }
    OpenCursor {
        #[prost(int32, tag = "1")] stream_id: i32,
        #[prost(int32, tag = "2")] cursor_id: i32,
        #[prost(message, optional, tag = "3")] batch: Option<Batch>,
    }
    FetchCursor {
        #[prost(int32, tag = "1")] cursor_id: i32,
        #[prost(uint32, tag = "2")] max_count: u32,
    }
    StreamSql {
        #[prost(int32, tag = "1")] stream_id: i32,
        #[prost(string, optional, tag = "2")] sql: Option<String>,
        #[prost(int32, optional, tag = "3")] sql_id: Option<i32>,
    }
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Asked {
    #[prost(message, tag = "1")]
    Close(Empty),
    #[prost(message, tag = "2")]
    Execute(OfStatement),
    #[prost(message, tag = "3")]
    Batch(OfBatch),
    #[prost(message, tag = "4")]
    Sequence(OfSql),
    #[prost(message, tag = "5")]
    Describe(OfSql),
    #[prost(message, tag = "6")]
    StoreSql(Stored),
    #[prost(message, tag = "7")]
    CloseSql(Stored),
    #[prost(message, tag = "8")]
    GetAutocommit(Empty),
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Came {
    #[prost(message, tag = "1")]
    Ok(StreamResponse),
    #[prost(message, tag = "2")]
    Error(ServerError),
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Answer {
    #[prost(message, tag = "1")]
    Close(Empty),
    #[prost(message, tag = "2")]
    Execute(OfResult),
    #[prost(message, tag = "3")]
    Batch(OfBatchResult),
    #[prost(message, tag = "4")]
    Sequence(Empty),
    #[prost(message, tag = "5")]
    Describe(OfDescription),
    #[prost(message, tag = "6")]
    StoreSql(Empty),
    #[prost(message, tag = "7")]
    CloseSql(Empty),
    #[prost(message, tag = "8")]
    GetAutocommit(OfAutocommit),
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Sent {
    #[prost(message, tag = "1")]
    HelloOk(Empty),
    #[prost(message, tag = "2")]
    HelloError(HelloError),
    #[prost(message, tag = "3")]
    Ok(ResponseOk),
    #[prost(message, tag = "4")]
    Error(ResponseError),
}

#[derive(Clone, PartialEq, Oneof)]
pub enum SocketAnswer {
    #[prost(message, tag = "2")]
    OpenStream(Empty),
    #[prost(message, tag = "4")]
    Execute(OfResult),
    #[prost(message, tag = "8")]
    Fetched(Fetched),
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Is {
    #[prost(message, tag = "1")]
    StepBegin(StepBegin),
    #[prost(message, tag = "2")]
    StepEnd(StepEnd),
    #[prost(message, tag = "3")]
    StepError(StepError),
    #[prost(message, tag = "4")]
    Row(Row),
    #[prost(message, tag = "5")]
    Error(ServerError),
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Said {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Request(SocketRequest),
}

#[derive(Clone, PartialEq, Oneof)]
pub enum SocketAsked {
    #[prost(message, tag = "2")]
    OpenStream(OfStream),
    #[prost(message, tag = "3")]
    CloseStream(OfStream),
    #[prost(message, tag = "4")]
    Execute(StreamStatement),
    #[prost(message, tag = "5")]
    Batch(StreamBatch),
    #[prost(message, tag = "6")]
    OpenCursor(OpenCursor),
    #[prost(message, tag = "7")]
    CloseCursor(OfCursor),
    #[prost(message, tag = "8")]
    FetchCursor(FetchCursor),
    #[prost(message, tag = "9")]
    Sequence(StreamSql),
    #[prost(message, tag = "10")]
    Describe(StreamSql),
    #[prost(message, tag = "11")]
    StoreSql(Stored),
    #[prost(message, tag = "12")]
    CloseSql(Stored),
    #[prost(message, tag = "13")]
    GetAutocommit(OfStream),
}
