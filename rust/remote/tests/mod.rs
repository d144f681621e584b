//! Tests of the remote client: against servers that follow a script, and against a real one.
//!
//! The real server's tests run where `AIOLIBSQL_TEST_SQLD` names its binary.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

mod gate;
mod real;
mod scripted;
mod server;
mod sockets;
mod sqld;
mod tls;
mod tokens;
mod urls;
mod volume;
