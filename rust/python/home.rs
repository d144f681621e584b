//! Home: where a connection's data lives, as its Link has it.
//!
//! Owns the choice of backends. What only a database in this process can do asks for that one by name.
//! Thread: any.

use std::ops::Deref;
use std::sync::Arc;

use crate::core::{Backend, Channel, Local, Pin, Pins};
use crate::hosted::Hosted;

/// A connection's backend.
#[derive(Clone)]
pub enum Home {
    /// A database in this process.
    Local(Arc<Local>),
    /// A database at a server.
    Hosted(Arc<Hosted>),
}

impl Deref for Home {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Local(local) => local,
            Self::Hosted(hosted) => hosted,
        }
    }
}

impl Home {
    /// The backend, if it is in this process.
    pub const fn local(&self) -> Option<&Arc<Local>> {
        match self {
            Self::Local(local) => Some(local),
            Self::Hosted(_) => None,
        }
    }

    /// Whether both are the same backend.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(one), Self::Local(other)) => Arc::ptr_eq(one, other),
            (Self::Hosted(one), Self::Hosted(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// How statements and callbacks talk.
    pub fn channel(&self) -> &Arc<Channel> {
        match self {
            Self::Local(local) => local.channel(),
            Self::Hosted(hosted) => hosted.channel(),
        }
    }

    /// Keeps a statement prepared until the pin is dropped, where statements are.
    pub fn pin(&self, sql: Arc<str>) -> Pin {
        match self {
            Self::Local(local) => local.pin(sql),
            Self::Hosted(_) => Pins::default().pin(sql),
        }
    }
}
