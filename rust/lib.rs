//! The extension module `aiolibsql._aiolibsql`.
//!
//! Who may import whom: `python` → `core`, `hosted`, `remote`, `replica`, `wakeup`, `sqlite`'s values, codes and start-up; `hosted` →
//! `core`, `remote`; `replica` → `core`, `hosted`, `remote`; `core` → `sqlite`; `remote` → `core`'s values, errors and count of forks; `sqlite` and `wakeup` import
//! nothing of ours. `unsafe` lives in `sqlite` and in `python/ffi` only; `pyo3` under `python` only.

pub mod core;
pub mod hosted;
#[cfg(feature = "python")]
mod python;
pub mod remote;
pub mod replica;
pub mod sqlite;
pub mod wakeup;

// Nothing was run on a Python without the GIL, so such a one has to bring it back; PyO3 would say otherwise for us.
#[cfg(feature = "python")]
#[pyo3::pymodule(gil_used = true)]
fn _aiolibsql(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
    python::register(module)
}
