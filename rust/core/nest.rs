//! Nest: the transaction blocks that are open on a session, one inside of the other.
//!
//! Owns how each begins and ends, and the report of a transaction that SQLite ended under them.
//! Invariant: while a block is open, only its members' statements run, and none of them outside of its transaction.
//! Must not know: Python, who waits for a block's end.

use std::sync::Arc;

use crate::sqlite::{StatementId, StatementKind};

use super::block::{Block, BlockKind};
use super::command::{Action, Outcome, Shared};
use super::error::{Error, Result};
use super::options::{Begin, TransactionMode};
use super::session::Session;

/// The open blocks of one session.
#[derive(Debug, Default)]
pub(super) struct Nest {
    /// Innermost last.
    levels: Vec<Level>,
    /// Why the transaction of the blocks is gone.
    lost: Option<Error>,
    /// The block that the last command entered.
    entered: Option<Arc<Block>>,
}

#[derive(Debug)]
struct Level {
    block: Arc<Block>,
    /// The quoted name of its savepoint; `None`: it began a transaction.
    savepoint: Option<String>,
    /// Its end is the end of a transaction.
    ends_transaction: bool,
    is_read_only: bool,
}

impl Nest {
    pub(super) fn innermost(&self) -> Option<&Arc<Block>> {
        self.levels.last().map(|level| &level.block)
    }

    const fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    fn position(&self, block: &Arc<Block>) -> Option<usize> {
        self.levels
            .iter()
            .position(|level| Arc::ptr_eq(&level.block, block))
    }

    /// Takes a level out, with all that are inside of it.
    fn take(&mut self, position: usize) -> Option<Level> {
        let taken = self
            .levels
            .drain(position..)
            .inspect(|level| level.block.set_ended());
        taken.reduce(|outermost, _| outermost)
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        drop(self.take(0));
    }
}

impl Session {
    /// Refuses what a block does not allow, and what takes part in a block that is not open.
    pub(super) fn admit(&mut self, block: Option<&Arc<Block>>, action: &Action) -> Result<()> {
        self.nest.entered = None;
        if !action.takes_part() {
            return Ok(());
        }
        if let Some(block) = block
            && self.nest.position(block).is_none()
            && !matches!(action, Action::Fetch { .. })
        {
            return Err(block.refusal());
        }
        let Some(innermost) = self.nest.innermost() else {
            return Ok(());
        };
        if let Some(lost) = &self.nest.lost {
            return Err(lost.clone());
        }
        let refused = match action {
            Action::Begin(_) => "begin()",
            Action::Commit => "commit()",
            Action::Rollback => "rollback()",
            Action::ExecuteScript(_) => "executescript()",
            Action::SetMode => "set_autocommit()",
            Action::Rekey(_) => "rekey()",
            _ => return Ok(()),
        };
        Err(Error::programming(format!(
            "{refused} can't be used inside {innermost}"
        )))
    }

    /// Refuses statements that would end a block's transaction, or write in one that only reads.
    pub(super) fn admit_statement(&mut self, id: StatementId) -> Result<()> {
        let Some(level) = self.nest.levels.last() else {
            return Ok(());
        };
        let statement = self.handle.statement(id);
        let refused = match statement.kind() {
            StatementKind::Begin => "BEGIN",
            StatementKind::Commit => "COMMIT",
            StatementKind::Rollback => "ROLLBACK",
            _ if level.is_read_only && !statement.is_readonly() => "a statement that writes",
            _ => return Ok(()),
        };
        Err(Error::programming(format!(
            "{refused} can't be used inside {}",
            level.block
        )))
    }

    /// Notes that the transaction of the open blocks has vanished. `false`: there is none.
    pub(super) fn lose_blocks(&mut self, error: Option<&Error>) {
        let Some(outermost) = self.nest.levels.first() else {
            return;
        };
        let why = error.map_or("SQLite ended it", |error| error.message.as_str());
        self.nest.lost = Some(Error::rolled_back(why));
        // A transaction that was there before the blocks is reported once more, when they are left.
        self.transaction.ended = outermost.ends_transaction;
    }

    pub(super) fn enter(&mut self, operation: &Shared, block: &Arc<Block>) -> Result<Outcome> {
        let depth = self.nest.levels.len();
        let is_read_only = *block.kind() == BlockKind::Read
            || self
                .nest
                .levels
                .last()
                .is_some_and(|level| level.is_read_only);
        let savepoint = match block.kind() {
            BlockKind::Savepoint { name: Some(name) } => Some(name.replace('"', "\"\"")),
            BlockKind::Savepoint { name: None } => Some(format!("aiolibsql_{depth}")),
            _ if depth > 0 => Some(format!("aiolibsql_{depth}")),
            _ => None,
        };
        if depth == 0 {
            self.check_transaction()?;
        }
        // A savepoint outside of a transaction begins one.
        let ends_transaction = savepoint.is_none() || self.handle.is_autocommit();
        if let Some(name) = &savepoint {
            self.run_sql(&format!("SAVEPOINT \"{name}\""))?;
        } else {
            self.with_fresh_snapshot(operation, |session, _| session.begin_block(block.kind()))?;
        }
        self.nest.levels.push(Level {
            block: Arc::clone(block),
            savepoint,
            ends_transaction,
            is_read_only,
        });
        self.nest.entered = Some(Arc::clone(block));
        block.set_open();
        Ok(Outcome::default())
    }

    fn begin_block(&mut self, kind: &BlockKind) -> Result<()> {
        if !self.handle.is_autocommit() {
            // PEP 249's open transaction gives way, as long as there is nothing in it to lose.
            let is_empty = !self.handle.holds_write_lock();
            if self.transaction.mode != TransactionMode::Always || !is_empty {
                return Err(Error::programming(
                    "a transaction is open: commit() or rollback() before entering a transaction block",
                ));
            }
            self.run_sql("COMMIT")?;
            self.transaction.ended = true;
        }
        let begin = match kind {
            BlockKind::Transaction(begin) => *begin,
            BlockKind::Read | BlockKind::Savepoint { .. } => Begin::Deferred,
        };
        let result = self.run_sql(begin.sql()).and_then(|()| {
            if *kind == BlockKind::Read {
                // The snapshot is taken by the first read.
                self.handle.read_first_page()?;
            }
            Ok(())
        });
        if result.is_err() {
            if !self.handle.is_autocommit() {
                self.run_sql("ROLLBACK")?;
            }
            self.keep_transaction_open()?;
        }
        result
    }

    /// Ends a block. Whatever comes of it, the block is over: a COMMIT that fails is rolled back.
    pub(super) fn leave(&mut self, block: &Arc<Block>, commits: bool) -> Result<Outcome> {
        let Some(position) = self.nest.position(block) else {
            block.set_ended();
            // Undone with its connection, or by a cancellation.
            return if commits {
                Err(block.refusal())
            } else {
                Ok(Outcome::default())
            };
        };
        let inner = self
            .nest
            .levels
            .get(position + 1)
            .map(|level| Arc::clone(&level.block));
        let Some(level) = self.nest.take(position) else {
            return Ok(Outcome::default());
        };
        let lost = if self.nest.is_empty() {
            self.nest.lost.take()
        } else {
            self.nest.lost.clone()
        };
        if let Some(lost) = lost {
            if self.nest.is_empty() {
                self.keep_transaction_open()?;
            }
            return if commits {
                Err(lost)
            } else {
                Ok(Outcome::default())
            };
        }
        let kept = match inner {
            _ if !commits => self.undo_block(&level),
            Some(inner) => self.undo_block(&level).and_then(|()| {
                Err(Error::programming(format!(
                    "{inner} was still open, so {block} was rolled back"
                )))
            }),
            None => self.keep_block(&level).inspect_err(|_| {
                // The first error tells why.
                let _ = self.undo_block(&level);
            }),
        };
        kept.map(|()| Outcome::default())
    }

    fn keep_block(&mut self, level: &Level) -> Result<()> {
        match &level.savepoint {
            None => self.end_with("COMMIT"),
            Some(name) if level.ends_transaction => self.end_with(&format!("RELEASE \"{name}\"")),
            Some(name) => self.run_sql(&format!("RELEASE \"{name}\"")),
        }
    }

    fn undo_block(&mut self, level: &Level) -> Result<()> {
        if self.handle.is_autocommit() {
            self.transaction.ended = true;
            return self.keep_transaction_open();
        }
        match &level.savepoint {
            Some(name) if !level.ends_transaction => {
                self.run_sql(&format!("ROLLBACK TO \"{name}\""))?;
                self.run_sql(&format!("RELEASE \"{name}\""))
            }
            _ => self.end_with("ROLLBACK"),
        }
    }

    /// Ends the block that a command entered whose caller had gone. `false`: it entered none.
    pub(super) fn undo_enter(&mut self) -> bool {
        let Some(block) = self.nest.entered.take() else {
            return false;
        };
        // Nobody is left to hear of an error.
        let _ = self.leave(&block, false);
        true
    }

    pub(super) fn has_entered(&self) -> bool {
        self.nest.entered.is_some()
    }

    pub(super) fn is_in_block(&self) -> bool {
        !self.nest.is_empty()
    }
}
