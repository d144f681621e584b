//! What may follow a statement without being one: white space, comments, semicolons.
//!
//! Owns no state. The rest of a text is looked at, not prepared: a PRAGMA in it would act at once.

/// Whether `rest` holds nothing to execute.
pub fn is_trivial(rest: &str) -> bool {
    let mut rest = rest;
    loop {
        rest = rest
            .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\u{feff}');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else {
            return rest.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_trivial;

    #[test]
    fn comments_and_semicolons_are_trivial_and_anything_else_is_not() {
        for rest in ["", " \n;", "-- a", "/* b */ -- c\n;", "/* open"] {
            assert!(is_trivial(rest), "{rest:?}");
        }
        for rest in ["x", "; select 1", "-- a\nb", "/* b */ c", "- 1", "'"] {
            assert!(!is_trivial(rest), "{rest:?}");
        }
    }
}
