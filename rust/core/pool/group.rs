//! Group commit: writes that wait at the same time are committed together.
//!
//! Owns how they are run: each in a savepoint of its own, so that one that fails or violates a foreign key affects no
//! other, and none is reported before the COMMIT that holds it.
//! Thread: the writer's worker.
//! Invariant: what was given to a group is either done, or was not run, or has left nothing and is run again alone.
//! Must not know: Python, queues.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sqlite::{self, code};

use super::super::command::{Action, Command, Execute, Outcome, Shared};
use super::super::error::{Error, Result};
use super::super::session::{Session, explain_stop};
use super::super::unheard;

/// A group takes no more members after this time, and its COMMIT comes.
const LONGEST: Duration = Duration::from_millis(20);

const SAVEPOINT: &str = "SAVEPOINT aiolibsql_member";
const RELEASE: &str = "RELEASE aiolibsql_member";
const ROLLBACK_TO: &str = "ROLLBACK TO aiolibsql_member";

/// What became of a group.
#[derive(Debug, Default)]
pub(in super::super) struct Ended {
    /// They have run, and what they did is committed.
    pub done: Vec<(Shared, Result<Outcome>)>,
    /// They were claimed, and what they did is gone; the fault is not theirs.
    pub again: Vec<(Shared, Execute)>,
    /// They were not claimed.
    pub left: Vec<Command>,
}

/// Stops a member that nobody waits for any more, once the group has taken its time.
#[derive(Debug)]
struct Patience {
    until: Instant,
    /// Told to stop when the whole group is.
    group: Shared,
    current: Mutex<Option<Shared>>,
}

impl sqlite::Stop for Patience {
    fn stop_requested(&self) -> bool {
        if self.group.stop().is_some() {
            return true;
        }
        if Instant::now() < self.until {
            return false;
        }
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .as_ref()
            .is_some_and(|member| member.stop().is_some())
    }
}

impl Session {
    /// Runs writes in one transaction. `group` stands for all of them while it waits for the lock.
    pub(in super::super) fn run_group(&mut self, group: &Shared, commands: Vec<Command>) -> Ended {
        unheard::wake_all();
        self.attach(group);
        let mut ended = Ended::default();
        match self.run_sql("BEGIN IMMEDIATE") {
            Ok(()) => self.run_members(group, commands, &mut ended),
            Err(error) => {
                let error = explain_stop(group, error);
                for command in commands {
                    if command.operation.claim() {
                        ended.done.push((command.operation, Err(error.clone())));
                    }
                }
            }
        }
        self.detach(true);
        self.note_logs();
        ended
    }

    fn run_members(&mut self, group: &Shared, commands: Vec<Command>, ended: &mut Ended) {
        let patience = Arc::new(Patience {
            until: Instant::now() + LONGEST,
            group: Arc::clone(group),
            current: Mutex::default(),
        });
        self.handle
            .set_stop(Some(Arc::clone(&patience) as Arc<dyn sqlite::Stop>));
        let mut members: Vec<(Shared, Execute, Result<Outcome>)> = Vec::new();
        let mut commands = commands.into_iter();
        while Instant::now() < patience.until
            && let Some(command) = commands.next()
        {
            self.note_command(&command.action);
            let Action::Execute(execute) = command.action else {
                continue;
            };
            if !command.operation.claim() {
                continue;
            }
            let member = Arc::clone(&command.operation);
            *patience
                .current
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(member);
            let result = self.run_member(&command.operation, &execute);
            members.push((command.operation, execute, result));
            if self.handle.is_autocommit() {
                break;
            }
        }
        ended.left = commands.collect();
        let is_lost = self.handle.is_autocommit();
        let committed = if is_lost {
            Ok(())
        } else {
            self.run_sql("COMMIT")
        };
        if committed.is_err() && !self.handle.is_autocommit() {
            // SQLite rolls back by itself if it can't do it on request.
            let _ = self.run_sql("ROLLBACK");
        }
        if !is_lost && committed.is_ok() {
            let done = members.into_iter();
            ended
                .done
                .extend(done.map(|(member, _, result)| (member, result)));
            return;
        }
        let last = members.len();
        for (place, (member, execute, result)) in members.into_iter().enumerate() {
            // The one that ended the transaction has its error, and would do it again.
            if is_lost && place + 1 == last && result.is_err() {
                let result = result.map_err(|error| explain_stop(&member, error));
                ended.done.push((member, result));
            } else {
                execute.rows.restart();
                ended.again.push((member, execute));
            }
        }
    }

    fn run_member(&mut self, member: &Shared, execute: &Execute) -> Result<Outcome> {
        self.run_sql(SAVEPOINT)?;
        let result = self.execute(member, execute);
        if self.handle.is_autocommit() {
            return result;
        }
        // What a failed statement left is to stay: that is what OR FAIL means, and others leave nothing.
        if result.is_ok() && self.handle.has_unresolved_foreign_keys() {
            self.run_sql(ROLLBACK_TO)?;
            self.run_sql(RELEASE)?;
            let violated =
                sqlite::Error::new(code::CONSTRAINT_FOREIGNKEY, "FOREIGN KEY constraint failed");
            return Err(Error::from(violated).with_sql(&execute.sql));
        }
        self.run_sql(RELEASE)?;
        result
    }
}
