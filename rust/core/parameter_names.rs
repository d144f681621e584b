//! The names of a statement's parameters, read from its text.
//!
//! Owns a scanner for SQLite's tokens, so that values can be looked up in a mapping before the statement is
//! prepared on its worker. The worker binds by the names that SQLite itself found: a difference between the two
//! would be an error, never a wrong value.
//! Must not know: Python, SQLite's handles.

/// The names in `sql`, in order of first use, each once, without the prefix (`:`, `@`, `$`).
pub fn parameter_names(sql: &str) -> Vec<Box<str>> {
    let mut scanner = Scanner {
        bytes: sql.as_bytes(),
        at: 0,
    };
    let mut names: Vec<Box<str>> = Vec::new();
    while let Some(name) = scanner.next_name() {
        if !names.iter().any(|known| **known == sql[name.clone()]) {
            names.push(sql[name].into());
        }
    }
    names
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn next_name(&mut self) -> Option<std::ops::Range<usize>> {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\'' | b'"' | b'`' => self.skip_quoted(byte),
                b'[' => self.skip_past(b"]"),
                b'-' if self.follows(b'-') => self.skip_past(b"\n"),
                b'/' if self.follows(b'*') => {
                    self.at += 2;
                    self.skip_past(b"*/");
                }
                b':' | b'@' | b'$' | b'#' => {
                    if let Some(name) = self.name(byte) {
                        return Some(name);
                    }
                }
                _ if is_name(byte) => self.skip_word(),
                _ => self.at += 1,
            }
        }
        None
    }

    fn name(&mut self, prefix: u8) -> Option<std::ops::Range<usize>> {
        self.at += 1;
        let start = self.at;
        self.skip_word();
        if prefix == b'$' {
            // Tcl's forms: `$a::b` and `$a(index)`.
            while self.bytes[self.at..].starts_with(b"::") {
                self.at += 2;
                self.skip_word();
            }
            if self.at > start && self.bytes.get(self.at) == Some(&b'(') {
                self.skip_past(b")");
            }
        }
        (self.at > start).then_some(start..self.at)
    }

    fn skip_word(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| is_name(*byte)) {
            self.at += 1;
        }
    }

    fn skip_quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            if byte == quote {
                if self.bytes.get(self.at) != Some(&quote) {
                    return;
                }
                self.at += 1;
            }
        }
    }

    fn skip_past(&mut self, end: &[u8]) {
        let rest = &self.bytes[self.at..];
        let found = rest.windows(end.len()).position(|window| window == end);
        self.at = found.map_or(self.bytes.len(), |place| self.at + place + end.len());
    }

    fn follows(&self, byte: u8) -> bool {
        self.bytes.get(self.at + 1) == Some(&byte)
    }
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::parameter_names;

    fn names(sql: &str) -> Vec<String> {
        parameter_names(sql).into_iter().map(Into::into).collect()
    }

    #[test]
    fn names_are_found_in_order_and_once() {
        assert_eq!(names("select :b, @a, $c, :b"), ["b", "a", "c"]);
        assert_eq!(names("select :a+:é1, $x::y(z)"), ["a", "é1", "x::y(z)"]);
    }

    #[test]
    fn quotes_and_comments_hide_names() {
        let sql = "select ':no', \":no\", `:no`, [:no], 'it''s :no' -- :no\n, /* :no */ :yes";
        assert_eq!(names(sql), ["yes"]);
        assert_eq!(names("select 'open :no"), Vec::<String>::new());
        assert_eq!(names("select a$b, ?1, 3"), Vec::<String>::new());
    }
}
