//! Connection: what `sqlite3.Connection` is.
//!
//! Owns the class: opening, checks, attributes, and cursors. Transactions are in `transactions.rs`, callbacks and services
//! in `setup.rs`.
//! Thread: any that is attached, if the connection allows it.
//! Invariant: its lock is never held while Python code may run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::core::{Action, Error, Kind, RowBatch};
use crate::python::adapters::Given;
use crate::python::cached::{cached_attribute, interned};
use crate::python::connection::Connection as Inner;
use crate::python::exceptions;
use crate::python::exit;
use crate::python::factories::{RowFactory, TextFactory};
use crate::python::ffi;
use crate::python::link::Link;
use crate::python::options::{Autocommit, Level};
use crate::python::parameters;
use crate::python::replica::Follow;
use crate::python::server::Companions;
use crate::sqlite::Handle;

use super::cursor::Cursor;
use super::{quick, runner};

/// SQLITE_MAX_SQL_LENGTH as compiled.
const LONGEST_SQL: usize = 1_000_000_000;

/// A connection to a database, for code that blocks.
#[pyclass(frozen, subclass, weakref, module = "aiolibsql.dbapi")]
pub struct Connection {
    state: Mutex<Option<Opened>>,
    /// SQLITE_LIMIT_SQL_LENGTH.
    longest_sql: AtomicUsize,
}

struct Opened {
    inner: Py<Inner>,
    link: Arc<Link>,
    /// The only thread that may use it.
    thread: Option<Thread>,
}

#[derive(Clone, Copy)]
struct Thread {
    place: usize,
    ident: u64,
}

/// A place that every living thread has its own of.
fn this_place() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

fn ident(py: Python<'_>) -> PyResult<u64> {
    static GET_IDENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    cached_attribute(py, &GET_IDENT, "threading", "get_ident")?
        .call0()?
        .extract()
}

impl Thread {
    fn this(py: Python<'_>) -> PyResult<Self> {
        Ok(Self {
            place: this_place(),
            ident: ident(py)?,
        })
    }

    fn check(self, py: Python<'_>) -> PyResult<()> {
        if self.place == this_place() {
            return Ok(());
        }
        let message = format!(
            "SQLite objects created in a thread can only be used in that same thread. The object was created in \
             thread id {} and this is thread id {}.",
            self.ident,
            ident(py)?
        );
        Err(exceptions::programming(py, message))
    }
}

fn not_initialised(py: Python<'_>) -> PyErr {
    exceptions::programming(py, "Base Connection.__init__ not called.")
}

/// As sqlite3 says it.
pub fn check_not_closed(py: Python<'_>, link: &Link) -> PyResult<()> {
    if link.is_closed() {
        let error = Error {
            kind: Kind::Closed,
            ..Error::operational("Cannot operate on a closed database.")
        };
        return Err(exceptions::to_python(py, error));
    }
    link.check_not_inherited(py)
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, Option<Opened>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link of a connection that may be open or closed.
    pub fn link(&self, py: Python<'_>) -> PyResult<Arc<Link>> {
        let link = self.state().as_ref().map(|opened| Arc::clone(&opened.link));
        link.ok_or_else(|| not_initialised(py))
    }

    /// The link of a connection that this thread may use.
    pub fn usable(&self, py: Python<'_>) -> PyResult<Arc<Link>> {
        let found = self
            .state()
            .as_ref()
            .map(|opened| (Arc::clone(&opened.link), opened.thread));
        let (link, thread) = found.ok_or_else(|| not_initialised(py))?;
        if let Some(thread) = thread {
            thread.check(py)?;
        }
        check_not_closed(py, &link)?;
        Ok(link)
    }

    /// Whether this thread may use it, and texts are str. What is wrong is told by others.
    pub fn is_plain_here(&self) -> bool {
        let state = self.state();
        let Some(opened) = state.as_ref() else {
            return false;
        };
        let is_other = |thread: Thread| thread.place != this_place();
        !opened.thread.is_some_and(is_other)
            && !opened.link.is_closed()
            && !opened.link.is_inherited()
            && matches!(opened.link.settings().text_factory, TextFactory::Str)
    }

    /// Keeps the room of rows that are done with.
    pub fn keep_spare(&self, batch: Arc<RowBatch>) {
        let link = self.state().as_ref().map(|opened| Arc::clone(&opened.link));
        if let Some(link) = link {
            link.spare.keep(batch);
        }
    }

    /// The link of an open connection, for what any thread may do.
    pub fn open_link(&self, py: Python<'_>) -> PyResult<Arc<Link>> {
        let link = self.link(py)?;
        check_not_closed(py, &link)?;
        Ok(link)
    }

    /// Raises on a thread that may not use it.
    pub fn check_thread(&self, py: Python<'_>) -> PyResult<()> {
        let thread = match &*self.state() {
            Some(opened) => opened.thread,
            None => return Err(not_initialised(py)),
        };
        thread.map_or(Ok(()), |thread| thread.check(py))
    }

    /// Whether a text is no longer than the connection allows.
    pub fn allows(&self, sql: &str) -> bool {
        sql.len() <= self.longest_sql.load(Ordering::Relaxed)
    }

    /// Refuses a text that is longer than the connection allows.
    pub fn check_length(&self, py: Python<'_>, sql: &str) -> PyResult<()> {
        if !self.allows(sql) {
            let error = Error::data("query string is too large");
            return Err(exceptions::to_python(py, error));
        }
        Ok(())
    }

    pub fn set_longest_sql(&self, longest: i32) {
        if let Ok(longest) = usize::try_from(longest) {
            let longest = longest.min(LONGEST_SQL);
            self.longest_sql.store(longest, Ordering::Relaxed);
        }
    }

    pub fn inner(&self, py: Python<'_>) -> PyResult<Py<Inner>> {
        let inner = self
            .state()
            .as_ref()
            .map(|opened| opened.inner.clone_ref(py));
        inner.ok_or_else(|| not_initialised(py))
    }

    /// Has the asynchronous connection within do something.
    pub fn delegate<'py>(
        &self,
        py: Python<'py>,
        method: &Bound<'py, PyString>,
        arguments: Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let link = self.usable(py)?;
        let operation = self
            .inner(py)?
            .bind(py)
            .call_method(method, arguments, keywords)?;
        runner::finish(py, &link, &operation)
    }

    /// Opens it; what was open before is left to the cursors that read from it.
    fn open(&self, py: Python<'_>, opened: Opened) -> PyResult<()> {
        let link = Arc::clone(&opened.link);
        exit::remember(&link);
        let before = self.state().take();
        drop(before);
        runner::run(py, &link, Action::Open)?;
        let before = self.state().replace(opened);
        drop(before);
        Ok(())
    }

    pub fn new_cursor<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if slf.is_exact_instance_of::<Self>() {
            let link = slf.get().usable(py)?;
            let cursor = Cursor::of(slf, &link);
            return Ok(Bound::new(py, cursor)?.into_any());
        }
        slf.call_method0(interned!(py, "cursor"))
    }
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Mutex::new(None),
            longest_sql: AtomicUsize::new(LONGEST_SQL),
        }
    }

    #[pyo3(signature = (
        database, timeout=5.0, detect_types=0, isolation_level=Level::implicit(), check_same_thread=true, factory=None,
        cached_statements=128, uri=false, *, autocommit=Autocommit::Legacy, encryption_key=None, foreign_keys=false,
        pragmas=None, auth_token=None, tls=None, namespace=None, request_timeout=None, connect_timeout=None,
        sync_url=None, sync_interval=None, read_your_writes=None, offline=false,
    ))]
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::too_many_arguments,
        reason = "they are keywords"
    )]
    #[allow(unused_variables, reason = "connect() has taken the factory")]
    fn __init__(
        slf: &Bound<'_, Self>,
        database: &Bound<'_, PyAny>,
        timeout: f64,
        detect_types: i32,
        isolation_level: Level,
        check_same_thread: bool,
        factory: Option<&Bound<'_, PyAny>>,
        cached_statements: usize,
        uri: bool,
        autocommit: Autocommit,
        encryption_key: Option<&Bound<'_, PyAny>>,
        foreign_keys: bool,
        pragmas: Option<&Bound<'_, PyAny>>,
        auth_token: Option<&Bound<'_, PyAny>>,
        tls: Option<bool>,
        namespace: Option<String>,
        request_timeout: Option<f64>,
        connect_timeout: Option<f64>,
        sync_url: Option<Bound<'_, PyString>>,
        sync_interval: Option<f64>,
        read_your_writes: Option<bool>,
        offline: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        let inner = Inner::blocking(
            (database, timeout, cached_statements, uri),
            (encryption_key, foreign_keys, pragmas),
            (isolation_level, autocommit, detect_types),
            Companions {
                auth_token,
                tls,
                namespace,
                request_timeout,
                connect_timeout,
                follow: Follow::new(sync_url, sync_interval, read_your_writes, offline)?,
            },
        )?;
        let link = Arc::clone(inner.shared_link());
        let thread = check_same_thread.then(|| Thread::this(py)).transpose()?;
        let opened = Opened {
            inner: Py::new(py, inner)?,
            link,
            thread,
        };
        slf.get().longest_sql.store(LONGEST_SQL, Ordering::Relaxed);
        slf.get().open(py, opened)
    }

    #[pyo3(signature = (factory=Given(None)))]
    fn cursor<'py>(slf: &Bound<'py, Self>, factory: Given) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let link = slf.get().usable(py)?;
        let Some(factory) = factory.0 else {
            return Ok(Bound::new(py, Cursor::of(slf, &link))?.into_any());
        };
        let cursor = ffi::call(factory.bind(py), (slf,))?;
        let Ok(ours) = cursor.cast::<Cursor>() else {
            let class = cursor.get_type();
            let message = format!("factory must return a cursor, not {}", class.name()?);
            return Err(PyTypeError::new_err(message));
        };
        let row_factory = link.settings().row_factory.clone_ref(py);
        if !matches!(row_factory, RowFactory::Tuple) {
            ours.get().set_factory(row_factory);
        }
        Ok(cursor)
    }

    #[pyo3(signature = (sql, parameters=None, /))]
    fn execute<'py>(
        slf: &Bound<'py, Self>,
        sql: &Bound<'py, PyAny>,
        parameters: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if slf.is_exact_instance_of::<Self>() {
            let link = slf.get().usable(slf.py())?;
            if let Some(done) = quick::run(slf.get(), &link, sql, parameters)? {
                let cursor = Cursor::with(slf, &link, done);
                return Ok(Bound::new(slf.py(), cursor)?.into_any());
            }
            let cursor = Bound::new(slf.py(), Cursor::of(slf, &link))?;
            let taken = cursor.get().take(slf.py())?;
            let (this, link) = (slf.get(), &link);
            cursor.get().run_taken(this, link, sql, parameters)?;
            drop(taken);
            return Ok(cursor.into_any());
        }
        let cursor = Self::new_cursor(slf)?;
        let execute = cursor.getattr(interned!(slf.py(), "execute"))?;
        match parameters {
            Some(parameters) => ffi::call(&execute, (sql, parameters)),
            None => ffi::call(&execute, (sql,)),
        }
    }

    #[pyo3(signature = (sql, parameters, /))]
    fn executemany<'py>(
        slf: &Bound<'py, Self>,
        sql: &Bound<'py, PyAny>,
        parameters: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let cursor = Self::new_cursor(slf)?;
        let executemany = cursor.getattr(interned!(slf.py(), "executemany"))?;
        ffi::call(&executemany, (sql, parameters))
    }

    #[pyo3(signature = (sql_script, /))]
    fn executescript<'py>(
        slf: &Bound<'py, Self>,
        sql_script: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let cursor = Self::new_cursor(slf)?;
        let executescript = cursor.getattr(interned!(slf.py(), "executescript"))?;
        ffi::call(&executescript, (sql_script,))
    }

    /// Prepare a statement, to see whether it is one.
    #[pyo3(signature = (*args))]
    fn __call__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>) -> PyResult<Statement> {
        let (py, this) = (slf.py(), slf.get());
        let link = this.usable(py)?;
        let (sql,): (Bound<'_, PyString>,) = args.extract()?;
        let sql = parameters::sql(&sql)?;
        this.check_length(py, &sql)?;
        let prepare = move |handle: &mut Handle| -> Result<(), Error> {
            if let Some(id) = handle.prepare(&sql, false)?.id {
                handle.finalize(id);
            }
            Ok(())
        };
        let inner = this.inner(py)?;
        let operation = Inner::configure(inner.bind(py), "Connection.__call__", prepare);
        runner::finish(py, &link, Bound::new(py, operation)?.as_any())?;
        Ok(Statement {})
    }

    #[getter]
    fn in_transaction(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.open_link(py)?.status().in_transaction())
    }

    #[getter]
    fn total_changes(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.open_link(py)?.status().total_changes())
    }

    #[getter]
    fn row_factory(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.link(py)?.settings().row_factory.to_python(py))
    }

    #[setter]
    fn set_row_factory(&self, factory: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = factory.py();
        let factory = RowFactory::unchecked(factory)?;
        let link = self.link(py)?;
        let old = std::mem::replace(&mut link.settings().row_factory, factory);
        drop(old);
        Ok(())
    }

    #[getter]
    fn text_factory(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.link(py)?.settings().text_factory.to_python(py))
    }

    #[setter]
    fn set_text_factory(&self, factory: &Bound<'_, PyAny>) -> PyResult<()> {
        let link = self.link(factory.py())?;
        let factory = TextFactory::unchecked(factory);
        let old = std::mem::replace(&mut link.settings().text_factory, factory);
        drop(old);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.state.try_lock().as_deref() {
            Ok(Some(opened)) => visit.call(&opened.inner),
            _ => Ok(()),
        }
    }
}

/// What calling a connection returns.
#[pyclass(frozen, module = "aiolibsql.dbapi")]
pub struct Statement {}

#[pymethods]
impl Statement {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Err(PyTypeError::new_err(
            "cannot create 'aiolibsql.dbapi.Statement' instances",
        ))
    }
}
