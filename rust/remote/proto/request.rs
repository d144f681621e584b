//! What a stream can be asked, in Hrana's own words.
//!
//! Owns the SQL and its parameters. The parts that both transports share are protobuf messages and JSON objects at
//! once; what is around them differs, and is in `protobuf` and `json`.
//! Must not know: transports.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::value::{NamedValue, Value};

/// One request to a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Runs one statement.
    Execute(Statement),
    /// Runs statements on conditions, in one go.
    Batch(Batch),
    /// Runs a script without parameters and without rows.
    Sequence(Sql),
    /// Says what a statement's parameters and columns are.
    Describe(Sql),
    /// Gives a text a number, by which it can be named until it is closed or the stream ends.
    StoreSql { id: i32, sql: String },
    /// Forgets a stored text.
    CloseSql { id: i32 },
    /// Says whether no transaction is open.
    GetAutocommit,
    /// Closes the stream; what was not committed is rolled back.
    Close,
}

/// One request over a WebSocket, which many streams share.
#[derive(Debug)]
pub enum SocketRequest<'a> {
    OpenStream {
        stream: i32,
    },
    CloseStream {
        stream: i32,
    },
    OpenCursor {
        stream: i32,
        cursor: i32,
        batch: &'a Batch,
    },
    CloseCursor {
        cursor: i32,
    },
    FetchCursor {
        cursor: i32,
        most: u32,
    },
    /// What an open stream is asked.
    On {
        stream: i32,
        request: &'a Request,
    },
}

/// An SQL text, or the number of one that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sql {
    Text(String),
    Stored(i32),
}

impl Sql {
    pub(super) fn parts(&self) -> (Option<&str>, Option<i32>) {
        match self {
            Self::Text(text) => (Some(text), None),
            Self::Stored(id) => (None, Some(*id)),
        }
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// One SQL statement with its parameters.
#[derive(Clone, PartialEq, prost::Message, serde::Serialize)]
pub struct Statement {
    #[prost(string, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    #[prost(int32, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_id: Option<i32>,
    #[prost(message, repeated, tag = "3")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Value>,
    #[prost(message, repeated, tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named_args: Vec<NamedValue>,
    /// Absent means yes.
    #[prost(bool, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub want_rows: Option<bool>,
}

impl Statement {
    /// A statement without parameters.
    pub fn new(sql: impl Into<Sql>) -> Self {
        let (sql, sql_id) = match sql.into() {
            Sql::Text(text) => (Some(text), None),
            Sql::Stored(id) => (None, Some(id)),
        };
        Self {
            sql,
            sql_id,
            ..Self::default()
        }
    }

    /// The same with positional parameters.
    #[must_use]
    pub fn with_args(mut self, args: Vec<Value>) -> Self {
        self.args = args;
        self
    }

    /// The same without its rows in the answer.
    #[must_use]
    pub fn without_rows(mut self) -> Self {
        self.want_rows = Some(false);
        self
    }
}

/// Statements that run one after the other, each on a condition.
#[derive(Clone, PartialEq, prost::Message, serde::Serialize)]
pub struct Batch {
    #[prost(message, repeated, tag = "1")]
    pub steps: Vec<BatchStep>,
}

/// One statement of a batch.
#[derive(Clone, PartialEq, prost::Message, serde::Serialize)]
pub struct BatchStep {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    #[prost(message, required, tag = "2")]
    #[serde(rename = "stmt")]
    pub statement: Statement,
}

impl Batch {
    /// Adds a step; its index.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "Hrana counts steps in 32 bits; nobody has the memory for more"
    )]
    pub fn push(&mut self, condition: Option<Condition>, statement: Statement) -> u32 {
        self.steps.push(BatchStep {
            condition,
            statement,
        });
        (self.steps.len() - 1) as u32
    }
}

/// When a step of a batch runs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Condition {
    #[prost(oneof = "ConditionKind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<ConditionKind>,
}

/// The kinds of [`Condition`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ConditionKind {
    #[prost(uint32, tag = "1")]
    Ok(u32),
    #[prost(uint32, tag = "2")]
    Error(u32),
    #[prost(message, boxed, tag = "3")]
    Not(Box<Condition>),
    #[prost(message, tag = "4")]
    And(Conditions),
    #[prost(message, tag = "5")]
    Or(Conditions),
    #[prost(message, tag = "6")]
    IsAutocommit(IsAutocommit),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Conditions {
    #[prost(message, repeated, tag = "1")]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IsAutocommit {}

impl From<ConditionKind> for Condition {
    fn from(kind: ConditionKind) -> Self {
        Self { kind: Some(kind) }
    }
}

impl Condition {
    /// The step ran and succeeded.
    pub fn ok(step: u32) -> Self {
        ConditionKind::Ok(step).into()
    }

    /// The step ran and failed.
    pub fn error(step: u32) -> Self {
        ConditionKind::Error(step).into()
    }

    /// No transaction is open.
    pub fn is_autocommit() -> Self {
        ConditionKind::IsAutocommit(IsAutocommit {}).into()
    }

    /// All of them hold.
    pub fn all(conditions: Vec<Self>) -> Self {
        ConditionKind::And(Conditions { conditions }).into()
    }

    /// One of them holds.
    pub fn any(conditions: Vec<Self>) -> Self {
        ConditionKind::Or(Conditions { conditions }).into()
    }
}

impl std::ops::Not for Condition {
    type Output = Self;

    fn not(self) -> Self {
        ConditionKind::Not(Box::new(self)).into()
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(kind) = &self.kind else {
            return Err(serde::ser::Error::custom("an empty condition"));
        };
        let mut object = serializer.serialize_map(None)?;
        match kind {
            ConditionKind::Ok(step) => {
                object.serialize_entry("type", "ok")?;
                object.serialize_entry("step", step)?;
            }
            ConditionKind::Error(step) => {
                object.serialize_entry("type", "error")?;
                object.serialize_entry("step", step)?;
            }
            ConditionKind::Not(condition) => {
                object.serialize_entry("type", "not")?;
                object.serialize_entry("cond", condition)?;
            }
            ConditionKind::And(list) => {
                object.serialize_entry("type", "and")?;
                object.serialize_entry("conds", &list.conditions)?;
            }
            ConditionKind::Or(list) => {
                object.serialize_entry("type", "or")?;
                object.serialize_entry("conds", &list.conditions)?;
            }
            ConditionKind::IsAutocommit(_) => object.serialize_entry("type", "is_autocommit")?,
        }
        object.end()
    }
}
