//! Nest: the transaction blocks that are open on a session, one inside of the other.
//!
//! Owns how each begins and ends, the savepoints that were set by hand inside, and the report of a transaction
//! that SQLite ended under them.
//! Invariant: while a block is open, only its members' statements run, and none of them outside of its transaction.
//! Must not know: Python, who waits for a block's end.

use std::sync::Arc;

use crate::sqlite::{SavepointAction, StatementId, StatementKind};

use super::block::{Block, BlockKind};
use super::command::{Action, Execute, Outcome, Shared};
use super::error::{Error, Result};
use super::options::{Begin, ModeChange, TransactionMode};
use super::service::Reply;
use super::session::Session;

/// What the names of our own savepoints begin with.
const OWN: &str = "aiolibsql_";

/// The open blocks of one session.
#[derive(Debug, Default)]
pub struct Nest {
    /// Innermost last.
    levels: Vec<Level>,
    /// Why the transaction of the blocks is gone.
    pub lost: Option<Error>,
    /// The block that the last command entered.
    entered: Option<Arc<Block>>,
    /// Changed modes, for when the last block has ended.
    modes: Vec<ModeChange>,
}

/// One open block.
#[derive(Debug)]
pub struct Level {
    pub block: Arc<Block>,
    /// The number of our savepoint; `None`: the block is a transaction.
    savepoint: Option<usize>,
    pub is_read_only: bool,
    /// Savepoints that were set by name inside and not released.
    named: Vec<String>,
}

/// What a block has to know of a statement.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub kind: StatementKind,
    pub savepoint: Option<(SavepointAction, &'a str)>,
    pub is_readonly: bool,
}

impl Level {
    /// Whether it is a transaction, and no savepoint.
    pub const fn is_transaction(&self) -> bool {
        self.savepoint.is_none()
    }

    /// What sets, releases or goes back to its savepoint.
    pub fn sql(&self, verb: &str) -> Option<String> {
        self.savepoint.map(|number| format!("{verb} {OWN}{number}"))
    }

    /// What sets the savepoint that it was given a name for. It lies inside of ours, so that nothing by its name can
    /// end the block.
    pub fn named(&self) -> Option<String> {
        match self.block.kind() {
            BlockKind::Savepoint { name: Some(name) } => {
                Some(format!("SAVEPOINT \"{}\"", name.replace('"', "\"\"")))
            }
            _ => None,
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.named
            .iter()
            .rposition(|own| own.eq_ignore_ascii_case(name))
    }
}

impl Nest {
    pub fn innermost(&self) -> Option<&Arc<Block>> {
        self.levels.last().map(|level| &level.block)
    }

    pub(super) fn outermost(&self) -> Option<&Arc<Block>> {
        self.levels.first().map(|level| &level.block)
    }

    pub const fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Keeps changed modes until the last block has ended.
    pub fn postpone(&mut self, modes: &[ModeChange]) {
        self.modes.extend_from_slice(modes);
    }

    /// The changed modes that were kept.
    pub fn take_modes(&mut self) -> Vec<ModeChange> {
        std::mem::take(&mut self.modes)
    }

    /// The block that a batch is.
    pub fn block_of_batch() -> Arc<Block> {
        let block = Block::new(BlockKind::Savepoint { name: None }, "batch()".to_owned());
        block.enter(None);
        block
    }

    pub const fn has_entered(&self) -> bool {
        self.entered.is_some()
    }

    /// The block that the last command entered, once.
    pub const fn take_entered(&mut self) -> Option<Arc<Block>> {
        self.entered.take()
    }

    pub fn position(&self, block: &Arc<Block>) -> Option<usize> {
        self.levels
            .iter()
            .position(|level| Arc::ptr_eq(&level.block, block))
    }

    /// The block that lies directly inside of the one at a position.
    pub fn inside_of(&self, position: usize) -> Option<Arc<Block>> {
        let inner = self.levels.get(position + 1);
        inner.map(|level| Arc::clone(&level.block))
    }

    /// Takes a level out, with all that are inside of it.
    pub fn take(&mut self, position: usize) -> Option<Level> {
        let taken = self.levels.drain(position..);
        taken
            .inspect(|level| level.block.set_over())
            .reduce(|outermost, _| outermost)
    }

    /// The level that a block would be, entered now.
    pub fn level(&self, block: &Arc<Block>, is_in_transaction: bool) -> Level {
        let depth = self.levels.len();
        let is_savepoint = matches!(block.kind(), BlockKind::Savepoint { .. });
        // A savepoint outside of a transaction is one.
        let is_inside = depth > 0 || is_savepoint && is_in_transaction;
        let is_read_only = *block.kind() == BlockKind::Read
            || self.levels.last().is_some_and(|level| level.is_read_only);
        Level {
            block: Arc::clone(block),
            savepoint: is_inside.then_some(depth),
            is_read_only,
            named: Vec::new(),
        }
    }

    /// Its beginning has run: the block is open.
    pub fn push(&mut self, mut level: Level) {
        if let BlockKind::Savepoint { name: Some(name) } = level.block.kind() {
            level.named.push(name.clone());
        }
        level.block.set_open();
        self.entered = Some(Arc::clone(&level.block));
        self.levels.push(level);
    }

    /// Notes that the transaction of the open blocks has vanished. Whether it was begun before them, if there are any.
    pub fn lose(&mut self, error: Option<&Error>) -> Option<bool> {
        let outermost = self.levels.first()?;
        let why = error.map_or("SQLite ended it", |error| error.message.as_str());
        self.lost = Some(Error::rolled_back(why));
        Some(!outermost.is_transaction())
    }

    /// Refuses what a block does not allow, and what takes part in a block that is not open.
    ///
    /// # Errors
    /// The refusal.
    pub fn admit(&mut self, block: Option<&Arc<Block>>, action: &Action) -> Result<()> {
        self.entered = None;
        if !action.is_gated() {
            return Ok(());
        }
        if let Some(block) = block
            && self.position(block).is_none()
            && !matches!(action, Action::Fetch { .. })
        {
            return Err(block.refusal());
        }
        let Some(innermost) = self.innermost() else {
            return Ok(());
        };
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        let refused = match action {
            Action::Begin(_) => "begin()",
            Action::Commit => "commit()",
            Action::Rollback => "rollback()",
            Action::ExecuteScript(_) => "executescript()",
            Action::SetMode => "set_autocommit()",
            Action::Rekey(_) => "rekey()",
            Action::Serve(service) => match service.refused_in_blocks() {
                Some(name) => name,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        Err(refuse(refused, innermost))
    }

    /// Refuses statements that would end a block's transaction or reach behind its beginning, and those that write
    /// in one that only reads.
    ///
    /// # Errors
    /// The refusal.
    pub fn admit_statement(&mut self, statement: Told<'_>) -> Result<()> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        let refused = match statement.kind {
            StatementKind::Begin => "BEGIN",
            StatementKind::Commit => "COMMIT",
            StatementKind::Rollback => "ROLLBACK",
            StatementKind::Explain => return Ok(()),
            StatementKind::Savepoint => {
                let Some((action, name)) = statement.savepoint else {
                    return Ok(());
                };
                match (action, level.position(name)) {
                    (SavepointAction::Set, _) if !name.starts_with(OWN) => {
                        level.named.push(name.to_owned());
                        return Ok(());
                    }
                    (SavepointAction::Release, Some(position)) => {
                        level.named.truncate(position);
                        return Ok(());
                    }
                    (SavepointAction::RollBackTo, Some(_)) => return Ok(()),
                    (SavepointAction::Set, _) => "a savepoint with a name of ours",
                    (SavepointAction::Release | SavepointAction::RollBackTo, None) => {
                        // To end one that was set outside would end the block.
                        let message = format!("no such savepoint inside {}: {name}", level.block);
                        return Err(Error::operational(message));
                    }
                }
            }
            _ if level.is_read_only && !statement.is_readonly => "a statement that writes",
            _ => return Ok(()),
        };
        Err(refuse(refused, &level.block))
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        drop(self.take(0));
    }
}

impl Session {
    /// Forgets blocks whose transaction is about to be rolled back.
    pub(super) fn abandon_blocks(&mut self) {
        self.nest = Nest::default();
    }

    /// As `Nest::admit_statement`.
    pub(super) fn admit_statement(&mut self, id: StatementId) -> Result<()> {
        if self.nest.is_empty() {
            return Ok(());
        }
        let statement = self.handle.statement(id);
        self.nest.admit_statement(Told {
            kind: statement.kind(),
            savepoint: statement.savepoint(),
            is_readonly: statement.is_readonly(),
        })
    }

    /// Refuses what writes and is no statement, in a block that only reads.
    pub(super) fn refuse_to_write(&self, what: &str) -> Result<()> {
        match self.nest.levels.last() {
            Some(level) if level.is_read_only => Err(refuse(what, &level.block)),
            _ => Ok(()),
        }
    }

    /// Notes that the transaction of the open blocks has vanished.
    pub(super) fn lose_blocks(&mut self, error: Option<&Error>) {
        if let Some(was_before) = self.nest.lose(error) {
            // A transaction that was there before the blocks is reported once more, when they are left.
            self.transaction.ended = !was_before;
        }
    }

    pub(super) fn enter(&mut self, operation: &Shared, block: &Arc<Block>) -> Result<Outcome> {
        if self.nest.is_empty() {
            self.check_transaction()?;
        }
        let level = self.nest.level(block, !self.handle.is_autocommit());
        if let Some(sql) = level.sql("SAVEPOINT") {
            self.run_sql(&sql)?;
        } else {
            self.begin_block(operation, block.kind())?;
        }
        if let Some(sql) = level.named()
            && let Err(error) = self.run_once(&sql)
        {
            self.undo_block(&level)?;
            return Err(error);
        }
        self.nest.push(level);
        Ok(Outcome::default())
    }

    /// Runs statements in a block of their own.
    pub(super) fn execute_batch(
        &mut self,
        operation: &Shared,
        statements: &[Execute],
    ) -> Result<Outcome> {
        let block = Nest::block_of_batch();
        self.enter(operation, &block)?;
        let executed = statements
            .iter()
            .map(|statement| self.execute(operation, statement))
            .collect::<Result<_>>();
        let left = self.leave(&block, executed.is_ok());
        self.nest.entered = None;
        let outcomes = executed?;
        left?;
        Ok(Outcome {
            reply: Some(Reply::Batch(outcomes)),
            ..Outcome::default()
        })
    }

    fn begin_block(&mut self, operation: &Shared, kind: &BlockKind) -> Result<()> {
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
        let result = self.with_fresh_snapshot(operation, |session, _| {
            session.run_sql(begin.sql())?;
            if *kind == BlockKind::Read {
                // The snapshot is taken by the first read.
                session.handle.read_first_page()?;
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
            // Undone with its connection, or by a cancellation.
            return if commits {
                Err(block.refusal())
            } else {
                Ok(Outcome::default())
            };
        };
        let inner = self.nest.inside_of(position);
        let Some(level) = self.nest.take(position) else {
            return Ok(Outcome::default());
        };
        let result = self.end_block(&level, commits, inner.as_ref());
        if self.nest.is_empty() {
            self.nest.lost = None;
            for change in self.nest.take_modes() {
                self.change_mode(change)?;
            }
        }
        result.map(|()| Outcome::default())
    }

    fn end_block(
        &mut self,
        level: &Level,
        commits: bool,
        inner: Option<&Arc<Block>>,
    ) -> Result<()> {
        if let Some(lost) = self.nest.lost.clone() {
            if level.is_transaction() {
                self.undo_block(level)?;
            }
            return if commits { Err(lost) } else { Ok(()) };
        }
        if !commits {
            return self.undo_block(level);
        }
        if let Some(inner) = inner {
            self.undo_block(level)?;
            return Err(Error::programming(format!(
                "{inner} was still open, so {} was rolled back",
                level.block
            )));
        }
        let kept = match level.sql("RELEASE") {
            Some(sql) => self.run_sql(&sql),
            // Whatever wrote in spite of it.
            None if level.is_read_only => self.end_with("ROLLBACK"),
            None => self.end_with("COMMIT"),
        };
        kept.inspect_err(|_| {
            // The first error tells why.
            let _ = self.undo_block(level);
        })
    }

    fn undo_block(&mut self, level: &Level) -> Result<()> {
        if self.handle.is_autocommit() {
            self.transaction.ended |= level.is_transaction();
            return self.keep_transaction_open();
        }
        let (Some(back), Some(release)) = (level.sql("ROLLBACK TO"), level.sql("RELEASE")) else {
            return self.end_with("ROLLBACK");
        };
        let undone = self.run_sql(&back).and_then(|()| self.run_sql(&release));
        if let (Err(error), false) = (&undone, self.nest.is_empty()) {
            // What is around it must not commit the half of it.
            self.nest.lost = Some(Error::rolled_back(&error.message));
        }
        undone
    }

    /// Ends the block that a command entered whose caller had gone. `false`: it entered none.
    pub(super) fn undo_enter(&mut self) -> bool {
        let Some(block) = self.nest.take_entered() else {
            return false;
        };
        // Nobody is left to hear of an error.
        let _ = self.leave(&block, false);
        true
    }
}

fn refuse(what: &str, block: &Block) -> Error {
    Error::programming(format!("{what} can't be used inside {block}"))
}
