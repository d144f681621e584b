//! Home: where a connection's data lives, as its Link has it.
//!
//! Owns the choice of backends. What only a database in this process can do asks for that one by name.
//! Thread: any.

use std::ops::Deref;
use std::sync::Arc;

use crate::core::{Backend, Channel, Lifetimes, Limits, Local, Pin, Pins, Pool, Role};
use crate::hosted::Hosted;
use crate::replica::{Offline, Replica};

/// A connection's backend.
#[derive(Clone)]
pub enum Home {
    /// A database in this process.
    Local(Arc<Local>),
    /// A database at a server.
    Hosted(Arc<Hosted>),
    /// A file in this process that follows a database at a server.
    Replica(Arc<Replica>),
    /// The same, whose writes go to the file.
    Offline(Arc<Offline>),
}

impl Deref for Home {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Local(local) => local,
            Self::Hosted(hosted) => hosted,
            Self::Replica(replica) => replica,
            Self::Offline(offline) => offline,
        }
    }
}

impl Home {
    /// The backend, if it is in this process.
    pub fn local(&self) -> Option<&Arc<Local>> {
        match self {
            Self::Local(local) => Some(local),
            Self::Hosted(_) => None,
            Self::Replica(replica) => Some(replica.local()),
            Self::Offline(offline) => Some(offline.local()),
        }
    }

    /// Becomes a handle of a pool, for good; not open yet.
    pub fn join_pool(
        &self,
        pool: &Arc<Pool>,
        place: (Role, u32),
        limits: Limits,
        lifetimes: Lifetimes,
    ) {
        match self {
            Self::Local(local) => local.join_pool(pool, place, limits, lifetimes),
            Self::Hosted(hosted) => hosted.join_pool(pool, place, limits, lifetimes),
            Self::Replica(replica) => replica.join_pool(pool, place, limits, lifetimes),
            Self::Offline(offline) => offline.local().join_pool(pool, place, limits, lifetimes),
        }
    }

    /// From now on it takes commands of its pool.
    pub fn serve_pool(&self) {
        match self {
            Self::Local(local) => local.serve_pool(),
            Self::Hosted(hosted) => hosted.serve_pool(),
            Self::Replica(replica) => replica.serve_pool(),
            Self::Offline(offline) => offline.local().serve_pool(),
        }
    }

    /// Whether both are the same backend.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(one), Self::Local(other)) => Arc::ptr_eq(one, other),
            (Self::Hosted(one), Self::Hosted(other)) => Arc::ptr_eq(one, other),
            (Self::Replica(one), Self::Replica(other)) => Arc::ptr_eq(one, other),
            (Self::Offline(one), Self::Offline(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// How statements and callbacks talk.
    pub fn channel(&self) -> &Arc<Channel> {
        match self {
            Self::Local(local) => local.channel(),
            Self::Hosted(hosted) => hosted.channel(),
            Self::Replica(replica) => replica.local().channel(),
            Self::Offline(offline) => offline.local().channel(),
        }
    }

    /// How what asks for tokens and the callable that gives them talk.
    pub fn server_channel(&self) -> &Arc<Channel> {
        match self {
            Self::Local(_) | Self::Hosted(_) => self.channel(),
            Self::Replica(replica) => replica.server_channel(),
            Self::Offline(offline) => offline.server_channel(),
        }
    }

    /// Keeps a statement prepared until the pin is dropped, where statements are.
    pub fn pin(&self, sql: Arc<str>) -> Pin {
        match self {
            Self::Local(local) => local.pin(sql),
            Self::Replica(replica) => replica.local().pin(sql),
            Self::Offline(offline) => offline.local().pin(sql),
            Self::Hosted(_) => Pins::default().pin(sql),
        }
    }
}
