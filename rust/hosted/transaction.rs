//! Transactions of a session: the stdlib's modes, over a stream.
//!
//! Owns no state; these are the session's methods that begin and end transactions.
//! Invariant: BEGIN is never sent alone unless it was asked for by name: it goes out with the first statement.
//! Must not know: blocks.

use crate::core::{Begin, Outcome, Result, TransactionMode};
use crate::remote::{self, Request, Response, Statement, StatementResult};

use super::outbox::{Chain, Frame, last_result};
use super::session::Session;

/// What a server calls a text that it can't parse. It parses all of a batch before it runs the first of it.
const UNREAD: &str = "SQL_PARSE_ERROR";

impl Session {
    /// Reports a lost transaction, once; begins the one that PEP 249 mode wants.
    pub(super) fn check_transaction(&mut self) -> Result<()> {
        let lost = self.transaction.take_loss();
        self.keep_transaction_open();
        lost.map_or(Ok(()), Err)
    }

    /// In PEP 249 mode a transaction is always open.
    pub(super) fn keep_transaction_open(&mut self) {
        if self.transaction.mode == TransactionMode::Always && !self.is_in_transaction() {
            self.outbox.push(Begin::Plain.sql());
        }
    }

    pub(super) async fn begin(&mut self, begin: Begin) -> Result<Outcome> {
        self.check_transaction()?;
        self.run_sql(begin.sql()).await?;
        Ok(Outcome::default())
    }

    pub(super) async fn commit(&mut self) -> Result<Outcome> {
        self.check_transaction()?;
        if self.transaction.mode.ends_by_method() && self.is_in_transaction() {
            self.end_with("COMMIT").await?;
        }
        Ok(Outcome::default())
    }

    pub(super) async fn rollback(&mut self) -> Result<Outcome> {
        self.transaction.forget_loss();
        if self.transaction.mode.ends_by_method() && self.is_in_transaction() {
            self.end_with("ROLLBACK").await?;
        }
        self.keep_transaction_open();
        Ok(Outcome::default())
    }

    pub(super) async fn undo_begin(&mut self, serial: u64) -> Result<Outcome> {
        if self.transaction.is_fresh(serial) && self.is_in_transaction() {
            self.end_with("ROLLBACK").await?;
        }
        Ok(Outcome::default())
    }

    /// Ends the transaction by COMMIT or ROLLBACK.
    pub(super) async fn end_with(&mut self, sql: &str) -> Result<()> {
        if !self.is_open {
            // Nothing of it was sent.
            self.outbox.clear();
            self.transaction.ended = true;
            self.keep_transaction_open();
            return Ok(());
        }
        // What a COMMIT finds unsent has no effect.
        self.outbox.clear();
        let ended = self.run_sql(sql).await;
        // Whatever came of it, a transaction whose stream is gone is rolled back.
        let ended = match ended {
            Err(_) if sql == "ROLLBACK" && !self.is_open => Ok(()),
            ended => ended,
        };
        self.transaction.ended |= ended.is_ok();
        self.keep_transaction_open();
        ended
    }

    /// Runs one of our own statements.
    pub(super) async fn run_sql(&mut self, sql: &str) -> Result<()> {
        let statement = Statement::new(sql).without_rows();
        self.send(statement, true).await.map(drop)
    }

    /// Commits a block and, if that fails, undoes it in the same request.
    pub(super) async fn commit_or_undo(&mut self, frame: &Frame) -> Result<()> {
        let mut chain = self.outbox.begin_batch();
        chain.end_with(frame.commit.as_deref(), &frame.undo);
        self.send_chain(chain, true).await.map(drop)
    }

    /// Runs a statement, behind what waits for it. `asks`: it may begin or end a transaction.
    pub(super) async fn send(
        &mut self,
        statement: Statement,
        asks: bool,
    ) -> Result<StatementResult> {
        let asks = asks || self.is_in_transaction();
        if !self.outbox.is_empty() {
            let mut chain = self.outbox.begin_batch();
            chain.push(statement);
            return Box::pin(self.send_chain(chain, asks)).await;
        }
        let results = self
            .exchange(vec![Request::Execute(statement)], asks)
            .await?;
        match results.into_iter().next() {
            Some(Ok(Response::Execute(result))) => Ok(result),
            Some(Err(error)) => Err(error.into()),
            _ => Err(self.broken(mismatch())),
        }
    }

    pub(super) async fn send_chain(&mut self, chain: Chain, asks: bool) -> Result<StatementResult> {
        let Chain {
            batch,
            last,
            waited,
        } = chain;
        let results = self.exchange(vec![Request::Batch(batch)], asks).await?;
        match results.into_iter().next() {
            Some(Ok(Response::Batch(result))) => last_result(result, last),
            Some(Err(error)) => {
                self.put_back_unread(waited, &error);
                Err(error.into())
            }
            _ => Err(self.broken(mismatch())),
        }
    }

    /// Keeps what a batch began with for the next statement, if the server refused the batch before it ran any of it.
    pub(super) fn put_back_unread(&mut self, waited: Vec<String>, error: &remote::Error) {
        if error.code.as_deref() == Some(UNREAD) {
            self.outbox.put_back(waited);
        }
    }
}

pub(super) fn mismatch() -> remote::Error {
    remote::Error::protocol("the answer is to another kind of request")
}
