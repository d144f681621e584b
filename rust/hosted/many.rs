//! executemany of a session: one batch for as many rows as come in one portion.
//!
//! Owns no state; this is the session's method, and how rows become a batch that ends with the first error.
//! Invariant: the COMMIT goes out with the last rows, and a batch that fails undoes everything before it returns.
//! Must not know: iterables.

use std::future::poll_fn;
use std::sync::Arc;

use crate::core::{
    Bindings, Error, Outcome, ParameterFeed, Parameters, Result, Shared, StatementKind,
    TransactionMode,
};
use crate::remote::{self, BatchResult, Request, Response};

use super::outbox::{Chain, Frame};
use super::session::{Session, stopped};
use super::statement::Statement;
use super::statements::bound;
use super::transaction::mismatch;

const SAVEPOINT: &str = "aiolibsql_executemany";

/// The places of the rows' statements in a batch.
type Rows = std::ops::Range<u32>;

impl Session {
    pub(super) async fn execute_many(
        &mut self,
        operation: &Shared,
        sql: &Arc<str>,
        feed: &ParameterFeed,
        is_atomic: bool,
    ) -> Result<Outcome> {
        self.check_transaction()?;
        let read = Statement::read(sql);
        Statement::check_alone(sql).map_err(|error| error.with_sql(sql))?;
        if read.kind != StatementKind::Dml {
            return Err(Error::programming(
                "executemany() can only execute DML statements.",
            ));
        }
        self.nest
            .admit_statement(read.told())
            .map_err(|error| error.with_sql(sql))?;
        let frame = match (is_atomic, self.is_in_transaction(), self.transaction.mode) {
            (false, ..) => {
                self.begin_implicitly(&read);
                None
            }
            (true, true, _) => Some(Frame::savepoint(SAVEPOINT)),
            (true, false, TransactionMode::Implicit(begin)) => Some(Frame::beginning(begin)),
            (true, false, _) => Some(Frame::transaction()),
        };
        let changed = self.send_rows(operation, sql, feed, frame).await;
        let changed = changed.map_err(|error| error.with_sql(sql))?;
        Ok(Outcome {
            rowcount: Some(changed),
            ..Outcome::default()
        })
    }

    async fn send_rows(
        &mut self,
        operation: &Shared,
        sql: &Arc<str>,
        feed: &ParameterFeed,
        frame: Option<Frame>,
    ) -> Result<i64> {
        let mut changed = 0_i64;
        let mut has_begun = false;
        let mut portion = next(operation, feed).await;
        loop {
            let rows = match portion {
                Parameters::Batch(rows) => rows,
                Parameters::End => {
                    // As sqlite3: the transaction is begun before the first row is looked for.
                    if let (Some(frame), false) = (&frame, has_begun)
                        && frame.commit.is_none()
                    {
                        self.outbox.push(frame.begin.clone());
                    }
                    return Ok(changed);
                }
                Parameters::Failed => {
                    if let (Some(frame), true) = (&frame, has_begun) {
                        self.undo_frame(frame).await?;
                    }
                    return Err(stopped(operation));
                }
            };
            // Whether these are the last rows decides what goes out with them.
            let following = next(operation, feed).await;
            let is_last = matches!(following, Parameters::End);
            if matches!(following, Parameters::Failed) {
                portion = following;
                continue;
            }
            let mut chain = self.outbox.begin_batch();
            if let (Some(frame), false) = (&frame, has_begun) {
                chain.push(remote::Statement::new(&*frame.begin).without_rows());
            }
            let id = self.remote.next_sql_id();
            let places = add_rows(&mut chain, id, &rows)?;
            if let Some(frame) = &frame {
                let commit = frame.commit.as_deref().filter(|_| is_last);
                chain.end_with(commit, &frame.undo);
            }
            // Each portion has a text of its own: the stream that knew the last one may be gone.
            let text = Request::StoreSql {
                id,
                sql: sql.to_string(),
            };
            let Chain { batch, waited, .. } = chain;
            let requests = vec![text, Request::Batch(batch), Request::CloseSql { id }];
            // From here on there is something to undo, until the last rows are in.
            self.is_unsettled = frame.is_some();
            let was_open = self.is_open;
            let mut results = self.exchange(requests, true).await?.into_iter();
            let result = match (results.next(), results.next()) {
                (Some(Err(error)), _) | (_, Some(Err(error))) => {
                    return match &frame {
                        Some(frame) => {
                            self.put_back_unread(waited, &error);
                            Box::pin(self.refused(frame, was_open, error.into())).await
                        }
                        None => Err(error.into()),
                    };
                }
                (_, Some(Ok(Response::Batch(result)))) => result,
                _ => return Err(self.broken(mismatch())),
            };
            changed = changed.saturating_add(self.count_rows(result, &places)?);
            has_begun = true;
            portion = following;
        }
    }

    fn count_rows(&self, mut result: BatchResult, places: &Rows) -> Result<i64> {
        let mut changed = 0_i64;
        let mut first_error = None;
        while let Some((place, step)) = result.steps.pop_first() {
            match step {
                Ok(result) if places.contains(&place) => changed += self.counts.add(&result),
                Ok(_) => {}
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) => Err(remote::Error::from(error).into()),
            None => Ok(changed),
        }
    }
}

/// Waits for rows, and tells their source that there is room again.
async fn next(operation: &Shared, feed: &ParameterFeed) -> Parameters {
    let taken = poll_fn(|context| feed.poll_take(context)).await;
    if matches!(taken, Parameters::Batch(_)) {
        operation.progress();
    }
    taken
}

fn add_rows(chain: &mut Chain, id: i32, rows: &Bindings) -> Result<Rows> {
    let mut places = 0..0;
    for row in 0..rows.rows.len() {
        let statement = remote::Statement::new(remote::Sql::Stored(id)).without_rows();
        let place = chain.push(bound(statement, rows, row)?);
        if row == 0 {
            places.start = place;
        }
        places.end = place + 1;
    }
    Ok(places)
}
