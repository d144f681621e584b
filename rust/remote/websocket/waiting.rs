//! The requests that wait for their answers, and how the socket ended if it did.
//!
//! Owns the table of them, by number.
//! Thread: any.
//! Invariant: each request gets one answer or one error. Once the socket ended nothing is added.
//! Must not know: what the requests are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::error::{Error, Fate, Kind, Result};
use super::super::proto::ServerError;

/// The message that answers a request, or the error that the server has for it.
pub(super) type Answered = std::result::Result<Bytes, ServerError>;

/// What a request waits at.
pub(super) type Answer = oneshot::Receiver<Result<Answered>>;

/// The requests of one socket.
#[derive(Debug)]
pub(super) struct Waiting {
    table: Mutex<Table>,
    /// The token says that it can't write.
    is_read_only: bool,
}

#[derive(Debug)]
struct Table {
    requests: HashMap<i32, Request>,
    next: i32,
    end: Option<Error>,
    heard: Instant,
}

#[derive(Debug)]
struct Request {
    answer: oneshot::Sender<Result<Answered>>,
    was_sent: bool,
    /// The server's table of streams and cursors depends on it: it is sent although nobody waits any more.
    is_needed: bool,
}

impl Waiting {
    pub fn new(is_read_only: bool) -> Self {
        Self {
            table: Mutex::new(Table {
                requests: HashMap::new(),
                next: 0,
                end: None,
                heard: Instant::now(),
            }),
            is_read_only,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request; its number, and where its answer will be.
    ///
    /// # Errors
    /// `Connect` once the socket ended: it was not sent.
    pub fn add(&self, is_needed: bool) -> Result<(i32, Answer)> {
        let mut table = self.lock();
        if let Some(end) = &table.end {
            return Err(end.clone().with_fate(Fate::NeverSent));
        }
        let mut id = table.next;
        while table.requests.contains_key(&id) {
            id = id.wrapping_add(1) & i32::MAX;
        }
        table.next = id.wrapping_add(1) & i32::MAX;
        let (answer, receiver) = oneshot::channel();
        let request = Request {
            answer,
            was_sent: false,
            is_needed,
        };
        table.requests.insert(id, request);
        Ok((id, receiver))
    }

    /// Forgets a request that could not be handed over to the writer.
    pub fn remove(&self, id: i32) {
        self.lock().requests.remove(&id);
    }

    /// The request is about to be written. `false`: its caller is gone, so it is not.
    pub fn begin_to_send(&self, id: i32) -> bool {
        let mut table = self.lock();
        let Some(request) = table.requests.get_mut(&id) else {
            return false;
        };
        if request.answer.is_closed() && !request.is_needed {
            table.requests.remove(&id);
            return false;
        }
        request.was_sent = true;
        true
    }

    /// An answer arrived.
    ///
    /// # Errors
    /// `Protocol` for one that nobody asked for.
    pub fn answer(&self, id: i32, answer: Answered) -> Result<()> {
        let request = self.lock().requests.remove(&id);
        match request {
            Some(request) if request.was_sent => {
                // Nobody may wait for it any more.
                drop(request.answer.send(Ok(answer)));
                Ok(())
            }
            _ => Err(Error::protocol("an answer to a request that was not sent")),
        }
    }

    /// Something arrived.
    pub fn hear(&self) {
        self.lock().heard = Instant::now();
    }

    /// Whether nothing arrived since.
    pub fn is_silent_since(&self, since: Instant) -> bool {
        self.lock().heard < since
    }

    /// Whether the request is, or was, on the wire.
    pub fn was_sent(&self, id: i32) -> bool {
        // What is not here any more was answered.
        self.lock()
            .requests
            .get(&id)
            .is_none_or(|request| request.was_sent)
    }

    pub fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }

    /// The socket ended: everything in flight fails, once. `by_peer`: the server dropped it.
    pub fn end(&self, why: &str, by_peer: bool) {
        let requests = {
            let mut table = self.lock();
            if table.end.is_some() {
                return;
            }
            let message = format!("the connection to the server was lost: {why}");
            table.end = Some(Error::connect(message));
            std::mem::take(&mut table.requests)
        };
        for request in requests.into_values() {
            let error = if !request.was_sent {
                Error::connect(format!("the request was not sent: {why}"))
            } else if by_peer && self.is_read_only {
                read_only()
            } else {
                Error::lost(why)
            };
            drop(request.answer.send(Err(error)));
        }
    }
}

/// What a token that only reads was used for can't have changed anything.
fn read_only() -> Error {
    let message = "the server closed the connection, which it does when a request writes with a read-only auth token";
    Error::new(Kind::Auth, Fate::Refused, message).with_code("AUTH_READ_ONLY")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

    use bytes::Bytes;

    use super::super::super::error::{Error, Fate, Kind};
    use super::Waiting;

    fn fates(is_read_only: bool, by_peer: bool) -> [Error; 3] {
        let waiting = Waiting::new(is_read_only);
        let (sent, mut first) = waiting.add(false).unwrap();
        let (_, mut second) = waiting.add(false).unwrap();
        assert!(waiting.begin_to_send(sent));
        waiting.end("gone", by_peer);
        waiting.end("gone again", by_peer);
        let late = waiting.add(false).unwrap_err();
        [
            first.try_recv().unwrap().unwrap_err(),
            second.try_recv().unwrap().unwrap_err(),
            late,
        ]
    }

    #[test]
    fn the_end_says_of_each_request_whether_it_was_sent() {
        let [sent, unsent, late] = fates(false, true);
        assert_eq!((sent.kind, sent.fate), (Kind::Connect, Fate::Unknown));
        assert!(!sent.may_be_repeated());
        for error in [unsent, late] {
            assert_eq!((error.kind, error.fate), (Kind::Connect, Fate::NeverSent));
            assert!(error.may_be_repeated());
            assert!(!error.message.contains("again"));
        }
    }

    #[test]
    fn a_read_only_token_is_blamed_only_if_the_server_ended_it() {
        assert_eq!(fates(true, true)[0].kind, Kind::Auth);
        assert_eq!(fates(true, false)[0].kind, Kind::Connect);
        assert_eq!(fates(true, true)[1].kind, Kind::Connect);
    }

    #[test]
    fn what_nobody_waits_for_is_not_sent_unless_others_depend_on_it() {
        let waiting = Waiting::new(false);
        let (unneeded, _) = waiting.add(false).unwrap();
        let (needed, _) = waiting.add(true).unwrap();
        assert!(!waiting.begin_to_send(unneeded));
        assert!(waiting.begin_to_send(needed));
        assert!(waiting.answer(needed, Ok(Bytes::new())).is_ok());
        assert!(waiting.answer(needed, Ok(Bytes::new())).is_err());
        assert!(waiting.answer(unneeded, Ok(Bytes::new())).is_err());
    }
}
