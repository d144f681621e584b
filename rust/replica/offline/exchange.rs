//! Exchange: one sync, which takes what the server has and the file lacks, then sends what the file has and the server lacks.
//!
//! Owns the file's log and the note of what both have. Nothing of a sync has to be remembered but the note: what was sent
//! without an answer, or was put in and not noted, is found to be the same on both sides by the next sync.
//! Thread: the network runtime's; the log's work is done on threads that may block.
//! Invariant: frames are put in by whole transactions, after all frames that the file has; they are sent after all frames
//! that the server has. Dropped at any wait, it leaves both sides sound.
//! Must not know: connections.

use std::path::PathBuf;
use std::sync::Arc;

use crate::core::{Error, FrameLog, Kind, Result};
use crate::remote::Messenger;

use super::live::{Live, on_log};
use super::note::{Note, Past, base_of};
use super::protocol::{BATCH, Pulled, Pushed, Server, senseless};

/// Bytes of frames that are received before they are put in.
const SPOOL: usize = 64 << 20;
/// How often both sides are compared anew, where the server says that it has other frames.
const ROUNDS: usize = 3;
/// How often a server may have fewer frames than it had.
const RETREATS: usize = 2;

const REMEDY: &str = "Nothing is lost: the file has all of its changes, and can be read and written as before. To follow the \
                      server again, copy what it lacks, delete the file with all others whose names begin with its name, \
                      sync anew, and make those changes again";

/// A log, and what the server has of it.
#[derive(Debug)]
pub struct State {
    pub path: PathBuf,
    pub log: FrameLog,
    pub note: Note,
    /// Frames were lost from the log that the server may lack.
    pub is_torn: bool,
}

/// What a sync came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Exchanged {
    pub received: u64,
    pub sent: u64,
}

fn conflict(path: &std::path::Path) -> Error {
    let message = format!(
        "conflict: the server has changes of another writer that {} was changed without, and the two can't be put \
         together. {REMEDY}",
        path.display()
    );
    Error::new(Kind::Sync, message)
}

impl State {
    fn torn(&self) -> Error {
        let message = format!(
            "the write-ahead log of {} was written back by another program, so what it held can't be sent any more. {REMEDY}",
            self.path.display()
        );
        Error::new(Kind::Sync, message)
    }

    /// Finds out what has become of the log since the note was written, before anybody writes.
    ///
    /// # Errors
    /// Those of the file.
    pub fn settle(&mut self) -> Result<()> {
        let before = self.note.clone();
        let mut count = self.log.count()?;
        if let Some(past) = self.note.past {
            if count >= past.frames && self.log.mark(past.frames)? == past.mark {
                if count > past.frames {
                    self.is_torn = true;
                    return Ok(());
                }
                // Written to, if with what it has: a crash must not leave it looking like another program's work.
                self.note.base = None;
                self.note.write(&self.path)?;
                self.log.empty()?;
                count = 0;
            }
            self.note.past = None;
        }
        let is_moving = std::mem::take(&mut self.note.is_moving);
        let is_same = self.has_salts_of_note(count)?;
        if is_moving && (!is_same || count == self.note.frames) {
            // It is begun anew only when all of it was written back.
            if is_same {
                self.log.empty()?;
            }
            self.begin_generation(None)?;
            if !is_same && count > 0 {
                self.note.mark = Some(self.log.mark(1)?);
            }
        } else if self.note.frames == 0 {
            let first = if count > 0 {
                Some(self.log.mark(1)?)
            } else {
                None
            };
            if self.note.mark.is_some() {
                self.is_torn = self.note.mark != first;
            } else {
                let base = base_of(&self.path)?;
                self.is_torn = *self.note.base.get_or_insert(base) != base;
                self.note.mark = first;
            }
        } else if count >= self.note.frames {
            let mark = self.log.mark(self.note.frames)?;
            self.is_torn = *self.note.mark.get_or_insert(mark) != mark;
        } else if self.note.mark.is_some() && is_same {
            // The power failed before the last frames were on the disk; the server has them.
            self.note.frames = count;
            self.note.mark = Some(self.log.mark(count)?);
        } else {
            self.is_torn = true;
        }
        if self.note != before && !self.is_torn {
            self.note.write(&self.path)?;
        }
        Ok(())
    }

    /// Whether the log is still the one that the note is about.
    fn has_salts_of_note(&mut self, count: u32) -> Result<bool> {
        let Some(mark) = self.note.mark else {
            return Ok(count == 0);
        };
        Ok(count > 0 && self.log.mark(1)? >> 64 == mark >> 64)
    }

    fn begin_generation(&mut self, past: Option<Past>) -> Result<()> {
        let base = base_of(&self.path)?;
        self.note = Note {
            past,
            ..Note::beginning(self.note.generation + 1, base)
        };
        Ok(())
    }

    /// Frames of this generation.
    fn count(&mut self) -> Result<u32> {
        if self.is_torn {
            return Err(self.torn());
        }
        let count = self.log.count()?;
        if let Some(past) = self.note.past {
            if count >= past.frames && self.log.mark(past.frames)? == past.mark {
                return if count == past.frames {
                    Ok(0)
                } else {
                    Err(self.torn())
                };
            }
            self.note.past = None;
        }
        let frames = self.note.frames;
        if frames > 0 && (count < frames || Some(self.log.mark(frames)?) != self.note.mark) {
            return Err(self.torn());
        }
        Ok(count)
    }

    /// Both have so many frames in common.
    fn agree(&mut self, frames: u32) -> Result<()> {
        self.note.frames = frames;
        self.note.mark = if frames == 0 {
            None
        } else {
            Some(self.log.mark(frames)?)
        };
        self.note.write(&self.path)
    }

    /// Takes frames out of `spool` that follow those that both have: such as the file has too, then whole transactions.
    /// `is_all`: no more come.
    fn take_in(&mut self, spool: &mut Vec<u8>, is_all: bool) -> Result<Exchanged> {
        let size = self.log.frame_size();
        let mut done = Exchanged::default();
        if spool.is_empty() {
            return Ok(done);
        }
        if !spool.len().is_multiple_of(size) {
            return Err(senseless());
        }
        let amount = |bytes: &[u8]| u32::try_from(bytes.len() / size).unwrap_or(u32::MAX);
        let count = self.count()?;
        let own = (count - self.note.frames).min(amount(spool));
        if own > 0 {
            let ours = self.log.read(self.note.frames + 1, own)?;
            let pairs = ours.chunks_exact(size).zip(spool.chunks_exact(size));
            // Salts and sums are each log's own.
            if pairs
                .into_iter()
                .any(|(own, other)| own[..8] != other[..8] || own[24..] != other[24..])
            {
                return Err(conflict(&self.path));
            }
            self.agree(self.note.frames + own)?;
            spool.drain(..ours.len());
            done.sent = own.into();
        }
        if !is_all && spool.len() < SPOOL {
            return Ok(done);
        }
        let ends = spool
            .chunks_exact(size)
            .rposition(|frame| frame[4..8] != [0; 4]);
        let whole = ends.map_or(0, |last| (last + 1) * size);
        if whole > 0 {
            let (after, past) = (self.note.frames, self.note.past.map(|past| past.mark));
            let appended = self.log.append(after, &spool[..whole], past)?;
            if appended == 0 {
                return Err(conflict(&self.path));
            }
            self.note.past = None;
            self.agree(after + appended)?;
            spool.drain(..whole);
            done.received = appended.into();
        }
        Ok(done)
    }

    /// Follows the server into its next generation, whose database is what this one came to.
    fn move_on(&mut self) -> Result<()> {
        let (count, frames) = (self.count()?, self.note.frames);
        if count > frames {
            return Err(conflict(&self.path));
        }
        let Some(mark) = self.note.mark.filter(|_| frames > 0) else {
            self.note.generation += 1;
            return self.note.write(&self.path);
        };
        self.note.is_moving = true;
        self.note.write(&self.path)?;
        let pages = self.log.restart();
        self.note.is_moving = false;
        match pages {
            Ok(pages) if pages == frames => {
                self.begin_generation(Some(Past { frames, mark }))?;
                self.note.write(&self.path)
            }
            Ok(_) => {
                // Somebody has written meanwhile.
                self.is_torn = true;
                self.note.write(&self.path)?;
                Err(conflict(&self.path))
            }
            Err(error) => {
                self.note.write(&self.path)?;
                Err(error)
            }
        }
    }
}

/// A sync under way.
pub struct Exchange<'a> {
    live: &'a Arc<Live>,
    server: Server,
    done: Exchanged,
}

impl<'a> Exchange<'a> {
    pub fn new(live: &'a Arc<Live>) -> Self {
        Self {
            live,
            server: Server(Messenger::new(Arc::clone(&live.remote))),
            done: Exchanged::default(),
        }
    }

    /// Syncs.
    ///
    /// # Errors
    /// `Connect`, `Timeout`, `Auth`; else `Sync`, and those of the file.
    pub async fn run(mut self) -> Result<Exchanged> {
        for _ in 0..ROUNDS {
            self.pull().await?;
            if self.push().await? {
                return Ok(self.done);
            }
        }
        Err(conflict(&self.live.path))
    }

    async fn take_in(&mut self, spool: &mut Vec<u8>, is_all: bool) -> Result<()> {
        let mut frames = std::mem::take(spool);
        let (taken, rest) = on_log(self.live, move |state| {
            let taken = state.take_in(&mut frames, is_all)?;
            Ok((taken, frames))
        })
        .await?;
        *spool = rest;
        self.done.received += taken.received;
        self.done.sent += taken.sent;
        Ok(())
    }

    async fn pull(&mut self) -> Result<()> {
        let mut spool = Vec::new();
        loop {
            let (generation, frames, size) = on_log(self.live, |state| {
                state.count()?;
                let (note, size) = (&state.note, state.log.frame_size());
                Ok((note.generation, note.frames, size))
            })
            .await?;
            let spooled = u32::try_from(spool.len() / size).unwrap_or(u32::MAX);
            match self.server.pull(generation, frames + spooled + 1).await? {
                Pulled::Frames(bytes) if bytes.is_empty() => return Err(senseless()),
                Pulled::Frames(bytes) => {
                    spool.extend_from_slice(&bytes);
                    self.take_in(&mut spool, false).await?;
                }
                Pulled::End(last) => {
                    self.take_in(&mut spool, true).await?;
                    if last == generation {
                        return Ok(());
                    }
                    if last < generation || !spool.is_empty() {
                        return Err(senseless());
                    }
                    on_log(self.live, State::move_on).await?;
                }
            }
        }
    }

    /// `false`: the server has others in the place of some of them.
    async fn push(&mut self) -> Result<bool> {
        let (generation, begin, end) = on_log(self.live, |state| {
            let count = state.count()?;
            Ok((state.note.generation, state.note.frames, count))
        })
        .await?;
        let (mut there, mut retreats, mut baton) = (begin, 0, None);
        while there < end {
            let amount = BATCH.min(end - there);
            let frames = on_log(self.live, move |state| state.log.read(there + 1, amount)).await?;
            let batch = (there + 1, amount);
            let pushed = self
                .server
                .push(generation, batch, baton.as_deref(), frames)
                .await?;
            match pushed {
                Pushed::Conflict => return Ok(false),
                Pushed::Taken(last, _) if last > there + amount => return Ok(false),
                Pushed::Taken(last, next) => {
                    if last <= there {
                        retreats += 1;
                        if retreats > RETREATS {
                            return Err(senseless());
                        }
                    }
                    baton = next.filter(|_| last > there);
                    there = last;
                }
            }
        }
        if end > begin {
            on_log(self.live, move |state| state.agree(end)).await?;
            self.done.sent += u64::from(end - begin);
        }
        Ok(true)
    }
}
