//! The arguments of `connect` and the transaction attributes, checked.
//!
//! Owns how `isolation_level` and `autocommit` together make a transaction mode, as in the stdlib's `sqlite3`.
//! Thread: the caller's.

use std::ffi::CString;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyMapping, PyString};

use crate::core::{
    Begin, KeySlot, Local, ModeChange, ModeEffect, Options, Pins, Replacements, TransactionMode,
};
use crate::sqlite::Switch;

use super::encryption;
use super::exceptions;
use super::home::Home;
use super::link::Link;
use super::memory;
use super::parameters::seconds;
use super::server::{self, Companions};
use super::services::Truth;
use super::settings::Settings;

/// `LEGACY_TRANSACTION_CONTROL`.
const LEGACY: i64 = -1;

/// What `connect` was given.
pub struct Arguments<'a, 'py> {
    pub database: &'a Bound<'py, PyAny>,
    pub timeout: f64,
    pub cached_statements: usize,
    pub uri: bool,
    pub encryption_key: Option<&'a Bound<'py, PyAny>>,
    pub foreign_keys: bool,
    pub pragmas: Option<&'a Bound<'py, PyAny>>,
    pub trusted_schema: Option<Truth>,
    pub defensive: Option<Truth>,
    pub companions: Companions<'a, 'py>,
    pub is_blocking: bool,
    pub inline_budget: i64,
}

/// The transaction attributes of a connection.
#[derive(Clone)]
pub struct Control {
    pub isolation_level: Option<String>,
    pub autocommit: Autocommit,
}

/// The values of `autocommit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Autocommit {
    Legacy,
    On,
    Off,
}

impl<'py> FromPyObject<'_, 'py> for Autocommit {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(flag) = value.cast::<PyBool>() {
            return Ok(if flag.is_true() { Self::On } else { Self::Off });
        }
        match value
            .cast::<PyInt>()
            .ok()
            .and_then(|number| number.extract::<i64>().ok())
        {
            Some(LEGACY) => Ok(Self::Legacy),
            Some(0) => Ok(Self::Off),
            Some(1) => Ok(Self::On),
            _ => Err(PyValueError::new_err(
                "autocommit must be True, False, or aiolibsql.LEGACY_TRANSACTION_CONTROL",
            )),
        }
    }
}

impl Autocommit {
    pub fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Self::Legacy => LEGACY.into_pyobject(py)?.into_any().unbind(),
            Self::On => PyBool::new(py, true).to_owned().into_any().unbind(),
            Self::Off => PyBool::new(py, false).to_owned().into_any().unbind(),
        })
    }
}

impl Control {
    pub fn new(level: Level, autocommit: Autocommit) -> Self {
        Self {
            isolation_level: level.0,
            autocommit,
        }
    }

    pub fn mode(&self) -> TransactionMode {
        match (self.autocommit, &self.isolation_level) {
            (Autocommit::On, _) => TransactionMode::Autocommit { manual_end: false },
            (Autocommit::Off, _) => TransactionMode::Always,
            (Autocommit::Legacy, None) => TransactionMode::Autocommit { manual_end: true },
            (Autocommit::Legacy, Some(level)) => TransactionMode::Implicit(implicit_begin(level)),
        }
    }

    /// Assigning None commits, as in `sqlite3`, unless `autocommit` is True.
    pub fn set_isolation_level(&mut self, level: Option<String>) -> ModeChange {
        let commits = level.is_none() && self.autocommit != Autocommit::On;
        self.isolation_level = level;
        let effect = if commits {
            ModeEffect::Commit
        } else {
            ModeEffect::Nothing
        };
        ModeChange {
            mode: self.mode(),
            effect,
        }
    }

    pub fn set_autocommit(&mut self, value: Autocommit) -> ModeChange {
        self.autocommit = value;
        let effect = match value {
            Autocommit::Legacy => ModeEffect::Nothing,
            Autocommit::On => ModeEffect::Commit,
            Autocommit::Off => ModeEffect::Begin,
        };
        ModeChange {
            mode: self.mode(),
            effect,
        }
    }
}

/// An `isolation_level`; None is a value of its own.
#[derive(Debug)]
pub struct Level(pub Option<String>);

impl Level {
    /// Legacy control's default.
    pub const fn implicit() -> Self {
        Self(Some(String::new()))
    }
}

impl<'py> FromPyObject<'_, 'py> for Level {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self(None));
        }
        let level = value
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err("isolation_level must be str or None"))?;
        let level = level.to_str()?;
        if level.is_empty() || begin(level).is_some() {
            return Ok(Self(Some(level.to_owned())));
        }
        Err(PyValueError::new_err(
            "isolation_level string must be '', 'DEFERRED', 'IMMEDIATE', or 'EXCLUSIVE'",
        ))
    }
}

/// The BEGIN of a mode's name.
pub fn begin(mode: &str) -> Option<Begin> {
    match mode.to_ascii_uppercase().as_str() {
        "DEFERRED" => Some(Begin::Deferred),
        "IMMEDIATE" => Some(Begin::Immediate),
        "EXCLUSIVE" => Some(Begin::Exclusive),
        _ => None,
    }
}

fn implicit_begin(level: &str) -> Begin {
    begin(level).unwrap_or(Begin::Implicit)
}

impl Arguments<'_, '_> {
    /// Checks them; gives what a connection works with.
    pub fn link(&self, settings: Settings) -> PyResult<Link> {
        let py = self.database.py();
        if let Ok(url) = self.database.str()
            && server::is_url(&url.to_string_lossy())
        {
            return self.companions.link(&url, self, settings);
        }
        if self.companions.follow.is_replica() {
            let (options, label) = read(self, settings.control.mode())?;
            return self.companions.replica(self, options, label, settings);
        }
        self.companions
            .follow
            .refuse(py, "the parameter sync_url is not given")?;
        self.companions.refuse(py)?;
        let (options, label) = read(self, settings.control.mode())?;
        Ok(match memory::find(self.database, &options) {
            Some(shared) => Link::shared(shared, options, label, settings),
            None => Link::new(Home::Local(Local::new(options)), label, settings),
        })
    }
}

/// Checks the arguments for a local database; gives the options and how to show it.
fn read(arguments: &Arguments<'_, '_>, mode: TransactionMode) -> PyResult<(Options, String)> {
    let (path, label) = path(arguments.database)?;
    let filename = CString::new(path).map_err(|_| {
        PyValueError::new_err("the path of a database can't contain a null character")
    })?;
    let key = match arguments.encryption_key {
        Some(given) => Some(encryption::read(given, "encryption_key")?),
        None => None,
    };
    if key.is_some() && encryption::is_memory(filename.to_bytes()) {
        let message =
            format!("database '{label}' is in memory, which encryption_key can't be combined with");
        return Err(exceptions::programming(arguments.database.py(), message));
    }
    let options = Options {
        filename,
        key: KeySlot::new(key),
        uri: arguments.uri || label.starts_with("file:"),
        read_only: false,
        timeout: seconds(arguments.timeout, "timeout")?,
        cached_statements: arguments.cached_statements,
        pins: Pins::default(),
        foreign_keys: arguments.foreign_keys,
        pragmas: arguments.pragmas.map_or_else(|| Ok(Vec::new()), pragmas)?,
        switches: switches(arguments),
        mode,
        keeps_log: false,
        replacements: Replacements::default(),
        is_blocking: arguments.is_blocking,
        inline_budget: steps(arguments.inline_budget)?,
    };
    Ok((options, label))
}

fn steps(budget: i64) -> PyResult<u32> {
    u32::try_from(budget).map_err(|_| {
        PyValueError::new_err(
            "inline_budget must be a number of steps, 0 or more and less than 2**32",
        )
    })
}

fn switches(arguments: &Arguments<'_, '_>) -> Vec<(Switch, bool)> {
    let trusted = arguments.trusted_schema;
    let given = [
        (Switch::trusted_schema(), trusted),
        (Switch::defensive(), arguments.defensive),
    ];
    let set = given.into_iter();
    set.filter_map(|(switch, value)| Some((switch, value?.0)))
        .collect()
}

fn path(database: &Bound<'_, PyAny>) -> PyResult<(Vec<u8>, String)> {
    let py = database.py();
    if database.is_none() {
        // As its text it would name a file: mostly, a setting is missing.
        return Err(PyTypeError::new_err("database must be a path, not None"));
    }
    let os = py.import("os")?;
    let is_path = database.is_instance_of::<PyString>()
        || database.is_instance_of::<PyBytes>()
        || database.is_instance(&os.getattr("PathLike")?)?;
    let database = if is_path {
        database.clone()
    } else {
        database.str()?.into_any()
    };
    let bytes = os
        .call_method1("fsencode", (&database,))?
        .cast_into::<PyBytes>()?;
    let label: String = os
        .call_method1("fsdecode", (&database,))?
        .str()?
        .to_string_lossy()
        .into_owned();
    Ok((bytes.as_bytes().to_vec(), label))
}

fn pragmas(pragmas: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let pragmas = pragmas
        .cast::<PyMapping>()
        .map_err(|_| PyTypeError::new_err("pragmas must be a mapping"))?;
    let statement = |item: Bound<'_, PyAny>| pragma(&item.get_item(0)?, &item.get_item(1)?);
    pragmas.items()?.iter().map(statement).collect()
}

/// The statement that assigns to a pragma.
pub fn pragma(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let name: String = name.extract()?;
    let parts_are_names = name.split('.').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if !parts_are_names {
        return Err(PyValueError::new_err(format!(
            "'{name}' is not the name of a pragma"
        )));
    }
    let value = match value.cast::<PyBool>() {
        Ok(flag) => u8::from(flag.is_true()).to_string(),
        Err(_) if value.is_instance_of::<PyInt>() => value.str()?.to_string(),
        Err(_) => format!("'{}'", value.str()?.to_string().replace('\'', "''")),
    };
    Ok(format!("PRAGMA {name}={value}"))
}
