//! Protocol: the requests by which frames are exchanged with a server, as libsql's `sync` speaks them.
//!
//! Owns their routes and what the answers mean.
//! Thread: the network runtime's.
//! Invariant: an answer is believed only if it is whole; an error of the server's is never taken for "nothing new".
//! Must not know: files.

use std::io::Write;

use bytes::Bytes;

use crate::core::{Error, Kind, Result};
use crate::remote::{Answer, Messenger, Object};

/// Frames of one request, as libsql has it.
pub const BATCH: u32 = 128;

/// What a server has after a frame.
pub enum Pulled {
    /// These come next.
    Frames(Bytes),
    /// Nothing; and this is its last generation.
    End(u32),
}

/// What became of frames that were sent.
pub enum Pushed {
    /// The server has so many now. The name of what it has begun with them.
    Taken(u32, Option<String>),
    /// It has others in their place.
    Conflict,
}

/// One server.
pub struct Server(pub Messenger);

fn refused(answer: &Answer) -> Error {
    let error = Error::from(answer.refusal());
    let what = if answer.status == 404 {
        ": it may not serve replicas that are written offline"
    } else {
        ""
    };
    Error {
        kind: Kind::Sync,
        message: format!("the sync failed: {}{what}", error.message),
        ..error
    }
}

/// An error of the client's; what tells of a failure of the sync itself is one.
fn told(error: crate::remote::Error) -> Error {
    let error = Error::from(error);
    match error.kind {
        Kind::Connect | Kind::Timeout | Kind::Auth | Kind::NotSupported | Kind::Programming => {
            error
        }
        _ => Error {
            kind: Kind::Sync,
            message: format!("the sync failed: {}", error.message),
            ..error
        },
    }
}

fn read(answer: &Answer) -> Result<Object> {
    Object::read(&answer.body).ok_or_else(senseless)
}

/// An answer that makes no sense.
pub fn senseless() -> Error {
    Error::new(
        Kind::Sync,
        "the sync failed: the server's answer can't be understood",
    )
}

impl Server {
    /// The server's last generation.
    ///
    /// # Errors
    /// `Connect`, `Timeout`, `Auth`; else `Sync`.
    pub async fn generation(&mut self) -> Result<u32> {
        let answer = self.0.ask("info", None).await.map_err(told)?;
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        let generation = read(&answer)?.number("current_generation");
        generation
            .filter(|generation| *generation > 0)
            .ok_or_else(senseless)
    }

    /// Writes the database with which a generation begins.
    ///
    /// # Errors
    /// As `generation`.
    pub async fn export(&mut self, generation: u32, file: impl Write) -> Result<()> {
        let path = format!("export/{generation}");
        self.0.fetch(&path, file).await.map_err(told)
    }

    /// Asks for the frames from one on.
    ///
    /// # Errors
    /// As `generation`.
    pub async fn pull(&mut self, generation: u32, first: u32) -> Result<Pulled> {
        let path = format!("sync/{generation}/{first}/{}", first.saturating_add(BATCH));
        let answer = self.0.ask(&path, None).await.map_err(told)?;
        if answer.is_success() {
            return Ok(Pulled::Frames(answer.body));
        }
        // This is how it says that there are none.
        let last = Object::read(&answer.body).and_then(|ended| ended.number("generation"));
        match (answer.status, last) {
            (400 | 500, Some(last)) => Ok(Pulled::End(last)),
            _ => Err(refused(&answer)),
        }
    }

    /// Sends frames, of which there are so many.
    ///
    /// # Errors
    /// As `generation`.
    pub async fn push(
        &mut self,
        generation: u32,
        (first, amount): (u32, u32),
        baton: Option<&str>,
        frames: Vec<u8>,
    ) -> Result<Pushed> {
        let mut path = format!("sync/{generation}/{first}/{}", first + amount);
        if let Some(baton) = baton {
            path = format!("{path}/{baton}");
        }
        let answer = self.0.ask(&path, Some(Bytes::from(frames))).await;
        let answer = answer.map_err(told)?;
        if answer.status == 409 {
            return Ok(Pushed::Conflict);
        }
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        let taken = read(&answer)?;
        match (taken.text("status"), taken.number("max_frame_no")) {
            (Some("ok"), Some(last)) => {
                let baton = taken.text("baton").map(str::to_owned);
                Ok(Pushed::Taken(last, baton))
            }
            (Some("conflict"), _) => Ok(Pushed::Conflict),
            _ => Err(senseless()),
        }
    }
}
