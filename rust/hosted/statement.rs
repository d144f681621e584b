//! What kind of statement an SQL text is, learnt from the text.
//!
//! Owns a scanner for SQLite's tokens. SQLite's own word would cost a round trip, and its grammar is such that the first
//! words say it: comments aside, and for `WITH` the first word after the common table expressions.
//! Invariant: what is not understood is `Other`, of which nothing is taken for granted.
//! Must not know: servers, parameters.

use crate::core::{Error, Result, SavepointAction, StatementKind, Told, is_trivial};

/// What a text says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub kind: StatementKind,
    /// It only reads.
    pub is_readonly: bool,
    pub savepoint: Option<(SavepointAction, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword or a plain name.
    Word(&'a str),
    /// A quoted name or a string, with its quotes.
    Quoted(&'a str),
    /// A character of its own.
    Sign(u8),
}

impl Statement {
    pub fn read(sql: &str) -> Self {
        let mut tokens = Tokens { rest: sql };
        let Some(Token::Word(first)) = tokens.find(|token| *token != Token::Sign(b';')) else {
            return Self::of(StatementKind::Other);
        };
        let kind = match first.to_ascii_uppercase().as_str() {
            "SELECT" | "VALUES" => StatementKind::Select,
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" => StatementKind::Dml,
            "WITH" => after_with(tokens),
            "BEGIN" => StatementKind::Begin,
            "COMMIT" | "END" => StatementKind::Commit,
            "ROLLBACK" => return rollback(tokens),
            "SAVEPOINT" => return Self::savepoint(SavepointAction::Set, tokens.next()),
            "RELEASE" => return Self::savepoint(SavepointAction::Release, tokens.name()),
            "PRAGMA" => return Self::pragma(tokens),
            "ATTACH" => StatementKind::Attach,
            "DETACH" => StatementKind::Detach,
            "VACUUM" => StatementKind::Vacuum,
            "CREATE" | "DROP" | "ALTER" | "REINDEX" | "ANALYZE" => StatementKind::Ddl,
            "EXPLAIN" => StatementKind::Explain,
            _ => StatementKind::Other,
        };
        Self::of(kind)
    }

    /// Refuses a text of several statements, for servers run the first of them and may lose what follows.
    ///
    /// # Errors
    /// `Programming`, in sqlite3's words.
    pub fn check_alone(sql: &str) -> Result<()> {
        let mut tokens = Tokens { rest: sql };
        let first = tokens.find(|token| *token != Token::Sign(b';'));
        let is_create = first.is_some_and(|first| first.is("CREATE"));
        for (place, token) in tokens.by_ref().enumerate() {
            // CREATE [TEMP] TRIGGER: the statements of its body are its own.
            if is_create && place < 2 && token.is("TRIGGER") {
                return Ok(());
            }
            if token == Token::Sign(b';') {
                break;
            }
        }
        if is_trivial(tokens.rest) {
            Ok(())
        } else {
            Err(Error::programming(
                "You can only execute one statement at a time.",
            ))
        }
    }

    /// The statements of a script, each with its semicolon.
    pub fn of_script(script: &str) -> impl Iterator<Item = &str> {
        let mut rest = script;
        std::iter::from_fn(move || {
            while !is_trivial(rest) {
                let (one, after) = rest.split_at(first_length(rest));
                rest = after;
                if !is_trivial(one) {
                    return Some(one);
                }
            }
            None
        })
    }

    /// The name of a PRAGMA, in lower case, and whether it has an argument.
    pub fn pragma_name(sql: &str) -> Option<(String, bool)> {
        let mut tokens = Tokens { rest: sql };
        tokens
            .find(|token| *token != Token::Sign(b';'))
            .filter(|first| first.is("PRAGMA"))?;
        let mut name = tokens.next()?.text()?;
        let mut next = tokens.next();
        if next == Some(Token::Sign(b'.')) {
            name = tokens.next()?.text()?;
            next = tokens.next();
        }
        let has_argument = next.is_some_and(|next| next != Token::Sign(b';'));
        Some((name.to_ascii_lowercase(), has_argument))
    }

    /// Whether rows come back from it though it writes.
    pub fn returns_rows(sql: &str) -> bool {
        Tokens { rest: sql }.any(|token| token.is("RETURNING"))
    }

    /// Whether it asks about one connection, or makes what belongs to it.
    pub fn is_tied(sql: &str) -> bool {
        const ABOUT_ONE: [&str; 3] = ["last_insert_rowid", "changes", "total_changes"];
        let tokens: Vec<_> = Tokens { rest: sql }
            .skip_while(|token| *token == Token::Sign(b';'))
            .collect();
        let is_temporary = |token: Option<&Token<'_>>| {
            token.is_some_and(|token| token.is("TEMP") || token.is("TEMPORARY"))
        };
        let makes =
            tokens.first().is_some_and(|first| first.is("CREATE")) && is_temporary(tokens.get(1));
        makes
            || tokens.windows(2).any(|pair| {
                pair[1] == Token::Sign(b'(')
                    && pair[0].text().is_some_and(|name| {
                        ABOUT_ONE
                            .iter()
                            .any(|known| known.eq_ignore_ascii_case(&name))
                    })
            })
    }

    const fn of(kind: StatementKind) -> Self {
        Self {
            kind,
            is_readonly: matches!(
                kind,
                StatementKind::Select
                    | StatementKind::Explain
                    | StatementKind::Begin
                    | StatementKind::Commit
                    | StatementKind::Rollback
                    | StatementKind::Savepoint
            ),
            savepoint: None,
        }
    }

    /// One that assigns writes. In brackets the argument may be a table's name as well.
    fn pragma(mut tokens: Tokens<'_>) -> Self {
        Self {
            is_readonly: !tokens.any(|token| token == Token::Sign(b'=')),
            ..Self::of(StatementKind::Pragma)
        }
    }

    fn savepoint(action: SavepointAction, name: Option<Token<'_>>) -> Self {
        let Some(name) = name.and_then(Token::text) else {
            return Self::of(StatementKind::Savepoint);
        };
        Self {
            savepoint: Some((action, name)),
            ..Self::of(StatementKind::Savepoint)
        }
    }

    /// As a block wants to know it.
    pub fn told(&self) -> Told<'_> {
        let savepoint = self.savepoint.as_ref();
        Told {
            kind: self.kind,
            savepoint: savepoint.map(|(action, name)| (*action, &**name)),
            is_readonly: self.is_readonly,
        }
    }

    /// Whether it changes rows, and nothing else.
    pub fn is_dml(&self) -> bool {
        self.kind == StatementKind::Dml
    }

    /// Whether it may begin or end a transaction though it succeeds.
    pub const fn may_end_transaction(&self) -> bool {
        !matches!(
            self.kind,
            StatementKind::Select
                | StatementKind::Dml
                | StatementKind::Ddl
                | StatementKind::Explain
        )
    }
}

/// `ROLLBACK`, or `ROLLBACK [TRANSACTION] TO [SAVEPOINT] name`.
fn rollback(mut tokens: Tokens<'_>) -> Statement {
    let goes_back = tokens
        .find(|token| !token.is("TRANSACTION"))
        .is_some_and(|token| token.is("TO"));
    if goes_back {
        Statement::savepoint(SavepointAction::RollBackTo, tokens.name())
    } else {
        Statement::of(StatementKind::Rollback)
    }
}

/// What follows the common table expressions: the first of these words outside of brackets that is not one of their
/// names, which come before `AS` or a bracket.
fn after_with(tokens: Tokens<'_>) -> StatementKind {
    let mut depth = 0_usize;
    let mut is_after_table = false;
    for token in tokens {
        match token {
            Token::Sign(b'(') => depth += 1,
            Token::Sign(b')') => {
                depth = depth.saturating_sub(1);
                is_after_table = depth == 0;
                continue;
            }
            Token::Word(word) if depth == 0 && is_after_table => {
                match word.to_ascii_uppercase().as_str() {
                    "SELECT" | "VALUES" => return StatementKind::Select,
                    "INSERT" | "UPDATE" | "DELETE" | "REPLACE" => return StatementKind::Dml,
                    _ => {}
                }
            }
            _ => {}
        }
        if depth == 0 {
            is_after_table = false;
        }
    }
    StatementKind::Other
}

/// How long the first statement of a script is; a trigger ends with `; END ;`.
fn first_length(script: &str) -> usize {
    let mut tokens = Tokens { rest: script };
    // CREATE [TEMP] TRIGGER; a table may be called so.
    let (mut may_be_trigger, mut is_trigger, mut seen_of_end) = (false, false, 0);
    for place in 0_usize.. {
        let Some(token) = tokens.next() else {
            break;
        };
        match place {
            0 => may_be_trigger = token.is("CREATE"),
            1 | 2 if may_be_trigger => {
                is_trigger = token.is("TRIGGER");
                may_be_trigger = token.is("TEMP") || token.is("TEMPORARY");
            }
            _ => {}
        }
        let is_semicolon = token == Token::Sign(b';');
        if is_semicolon && (!is_trigger || seen_of_end == 2) {
            break;
        }
        seen_of_end = match (is_semicolon, seen_of_end) {
            (true, _) => 1,
            (false, 1) if token.is("END") => 2,
            _ => 0,
        };
    }
    script.len() - tokens.rest.len()
}

fn unquoted(quoted: &str) -> String {
    let Some(quote) = quoted.chars().next() else {
        return String::new();
    };
    let inside = &quoted[1..];
    let end = if quote == '[' { ']' } else { quote };
    let inside = inside.strip_suffix(end).unwrap_or(inside);
    if quote == '[' {
        inside.to_owned()
    } else {
        inside.replace(&format!("{quote}{quote}"), &quote.to_string())
    }
}

impl Token<'_> {
    /// A name, as it was meant.
    fn text(self) -> Option<String> {
        match self {
            Token::Word(word) => Some(word.to_owned()),
            Token::Quoted(quoted) => Some(unquoted(quoted)),
            Token::Sign(_) => None,
        }
    }

    fn is(self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own.eq_ignore_ascii_case(word))
    }
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// A savepoint's name, which the word SAVEPOINT may come before.
    fn name(&mut self) -> Option<Token<'a>> {
        let first = self.next()?;
        if !first.is("SAVEPOINT") {
            return Some(first);
        }
        // A savepoint may be called so.
        match self.next() {
            None | Some(Token::Sign(_)) => Some(first),
            name => name,
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn quoted(&mut self, end: char) -> &'a str {
        let mut characters = self.rest.char_indices().skip(1).peekable();
        while let Some((place, character)) = characters.next() {
            if character != end {
                continue;
            }
            let is_doubled = end != ']' && characters.peek().is_some_and(|(_, next)| *next == end);
            if !is_doubled {
                return self.take(place + character.len_utf8());
            }
            characters.next();
        }
        self.take(self.rest.len())
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            self.rest = self
                .rest
                .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}');
            if let Some(comment) = self.rest.strip_prefix("--") {
                self.rest = comment.split_once('\n').map_or("", |(_, after)| after);
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.split_once("*/").map_or("", |(_, after)| after);
            } else {
                break;
            }
        }
        let first = self.rest.chars().next()?;
        Some(match first {
            '\'' | '"' | '`' => Token::Quoted(self.quoted(first)),
            '[' => Token::Quoted(self.quoted(']')),
            _ if is_name(first) => {
                let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
                Token::Word(self.take(end))
            }
            // A sign that is not ASCII is part of a name.
            _ => Token::Sign(self.take(first.len_utf8()).as_bytes()[0]),
        })
    }
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use crate::core::{SavepointAction, StatementKind};

    use super::Statement;

    #[test]
    fn the_first_words_say_what_it_is() {
        let cases = [
            ("select 1", StatementKind::Select),
            (" -- c\n/* d */ ;; VALUES (1)", StatementKind::Select),
            ("\u{feff}Insert into t values (1)", StatementKind::Dml),
            ("replace into t values (1)", StatementKind::Dml),
            (
                "with a as (select 1) select * from a",
                StatementKind::Select,
            ),
            (
                "WITH RECURSIVE \"a)\"(x, y) AS NOT MATERIALIZED (VALUES (1, ')')), [select](z) as (select 2)\
                 /* delete */ INSERT INTO t SELECT 1",
                StatementKind::Dml,
            ),
            ("with replace as (select 1) select 2", StatementKind::Select),
            ("with a as (delete", StatementKind::Other),
            ("begin immediate", StatementKind::Begin),
            ("END TRANSACTION", StatementKind::Commit),
            ("rollback", StatementKind::Rollback),
            ("rollback transaction", StatementKind::Rollback),
            ("explain delete from t", StatementKind::Explain),
            ("pragma user_version", StatementKind::Pragma),
            ("create table t (a)", StatementKind::Ddl),
            ("vacuum", StatementKind::Vacuum),
            ("(select 1)", StatementKind::Other),
            ("'select'", StatementKind::Other),
            ("", StatementKind::Other),
            ("é", StatementKind::Other),
        ];
        for (sql, kind) in cases {
            assert_eq!(Statement::read(sql).kind, kind, "{sql}");
        }
    }

    #[test]
    fn a_second_statement_is_refused_and_a_trigger_is_one() {
        let alone = [
            "select ';' -- ;\n;; /* x */",
            "create temp trigger a after insert on t begin delete from t; select 1; end",
            "CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT 1; END;",
            "create table trigger_ (a)",
            "; select 1;",
            "",
        ];
        for sql in alone {
            assert!(Statement::check_alone(sql).is_ok(), "{sql}");
        }
        for sql in [
            "select 1; select 2",
            "create table a (x); garbage",
            ";;select 1;'",
            "create table t (trigger); x",
        ] {
            assert!(Statement::check_alone(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn a_script_is_its_statements() {
        let trigger = "create temp trigger a after insert on t begin select case 1 when 1 then ';' end; delete from t; end;";
        let script =
            format!("; select ';' -- ;\n;; /* ; */ {trigger} create table trigger (a);\nx");
        let found: Vec<&str> = Statement::of_script(&script).map(str::trim).collect();
        let first = "select ';' -- ;\n;";
        let second = format!("/* ; */ {trigger}");
        assert_eq!(found, [first, &second, "create table trigger (a);", "x"]);
        let open = "create trigger a after insert on t begin select 1; select 2;";
        assert_eq!(Statement::of_script(open).collect::<Vec<_>>(), [open]);
        for nothing in ["", ";;", "-- a\n;", "/* open"] {
            assert_eq!(Statement::of_script(nothing).count(), 0, "{nothing}");
        }
    }

    #[test]
    fn savepoints_are_known_by_name() {
        let cases = [
            ("savepoint a", SavepointAction::Set, "a"),
            ("SAVEPOINT \"b \"\"c\"", SavepointAction::Set, "b \"c"),
            ("release a", SavepointAction::Release, "a"),
            ("release savepoint [x y]", SavepointAction::Release, "x y"),
            ("release savepoint", SavepointAction::Release, "savepoint"),
            ("rollback to `q`", SavepointAction::RollBackTo, "q"),
            (
                "ROLLBACK TRANSACTION TO SAVEPOINT a;",
                SavepointAction::RollBackTo,
                "a",
            ),
        ];
        for (sql, action, name) in cases {
            let statement = Statement::read(sql);
            assert_eq!(statement.kind, StatementKind::Savepoint, "{sql}");
            assert_eq!(
                statement.savepoint,
                Some((action, name.to_owned())),
                "{sql}"
            );
        }
        let unnamed = Statement::read("savepoint");
        assert_eq!(unnamed.savepoint, None);
    }
}
