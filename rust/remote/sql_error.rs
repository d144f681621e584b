//! The one table from the remote client's errors to the core's.
//!
//! Owns the guess at SQLite's extended codes: servers give the primary one only, and which constraint failed is in the
//! words that SQLite has for it.
//! Must not know: transports.

use std::sync::Arc;

use crate::core::{self, ALL_CODES, code};

use super::error::{Error, Kind};

/// What servers put before SQLite's own words.
const PREFIXES: [&str; 3] = [
    "error executing a request on the primary: ",
    "SQLite error: ",
    "SQL input error: ",
];

/// As over a file, in sqlite3's words.
const MANY_STATEMENTS: &str = "You can only execute one statement at a time.";

/// How SQLite words a failed constraint. `UNIQUE` stands for primary keys too: the words are the same.
const CONSTRAINTS: [(&str, i32); 6] = [
    ("UNIQUE constraint failed", code::CONSTRAINT_UNIQUE),
    ("NOT NULL constraint failed", code::CONSTRAINT_NOTNULL),
    ("CHECK constraint failed", code::CONSTRAINT_CHECK),
    ("FOREIGN KEY constraint failed", code::CONSTRAINT_FOREIGNKEY),
    ("cannot store ", code::CONSTRAINT_DATATYPE),
    ("PRIMARY KEY must be unique", code::CONSTRAINT_PRIMARYKEY),
];

impl From<Error> for core::Error {
    fn from(error: Error) -> Self {
        let (kind, message) = match error.kind {
            Kind::Usage => (core::Kind::Programming, error.message),
            Kind::Connect => (core::Kind::Connect, error.message),
            Kind::Timeout => (core::Kind::Timeout, error.message),
            Kind::Auth => (core::Kind::Auth, error.message),
            Kind::Expired => (core::Kind::StreamExpired, error.message),
            Kind::TooLarge | Kind::Server | Kind::Protocol => {
                (core::Kind::Operational, error.message)
            }
            Kind::Unsupported => (core::Kind::NotSupported, error.message),
            Kind::Closed => (core::Kind::Closed, error.message),
            Kind::Sql => {
                let message = match error.code.as_deref() {
                    Some("SQL_MANY_STATEMENTS") => MANY_STATEMENTS.to_owned(),
                    _ => own_words(&error.message),
                };
                (of_statement(error.code.as_deref(), &message), message)
            }
        };
        Self {
            code: error.code.map(Arc::from),
            ..Self::new(kind, message)
        }
    }
}

/// SQLite's words, without the server's.
fn own_words(message: &str) -> String {
    let words = PREFIXES.iter().fold(message, |words, prefix| {
        words.strip_prefix(prefix).unwrap_or(words)
    });
    words.to_owned()
}

/// The family of a statement's error.
fn of_statement(name: Option<&str>, message: &str) -> core::Kind {
    let primary = ALL_CODES
        .iter()
        .find(|(_, known)| Some(*known) == name)
        .map(|(code, _)| *code);
    match (primary, name) {
        (Some(code::CONSTRAINT), _) => {
            core::Kind::Sqlite(constraint(message).unwrap_or(code::CONSTRAINT))
        }
        (Some(code), _) => core::Kind::Sqlite(code),
        // A server that passes writes on has no code for what it gets back.
        (None, Some("PROXY_ERROR" | "SQLITE_UNKNOWN")) => {
            core::Kind::Sqlite(constraint(message).unwrap_or(code::ERROR))
        }
        (None, Some("SQL_INPUT_ERROR" | "SQL_PARSE_ERROR")) => core::Kind::Sqlite(code::ERROR),
        (None, Some("TRANSACTION_BUSY")) => core::Kind::Sqlite(code::BUSY),
        (None, Some(name)) if name.starts_with("ARGS_") || name.starts_with("SQL_") => {
            core::Kind::Programming
        }
        (None, _) => core::Kind::Operational,
    }
}

fn constraint(message: &str) -> Option<i32> {
    CONSTRAINTS
        .iter()
        .find(|(words, _)| message.starts_with(words))
        .map(|(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use crate::core;

    use super::super::error::{Error, Fate, Kind};

    fn kind(name: Option<&str>, message: &str) -> core::Kind {
        core::Error::from(Error::from_server(name, message)).kind
    }

    #[test]
    fn a_constraint_is_told_by_sqlites_words_for_it() {
        let cases = [
            ("UNIQUE constraint failed: t.a", 2067),
            ("NOT NULL constraint failed: t.a", 1299),
            ("CHECK constraint failed: a > 0", 275),
            ("FOREIGN KEY constraint failed", 787),
            ("cannot store TEXT value in INTEGER column t.a", 3091),
            ("PRIMARY KEY must be unique", 1555),
            ("a trigger's own words", 19),
        ];
        for (message, extended) in cases {
            let told = format!("SQLite error: {message}");
            let error = core::Error::from(Error::from_server(Some("SQLITE_CONSTRAINT"), told));
            assert_eq!(error.kind, core::Kind::Sqlite(extended), "{message}");
            assert_eq!(error.message, message);
            assert_eq!(error.code.as_deref(), Some("SQLITE_CONSTRAINT"));
        }
        let told = "error executing a request on the primary: UNIQUE constraint failed: t.a";
        let proxied = kind(Some("PROXY_ERROR"), told);
        assert_eq!(proxied, core::Kind::Sqlite(2067));
        let proxied = kind(Some("PROXY_ERROR"), "UNIQUE constraint failed: t.a");
        assert_eq!(proxied, core::Kind::Sqlite(2067));
    }

    #[test]
    fn codes_decide() {
        let sqlite = |code| core::Kind::Sqlite(code);
        assert_eq!(
            kind(Some("SQLITE_CONSTRAINT_PRIMARYKEY"), "x"),
            sqlite(1555)
        );
        assert_eq!(kind(Some("SQLITE_BUSY"), "x"), sqlite(5));
        assert_eq!(kind(Some("SQLITE_UNKNOWN"), "no such table: t"), sqlite(1));
        assert_eq!(kind(Some("SQL_PARSE_ERROR"), "x"), sqlite(1));
        assert_eq!(kind(Some("SQL_INPUT_ERROR"), "x"), sqlite(1));
        assert_eq!(kind(Some("TRANSACTION_BUSY"), "x"), sqlite(5));
        assert_eq!(kind(Some("ARGS_INVALID"), "x"), core::Kind::Programming);
        assert_eq!(
            kind(Some("SQL_MANY_STATEMENTS"), "x"),
            core::Kind::Programming
        );
        assert_eq!(kind(Some("STREAM_EXPIRED"), "x"), core::Kind::StreamExpired);
        assert_eq!(kind(Some("AUTH_JWT_EXPIRED"), "x"), core::Kind::Auth);
        assert_eq!(kind(Some("SOMETHING_NEW"), "x"), core::Kind::Operational);
        assert_eq!(
            kind(None, "UNIQUE constraint failed: t.a"),
            core::Kind::Operational
        );
    }

    #[test]
    fn every_other_kind_has_a_family() {
        let cases = [
            (Kind::Usage, core::Kind::Programming),
            (Kind::Connect, core::Kind::Connect),
            (Kind::Timeout, core::Kind::Timeout),
            (Kind::Auth, core::Kind::Auth),
            (Kind::Expired, core::Kind::StreamExpired),
            (Kind::Protocol, core::Kind::Operational),
            (Kind::Unsupported, core::Kind::NotSupported),
            (Kind::Closed, core::Kind::Closed),
        ];
        for (remote, family) in cases {
            let error = Error::new(remote, Fate::Unknown, "x");
            assert_eq!(core::Error::from(error).kind, family);
        }
    }
}
