//! One parameter on its way to the server.
//!
//! Owns its text or bytes. Values that come back never take this form: they are pushed into a RowBatch as they are read.
//! Invariant: a text is valid UTF-8, since neither encoding carries any other.
//! Must not know: transports.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::ser::{Error as _, Serialize, SerializeStruct as _, Serializer};

use crate::core::ValueRef;

use super::super::error::Error;

/// A value of one of SQLite's five storage classes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    pub kind: Option<Kind>,
}

/// What a [`Value`] holds.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(message, tag = "1")]
    Null(Null),
    #[prost(sint64, tag = "2")]
    Integer(i64),
    #[prost(double, tag = "3")]
    Real(f64),
    #[prost(string, tag = "4")]
    Text(String),
    #[prost(bytes = "bytes", tag = "5")]
    Blob(Bytes),
}

/// SQL's `NULL`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Null {}

/// A parameter by its name, which may begin with `:`, `@` or `$`.
#[derive(Clone, PartialEq, prost::Message, serde::Serialize)]
pub struct NamedValue {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, required, tag = "2")]
    pub value: Value,
}

impl Value {
    pub const NULL: Self = Self {
        kind: Some(Kind::Null(Null {})),
    };
}

impl TryFrom<ValueRef<'_>> for Value {
    type Error = Error;

    /// # Errors
    /// For a text that is not UTF-8.
    fn try_from(value: ValueRef<'_>) -> Result<Self, Error> {
        let kind = match value {
            ValueRef::Null => Kind::Null(Null {}),
            ValueRef::Integer(integer) => Kind::Integer(integer),
            ValueRef::Real(real) => Kind::Real(real),
            ValueRef::Text(text) => {
                let text = std::str::from_utf8(text)
                    .map_err(|_| Error::usage("a text that is not UTF-8 can't be sent"))?;
                Kind::Text(text.to_owned())
            }
            ValueRef::Blob(blob) => Kind::Blob(Bytes::copy_from_slice(blob)),
        };
        Ok(Self { kind: Some(kind) })
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, has_content) = match &self.kind {
            None | Some(Kind::Null(_)) => ("null", false),
            Some(Kind::Integer(_)) => ("integer", true),
            Some(Kind::Real(real)) if !real.is_finite() => {
                return Err(S::Error::custom(format!(
                    "the float {real} can't be sent: the server speaks JSON only, which has no such number"
                )));
            }
            Some(Kind::Real(_)) => ("float", true),
            Some(Kind::Text(_)) => ("text", true),
            Some(Kind::Blob(_)) => ("blob", true),
        };
        let mut object = serializer.serialize_struct("Value", 1 + usize::from(has_content))?;
        object.serialize_field("type", name)?;
        match &self.kind {
            None | Some(Kind::Null(_)) => {}
            // As a text: many read a JSON number as a double.
            Some(Kind::Integer(integer)) => {
                object.serialize_field("value", &integer.to_string())?;
            }
            Some(Kind::Real(real)) => object.serialize_field("value", real)?,
            Some(Kind::Text(text)) => object.serialize_field("value", text)?,
            Some(Kind::Blob(blob)) => {
                object.serialize_field("base64", &STANDARD_NO_PAD.encode(blob))?;
            }
        }
        object.end()
    }
}
