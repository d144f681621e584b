//! Late: SELECTs of a group whose answers turned out to be too large when the session had gone on without them.
//!
//! Each is asked again over a stream of its own, as the session would have done. What is left of its rows then is handed
//! to the session, which reads it when it is wanted.
//! Owns the readings that the session has not taken yet.
//! Thread: the network runtime's.
//! Invariant: a caller who hears of his rows can read them on; after the end of the session none are kept.
//! Must not know: how statements share a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::{Error, Execute, Outcome, Result, Shared};
use crate::remote::{self, Continuity, Remote};

use super::counts::Counts;
use super::reading::Reading;
use super::session::{Session, stoppable, stopped};
use super::statements::bound;

/// Readings on their way to the session.
#[derive(Default)]
pub struct Late(Mutex<State>);

#[derive(Default)]
struct State {
    readings: Vec<Reading>,
    is_closed: bool,
}

/// Asks for what the session does not wait for any more.
pub struct Again {
    remote: Arc<Remote>,
    counts: Arc<Counts>,
    late: Arc<Late>,
    /// Which handle of a pool this is.
    member: Option<u32>,
}

impl Late {
    pub fn is_empty(&self) -> bool {
        self.lock().readings.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    pub(super) fn again(&self, member: Option<u32>) -> Again {
        Again {
            remote: Arc::clone(&self.remote),
            counts: Arc::clone(&self.counts),
            late: Arc::clone(&self.late),
            member,
        }
    }

    /// Takes over what came late.
    pub(super) fn take_late(&mut self) {
        let late = std::mem::take(&mut self.late.lock().readings);
        let by_id = late.into_iter().map(|reading| (reading.id(), reading));
        self.readings.extend(by_id);
    }

    /// As `take_late`; nothing will come any more.
    pub(super) fn take_last(&mut self) {
        self.late.lock().is_closed = true;
        self.take_late();
    }
}

impl Again {
    pub async fn ask(&self, operation: &Shared, execute: &Execute) {
        let asked = stoppable(operation, self.read(execute)).await;
        let (mut reading, mut result) = match asked {
            Some(Ok((reading, outcome))) => (reading, Ok(outcome)),
            Some(Err(error)) => (None, Err(error)),
            None => (None, Err(stopped(operation))),
        };
        // Until the reading is there: the caller may come for more rows at once.
        let mut late = self.late.lock();
        if late.is_closed && reading.take().is_some() {
            result = Err(Error::closed());
        }
        if result.is_err() {
            execute.rows.clear();
            execute.rows.end(Ok(()));
        }
        let result = result.map_err(|error| error.with_sql(&execute.sql));
        if let Ok(waker) = operation.finish_unheard(result) {
            late.readings.extend(reading);
            drop(late);
            if let Some(waker) = waker {
                waker.wake();
            }
        } else {
            drop(late);
            operation.leave();
        }
    }

    /// The first rows; the reading, if there may be more.
    async fn read(&self, execute: &Execute) -> Result<(Option<Reading>, Outcome)> {
        let Execute { sql, rows, .. } = execute;
        let _timing = rows.timing();
        let statement = bound(remote::Statement::new(&**sql), &execute.parameters, 0)?;
        let stream = self.remote.stream();
        let (mut reading, begun) = Reading::begin(stream, Continuity::Any, sql, statement, rows);
        let columns = begun.columns().await?;
        let is_over = reading.fetch(execute.amount).await;
        let outcome = Outcome {
            member: self.member,
            ..self.counts.outcome(&columns, None, execute.wants_decltypes)
        };
        Ok(((!is_over).then_some(reading), outcome))
    }
}
