//! Batches of a session: several statements in one request, all of them or none.
//!
//! Owns no state; these are the session's methods.
//! Invariant: what begins and ends a batch goes out with it. It runs a second time only if the first one was undone, or
//! if all of it only reads: as a cursor, because its answer was too large for one piece.
//! Must not know: who wants the rows.

use std::sync::Arc;

use crate::core::{Begin, Error, Execute, Nest, Outcome, Reply, Result, is_trivial};
use crate::remote::{
    self, ANSWER_TOO_LARGE, Batch, BatchResult, CursorEvent, Request, Response, StatementResult,
};

use super::outbox::{Chain, Frame};
use super::session::Session;
use super::statement::Statement;
use super::statements::{bound, is_too_large, no_statement, of_a_write};
use super::transaction::mismatch;

/// A statement of a batch.
struct Member<'a> {
    execute: &'a Execute,
    read: Statement,
    statement: remote::Statement,
}

impl Session {
    /// Runs statements in a block of their own.
    pub(super) async fn execute_batch(&mut self, statements: &[Execute]) -> Result<Outcome> {
        if self.nest.is_empty() {
            self.check_transaction()?;
        }
        let block = Nest::block_of_batch();
        let level = self.nest.level(&block, self.is_in_transaction());
        let mut frame = Frame::of(&level);
        if level.is_transaction() && statements.iter().any(|execute| !is_read(execute)) {
            // Beside another one that also reads before it writes, the server would refuse one of the two.
            Begin::Immediate.sql().clone_into(&mut frame.begin);
        }
        self.transaction.ended |= level.is_transaction();
        // Its beginning and its end go out with it: it is here only for what it does not allow.
        self.nest.push(level);
        let position = self.nest.position(&block);
        let ran = self.send_batch(statements, &frame).await;
        drop(position.and_then(|position| self.nest.take(position)));
        drop(self.nest.take_entered());
        Ok(Outcome {
            reply: Some(Reply::Batch(ran?)),
            ..Outcome::default()
        })
    }

    async fn send_batch(
        &mut self,
        statements: &[Execute],
        frame: &Frame,
    ) -> Result<Arc<[Outcome]>> {
        let members = self.read_members(statements)?;
        // They go out together: each takes as long as all of them.
        let _timings: Vec<_> = statements.iter().map(|one| one.rows.timing()).collect();
        let (was_open, was_in_transaction) = (self.is_open, self.is_in_transaction());
        let only_reads = statements.iter().all(is_read);
        let (Chain { batch, waited, .. }, places) =
            framed(self.outbox.begin_batch(), &members, frame);
        let answered = self.exchange(vec![Request::Batch(batch)], true).await;
        match answered.map(|results| results.into_iter().next()) {
            Ok(Some(Ok(Response::Batch(result)))) => self.outcomes(&members, &places, result),
            Ok(Some(Err(error))) if error.kind == remote::Kind::TooLarge => {
                Box::pin(self.read_batch(&members, frame, error.into())).await
            }
            Ok(Some(Err(error))) => {
                self.put_back_unread(waited, &error);
                Box::pin(self.refused(frame, was_open, error.into())).await
            }
            Ok(_) => Err(self.broken(mismatch())),
            // Not without the transaction that they belong to.
            Err(error) if only_reads && is_too_large(&error) && !was_in_transaction => {
                Box::pin(self.read_batch(&members, frame, error)).await
            }
            Err(error) if only_reads => Err(error),
            Err(error) => Err(of_a_write(error)),
        }
    }

    fn read_members<'a>(&mut self, statements: &'a [Execute]) -> Result<Vec<Member<'a>>> {
        let mut members = Vec::with_capacity(statements.len());
        for execute in statements {
            let read = Statement::read(&execute.sql);
            let alone = Statement::check_alone(&execute.sql);
            let admitted = alone.and_then(|()| self.nest.admit_statement(read.told()));
            admitted.map_err(|error| error.with_sql(&execute.sql))?;
            let statement = remote::Statement::new(&*execute.sql);
            let statement = bound(statement, &execute.parameters, 0)?;
            members.push(Member {
                execute,
                read,
                statement,
            });
        }
        Ok(members)
    }

    /// What the statements came to, or the error of the one that failed.
    fn outcomes(
        &mut self,
        members: &[Member<'_>],
        places: &[Option<u32>],
        mut result: BatchResult,
    ) -> Result<Arc<[Outcome]>> {
        let failed = result.steps.iter().find_map(|(place, step)| {
            let error = step.as_ref().err()?;
            let of = places.iter().position(|own| own == &Some(*place));
            Some((error.clone(), of.map(|of| &members[of].execute.sql)))
        });
        if let Some((error, sql)) = failed {
            let error = Error::from(remote::Error::from(error));
            return Err(match sql {
                Some(sql) => error.with_sql(sql),
                None => error,
            });
        }
        let mut outcomes = Vec::with_capacity(members.len());
        for (Member { execute, read, .. }, place) in members.iter().zip(places) {
            outcomes.push(match place.map(|place| result.steps.remove(&place)) {
                None => no_statement(&execute.rows, &execute.parameters)?,
                Some(Some(Ok(result))) => self.counts.take(execute, read, result),
                Some(_) => return Err(self.broken(mismatch())),
            });
        }
        Ok(outcomes.into())
    }

    /// Runs a batch whose answer is too large once more, after what was done is undone, with a cursor for all of it.
    async fn read_batch(
        &mut self,
        members: &[Member<'_>],
        frame: &Frame,
        too_large: Error,
    ) -> Result<Arc<[Outcome]>> {
        let was_stopped = too_large.code.as_deref() != Some(ANSWER_TOO_LARGE);
        if self.is_open && was_stopped {
            self.undo_frame(frame).await?;
        } else if members.iter().any(|member| !is_read(member.execute)) {
            // It was carried out to its end, or the COMMIT was what there was no room for.
            return Err(of_a_write(too_large));
        }
        let (Chain { batch, .. }, places) = framed(self.outbox.begin_batch(), members, frame);
        let was_unsettled = std::mem::replace(&mut self.is_unsettled, true);
        let result = self.read_steps(&batch, members, &places).await;
        self.is_unsettled = was_unsettled;
        let result = result.map_err(|error| self.broken(error));
        self.exchange(Vec::new(), true).await?;
        let outcomes = match result {
            Ok(result) => self.outcomes(members, &places, result),
            Err(error) if self.is_open => self.undo_frame(frame).await.and(Err(error)),
            Err(error) => Err(error),
        };
        if outcomes.is_err() {
            for member in members {
                member.execute.rows.clear();
            }
        }
        outcomes
    }

    /// The server did not run all of a batch, nor what undoes it.
    pub(super) async fn refused<T>(
        &mut self,
        frame: &Frame,
        was_open: bool,
        error: Error,
    ) -> Result<T> {
        if self.is_open && !was_open {
            self.undo_frame(frame).await?;
        }
        Err(error)
    }

    pub(super) async fn undo_frame(&mut self, frame: &Frame) -> Result<()> {
        for sql in &frame.undo {
            self.run_sql(sql).await?;
        }
        Ok(())
    }

    /// Runs a batch through a cursor. Rows go to where they are wanted as they come.
    async fn read_steps(
        &mut self,
        batch: &Batch,
        members: &[Member<'_>],
        places: &[Option<u32>],
    ) -> remote::Result<BatchResult> {
        let continuity = self.continuity();
        let stream = self.stream.get_or_insert_with(|| self.remote.stream());
        let mut cursor = stream.cursor(batch, continuity).await?;
        let mut result = BatchResult::default();
        let mut current: Option<(u32, StatementResult)> = None;
        loop {
            let events = cursor.next().await?;
            if events.is_empty() {
                return Ok(result);
            }
            for event in events {
                match event {
                    CursorEvent::StepBegin { step, columns } => {
                        let begun = StatementResult {
                            columns,
                            ..StatementResult::default()
                        };
                        current = Some((step, begun));
                    }
                    CursorEvent::Rows(rows) => {
                        let step = current.as_ref().map(|(step, _)| *step);
                        let of = places.iter().position(|own| own.is_some() && *own == step);
                        if let Some(of) = of {
                            members[of].execute.rows.push(rows);
                        }
                    }
                    CursorEvent::StepEnd {
                        affected_row_count,
                        last_insert_rowid,
                    } => {
                        if let Some((step, begun)) = current.take() {
                            let ended = StatementResult {
                                affected_row_count,
                                last_insert_rowid,
                                ..begun
                            };
                            result.steps.insert(step, Ok(ended));
                        }
                    }
                    CursorEvent::StepError { step, error } => {
                        current = None;
                        result.steps.insert(step, Err(error));
                    }
                    CursorEvent::Error(error) => return Err(error.into()),
                }
            }
        }
    }
}

fn is_read(execute: &Execute) -> bool {
    is_trivial(&execute.sql) || Statement::read(&execute.sql).is_readonly
}

/// A batch of the members, with what begins and ends it; where each member is in it.
fn framed(mut chain: Chain, members: &[Member<'_>], frame: &Frame) -> (Chain, Vec<Option<u32>>) {
    chain.push(remote::Statement::new(&*frame.begin).without_rows());
    let places = members
        .iter()
        .map(|member| {
            let is_sent = !is_trivial(&member.execute.sql);
            is_sent.then(|| chain.push(member.statement.clone()))
        })
        .collect();
    chain.end_with(frame.commit.as_deref(), &frame.undo);
    (chain, places)
}
