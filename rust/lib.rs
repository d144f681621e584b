//! The extension module `aiolibsql._aiolibsql`.
//!
//! Who may import whom: `python` → `core`, `wakeup`, `sqlite`'s values, codes and start-up; `core` → `sqlite`; `sqlite` and `wakeup`
//! import nothing of ours. `unsafe` lives in `sqlite` and in `python/ffi` only; `pyo3` under `python` only.

use pyo3::prelude::*;

pub mod core;
mod python;
pub mod sqlite;
pub mod wakeup;

#[pymodule]
fn _aiolibsql(module: &Bound<'_, PyModule>) -> PyResult<()> {
    python::register(module)
}
