//! The Work of `executemany`: rows are read and converted here while the statement runs on its worker.
//!
//! Owns the iterable, sync or async, and the batch under construction. Both run in slices between turns of the
//! loop, and stop when the worker has enough to do.
//! Thread: the driving loop's.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyString};

use crate::core::{Action, Bindings, ParameterFeed, Shared};

use super::cached::interned;
use super::cursor::Cursor;
use super::delegate;
use super::ffi;
use super::ffi::Sent;
use super::parameters::{self, Converter, Shape};
use super::reports::Report;
use super::statements::{CloseCursor, Pending, SLICE};
use super::work::{Resume, Step, Work};

/// Parameter rows in a batch, at most.
const BATCH_ROWS: usize = 1000;
/// Bytes of parameters in a batch, about.
const BATCH_BYTES: usize = 256 * 1024;

/// `executemany`: one statement for each row of an iterable, which is read here while the statement runs there.
pub struct ExecuteMany {
    name: &'static str,
    cursor: Py<Cursor>,
    sql: Arc<str>,
    converter: Converter,
    rows: Rows,
    batch: Option<(Bindings, Shape)>,
    feed: Arc<ParameterFeed>,
    timeout: Option<Duration>,
    submitted: bool,
    pending: Pending,
    /// What is to be told of it.
    report: Option<Box<Report>>,
}

enum Rows {
    Iterable(Py<PyAny>),
    Iterator(Py<PyIterator>),
    AsyncIterator(Py<PyAny>),
    Exhausted,
    /// The iterable raised; the statement has to undo everything first.
    Failed(Option<PyErr>),
}

enum Next {
    Row,
    End,
    /// The async iterable waits: what takes its `send`, and what it yielded.
    Wait(Py<PyAny>, Py<PyAny>),
}

enum Converted {
    /// No more rows, or no more room for them.
    Done,
    /// The time is up.
    Slice,
    Wait(Py<PyAny>, Py<PyAny>),
}

impl Rows {
    fn new(iterable: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = iterable.py();
        if iterable.hasattr(interned!(py, "__aiter__"))?
            && !iterable.hasattr(interned!(py, "__iter__"))?
        {
            let iterator = iterable.call_method0(interned!(py, "__aiter__"))?;
            return Ok(Self::AsyncIterator(iterator.unbind()));
        }
        Ok(Self::Iterator(iterable.try_iter()?.unbind()))
    }

    const fn may_follow(&self) -> bool {
        matches!(self, Self::Iterator(_) | Self::AsyncIterator(_))
    }
}

impl ExecuteMany {
    pub fn new(
        name: &'static str,
        cursor: Py<Cursor>,
        sql: &Bound<'_, PyString>,
        rows: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let (sql, adapters, _) = cursor.get().connection().get().link().request(sql)?;
        Ok(Self {
            name,
            cursor,
            converter: Converter::new(Arc::clone(&sql), adapters),
            sql,
            rows: Rows::Iterable(rows.clone().unbind()),
            batch: None,
            feed: Arc::default(),
            timeout: timeout
                .map(|timeout| parameters::seconds(timeout, "timeout"))
                .transpose()?,
            submitted: false,
            pending: Pending::default(),
            report: None,
        })
    }

    /// Converts rows for one slice of time.
    fn convert(&mut self, py: Python<'_>) -> Converted {
        let started = Instant::now();
        let mut count = 0_u32;
        while self.feed.has_room() {
            match self.next(py) {
                Ok(Next::Row) => {}
                Ok(Next::End) => return Converted::Done,
                Ok(Next::Wait(coroutine, yielded)) => return Converted::Wait(coroutine, yielded),
                Err(error) => {
                    self.fail(error);
                    return Converted::Done;
                }
            }
            count += 1;
            if count.is_multiple_of(32) && started.elapsed() > SLICE {
                return Converted::Slice;
            }
        }
        Converted::Done
    }

    fn next(&mut self, py: Python<'_>) -> PyResult<Next> {
        if let Rows::Iterable(iterable) = &self.rows {
            self.rows = Rows::new(iterable.bind(py))?;
        }
        match &self.rows {
            Rows::Iterator(iterator) => match ffi::next(iterator.bind(py))? {
                Some(row) => self.add(&row).map(|()| Next::Row),
                None => Ok(self.end()),
            },
            Rows::AsyncIterator(iterator) => {
                let next = iterator.bind(py).call_method0(interned!(py, "__anext__"))?;
                let coroutine = delegate::begin(next)?;
                let stepped = self.drive(&coroutine, Resume::Send, py.None().bind(py));
                match stepped {
                    Ok(Sent::Yield(yielded)) => Ok(Next::Wait(coroutine.unbind(), yielded)),
                    Ok(Sent::Return(row)) => self.add_awaited(py, Ok(row)),
                    Err(error) => self.add_awaited(py, Err(error)),
                }
            }
            Rows::Iterable(_) | Rows::Exhausted | Rows::Failed(_) => Ok(Next::End),
        }
    }

    fn add_awaited(&mut self, py: Python<'_>, row: PyResult<Py<PyAny>>) -> PyResult<Next> {
        match row {
            Ok(row) => self.add(row.bind(py)).map(|()| Next::Row),
            Err(error) if error.is_instance_of::<PyStopAsyncIteration>(py) => Ok(self.end()),
            Err(error) => Err(error),
        }
    }

    fn add(&mut self, row: &Bound<'_, PyAny>) -> PyResult<()> {
        let shape = self.converter.shape(row)?;
        if matches!(&self.batch, Some((_, other)) if *other != shape) {
            self.flush();
        }
        let converter = &self.converter;
        let (batch, _) = self
            .batch
            .get_or_insert_with(|| (converter.start(shape, 64), shape));
        converter.push(batch, row, shape)?;
        if batch.rows.len() >= BATCH_ROWS || batch.rows.byte_len() >= BATCH_BYTES {
            self.flush();
        }
        Ok(())
    }

    fn end(&mut self) -> Next {
        self.flush();
        self.rows = Rows::Exhausted;
        self.feed.end();
        Next::End
    }

    fn fail(&mut self, error: PyErr) {
        self.rows = Rows::Failed(Some(error));
        self.feed.fail();
    }

    fn flush(&mut self) {
        if let Some((batch, _)) = self.batch.take() {
            self.feed.push(batch);
        }
    }
}

impl Work for ExecuteMany {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let converted = self.convert(py);
        let cursor = self.cursor.get();
        if !self.submitted {
            if let Rows::Failed(error) = &mut self.rows
                && let Some(error) = error.take()
            {
                return Err(error);
            }
            cursor.check(py)?;
            cursor.begin(None, None);
            self.report = cursor.connection().get().link().watch().many(&self.sql);
            let action = Action::ExecuteMany {
                sql: Arc::clone(&self.sql),
                feed: Arc::clone(&self.feed),
                is_atomic: true,
            };
            self.pending
                .submit(py, cursor.connection().get(), action, self.timeout)?;
            self.submitted = true;
        }
        if let Converted::Wait(coroutine, yielded) = converted {
            return Ok(Step::Delegate(coroutine, yielded));
        }
        loop {
            match self.pending.poll(py, context) {
                Poll::Pending if matches!(converted, Converted::Slice) => return Ok(Step::Yield),
                Poll::Pending => return Ok(Step::Pending),
                Poll::Ready(Ok(None)) if self.rows.may_follow() => return Ok(Step::Yield),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(result) => {
                    if let Rows::Failed(Some(_)) = &self.rows
                        && let Rows::Failed(Some(error)) =
                            std::mem::replace(&mut self.rows, Rows::Exhausted)
                    {
                        Report::fail(&mut self.report, py, &error);
                        return Err(error);
                    }
                    let link = cursor.connection().get().link();
                    let outcome = result
                        .map_err(|error| link.watch().named(py, error))
                        .inspect_err(|error| Report::fail(&mut self.report, py, error))?
                        .unwrap_or_default();
                    if let Some(report) = self.report.take() {
                        report.executed(py, &outcome);
                    }
                    cursor.executed(outcome, None);
                    return Ok(Step::Ready(self.cursor.clone_ref(py).into_any()));
                }
            }
        }
    }

    fn leaves(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some(report) = self.report.take() {
            // Before anybody is told, the statement is stopped.
            self.abandon(py);
            report.cancelled(py, error);
        }
    }

    fn abandon(&mut self, py: Python<'_>) {
        self.pending
            .abandon(self.cursor.get().connection().get().link());
        self.feed.fail();
        Report::abandon(&mut self.report, py);
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)?;
        self.converter.traverse(visit)?;
        match &self.rows {
            Rows::Iterable(rows) | Rows::AsyncIterator(rows) => visit.call(rows),
            Rows::Iterator(rows) => visit.call(rows),
            Rows::Exhausted | Rows::Failed(_) => Ok(()),
        }
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.pending.shared()
    }

    fn on_exit(&self, py: Python<'_>, _value: &Py<PyAny>) -> Option<Box<dyn Work>> {
        Some(Box::new(CloseCursor::new(
            "Operation.__aexit__",
            self.cursor.clone_ref(py),
        )))
    }

    /// While the iterable runs, its connection waits for it: an await of that connection could never end.
    fn drive(
        &mut self,
        coroutine: &Bound<'_, PyAny>,
        method: Resume,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Sent> {
        let _guard = self
            .cursor
            .get()
            .connection()
            .get()
            .link()
            .reentrancy()
            .refuse();
        method.call(coroutine, value)
    }

    fn delegated(&mut self, py: Python<'_>, result: PyResult<Py<PyAny>>) -> PyResult<()> {
        if let Err(error) = self.add_awaited(py, result) {
            self.fail(error);
        }
        Ok(())
    }
}

impl Drop for ExecuteMany {
    /// After a panic too, or the worker would wait for rows for ever.
    fn drop(&mut self) {
        self.feed.fail();
    }
}
