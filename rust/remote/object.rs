//! Object: a JSON object of numbers and texts, as servers send and libsql notes.
//!
//! Owns its fields. Must not know: what they mean.

use serde_json::{Map, Value};

/// A JSON object.
#[derive(Debug, Default)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads one; `None`: it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }

    pub fn number(&self, name: &str) -> Option<u32> {
        let number = self.0.get(name)?.as_u64()?;
        u32::try_from(number).ok()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    #[must_use]
    pub fn with_number(mut self, name: &str, number: u32) -> Self {
        self.0.insert(name.to_owned(), number.into());
        self
    }

    #[must_use]
    pub fn with_text(mut self, name: &str, text: Option<String>) -> Self {
        if let Some(text) = text {
            self.0.insert(name.to_owned(), text.into());
        }
        self
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        Value::from(self.0.clone()).to_string().into_bytes()
    }
}
