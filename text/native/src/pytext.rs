//! White space and lines as Python's strings know them.

/// `str.isspace` of a character: Unicode's white space and the four separators of ASCII.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `str.strip(characters)`, at the start, the end or both.
pub fn strip<'a>(text: &'a str, characters: Option<&str>, start: bool, end: bool) -> &'a str {
    let stripped = |c: char| characters.map_or_else(|| is_space(c), |set| set.contains(c));
    let text = if start {
        text.trim_start_matches(stripped)
    } else {
        text
    };
    if end {
        text.trim_end_matches(stripped)
    } else {
        text
    }
}

/// `str.split(None, limit)`.
pub fn split(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let cut = rest.find(is_space).filter(|_| parts.len() < limit);
        let Some(at) = cut else {
            parts.push(rest);
            break;
        };
        parts.push(&rest[..at]);
        rest = rest[at..].trim_start_matches(is_space);
    }
    parts
}

/// `str.rsplit(None, limit)`.
pub fn rsplit(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        let cut = rest
            .char_indices()
            .rfind(|(_, c)| is_space(*c))
            .filter(|_| parts.len() < limit);
        let Some((at, c)) = cut else {
            parts.push(rest);
            break;
        };
        parts.push(&rest[at + c.len_utf8()..]);
        rest = rest[..at].trim_end_matches(is_space);
    }
    parts.reverse();
    parts
}

/// `str.splitlines(keepends)`.
pub fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| ends_line(*c)) {
        let mut next = at + c.len_utf8();
        if rest[at..].starts_with("\r\n") {
            next += 1;
        }
        lines.push(&rest[..if keep_ends { next } else { at }]);
        rest = &rest[next..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn ends_line(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_white_space() {
        assert_eq!(strip("\x1c a\u{a0}\u{3000}\x1f", None, true, true), "a");
        assert_eq!(strip("xyax", Some("xy"), true, false), "ax");
        assert_eq!(strip("xyax", Some("xy"), false, true), "xya");
        assert_eq!(strip("\u{200b}", None, true, true), "\u{200b}");
        assert_eq!(split(" a\x1db  c ", usize::MAX), ["a", "b", "c"]);
        assert_eq!(split(" a b  c ", 1), ["a", "b  c "]);
        assert_eq!(split(" a ", 0), ["a "]);
        assert_eq!(rsplit(" a b  c ", 1), [" a b", "c"]);
        assert_eq!(rsplit(" a b ", usize::MAX), ["a", "b"]);
    }

    #[test]
    fn lines_end_where_pythons_do() {
        assert_eq!(
            lines("a\r\nb\x0bc\u{2028}\nd\r", false),
            ["a", "b", "c", "", "d"]
        );
        assert_eq!(lines("a\r\nb\n", true), ["a\r\n", "b\n"]);
        assert!(lines("", false).is_empty());
    }
}
