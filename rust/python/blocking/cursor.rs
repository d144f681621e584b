//! Cursor: what `sqlite3.Cursor` is.
//!
//! Owns the stream that its last execution fills, and what is known about that execution. Rows are taken out of it in
//! `rows.rs`.
//! Thread: any that is attached, if its connection allows it; one at a time.
//! Invariant: its lock is never held while Python code may run. While a method works, the cursor is taken, and others
//! are refused, also those that a converter or an iterable calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::core::{Action, Amount, Execute, Outcome, RowStream};
use crate::python::converters::Converters;
use crate::python::exceptions;
use crate::python::factories::RowFactory;
use crate::python::link::Link;
use crate::python::parameters::Converter;
use crate::python::quick::Done;
use crate::python::reports::Report;
use crate::python::results::{State, describe};

use super::connection::{Connection, check_not_closed};
use super::quick;
use super::runner;

/// Rows that an execution brings along.
const FIRST_ROWS: usize = 64;

/// Executes statements and fetches their rows, for code that blocks.
#[pyclass(frozen, subclass, weakref, module = "aiolibsql.dbapi")]
pub struct Cursor {
    pub(super) state: Mutex<Results>,
    is_taken: AtomicBool,
}

/// What a cursor holds.
pub struct Results {
    /// `None`: `__init__` was not called.
    pub(super) connection: Option<Py<Connection>>,
    /// The database that the rows come from.
    pub(super) source: Option<Arc<Link>>,
    pub(super) state: State,
}

/// While it lives, no other method of the cursor may work.
pub struct Taken<'a>(&'a AtomicBool);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Cursor {
    /// A cursor of a connection that is open.
    pub fn of(connection: &Bound<'_, Connection>, link: &Link) -> Self {
        let (row_factory, _) = link.cursor_defaults(connection.py());
        let results = Results {
            connection: Some(connection.clone().unbind()),
            source: None,
            state: State::new(row_factory, FIRST_ROWS),
        };
        Self {
            state: Mutex::new(results),
            is_taken: AtomicBool::new(false),
        }
    }

    /// The same, which has executed a quick query.
    pub fn with(connection: &Bound<'_, Connection>, link: &Link, done: Done) -> Self {
        let mut cursor = Self::of(connection, link);
        let results = cursor.state.get_mut();
        let results = results.unwrap_or_else(PoisonError::into_inner);
        results.state.fill(done);
        cursor
    }

    pub(super) fn state(&self) -> MutexGuard<'_, Results> {
        let mut results = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if results
            .source
            .as_ref()
            .is_some_and(|link| link.is_inherited())
        {
            results.state.leave_to_parent();
        }
        results
    }

    /// As columns have it for rows of their own.
    pub fn columns(&self) -> Option<Arc<[Box<str>]>> {
        self.state().state.columns.clone()
    }

    pub fn set_factory(&self, factory: RowFactory) {
        let old = std::mem::replace(&mut self.state().state.row_factory, factory);
        drop(old);
    }

    /// Takes the cursor for a method.
    pub(super) fn take(&self, py: Python<'_>) -> PyResult<Taken<'_>> {
        if self.is_taken.swap(true, Ordering::AcqRel) {
            return Err(exceptions::programming(
                py,
                "Recursive use of cursors not allowed.",
            ));
        }
        Ok(Taken(&self.is_taken))
    }

    /// Whether a method works with it.
    pub(super) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Acquire)
    }

    fn connection(&self, py: Python<'_>) -> PyResult<Py<Connection>> {
        let connection = self
            .state()
            .connection
            .as_ref()
            .map(|own| own.clone_ref(py));
        connection.ok_or_else(|| not_initialised(py))
    }

    /// The connection and its link, if a method may work.
    pub(super) fn usable(&self, py: Python<'_>) -> PyResult<(Py<Connection>, Arc<Link>)> {
        let results = self.state();
        let connection = results.connection.as_ref().map(|own| own.clone_ref(py));
        let is_closed = results.state.closed;
        drop(results);
        let connection = connection.ok_or_else(|| not_initialised(py))?;
        if is_closed {
            connection.get().check_thread(py)?;
            return Err(exceptions::programming(
                py,
                "Cannot operate on a closed cursor.",
            ));
        }
        let link = connection.get().usable(py)?;
        Ok((connection, link))
    }

    /// Starts an execution; the rows of the last one end.
    pub(super) fn begin(&self, next: Option<(Arc<RowStream>, Arc<Link>)>) {
        let (rows, source) = next.unzip();
        let mut results = self.state();
        let converters = results.state.converters.take();
        let replaced = results.state.begin(rows, None);
        results.state.chunk = FIRST_ROWS;
        let before = std::mem::replace(&mut results.source, source);
        let report = results.state.report.take();
        drop(results);
        drop(converters);
        Report::end(report);
        end_rows(replaced, before);
    }

    /// Ends it for good. As in sqlite3 what its last execution did can still be asked.
    fn end(&self) {
        let mut results = self.state();
        let (columns, rowcount) = (results.state.columns.take(), results.state.rowcount);
        drop(results);
        self.begin(None);
        let mut results = self.state();
        let state = &mut results.state;
        (state.columns, state.rowcount, state.closed) = (columns, rowcount, true);
    }

    /// Stores what an execution came to.
    pub(super) fn executed(&self, outcome: Outcome, converters: Option<Py<PyTuple>>) {
        let mut results = self.state();
        let state = &mut results.state;
        state.columns = outcome.columns;
        let replaced = std::mem::replace(&mut state.converters, converters);
        state.rowcount = outcome.rowcount.unwrap_or(-1);
        if outcome.lastrowid.is_some() {
            state.lastrowid = outcome.lastrowid;
        }
        drop(results);
        drop(replaced);
    }

    /// Whether there are no rows that the next execution has to end.
    fn has_no_rows(&self) -> bool {
        let results = self.state();
        results
            .state
            .rows
            .as_ref()
            .is_none_or(|rows| rows.has_ended())
    }

    /// Stores what a quick query came to.
    fn executed_quickly(&self, connection: &Connection, done: Done) {
        let mut results = self.state();
        let last = results.state.current.take();
        let source = results.source.take();
        let converters = results.state.converters.take();
        let replaced = results.state.begin(None, None);
        results.state.fill(done);
        drop(results);
        drop((source, converters, replaced));
        if let Some((batch, _)) = last {
            connection.keep_spare(batch);
        }
    }

    /// Executes one statement on its connection, which can be used.
    pub fn run_one(
        &self,
        connection: &Connection,
        link: &Arc<Link>,
        sql: &Bound<'_, PyAny>,
        parameters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _taken = self.take(sql.py())?;
        if self.has_no_rows() {
            match quick::run(connection, link, sql, parameters) {
                Ok(Some(done)) => {
                    self.executed_quickly(connection, done);
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) => {
                    self.begin(None);
                    return Err(error);
                }
            }
        }
        self.run_taken(connection, link, sql, parameters)
    }

    /// The same of a cursor that was taken, of a statement that is not quick.
    pub fn run_taken(
        &self,
        connection: &Connection,
        link: &Arc<Link>,
        sql: &Bound<'_, PyAny>,
        parameters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = sql.py();
        let (sql, adapters, converters) = link.request(sql.cast()?)?;
        connection.check_length(py, &sql)?;
        let bindings = Converter::new(Arc::clone(&sql), adapters)
            .one(parameters)
            .map_err(|error| reworded(py, error))?;
        let mut report = link.own_watch().statement(&sql);
        let rows = Report::stream(report.as_deref());
        let execute = Execute {
            sql,
            parameters: bindings,
            rows: Arc::clone(&rows),
            amount: Amount::Ahead(FIRST_ROWS),
            wants_decltypes: converters.want_decltypes(),
        };
        self.begin(Some((rows, Arc::clone(link))));
        let result = self.run_execute(py, link, execute, &converters, &mut report);
        if let Err(error) = &result {
            self.begin(None);
            Report::fail(&mut report, py, error);
        }
        result
    }

    fn run_execute(
        &self,
        py: Python<'_>,
        link: &Link,
        execute: Execute,
        converters: &Converters,
        report: &mut Option<Box<Report>>,
    ) -> PyResult<()> {
        let mut outcome = runner::run(py, link, Action::Execute(execute))?;
        if let Some(report) = report.take() {
            self.state().state.report = report.executed(py, &outcome);
        }
        let converters = converters.read(py, &mut outcome)?;
        self.executed(outcome, converters);
        Ok(())
    }
}

/// Ends the rows of an execution; the connection resets their statement with its next command, or at once.
fn end_rows(rows: Option<Arc<RowStream>>, source: Option<Arc<Link>>) {
    if let (Some(rows), Some(link)) = (rows, source)
        && !rows.has_ended()
    {
        drop(link.submit(Action::CloseRows(rows), None));
    }
}

/// As sqlite3 says it.
fn reworded(py: Python<'_>, error: PyErr) -> PyErr {
    if !error.is_instance_of::<PyOverflowError>(py) {
        return error;
    }
    let said = PyOverflowError::new_err("Python int too large to convert to SQLite INTEGER");
    said.set_cause(py, Some(error));
    said
}

fn not_initialised(py: Python<'_>) -> PyErr {
    exceptions::programming(py, "Base Cursor.__init__ not called.")
}

#[pymethods]
impl Cursor {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        let results = Results {
            connection: None,
            source: None,
            state: State::new(RowFactory::Tuple, FIRST_ROWS),
        };
        Self {
            state: Mutex::new(results),
            is_taken: AtomicBool::new(false),
        }
    }

    #[pyo3(signature = (connection, /))]
    fn __init__(slf: &Bound<'_, Self>, connection: &Bound<'_, Connection>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let _taken = this.take(py)?;
        connection.get().check_thread(py)?;
        this.begin(None);
        let mut results = this.state();
        let before = results.connection.replace(connection.clone().unbind());
        results.state.closed = false;
        results.state.lastrowid = None;
        results.state.arraysize = 1;
        drop(results);
        drop(before);
        this.set_factory(RowFactory::Tuple);
        Ok(())
    }

    #[pyo3(signature = (sql, parameters=None, /))]
    fn execute<'py>(
        slf: &Bound<'py, Self>,
        sql: &Bound<'_, PyAny>,
        parameters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let (connection, link) = slf.get().usable(slf.py())?;
        slf.get()
            .run_one(connection.get(), &link, sql, parameters)?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (sql_script, /))]
    fn executescript<'py>(
        slf: &Bound<'py, Self>,
        sql_script: &Bound<'_, PyString>,
    ) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        let (connection, link) = this.usable(py)?;
        let _taken = this.take(py)?;
        let script = sql_script.to_str()?;
        if script.contains('\0') {
            return Err(PyValueError::new_err("embedded null character"));
        }
        connection.get().check_length(py, script)?;
        let script = Arc::from(script);
        this.begin(None);
        let mut report = link.own_watch().script(&script);
        let ran = runner::run(py, &link, Action::ExecuteScript(script));
        let outcome = ran.inspect_err(|error| Report::fail(&mut report, py, error))?;
        if let Some(report) = report {
            report.executed(py, &outcome);
        }
        this.executed(outcome, None);
        Ok(slf.clone())
    }

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let connection = this.connection(py)?;
        connection.get().check_thread(py)?;
        check_not_closed(py, &*connection.get().link(py)?)?;
        let taken = this.take(py)?;
        this.end();
        drop(taken);
        let link = connection.get().link(py)?;
        py.detach(|| link.settle());
        Ok(())
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
    fn connection_of(&self, py: Python<'_>) -> Option<Py<Connection>> {
        self.connection(py).ok()
    }

    #[getter]
    fn description<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        describe(py, self.columns())
    }

    #[getter]
    fn rowcount(&self) -> i64 {
        self.state().state.rowcount
    }

    #[getter]
    fn lastrowid(&self) -> Option<i64> {
        self.state().state.lastrowid
    }

    #[getter]
    fn arraysize(&self) -> usize {
        self.state().state.arraysize
    }

    #[setter]
    fn set_arraysize(&self, size: i64) {
        // A negative size means "all of them".
        self.state().state.arraysize = usize::try_from(size).unwrap_or(usize::MAX);
    }

    #[getter]
    fn row_factory(&self, py: Python<'_>) -> Py<PyAny> {
        self.state().state.row_factory.to_python(py)
    }

    #[setter]
    fn set_row_factory(&self, factory: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_factory(RowFactory::unchecked(factory)?);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.state.try_lock() {
            Ok(results) => {
                visit.call(&results.connection)?;
                visit.call(&results.state.converters)?;
                results.state.row_factory.traverse(visit)
            }
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let mut results = self.state();
        let converters = results.state.converters.take();
        let old = std::mem::replace(&mut results.state.row_factory, RowFactory::Tuple);
        drop(results);
        drop((converters, old));
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let results = self.state.get_mut();
        let results = results.unwrap_or_else(PoisonError::into_inner);
        if let (Some((batch, _)), Some(connection)) =
            (results.state.current.take(), &results.connection)
        {
            connection.get().keep_spare(batch);
        }
        let Some(link) = results.source.take() else {
            return;
        };
        if link.is_inherited() {
            results.state.leave_to_parent();
        }
        Report::end(results.state.report.take());
        if let Some(rows) = results.state.close() {
            drop(link.submit(Action::CloseRows(rows), None));
            link.settle_in_destructor();
        }
    }
}
