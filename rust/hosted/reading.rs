//! Reading: rows of one execution that are streamed, because they are too many for one answer.
//!
//! Owns the task that reads them, and through it the stream that they come over: one of its own or, inside of a
//! transaction, the session's.
//! Thread: the network runtime's.
//! Invariant: about two portions are in memory, unless another statement of the same transaction needs the stream: then
//! the rest is read first, up to a limit.
//! Must not know: why a result is streamed.

use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::core::{Amount, Error, Result, RowBatch, RowStream};
use crate::remote::{self, Batch, Column, Continuity, CursorEvent, Statement, Stream};

use super::closing::say_goodbye;
use super::session::Session;

/// Portions that wait to be fetched.
const PORTIONS: usize = 2;
/// Bytes of rows that are kept so that another statement can use the stream.
const LARGEST_REST: usize = 64 << 20;

/// Rows that are being streamed.
pub struct Reading {
    rows: Arc<RowStream>,
    sql: Arc<str>,
    portions: Receiver<Result<RowBatch>>,
    /// It gives the session's stream back, and closes its own.
    task: JoinHandle<Option<Stream>>,
    is_in_transaction: bool,
}

/// A reading whose first rows are still to come.
pub struct Begun(oneshot::Receiver<Result<Vec<Column>>>);

impl Begun {
    /// Waits for the columns, which come with the first rows.
    pub async fn columns(self) -> Result<Vec<Column>> {
        let columns = self.0.await;
        columns.unwrap_or_else(|_| Err(Error::internal("the reader of a query has vanished")))
    }
}

impl Reading {
    /// Executes a query over a stream: the session's if it has to be the same, else one that is the reading's own.
    pub fn begin(
        stream: Stream,
        continuity: Continuity,
        sql: &Arc<str>,
        statement: Statement,
        rows: &Arc<RowStream>,
    ) -> (Self, Begun) {
        let is_in_transaction = continuity == Continuity::Same;
        let mut batch = Batch::default();
        batch.push(None, statement);
        let (sender, portions) = channel(PORTIONS);
        let (columns, begun) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stream = read(stream, batch, continuity, columns, sender).await;
            if is_in_transaction {
                return Some(stream);
            }
            say_goodbye(Some(stream), None).await;
            None
        });
        let reading = Self {
            rows: Arc::clone(rows),
            sql: Arc::clone(sql),
            portions,
            task,
            is_in_transaction,
        };
        (reading, Begun(begun))
    }

    /// That of its rows.
    pub fn id(&self) -> u64 {
        self.rows.id()
    }

    /// Whether it has the session's own stream.
    pub const fn is_in_transaction(&self) -> bool {
        self.is_in_transaction
    }

    /// Nothing more will come of it. If it has the session's own stream, its task gives that back.
    pub fn end(self, why: Error) -> Option<JoinHandle<Option<Stream>>> {
        self.rows.end(Err(why));
        self.is_in_transaction.then_some(self.task)
    }

    /// Reads more rows. An error becomes their end, behind the rows before it. Whether there are no more.
    pub async fn fetch(&mut self, amount: Amount) -> bool {
        let is_only = matches!(amount, Amount::Only(_));
        let end = match self.take(until(amount)).await {
            Ok(true) if !is_only => return false,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        self.rows.end(end);
        true
    }

    /// Takes portions until `enough`. `false`: there are no more.
    async fn take(&mut self, mut enough: impl FnMut(&RowBatch) -> bool) -> Result<bool> {
        while let Some(portion) = self.portions.recv().await {
            let portion = portion?;
            let is_enough = enough(&portion);
            self.rows.push(portion);
            if is_enough {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Says whether these rows are as many as are wanted; called with one portion after the other.
fn until(amount: Amount) -> impl FnMut(&RowBatch) -> bool {
    let wanted = match amount {
        Amount::Ahead(count) | Amount::Exactly(count) | Amount::Only(count) => count.max(1),
        Amount::All => usize::MAX,
    };
    let mut read = 0;
    move |portion| {
        read += portion.len();
        read >= wanted
    }
}

impl Session {
    /// Executes a query whose rows are streamed. The columns, when the first of them are there.
    pub(super) async fn start_reading(
        &mut self,
        sql: &Arc<str>,
        statement: Statement,
        rows: &Arc<RowStream>,
        amount: Amount,
    ) -> Result<Vec<Column>> {
        self.regain().await?;
        let continuity = self.continuity();
        let own = if self.is_open {
            self.stream.take()
        } else {
            None
        };
        let stream = own.unwrap_or_else(|| self.remote.stream());
        let (reading, begun) = Reading::begin(stream, continuity, sql, statement, rows);
        self.readings.insert(rows.id(), reading);
        let begun = begun.columns().await;
        if begun.is_ok() {
            self.fetch(rows, amount).await;
        } else {
            self.close_rows(rows).await;
        }
        begun
    }

    /// Reads more rows into a stream. An error becomes the stream's end, behind the rows before it.
    pub(super) async fn fetch(&mut self, rows: &Arc<RowStream>, amount: Amount) {
        self.take_late();
        let Some(reading) = self.readings.get_mut(&rows.id()) else {
            rows.end(Ok(()));
            return;
        };
        if reading.fetch(amount).await {
            self.put_away(rows.id()).await;
        }
    }

    /// Ends the rows of one execution.
    pub(super) async fn close_rows(&mut self, rows: &Arc<RowStream>) {
        rows.clear();
        rows.end(Ok(()));
        self.take_late();
        self.put_away(rows.id()).await;
    }

    /// Ends the rows of one execution, with an error.
    pub(super) async fn end_reading(&mut self, id: u64, error: Error) {
        if let Some(reading) = self.readings.get(&id) {
            reading.rows.end(Err(error));
        }
        self.put_away(id).await;
    }

    /// Ends a reading, and takes the session's stream back from it.
    async fn put_away(&mut self, id: u64) {
        let Some(reading) = self.readings.get_mut(&id) else {
            return;
        };
        // By this its task knows.
        reading.portions.close();
        if reading.is_in_transaction {
            while reading.portions.recv().await.is_some() {}
            if let Ok(Some(stream)) = (&mut reading.task).await {
                // If it is gone, whatever needs it next says so: nothing may run outside of its transaction unseen.
                self.stream = Some(stream);
            }
        }
        self.readings.remove(&id);
    }

    /// Gets the session's stream from the reading that has it, whose rest is read before.
    pub(super) async fn regain(&mut self) -> Result<()> {
        if self.stream.is_some() {
            return Ok(());
        }
        let reading = self
            .readings
            .iter_mut()
            .find(|(_, reading)| reading.is_in_transaction);
        let Some((&id, reading)) = reading else {
            self.stream = Some(self.remote.stream());
            return Ok(());
        };
        let rows = Arc::clone(&reading.rows);
        let has_rest = reading.take(|_| rows.size() > LARGEST_REST).await;
        if matches!(has_rest, Ok(true)) {
            return Err(Error::operational(format!(
                "a cursor of this transaction has more than {} MiB of unread rows, behind which other statements wait: \
                 fetch them, or close the cursor of: {}",
                LARGEST_REST >> 20,
                reading.sql
            )));
        }
        rows.end(has_rest.map(drop));
        self.put_away(id).await;
        Ok(())
    }
}

/// Reads a batch of one query to its end, or until nobody wants more. Gives the stream back.
async fn read(
    mut stream: Stream,
    batch: Batch,
    continuity: Continuity,
    columns: oneshot::Sender<Result<Vec<Column>>>,
    portions: Sender<Result<RowBatch>>,
) -> Stream {
    let mut columns = Some(columns);
    // The stream may be there still, with its transaction, though the rows are not.
    if let Err(error) = pass_on(&mut stream, &batch, continuity, &mut columns, &portions).await {
        match columns {
            Some(columns) => drop(columns.send(Err(error.into()))),
            None => drop(portions.send(Err(error.into())).await),
        }
    }
    stream
}

async fn pass_on(
    stream: &mut Stream,
    batch: &Batch,
    continuity: Continuity,
    columns: &mut Option<oneshot::Sender<Result<Vec<Column>>>>,
    portions: &Sender<Result<RowBatch>>,
) -> remote::Result<()> {
    let mut cursor = stream.cursor(batch, continuity).await?;
    loop {
        let events = tokio::select! {
            events = cursor.next() => events?,
            () = portions.closed() => return Ok(()),
        };
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            match event {
                CursorEvent::StepBegin { columns: names, .. } => {
                    if let Some(columns) = columns.take() {
                        drop(columns.send(Ok(names)));
                    }
                }
                CursorEvent::Rows(rows) => {
                    if portions.send(Ok(rows)).await.is_err() {
                        return Ok(());
                    }
                }
                CursorEvent::StepEnd { .. } => {}
                CursorEvent::StepError { error, .. } | CursorEvent::Error(error) => {
                    return Err(error.into());
                }
            }
        }
    }
}
