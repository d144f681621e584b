//! The extension module `aiolibsql._aiolibsql`.
//!
//! Who may import whom: `python` → `core`, `wakeup`, `sqlite`'s errors; `core` → `sqlite`; `sqlite` and `wakeup`
//! import nothing of ours. `unsafe` lives in `sqlite` and in `python/ffi` only; `pyo3` under `python` only.

#![warn(clippy::pedantic, clippy::await_holding_lock, clippy::undocumented_unsafe_blocks)]
#![warn(clippy::multiple_unsafe_ops_per_block)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![allow(clippy::missing_errors_doc, clippy::module_name_repetitions, clippy::must_use_candidate)]

use pyo3::prelude::*;

pub mod core;
mod python;
pub mod sqlite;
pub mod wakeup;

#[pymodule]
fn _aiolibsql(module: &Bound<'_, PyModule>) -> PyResult<()> {
    python::register(module)
}
