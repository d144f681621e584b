//! The Python face of the core: the only place that knows PyO3.
//!
//! Owns the classes of the extension module and how they run under asyncio and trio.
//! Thread: attached to the interpreter, on whichever thread calls. Worker threads never come here.
//! Invariant: no lock is held while Python code may run.

mod adapters;
mod ahead;
mod asyncio;
mod awaitable;
mod backup;
mod batch;
mod binding;
mod blob;
mod blob_works;
mod blocking;
mod building;
mod cached;
mod callback_values;
mod callbacks;
mod common;
mod connection;
mod convert;
mod converters;
mod coroutine;
mod cursor;
mod delegate;
mod diagnostics;
mod dump;
mod encryption;
mod event_loop;
mod exceptions;
mod executemany;
mod exit;
mod factories;
mod fetch;
mod ffi;
mod functions;
mod home;
mod hooks;
mod in_flight;
mod introspection;
mod iterator;
mod lent;
mod lifecycle;
mod link;
mod logs;
mod machine;
mod memory;
mod options;
mod parameters;
mod pool;
mod pool_cursor;
mod pool_members;
mod pool_queries;
mod pool_works;
mod pragmas;
mod prepared;
mod process;
mod queries;
mod quick;
mod reentrancy;
mod replica;
mod reports;
mod results;
mod row;
mod scope;
mod server;
mod services;
mod settings;
mod spin;
mod statements;
mod suspension;
mod texts;
mod transaction;
mod trio;
mod turns;
mod view;
mod work;

use pyo3::prelude::*;

/// Fills the extension module.
///
/// # Errors
/// Python's, when a class can't be made; SQLite's, when it can't be initialised.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    crate::sqlite::initialize().map_err(|error| exceptions::to_python(py, error.into()))?;
    cached::fill_bindings(py);
    process::watch(py)?;
    exit::watch(py)?;
    module.add("sqlite_version", crate::sqlite::version())?;
    module.add_class::<connection::Connection>()?;
    module.add_class::<cursor::Cursor>()?;
    module.add_class::<transaction::Transaction>()?;
    module.add_class::<prepared::PreparedQuery>()?;
    module.add_class::<blob::Blob>()?;
    module.add_class::<pool::Pool>()?;
    module.add_class::<pool_cursor::PoolCursor>()?;
    module.add_class::<backup::_Backup>()?;
    module.add_class::<memory::_MemoryName>()?;
    module.add_class::<row::Row>()?;
    module.add_class::<awaitable::Operation>()?;
    module.add_class::<iterator::RowIterator>()?;
    module.add_function(wrap_pyfunction!(complete_statement, module)?)?;
    module.add_function(wrap_pyfunction!(introspection::_fetch_plain, module)?)?;
    module.add_function(wrap_pyfunction!(
        callbacks::enable_callback_tracebacks,
        module
    )?)?;
    adapters::register(module)?;
    converters::register(module)?;
    blocking::register(module)?;
    module.add_function(wrap_pyfunction!(exceptions::_error_for_code, module)?)?;
    // Nobody names these, but PyO3 would make them at first use.
    py.get_type::<asyncio::Waiter>();
    py.get_type::<event_loop::LoopPort>();
    py.get_type::<scope::Scope>();
    py.get_type::<trio::Abort>();
    ffi::install::<awaitable::Operation>(&py.get_type::<awaitable::Operation>());
    ffi::install_iteration::<iterator::RowIterator>(&py.get_type::<iterator::RowIterator>());
    Ok(())
}

/// Return whether a string holds one or more complete SQL statements, as `sqlite3.complete_statement`.
#[pyfunction]
fn complete_statement(statement: &str) -> bool {
    crate::sqlite::complete(statement)
}
