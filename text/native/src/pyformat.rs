//! Values as Python prints them: `str`, `repr` and `json.dumps`.

use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Python's `repr` of a float: shortest digits, an exponent below 1e-4 and from 1e16 on.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    // Rust's Debug switches to an exponent at the same magnitudes, but writes 1e-7 for 1e-07.
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

/// What `{{ value }}` prints.
pub fn str(value: &Value) -> String {
    match value.kind() {
        ValueKind::String | ValueKind::Undefined => value.to_string(),
        _ => {
            let mut out = String::new();
            repr(value, &mut out);
            out
        }
    }
}

fn repr(value: &Value, out: &mut String) {
    match value.kind() {
        ValueKind::String => repr_string(value.as_str().unwrap_or_default(), out),
        ValueKind::Number if !value.is_integer() => {
            out.push_str(&f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float))
        }
        ValueKind::Seq if value.is_tuple() => {
            repr_items(value, "(", ")", out);
            if value.len() == Some(1) {
                out.insert(out.len() - 1, ',');
            }
        }
        // Slices of lists are lazy here.
        ValueKind::Seq | ValueKind::Iterable => repr_items(value, "[", "]", out),
        ValueKind::Map => {
            out.push('{');
            for (index, (key, item)) in entries(value).enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                repr(&key, out);
                out.push_str(": ");
                repr(&item, out);
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
}

fn repr_items(value: &Value, open: &str, close: &str, out: &mut String) {
    out.push_str(open);
    for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        repr(&item, out);
    }
    out.push_str(close);
}

fn repr_string(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => {
                let _ = match u32::from(c) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Rust and Python define printable alike; Rust says it through `str::escape_debug`,
/// which leaves marks alone that follow another character.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut buffer = [b'a'; 5];
    let length = c.encode_utf8(&mut buffer[1..]).len();
    match std::str::from_utf8(&buffer[..=length]) {
        Ok(text) => text.escape_debug().nth(1) == Some(c),
        Err(_) => false,
    }
}

/// A map's entries in insertion order.
fn entries(map: &Value) -> impl Iterator<Item = (Value, Value)> + '_ {
    map.try_iter().into_iter().flatten().map(|key| {
        let item = map.get_item(&key).unwrap_or_default();
        (key, item)
    })
}

/// The arguments of `json.dumps` that templates use.
pub struct Json {
    pub ensure_ascii: bool,
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

impl Json {
    /// Python's `json.dumps(value, …)`.
    pub fn dumps(&self, value: &Value) -> Result<String, Error> {
        let mut out = String::new();
        self.write(value, 0, &mut out)?;
        Ok(out)
    }

    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&json_number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.container(['[', ']'], &items, depth, out, |item, depth, out| {
                    self.write(item, depth, out)
                })?;
            }
            ValueKind::Map => {
                let mut items: Vec<(Value, Value)> = entries(value).collect();
                if self.sort_keys {
                    items.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.container(['{', '}'], &items, depth, out, |(key, item), depth, out| {
                    self.string(&json_key(key)?, out);
                    out.push_str(&self.key_separator);
                    self.write(item, depth, out)
                })?;
            }
            kind => return Err(not_serializable(&kind.to_string())),
        }
        Ok(())
    }

    fn container<T>(
        &self,
        brackets: [char; 2],
        items: &[T],
        depth: usize,
        out: &mut String,
        mut write: impl FnMut(&T, usize, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(brackets[0]);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(&self.item_separator);
            }
            self.newline(depth + 1, out);
            write(item, depth + 1, out)?;
        }
        if !items.is_empty() {
            self.newline(depth, out);
        }
        out.push(brackets[1]);
        Ok(())
    }

    fn newline(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{c}' => out.push_str("\\f"),
                '\u{8}' => out.push_str("\\b"),
                '\0'..='\u{1f}' => escape_units(c, out),
                '\u{7f}'.. if self.ensure_ascii => escape_units(c, out),
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn escape_units(c: char, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

fn json_number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() => match float(number).as_str() {
            "nan" => "NaN".into(),
            "inf" => "Infinity".into(),
            "-inf" => "-Infinity".into(),
            text => text.into(),
        },
        _ => value.to_string(),
    }
}

fn json_key(key: &Value) -> Result<String, Error> {
    Ok(match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_string(),
        ValueKind::None => "null".into(),
        ValueKind::Bool => key.to_string().to_lowercase(),
        ValueKind::Number => json_number(key),
        kind => return Err(not_serializable(&format!("{kind} as a key"))),
    })
}

fn not_serializable(what: &str) -> Error {
    Error::new(
        ErrorKind::BadSerialization,
        format!("tojson: {what} is not JSON serializable"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: fn() -> Json = || Json {
        ensure_ascii: false,
        indent: None,
        item_separator: ", ".into(),
        key_separator: ": ".into(),
        sort_keys: false,
    };

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn floats_print_as_in_python() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(number), expected);
        }
    }

    #[test]
    fn containers_print_as_in_python() {
        let text = str(&value(
            r#"{"a":[1,2.0,null,true],"it's":"\n\u200b\"é\u0301"}"#,
        ));
        assert_eq!(
            text,
            "{'a': [1, 2.0, None, True], \"it's\": '\\n\\u200b\"é\u{301}'}"
        );
        assert_eq!(str(&value(r#""it's""#)), "it's");
        assert_eq!(str(&value(r#"["it's \"x\""]"#)), r#"['it\'s "x"']"#);
        assert_eq!(str(&Value::UNDEFINED), "");
    }

    #[test]
    fn slices_are_lists() {
        let env = minijinja::Environment::new();
        let slice = env.compile_expression("['a\u{200b}', 1.0, 2][:2]").unwrap();
        let slice = slice.eval(()).unwrap();
        assert_eq!(str(&slice), "['a\\u200b', 1.0]");
        assert_eq!(PLAIN().dumps(&slice).unwrap(), "[\"a\u{200b}\", 1.0]");
    }

    #[test]
    fn json_is_pythons() {
        let source = value(r#"{"b":[1e-7,"é😀\u007f\u0001"],"a":{},"c":[]}"#);
        let plain = PLAIN();
        assert_eq!(
            plain.dumps(&source).unwrap(),
            "{\"b\": [1e-07, \"é😀\u{7f}\\u0001\"], \"a\": {}, \"c\": []}"
        );
        let pretty = Json {
            ensure_ascii: true,
            indent: Some("  ".into()),
            item_separator: ",".into(),
            sort_keys: true,
            ..PLAIN()
        };
        assert_eq!(
            pretty.dumps(&source).unwrap(),
            "{\n  \"a\": {},\n  \"b\": [\n    1e-07,\n    \"\\u00e9\\ud83d\\ude00\\u007f\\u0001\"\n  ],\n  \"c\": []\n}"
        );
        assert!(plain.dumps(&Value::UNDEFINED).is_err());
    }
}
