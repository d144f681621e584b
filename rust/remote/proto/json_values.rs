//! SQL values in a server's JSON.
//!
//! Owns at most one row of them: each goes into a RowBatch as soon as it is whole.
//! Invariant: a number is never read as a double where Hrana means an integer.
//! Must not know: requests, transports.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use crate::core::ValueRef;

use super::rows::{Fault, Rows as Sink};

/// Hrana has no padding; who sends it is understood.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const MALFORMED: Fault = "malformed value";
const NOT_FINITE: Fault =
    "a float that is infinite or not a number, which the server's JSON can't carry";

/// What may stand for a part of a value.
#[derive(Debug, Default)]
enum Scalar<'a> {
    #[default]
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Real(f64),
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;

        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("null, a text or a number")
            }

            fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Null)
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Cow::Owned(text)))
            }

            fn visit_i64<E>(self, integer: i64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Integer(integer))
            }

            fn visit_u64<E: serde::de::Error>(self, integer: u64) -> Result<Scalar<'de>, E> {
                i64::try_from(integer)
                    .map(Scalar::Integer)
                    .map_err(|_| E::custom(MALFORMED))
            }

            fn visit_f64<E>(self, real: f64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Real(real))
            }
        }

        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A 64-bit integer, which Hrana writes as a text.
#[derive(Debug)]
pub(super) struct Int(pub i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scalar::deserialize(deserializer)?
            .integer()
            .map(Self)
            .map_err(D::Error::custom)
    }
}

impl Scalar<'_> {
    fn integer(&self) -> Result<i64, Fault> {
        match self {
            Self::Integer(integer) => Ok(*integer),
            Self::Text(text) => text.parse().map_err(|_| MALFORMED),
            _ => Err(MALFORMED),
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "a float without a fraction may be written as an integer"
    )]
    fn real(&self) -> Result<f64, Fault> {
        match self {
            Self::Real(real) => Ok(*real),
            Self::Integer(integer) => Ok(*integer as f64),
            Self::Null => Err(NOT_FINITE),
            Self::Text(_) => Err(MALFORMED),
        }
    }

    fn text(&self) -> Result<&str, Fault> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(MALFORMED),
        }
    }
}

/// `{"type": …, "value": …}` or `{"type": "blob", "base64": …}`.
#[derive(Debug, serde::Deserialize)]
struct Cell<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(default, borrow)]
    value: Scalar<'a>,
    #[serde(default, borrow)]
    base64: Scalar<'a>,
}

/// One row.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Cells<'a>(#[serde(borrow)] Vec<Cell<'a>>);

impl Cells<'_> {
    /// Adds the row to others, of which one is begun.
    pub fn put(&self, rows: &mut Sink) -> Result<(), Fault> {
        for cell in &self.0 {
            match &*cell.r#type {
                "null" => rows.push(ValueRef::Null)?,
                "integer" => rows.push(ValueRef::Integer(cell.value.integer()?))?,
                "float" => rows.push(ValueRef::Real(cell.value.real()?))?,
                "text" => rows.push(ValueRef::Text(cell.value.text()?.as_bytes()))?,
                "blob" => {
                    let blob = BASE64
                        .decode(cell.base64.text()?)
                        .map_err(|_| "malformed base64")?;
                    rows.push(ValueRef::Blob(&blob))?;
                }
                _ => return Err("a value of an unknown type"),
            }
        }
        rows.end()
    }
}

/// A list of rows.
#[derive(Debug, Default)]
pub(super) struct Rows(pub Sink);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowsVisitor;

        impl<'de> Visitor<'de> for RowsVisitor {
            type Value = Rows;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of rows")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rows, A::Error> {
                let mut rows = Sink::default();
                while let Some(cells) = list.next_element::<Cells<'de>>()? {
                    // The columns may come after the rows; then their number is checked.
                    rows.begin(cells.0.len());
                    cells.put(&mut rows).map_err(A::Error::custom)?;
                }
                Ok(Rows(rows))
            }
        }

        deserializer.deserialize_seq(RowsVisitor)
    }
}
