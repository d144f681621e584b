//! Steps: what a command does to a database that may be open or not.
//!
//! Owns no state; these are the local backend's transitions between unopened, open, closed and poisoned.
//! Thread: the one that has claimed the session.
//! Must not know: Python, queues.

use std::sync::Arc;

use super::block::Block;
use super::command::{Action, Outcome, Shared};
use super::error::{Error, Result};
use super::mailbox::Database;
use super::options::ModeChange;
use super::pool::{Membership, Role};
use super::service::Service;
use super::session::Session;
use super::status::Phase;
use super::worker::Local;

impl Local {
    pub(super) fn step(
        &self,
        database: Database,
        operation: &Shared,
        action: Action,
        modes: &[ModeChange],
        block: Option<&Arc<Block>>,
    ) -> (Database, Result<Outcome>) {
        if matches!(action, Action::Close) {
            self.options.key.set(None);
        }
        match (database, action) {
            (Database::Unopened, Action::Open) => {
                let mode = *self.mode();
                let pool = self.pool.get();
                let is_reader =
                    self.options.read_only || pool.is_some_and(|pool| pool.role == Role::Reader);
                if let Some(pool) = pool {
                    pool.give_key(&self.options.key);
                }
                match Session::open(&self.options, is_reader, mode, operation) {
                    Ok(mut session) => {
                        session.set_channel(self.channel());
                        session.tenure.is_lent = pool.is_some_and(Membership::resume);
                        let outcome = Outcome {
                            opened: true,
                            ..Outcome::default()
                        };
                        (Database::Open(Box::new(session)), Ok(outcome))
                    }
                    Err(error) => (Database::Unopened, Err(error)),
                }
            }
            (Database::Open(mut session), Action::Open) => {
                session.opens += 1;
                let result = session.run(operation, Action::Open, modes, None);
                (Database::Open(session), result)
            }
            (Database::Open(mut session), Action::Close) => {
                // What an assignment to `isolation_level` committed in sqlite3 is committed here, and what
                // was written to a BLOB outside of a transaction.
                let last = Action::Serve(Service::CloseBlobs);
                let applied = session.run(operation, last, modes, None);
                self.status.set_phase(Phase::Closed);
                self.status.publish(false, 0, false);
                let closed = session.close(&self.status);
                (Database::Closed, applied.and(closed))
            }
            // Somebody else has opened it since, and uses it.
            (Database::Open(session), Action::UndoOpen) if session.opens > 1 => {
                (Database::Open(session), Ok(Outcome::default()))
            }
            (database @ Database::Open(_), Action::UndoOpen) => {
                (self.undo_open(database), Ok(Outcome::default()))
            }
            (database @ Database::Open(_), Action::Serve(Service::Suspend)) => {
                if let Some(pool) = self.pool.get() {
                    pool.suspend();
                }
                (self.undo_open(database), Ok(Outcome::default()))
            }
            (Database::Open(mut session), Action::Serve(Service::Lend(handover))) => {
                let lend = Action::Serve(Service::Lend(Arc::clone(&handover)));
                let result = session.run(operation, lend, modes, block);
                let kept = match &result {
                    Ok(_) => handover.put(session),
                    Err(_) => Some(session),
                };
                (kept.map_or(Database::Claimed, Database::Open), result)
            }
            // It was suspended, and could not be opened again.
            (database @ Database::Unopened, Action::Serve(Service::Release)) => {
                let _ = self.pool.get().map(Membership::resume);
                (database, Ok(Outcome::default()))
            }
            (Database::Open(mut session), action) => {
                let rekeys = matches!(action, Action::Rekey(_));
                let result = session.run(operation, action, modes, block);
                if let (true, true, Some(pool)) = (rekeys, result.is_ok(), self.pool.get()) {
                    pool.follow_key(&session.key);
                }
                (Database::Open(session), result)
            }
            // What is to be undone went with the connection.
            (
                database @ (Database::Unopened | Database::Closed),
                Action::Leave { commits: false, .. },
            ) => (database, Ok(Outcome::default())),
            (Database::Unopened | Database::Closed, Action::Close) => {
                self.status.set_phase(Phase::Closed);
                (Database::Closed, Ok(Outcome::default()))
            }
            (database @ Database::Unopened, _) => (database, Err(Error::not_open())),
            (Database::Poisoned(message), action) => {
                let closes = matches!(action, Action::Close);
                let result = if closes {
                    Ok(Outcome::default())
                } else {
                    Err(Error::internal(message.clone()))
                };
                (Database::Poisoned(message), result)
            }
            (Database::Closed | Database::Claimed, _) => (Database::Closed, Err(Error::closed())),
        }
    }
}
