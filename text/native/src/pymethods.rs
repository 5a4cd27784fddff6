//! Methods of Python strings that `minijinja_contrib::pycompat` lacks and templates use.

use minijinja::value::{from_args, Tuple};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

/// The unknown-method callback of the template environment.
pub fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, method, args);
    };
    match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "partition" => {
            let (separator,): (&str,) = from_args(args)?;
            match text.split_once(separator) {
                Some((head, tail)) => Ok(triple(head, separator, tail)),
                None => Ok(triple(text, "", "")),
            }
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            match text.rsplit_once(separator) {
                Some((head, tail)) => Ok(triple(head, separator, tail)),
                None => Ok(triple("", "", text)),
            }
        }
        "rsplit" => {
            let (separator, limit): (Option<&str>, Option<i64>) = from_args(args)?;
            rsplit(text, separator, limit)
        }
        _ => pycompat::unknown_method_callback(state, value, method, args),
    }
}

fn triple(a: &str, b: &str, c: &str) -> Value {
    Value::from(Tuple::new(vec![a.into(), b.into(), c.into()]))
}

fn rsplit(text: &str, separator: Option<&str>, limit: Option<i64>) -> Result<Value, Error> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let count = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    let mut parts: Vec<&str> = match separator {
        Some("") => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "rsplit: empty separator",
            ))
        }
        Some(separator) => text.rsplitn(count, separator).collect(),
        None => rsplit_whitespace(text, count),
    };
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

fn rsplit_whitespace(text: &str, count: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end();
    while !rest.is_empty() {
        let cut = rest
            .rfind(char::is_whitespace)
            .filter(|_| parts.len() + 1 < count);
        let Some(at) = cut else {
            parts.push(rest);
            break;
        };
        parts.push(rest[at..].trim_start());
        rest = rest[..at].trim_end();
    }
    parts
}

#[cfg(test)]
mod tests {
    use minijinja::Environment;

    fn eval(expression: &str) -> String {
        let mut env = Environment::new();
        env.set_unknown_method_callback(super::call);
        let source = format!("{{{{ {expression} }}}}");
        env.render_str(&source, ()).unwrap()
    }

    #[test]
    fn methods_do_what_pythons_do() {
        assert_eq!(eval("'<a>x'.removeprefix('<a>')"), "x");
        assert_eq!(eval("'x.y'.removesuffix('.z')"), "x.y");
        assert_eq!(eval("'a=b=c'.partition('=')"), "('a', '=', 'b=c')");
        assert_eq!(eval("'abc'.partition('=')"), "('abc', '', '')");
        assert_eq!(eval("'a=b=c'.rpartition('=')"), "('a=b', '=', 'c')");
        assert_eq!(eval("'abc'.rpartition('=')"), "('', '', 'abc')");
        assert_eq!(eval("'a,b,c'.rsplit(',', 1)"), "['a,b', 'c']");
        assert_eq!(eval("' a  b c '.rsplit(none, 1)"), "[' a  b', 'c']");
        assert_eq!(eval("' a  b c '.rsplit()"), "['a', 'b', 'c']");
        assert_eq!(eval("'a b'.upper()"), "A B");
    }
}
