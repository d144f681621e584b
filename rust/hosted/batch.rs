//! Batches of a session: several statements in one request, all of them or none.
//!
//! Owns no state; this is the session's method.
//! Invariant: what begins and ends a batch goes out with it.
//! Must not know: cursors.

use std::sync::Arc;

use crate::core::{Error, Execute, Nest, Outcome, Reply, Result, is_trivial};
use crate::remote::{self, Request, Response};

use super::outbox::Frame;
use super::session::Session;
use super::statement::Statement;
use super::statements::{bound, no_statement};
use super::transaction::mismatch;

impl Session {
    /// Runs statements in a block of their own.
    pub(super) async fn execute_batch(&mut self, statements: &[Execute]) -> Result<Outcome> {
        if self.nest.is_empty() {
            self.check_transaction()?;
        }
        let block = Nest::block_of_batch();
        let level = self.nest.level(&block, self.is_in_transaction());
        let frame = Frame::of(&level);
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
        let mut members = Vec::with_capacity(statements.len());
        for execute in statements {
            let read = Statement::read(&execute.sql);
            let alone = Statement::check_alone(&execute.sql);
            let admitted = alone.and_then(|()| self.nest.admit_statement(read.told()));
            admitted.map_err(|error| error.with_sql(&execute.sql))?;
            let statement = remote::Statement::new(&*execute.sql);
            let statement = bound(statement, &execute.parameters, 0)?;
            members.push((execute, read, statement));
        }
        let mut chain = self.outbox.begin_batch();
        chain.push(remote::Statement::new(&*frame.begin).without_rows());
        let places: Vec<_> = members
            .iter()
            .map(|(execute, _, statement)| {
                let is_sent = !is_trivial(&execute.sql);
                is_sent.then(|| chain.push(statement.clone()))
            })
            .collect();
        chain.end_with(frame.commit.as_deref(), &frame.undo);
        let request = Request::Batch(chain.batch);
        let results = self.exchange(vec![request], true).await?;
        let mut result = match results.into_iter().next() {
            Some(Ok(Response::Batch(result))) => result,
            Some(Err(error)) => return Err(error.into()),
            _ => return Err(self.broken(mismatch())),
        };
        let failed = result.steps.iter().find_map(|(place, step)| {
            let error = step.as_ref().err()?;
            let of = places.iter().position(|own| *own == Some(*place));
            Some((error.clone(), of.map(|of| &statements[of].sql)))
        });
        if let Some((error, sql)) = failed {
            let error = Error::from(remote::Error::from(error));
            return Err(match sql {
                Some(sql) => error.with_sql(sql),
                None => error,
            });
        }
        let mut outcomes = Vec::with_capacity(statements.len());
        for ((execute, read, _), place) in members.iter().zip(places) {
            outcomes.push(match place.map(|place| result.steps.remove(&place)) {
                None => no_statement(&execute.rows, &execute.parameters)?,
                Some(Some(Ok(result))) => self.counts.take(execute, read, result),
                Some(_) => return Err(self.broken(mismatch())),
            });
        }
        Ok(outcomes.into())
    }
}
