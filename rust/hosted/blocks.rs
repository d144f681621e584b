//! Transaction blocks of a session: how each begins and ends over a stream.
//!
//! Owns no state; these are the session's methods for blocks. Which blocks are open is the core's `Nest`.
//! Invariant: entering sends nothing. What a block begins with goes out with its first statement, and a block without
//! one costs no request.
//! Must not know: who waits for a block's end.

use std::sync::Arc;

use crate::core::{Begin, Block, BlockKind, Error, Level, Outcome, Result, TransactionMode};
use crate::remote::{Condition, Statement};

use super::outbox::Frame;
use super::session::Session;

impl Session {
    pub(super) async fn enter(&mut self, block: &Arc<Block>) -> Result<Outcome> {
        if self.nest.is_empty() {
            self.check_transaction()?;
        }
        let level = self.nest.level(block, self.is_in_transaction());
        match (level.sql("SAVEPOINT"), &self.aside) {
            (Some(sql), _) => self.outbox.push(sql),
            (None, Some(aside)) if *block.kind() == BlockKind::Read => {
                let aside = Arc::clone(aside);
                self.make_room().await?;
                if let Err(error) = aside.enter(block).await {
                    self.keep_transaction_open();
                    return Err(error);
                }
                self.block_aside = Some(Arc::clone(block));
            }
            (None, _) => {
                self.make_room().await?;
                self.outbox.push(begin_of(block.kind()).sql());
            }
        }
        if let Some(sql) = level.named() {
            self.outbox.push(sql);
        }
        self.nest.push(level);
        Ok(Outcome::default())
    }

    /// PEP 249's open transaction gives way to a block, as long as there is nothing in it to lose.
    async fn make_room(&mut self) -> Result<()> {
        if self.is_in_transaction() {
            let is_empty = !self.is_open || !self.has_written;
            if self.transaction.mode != TransactionMode::Always || !is_empty {
                return Err(Error::programming(
                    "a transaction is open: commit() or rollback() before entering a transaction block",
                ));
            }
            if self.is_open {
                self.run_sql("COMMIT").await?;
            }
            self.outbox.clear();
            self.transaction.ended = true;
        }
        Ok(())
    }

    /// Ends a block. Whatever comes of it, the block is over: a COMMIT that fails is rolled back.
    pub(super) async fn leave(&mut self, block: &Arc<Block>, commits: bool) -> Result<Outcome> {
        let Some(position) = self.nest.position(block) else {
            // Undone with its connection, or by a cancellation.
            return if commits {
                Err(block.refusal())
            } else {
                Ok(Outcome::default())
            };
        };
        let inner = self.nest.inside_of(position);
        let left = match &self.block_aside {
            Some(_) => Some(self.leave_aside(block, commits).await),
            None => None,
        };
        let Some(level) = self.nest.take(position) else {
            return Ok(Outcome::default());
        };
        let result = match left {
            Some(left) => left,
            None => self.end_block(&level, commits, inner.as_ref()).await,
        };
        if self.nest.is_empty() {
            self.nest.lost = None;
            for change in self.nest.take_modes() {
                self.change_mode(change).await?;
            }
        }
        result.map(|()| Outcome::default())
    }

    async fn leave_aside(&mut self, block: &Arc<Block>, commits: bool) -> Result<()> {
        let left = match &self.aside {
            Some(aside) => aside.leave(block, commits).await,
            None => Ok(()),
        };
        self.block_aside = None;
        self.transaction.ended = true;
        self.keep_transaction_open();
        left
    }

    async fn end_block(
        &mut self,
        level: &Level,
        commits: bool,
        inner: Option<&Arc<Block>>,
    ) -> Result<()> {
        if let Some(lost) = self.nest.lost.clone() {
            if level.is_transaction() {
                self.undo_block(level).await?;
            }
            return if commits { Err(lost) } else { Ok(()) };
        }
        if !commits {
            return self.undo_block(level).await;
        }
        if let Some(inner) = inner {
            self.undo_block(level).await?;
            return Err(Error::programming(format!(
                "{inner} was still open, so {} was rolled back",
                level.block
            )));
        }
        if !level.is_transaction() {
            if self.take_back(level) {
                return Ok(());
            }
            self.outbox.clear();
            self.commit_or_undo(&Frame::of(level)).await
        } else if level.is_read_only || !self.is_open {
            // Whatever wrote in spite of it.
            self.end_with("ROLLBACK").await
        } else {
            self.commit_block(&Frame::of(level)).await
        }
    }

    async fn commit_block(&mut self, frame: &Frame) -> Result<()> {
        self.outbox.clear();
        let committed = self.commit_or_undo(frame).await;
        if committed.is_err() && self.is_open {
            // It may have failed before the server looked at it.
            let _ = self.run_sql("ROLLBACK").await;
        }
        self.transaction.ended = true;
        self.keep_transaction_open();
        committed
    }

    /// Takes back what a block begins with, if that was not sent. `false`: it was.
    fn take_back(&mut self, level: &Level) -> bool {
        level
            .sql("SAVEPOINT")
            .is_some_and(|sql| self.outbox.take_back(&sql))
    }

    async fn undo_block(&mut self, level: &Level) -> Result<()> {
        if !self.is_in_transaction() {
            self.transaction.ended |= level.is_transaction();
            self.keep_transaction_open();
            return Ok(());
        }
        let (Some(back), Some(release)) = (level.sql("ROLLBACK TO"), level.sql("RELEASE")) else {
            return self.end_with("ROLLBACK").await;
        };
        if self.take_back(level) {
            return Ok(());
        }
        self.outbox.clear();
        let mut chain = self.outbox.begin_batch();
        let last = chain.push(Statement::new(&*back).without_rows());
        chain.batch.push(
            Some(Condition::ok(last)),
            Statement::new(&*release).without_rows(),
        );
        let undone = self.send_chain(chain, true).await.map(drop);
        if let (Err(error), false) = (&undone, self.nest.is_empty()) {
            // What is around it must not commit the half of it.
            self.nest.lost = Some(Error::rolled_back(&error.message));
        }
        undone
    }
}

const fn begin_of(kind: &BlockKind) -> Begin {
    match kind {
        BlockKind::Transaction(begin) => *begin,
        BlockKind::Read | BlockKind::Savepoint { .. } => Begin::Deferred,
    }
}
