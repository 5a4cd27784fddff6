//! Methods of Python strings that `minijinja_contrib::pycompat` lacks or does otherwise.

use minijinja::value::{from_args, Tuple};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use crate::pytext;

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
        "strip" | "lstrip" | "rstrip" => {
            let (characters,): (Option<&str>,) = from_args(args)?;
            Ok(pytext::strip(text, characters, method != "rstrip", method != "lstrip").into())
        }
        "isspace" => {
            let () = from_args(args)?;
            Ok((!text.is_empty() && text.chars().all(pytext::is_space)).into())
        }
        "splitlines" => {
            let (keep_ends,): (Option<bool>,) = from_args(args)?;
            let lines = pytext::lines(text, keep_ends.unwrap_or(false));
            Ok(lines.into_iter().map(Value::from).collect())
        }
        "split" if args.first().is_none_or(Value::is_none) => {
            let (_, limit): (Option<&str>, Option<i64>) = from_args(args)?;
            let parts = pytext::split(text, unsigned(limit));
            Ok(parts.into_iter().map(Value::from).collect())
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
    let limit = unsigned(limit);
    let parts = match separator {
        Some("") => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "rsplit: empty separator",
            ))
        }
        Some(separator) => {
            let mut parts: Vec<&str> = text.rsplitn(limit.saturating_add(1), separator).collect();
            parts.reverse();
            parts
        }
        None => pytext::rsplit(text, limit),
    };
    Ok(parts.into_iter().map(Value::from).collect())
}

/// A limit as Python reads it: none given and a negative one are no limit.
fn unsigned(limit: Option<i64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
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
        assert_eq!(eval("' a\x1c'.strip() ~ 'xa'.lstrip('x')"), "aa");
        assert_eq!(eval("' a  b c '.split(none, 1)"), "['a', 'b c ']");
        assert_eq!(eval("'a,b,c'.split(',', 1)"), "['a', 'b,c']");
        assert_eq!(eval("'a\r\nb'.splitlines()"), "['a', 'b']");
        assert_eq!(eval("''.isspace()"), "False");
    }
}
