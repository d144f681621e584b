//! `aiolibsql.dbapi`: the same connections for code that blocks, shaped as the stdlib's `sqlite3`.
//!
//! Owns the classes Connection, Cursor and Blob of that module, and how the calling thread runs a command or a Work to its
//! end. What a statement, a row or a callback is stands in the modules of the asynchronous classes; so does all that a
//! connection can do besides statements: an asynchronous connection, which nobody else sees, does it.
//! Thread: the caller's, detached from the interpreter while SQLite works.
//! Invariant: no event loop and no thread of our own takes part.

mod batch;
mod blob;
mod connection;
mod cursor;
mod executemany;
mod module;
mod quick;
mod rows;
mod runner;
mod setup;
mod signals;
mod transactions;

pub use cursor::Cursor;
pub use module::register;
pub use signals::raise_later;
