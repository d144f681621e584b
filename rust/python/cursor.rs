//! Cursor: the rows of one statement at a time.
//!
//! Owns the stream that its last execution fills, and what is known about that execution.
//! Thread: any that is attached. Invariant: its lock is never held while Python code may run.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::core::{Action, Amount, Block, Outcome, RowBatch, RowStream, Shared};

use super::awaitable::Operation;
use super::connection::Connection;
use super::convert::RowMaker;
use super::exceptions;
use super::executemany::ExecuteMany;
use super::factories::{RowFactory, TextFactory};
use super::fetch::{FetchAll, FetchMany, FetchOne};
use super::iterator::RowIterator;
use super::pool_cursor;
use super::reports::Report;
use super::results::{Found, Piece, State, describe};
use super::statements::{CloseCursor, Execute, ExecuteScript};
use super::work::{Ready, Work};

/// Rows that the first reply to an execute brings along.
pub const FIRST_ROWS: usize = 64;

/// Executes statements and fetches their rows.
#[pyclass(frozen, subclass, weakref, generic, module = "aiolibsql")]
pub struct Cursor {
    connection: Py<Connection>,
    state: Mutex<State>,
}

/// What a look for rows came to.
pub enum Taken<T> {
    Rows(T),
    /// The backend has to be asked.
    Nothing,
    End,
}

impl Cursor {
    pub fn create(py: Python<'_>, connection: &Py<Connection>) -> Self {
        let (row_factory, chunk) = connection.get().link().cursor_defaults(py);
        Self {
            connection: connection.clone_ref(py),
            state: Mutex::new(State::new(row_factory, chunk)),
        }
    }

    /// One for the driver's own questions: tuples with str.
    pub fn plain(connection: &Py<Connection>, py: Python<'_>) -> Self {
        let this = Self::create(py, connection);
        let mut state = this.state();
        state.is_plain = true;
        let replaced = std::mem::replace(&mut state.row_factory, RowFactory::Tuple);
        drop(state);
        drop(replaced);
        this
    }

    pub fn is_plain(&self) -> bool {
        self.state().is_plain
    }

    pub const fn connection(&self) -> &Py<Connection> {
        &self.connection
    }

    pub fn columns(&self) -> Option<Arc<[Box<str>]>> {
        self.state().columns.clone()
    }

    /// Starts an execution in a block; the rows of the last one end.
    pub fn begin(&self, rows: Option<Arc<RowStream>>, block: Option<Arc<Block>>) {
        let mut state = self.state();
        let converters = state.converters.take();
        let replaced = state.begin(rows, block);
        let report = state.report.take();
        drop(state);
        drop(converters);
        Report::end(report);
        if let Some(replaced) = replaced {
            self.end_rows(replaced);
        }
    }

    /// Ends the rows of an execution that failed or was abandoned. Another execution's rows stay.
    pub fn discard(&self, rows: &Arc<RowStream>) {
        let is_current = matches!(&self.state().rows, Some(own) if Arc::ptr_eq(own, rows));
        if is_current {
            self.begin(None, None);
        } else {
            self.end_rows(Arc::clone(rows));
        }
    }

    fn end_rows(&self, rows: Arc<RowStream>) {
        if !rows.has_ended() {
            drop(
                self.connection
                    .get()
                    .link()
                    .submit(Action::CloseRows(rows), None),
            );
        }
    }

    /// Stores what an execution reported.
    pub fn executed(&self, outcome: Outcome, converters: Option<Py<PyTuple>>) {
        let mut state = self.state();
        state.columns = outcome.columns;
        let replaced = std::mem::replace(&mut state.converters, converters);
        state.rowcount = outcome.rowcount.unwrap_or(-1);
        if outcome.lastrowid.is_some() {
            state.lastrowid = outcome.lastrowid;
        }
        drop(state);
        drop(replaced);
    }

    /// Looks for rows, and takes at most `most`; `found` sees them. It must not call Python.
    pub fn take<T>(
        &self,
        py: Python<'_>,
        most: usize,
        found: impl FnOnce(&Arc<RowBatch>, Range<usize>) -> T,
    ) -> PyResult<Taken<T>> {
        let mut state = self.state();
        let error = match state.take(most) {
            Found::Rows(batch, rows) => return Ok(Taken::Rows(found(batch, rows))),
            Found::Nothing => return Ok(Taken::Nothing),
            Found::End => None,
            Found::Failed(error) => Some(error),
        };
        let report = state.report.take();
        drop(state);
        let error = error.map(|error| exceptions::to_python(py, error));
        if let Some(report) = report {
            report.read(py, error.as_ref());
        }
        if let Some(error) = error {
            return Err(error);
        }
        // Also what a child finds of its parent's rows.
        self.connection.get().link().check_not_inherited(py)?;
        Ok(Taken::End)
    }

    /// Gives rows back that a cancelled fetch had taken.
    pub fn take_back(&self, pieces: Vec<Piece>, rows: Option<&Arc<RowStream>>) {
        let mut state = self.state();
        let is_current = match (&state.rows, rows) {
            (Some(own), Some(theirs)) => Arc::ptr_eq(own, theirs),
            _ => false,
        };
        if is_current {
            for piece in pieces.into_iter().rev() {
                state.taken_back.push_front(piece);
            }
        }
    }

    /// The stream of the last execution.
    pub fn rows(&self) -> Option<Arc<RowStream>> {
        self.state().rows.clone()
    }

    /// Whether a row, or the end, can be taken without asking the backend.
    pub fn is_ready(&self) -> bool {
        let state = self.state();
        let has_ended = state.rows.as_ref().is_none_or(|rows| rows.has_ended());
        has_ended || state.available() > 1
    }

    /// Rows that were read and not taken; the last one is held back until the statement has ended.
    pub fn available(&self) -> usize {
        self.state().available()
    }

    /// Rows to ask for at a time.
    pub fn chunk(&self) -> usize {
        self.state().chunk
    }

    /// The stream, if the backend has more of it.
    pub fn unfinished(&self) -> Option<Arc<RowStream>> {
        self.state().rows.clone().filter(|rows| !rows.has_ended())
    }

    /// Asks the backend for more rows.
    pub fn request(
        &self,
        py: Python<'_>,
        rows: Arc<RowStream>,
        amount: Amount,
    ) -> PyResult<Shared> {
        let connection = self.connection.get();
        let own = self.state().block.clone().filter(|block| block.is_open());
        let own = own.as_ref().or_else(|| connection.own_block());
        let link = connection.link();
        let block = link.membership(py, own)?;
        Ok(link.submit_here(py, Action::Fetch { rows, amount }, block))
    }

    pub fn maker(slf: &Py<Self>, py: Python<'_>) -> RowMaker {
        let this = slf.get();
        let texts = if this.is_plain() {
            TextFactory::Str
        } else {
            this.connection.get().link().text_factory_of(py)
        };
        let state = this.state();
        RowMaker {
            cursor: slf.clone_ref(py).into_any(),
            columns: state.columns.clone().unwrap_or_default(),
            converters: state.converters.as_ref().map(|of| of.clone_ref(py)),
            rows: state.row_factory.clone_ref(py),
            texts,
        }
    }

    /// Raises if the cursor or its connection is closed.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.state().closed {
            return Err(exceptions::programming(
                py,
                "Cannot operate on a closed cursor.",
            ));
        }
        let connection = self.connection.get();
        connection.link().check_not_closed(py)?;
        connection.link().reentrancy().check(py)
    }

    /// Marks it closed and takes the rows out, for the backend to end.
    pub fn close_now(&self) -> Option<Arc<RowStream>> {
        let mut state = self.state();
        let rows = state.close();
        let report = state.report.take();
        drop(state);
        Report::end(report);
        rows
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.connection.get().link().is_inherited() {
            state.leave_to_parent();
        }
        state
    }

    fn operation(work: impl Work + 'static) -> Operation {
        Operation::new(Box::new(work))
    }
}

#[pymethods]
impl Cursor {
    #[new]
    fn new(connection: &Bound<'_, Connection>) -> Self {
        Self::create(connection.py(), &connection.clone().unbind())
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn execute(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let amount = Amount::Ahead(FIRST_ROWS);
        match Execute::new(
            "Cursor.execute",
            slf.clone().unbind(),
            sql,
            parameters,
            timeout,
            amount,
        ) {
            Ok(work) => Self::operation(work),
            Err(error) => Operation::ready("Cursor.execute", Err(error)),
        }
    }

    #[pyo3(signature = (sql, parameters, *, timeout=None))]
    fn executemany(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> Operation {
        match ExecuteMany::new(
            "Cursor.executemany",
            slf.clone().unbind(),
            sql,
            parameters,
            timeout,
        ) {
            Ok(work) => Self::operation(work),
            Err(error) => Operation::ready("Cursor.executemany", Err(error)),
        }
    }

    #[pyo3(signature = (sql_script, *, timeout=None))]
    fn executescript(
        slf: &Bound<'_, Self>,
        sql_script: &Bound<'_, PyString>,
        timeout: Option<f64>,
    ) -> Operation {
        match ExecuteScript::new(
            "Cursor.executescript",
            slf.clone().unbind(),
            sql_script,
            timeout,
        ) {
            Ok(work) => Self::operation(work),
            Err(error) => Operation::ready("Cursor.executescript", Err(error)),
        }
    }

    fn fetchone(slf: Py<Self>) -> Operation {
        Self::operation(FetchOne::new("Cursor.fetchone", slf))
    }

    #[pyo3(signature = (size=None))]
    fn fetchmany(slf: &Bound<'_, Self>, size: Option<isize>) -> Operation {
        // A negative size means "all of them", as in sqlite3.
        let size = size.map_or_else(
            || slf.get().state().arraysize,
            |size| usize::try_from(size).unwrap_or(usize::MAX),
        );
        Self::operation(FetchMany::new(slf.clone().unbind(), size))
    }

    fn fetchall(slf: Py<Self>) -> Operation {
        Self::operation(FetchAll::new("Cursor.fetchall", slf))
    }

    fn close(slf: Py<Self>) -> Operation {
        Self::operation(CloseCursor::new("Cursor.close", slf))
    }

    fn __aiter__(slf: Py<Self>) -> RowIterator {
        RowIterator::new(slf)
    }

    fn __anext__(slf: Py<Self>) -> Operation {
        Self::operation(FetchOne::or_stop("Cursor.__anext__", slf))
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Bound::new(slf.py(), Self::opened(slf, "Cursor.__await__"))?.call_method0("__await__")
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> Operation {
        Self::opened(slf, "Cursor.__aenter__")
    }

    #[pyo3(signature = (*args))]
    fn __aexit__(slf: Py<Self>, args: &Bound<'_, PyTuple>) -> Operation {
        if slf.get().connection.get().link().is_inherited() {
            return Operation::leave_inherited("Cursor.__aexit__", args.py());
        }
        Self::operation(CloseCursor::new("Cursor.__aexit__", slf))
    }

    /// PEP 249: accepted, without effect.
    #[pyo3(signature = (sizes, /))]
    #[allow(unused_variables, reason = "PEP 249 allows to ignore it")]
    fn setinputsizes(&self, sizes: &Bound<'_, PyAny>) {}

    /// PEP 249: accepted, without effect.
    #[pyo3(signature = (size, column=None, /))]
    #[allow(unused_variables, reason = "PEP 249 allows to ignore it")]
    fn setoutputsize(&self, size: &Bound<'_, PyAny>, column: Option<&Bound<'_, PyAny>>) {}

    #[getter(connection)]
    fn connection_of(&self, py: Python<'_>) -> Py<Connection> {
        Connection::root(self.connection.bind(py))
    }

    #[getter]
    fn description<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        describe(py, self.columns())
    }

    #[getter]
    fn rowcount(&self) -> i64 {
        self.state().rowcount
    }

    #[getter]
    pub fn lastrowid(&self) -> Option<i64> {
        self.state().lastrowid
    }

    #[getter]
    fn arraysize(&self) -> usize {
        self.state().arraysize
    }

    #[setter]
    fn set_arraysize(&self, size: usize) {
        self.state().arraysize = size;
    }

    #[getter]
    fn iter_chunk_size(&self) -> usize {
        self.state().chunk
    }

    #[setter]
    fn set_iter_chunk_size(&self, size: usize) {
        self.state().chunk = size.max(1);
    }

    #[getter]
    fn row_factory(&self, py: Python<'_>) -> Py<PyAny> {
        self.state().row_factory.to_python(py)
    }

    #[setter]
    fn set_row_factory(&self, factory: &Bound<'_, PyAny>) -> PyResult<()> {
        let factory = RowFactory::new(factory)?;
        let old = std::mem::replace(&mut self.state().row_factory, factory);
        drop(old);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        match self.state.try_lock() {
            Ok(state) => {
                visit.call(&state.converters)?;
                state.row_factory.traverse(visit)
            }
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let mut state = self.state();
        let converters = state.converters.take();
        let old = std::mem::replace(&mut state.row_factory, RowFactory::Tuple);
        drop(state);
        drop((converters, old));
    }
}

impl Cursor {
    fn opened(slf: &Bound<'_, Self>, name: &'static str) -> Operation {
        let value = slf
            .get()
            .check(slf.py())
            .map(|()| slf.clone().into_any().unbind());
        Operation::new(Box::new(Ready::done(name, value)))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let link = self.connection.get().link();
        let state = self.state.get_mut();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if link.is_inherited() {
            state.leave_to_parent();
        }
        if let Some((batch, _)) = state.current.take() {
            link.spare.keep(batch);
        }
        let holds_connection = state.holds_connection;
        Report::end(state.report.take());
        if let Some(rows) = state.close() {
            drop(link.submit(Action::CloseRows(rows), None));
            if holds_connection {
                pool_cursor::report_leak();
            }
        }
    }
}
