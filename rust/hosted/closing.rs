//! How a session ends at its server.
//!
//! Owns no state; this is the session's method, and what is said to a server for a stream that is not needed any more.
//! Thread: the network runtime's.
//! Invariant: the end of an open transaction is waited for, though not for long. What holds no locks is not: that the
//! server is told is enough.
//! Must not know: queues.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::core::{Error, Status};
use crate::remote::Stream;

use super::session::Session;

/// So long a server is given to hear of it.
const GOODBYE: Duration = Duration::from_secs(2);

impl Session {
    /// Ends it; an open transaction is rolled back. Nothing that a server does can keep it from that.
    pub async fn close(mut self, status: &Status) {
        if self.is_open && self.has_written {
            status.set_discarded();
        }
        let mut reader = None;
        for (_, reading) in self.readings.drain() {
            reader = reading.end(Error::closed()).or(reader);
        }
        let goodbye = say_goodbye(self.stream.take(), reader);
        if self.is_open && !status.is_hurried() {
            // Whoever comes next may want what it has locked.
            goodbye.await;
        } else {
            drop(tokio::spawn(goodbye));
        }
    }
}

/// Closes a stream at the server. The reader of a cursor may have it still.
pub(super) async fn say_goodbye(stream: Option<Stream>, reader: Option<JoinHandle<Stream>>) {
    let goodbye = async {
        let stream = match reader {
            Some(reader) => reader.await.ok(),
            None => stream,
        };
        if let Some(mut stream) = stream {
            drop(stream.close().await);
        }
    };
    drop(timeout(GOODBYE, goodbye).await);
}
