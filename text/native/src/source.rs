//! Rewrites a template's source where the engine lacks what Jinja2 has.

/// The filter that stands around what a `for` walks over.
pub const WALKED: &str = "walked";

/// - `{% generation %}` marks assistant text for training masks; for text alone it is a
///   scope and nothing else.
/// - A `for` over none is an error in Python and nothing here: [`WALKED`] checks it.
///
/// Lines stay where they are.
pub fn rewrite(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find(['{']) {
        let (text, tag) = rest.split_at(start);
        out.push_str(text);
        let length = match tag.as_bytes().get(1) {
            Some(b'#') => tag.find("#}").map_or(tag.len(), |end| end + 2),
            Some(b'{') => end(tag, "}}"),
            Some(b'%') => end(tag, "%}"),
            _ => 1,
        };
        let (tag, after) = tag.split_at(length);
        match tag.strip_prefix("{%") {
            Some(body) => out.push_str(&block(body)),
            None => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where a tag ends, strings in it aside.
fn end(tag: &str, close: &str) -> usize {
    let mut scan = Scan::new(tag);
    while let Some((at, _)) = scan.next() {
        if at > 1 && tag[at..].starts_with(close) {
            return at + close.len();
        }
    }
    tag.len()
}

fn block(body: &str) -> String {
    let inner = body.trim_end_matches("%}").trim_matches(['-', '+']).trim();
    match inner {
        "generation" => format!("{{%{}", body.replacen("generation", "with", 1)),
        "endgeneration" => format!("{{%{}", body.replacen("endgeneration", "endwith", 1)),
        _ if inner.starts_with("for") => match walked(body) {
            Some((start, end)) => {
                let (before, expression, after) = (&body[..start], &body[start..end], &body[end..]);
                format!("{{%{before} ({expression})|{WALKED} {after}")
            }
            None => format!("{{%{body}"),
        },
        _ => format!("{{%{body}"),
    }
}

/// The place of EXPRESSION in `for NAMES in EXPRESSION [if CONDITION] [recursive] %}`.
fn walked(body: &str) -> Option<(usize, usize)> {
    let mut start = None;
    let mut depth = 0;
    let mut scan = Scan::new(body);
    while let Some((at, c)) = scan.next() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ if depth > 0 => {}
            '%' if body[at..].starts_with("%}") => {
                let end = body[..at].trim_end_matches(['-', '+']).len();
                return start.map(|start| (start, end));
            }
            _ => match (word(body, at), start) {
                ("in", None) => start = Some(at + 2),
                ("if" | "recursive", Some(start)) => return Some((start, at)),
                _ => {}
            },
        }
    }
    None
}

/// The word that begins at a place, empty if none does.
fn word(text: &str, at: usize) -> &str {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    if text[..at].ends_with(|c| part(c) || c == '.') {
        return "";
    }
    let rest = &text[at..];
    &rest[..rest.find(|c| !part(c)).unwrap_or(rest.len())]
}

/// The characters of a tag and their places, without what strings hold.
struct Scan<'a> {
    chars: std::str::CharIndices<'a>,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Scan<'a> {
        Scan {
            chars: text.char_indices(),
        }
    }

    fn next(&mut self) -> Option<(usize, char)> {
        let (at, c) = self.chars.next()?;
        if c == '"' || c == '\'' {
            while let Some((_, inside)) = self.chars.next() {
                match inside {
                    '\\' => drop(self.chars.next()),
                    _ if inside == c => break,
                    _ => {}
                }
            }
        }
        Some((at, c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_becomes_with() {
        assert_eq!(
            rewrite("{%- generation -%}a{% endgeneration %}"),
            "{%- with -%}a{% endwith %}"
        );
        for untouched in [
            "{% if generation %}{% endif %} {{ '{%' }} generation %}",
            "{# {% generation %} #}{",
            "{{ \"{% for a in b %}\\\"\" }}",
            "{% set for_in = 1 %}",
        ] {
            assert_eq!(rewrite(untouched), untouched);
        }
    }

    #[test]
    fn what_a_for_walks_over_is_checked() {
        for (source, expected) in [
            ("{% for a in b %}", "{% for a in ( b )|walked %}"),
            ("{%- for a in b -%}", "{%- for a in ( b )|walked -%}"),
            (
                "{% for a, b in x.in|f(' if ')\n if a in b recursive %}",
                "{% for a, b in ( x.in|f(' if ')\n )|walked if a in b recursive %}",
            ),
            (
                "{% for (a, b) in [1 if x else 2, '%}'] %}",
                "{% for (a, b) in ( [1 if x else 2, '%}'] )|walked %}",
            ),
            (
                "{% for a in b recursive %}",
                "{% for a in ( b )|walked recursive %}",
            ),
        ] {
            assert_eq!(rewrite(source), expected);
        }
    }
}
