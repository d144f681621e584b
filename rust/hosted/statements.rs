//! Running statements of a session: execute and executescript.
//!
//! Owns no state; these are the session's methods that make requests of commands, and outcomes of answers.
//! Must not know: how rows are streamed.

use std::sync::Arc;

use crate::core::{
    Bindings, Error, Execute, Outcome, Result, RowBatch, RowStream, StatementKind, TransactionMode,
    is_trivial,
};
use crate::remote::{self, ANSWER_TOO_LARGE, NamedValue, Request, Response, Value};

use super::outbox::Chain;
use super::session::Session;
use super::statement::Statement;
use super::transaction::mismatch;

/// So many statements of a script go out in one request.
const PORTION: usize = 1000;
/// What a server calls an answer that is too large for one piece, whose statement it stopped.
const TOO_LARGE: &str = "RESPONSE_TOO_LARGE";

impl Session {
    pub(super) async fn execute(&mut self, execute: &Execute) -> Result<Outcome> {
        let _timing = execute.rows.timing();
        let sql = &execute.sql;
        let read = Statement::read(sql);
        if read.kind == StatementKind::Rollback && self.transaction.is_lost() {
            return Box::pin(self.rollback()).await;
        }
        self.check_transaction()?;
        if is_trivial(sql) {
            return no_statement(&execute.rows, &execute.parameters);
        }
        Statement::check_alone(sql).map_err(|error| error.with_sql(sql))?;
        self.nest
            .admit_statement(read.told())
            .map_err(|error| error.with_sql(sql))?;
        self.note_change(&read, sql);
        let has_begun = self.begin_implicitly(&read);
        let outcome = self.execute_read(execute, &read).await;
        if has_begun && outcome.as_ref().is_err_and(is_of_the_text) {
            // As in sqlite3, which begins nothing for what can't be prepared.
            Box::pin(self.end_with("ROLLBACK")).await?;
        }
        let ends = matches!(
            read.kind,
            StatementKind::Commit | StatementKind::Rollback | StatementKind::Savepoint
        );
        if outcome.is_ok() && ends && !self.is_open {
            self.transaction.ended = true;
        }
        outcome.map_err(|error| {
            execute.rows.clear();
            execute.rows.end(Ok(()));
            error.with_sql(sql)
        })
    }

    async fn execute_read(&mut self, execute: &Execute, read: &Statement) -> Result<Outcome> {
        let statement = bound(
            remote::Statement::new(&*execute.sql),
            &execute.parameters,
            0,
        )?;
        let may_stream = read.kind == StatementKind::Select;
        if may_stream && self.streams_rows {
            return Box::pin(self.stream_rows(execute, statement)).await;
        }
        let again = may_stream.then(|| statement.clone());
        let was_in_transaction = self.is_in_transaction();
        let answered = self.send(statement, read.may_end_transaction()).await;
        let result = match (answered, again) {
            // Not without the transaction that it belongs to.
            (Err(error), Some(again))
                if is_too_large(&error) && (self.is_open || !was_in_transaction) =>
            {
                return Box::pin(self.stream_rows(execute, again)).await;
            }
            (Err(error), None) if read.is_dml() => return Err(of_a_write(error)),
            (answered, _) => answered?,
        };
        Ok(self.counts.take(execute, read, result))
    }

    /// Executes a query whose answer is too large for one piece.
    async fn stream_rows(
        &mut self,
        execute: &Execute,
        statement: remote::Statement,
    ) -> Result<Outcome> {
        let Execute { sql, rows, .. } = execute;
        let columns = self.start_reading(sql, statement, rows, execute.amount);
        let columns = columns.await?;
        Ok(self.counts.outcome(&columns, None, execute.wants_decltypes))
    }

    /// Whether a transaction begins with this statement that nobody asked for by name.
    pub(super) fn begin_implicitly(&mut self, read: &Statement) -> bool {
        if let TransactionMode::Implicit(begin) = self.transaction.mode
            && !self.is_in_transaction()
            && read.is_dml()
        {
            self.outbox.push(begin.sql().trim_end());
            return true;
        }
        false
    }

    pub(super) async fn execute_script(&mut self, script: &Arc<str>) -> Result<Outcome> {
        self.check_transaction()?;
        if self.transaction.mode.commits_before_scripts() {
            self.commit().await?;
        }
        if is_trivial(script) {
            return Ok(Outcome::default());
        }
        let was_open = self.is_in_transaction();
        // Of a script as one text, servers leave out statements that break off too soon, and say nothing.
        let statements: Vec<&str> = Statement::of_script(script).collect();
        for portion in statements.chunks(PORTION) {
            let ran = self.send_portion(portion).await;
            if was_open && !self.is_open {
                // A script may end what was open before it.
                self.transaction.ended = true;
            }
            ran.map_err(|error| error.with_sql(script))?;
        }
        Ok(Outcome::default())
    }

    async fn send_portion(&mut self, statements: &[&str]) -> Result<()> {
        let mut chain = self.outbox.begin_batch();
        let mut writes = Vec::new();
        for sql in statements {
            let place = chain.push(remote::Statement::new(*sql).without_rows());
            if Statement::read(sql).is_dml() {
                writes.push(place);
            }
        }
        let Chain { batch, waited, .. } = chain;
        let results = self.exchange(vec![Request::Batch(batch)], true).await?;
        let result = match results.into_iter().next() {
            Some(Ok(Response::Batch(result))) => result,
            Some(Err(error)) => {
                self.put_back_unread(waited, &error);
                return Err(error.into());
            }
            _ => return Err(self.broken(mismatch())),
        };
        for (place, step) in result.steps {
            let result = step.map_err(remote::Error::from)?;
            if writes.binary_search(&place).is_ok() {
                self.counts.add(&result);
            }
        }
        Ok(())
    }
}

/// Whether the server refused a text before it ran.
fn is_of_the_text(error: &Error) -> bool {
    let code = error.code.as_deref();
    matches!(
        code,
        Some("SQL_INPUT_ERROR" | "SQL_PARSE_ERROR" | "SQLITE_UNKNOWN")
    )
}

/// Whether an answer was too large for one piece.
pub(super) fn is_too_large(error: &Error) -> bool {
    let code = error.code.as_deref();
    matches!(code, Some(TOO_LARGE | ANSWER_TOO_LARGE))
}

/// What a write returns may be too large, which is noticed when the write is done.
pub(super) fn of_a_write(error: Error) -> Error {
    if !is_too_large(&error) {
        return error;
    }
    Error {
        message: format!("{}: the statement may have been carried out", error.message),
        ..error
    }
}

pub(super) fn no_statement(rows: &RowStream, parameters: &Bindings) -> Result<Outcome> {
    rows.end(Ok(()));
    let given = parameters.rows.width();
    if parameters.names.is_none() && given > 0 {
        let message = format!(
            "Incorrect number of bindings supplied. The current statement uses 0, and there are {given} supplied."
        );
        return Err(Error::programming(message));
    }
    Ok(Outcome::default())
}

/// A statement with one row of parameters.
pub(super) fn bound(
    statement: remote::Statement,
    parameters: &Bindings,
    row: usize,
) -> Result<remote::Statement> {
    if parameters.rows.is_empty() {
        return Ok(statement);
    }
    let values = values_of(&parameters.rows, row)?;
    let Some(names) = &parameters.names else {
        return Ok(statement.with_args(values));
    };
    let pairs = names.iter().zip(values);
    let by_name = pairs.map(|(name, value)| NamedValue {
        name: name.to_string(),
        value,
    });
    Ok(remote::Statement {
        named_args: by_name.collect(),
        ..statement
    })
}

fn values_of(rows: &RowBatch, row: usize) -> Result<Vec<Value>> {
    rows.row(row)
        .iter()
        .map(|cell| Value::try_from(rows.value(*cell)).map_err(Error::from))
        .collect()
}
