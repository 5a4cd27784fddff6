//! Chat templates, rendered as transformers renders them with Jinja2.

use std::collections::BTreeMap;

use minijinja::value::{Kwargs, Rest, Serde, ValueKind, ValueOrKwargs};
use minijinja::{context, Environment, Error, ErrorKind, Value};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::ffi::{guard, guard_number, text, Buffer, Failure, Outcome};
use crate::strftime::LocalTime;
use crate::{pyformat, pymethods, pytext, source};

/// The name that errors give for the template.
const NAME: &str = "chat template";

/// Engine steps of one rendering: a second's worth, of which a long conversation needs
/// some percent.
const MAX_STEPS: u64 = if cfg!(test) { 100_000 } else { 20_000_000 };

/// The keys that messages carry reasoning under; templates read the first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// `mwt_template`. Immutable after compiling.
pub struct Template {
    environment: Environment<'static>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    messages: Vec<serde_json::Map<String, Json>>,
    tools: Option<Vec<serde_json::Map<String, Json>>>,
    kwargs: Option<BTreeMap<String, Value>>,
    special_tokens: BTreeMap<String, String>,
    add_generation_prompt: bool,
    now: LocalTime,
}

impl Template {
    pub fn compile(source: &str) -> Outcome<Template> {
        let mut environment = Environment::new();
        let syntax = minijinja::syntax::SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(Failure::of)?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(MAX_STEPS));
        environment.set_unknown_method_callback(pymethods::call);
        environment.set_formatter(|out, _, value| {
            out.write_str(&pyformat::str(value)).map_err(Error::from)
        });
        environment.add_filter("tojson", to_json);
        environment.add_filter("string", |value: Value| pyformat::str(&value));
        environment.add_filter("trim", trim);
        environment.add_filter(source::WALKED, walked);
        environment.add_test("iterable", is_iterable);
        environment.add_test("sequence", is_sequence);
        environment.add_test("number", is_number);
        environment.add_function("raise_exception", raise_exception);
        environment
            .add_template_owned(NAME, source::rewrite(source))
            .map_err(describe)?;
        Ok(Template { environment })
    }

    pub fn render(&self, request: &str) -> Outcome<String> {
        let request: Request = serde_json::from_str(request).map_err(Failure::of)?;
        let template = self.environment.get_template(NAME).map_err(describe)?;
        template.render(request.context()).map_err(describe)
    }
}

impl Request {
    fn context(self) -> Value {
        let now = self.now;
        let mut variables: BTreeMap<String, Value> = BTreeMap::new();
        variables.insert("documents".into(), Value::from(()));
        for (name, text) in self.special_tokens {
            variables.insert(name, text.into());
        }
        variables.extend(self.kwargs.unwrap_or_default());
        let messages: Vec<_> = self.messages.into_iter().map(normalize).collect();
        let request = context! {
            messages => Value::from(Serde(messages)),
            tools => Value::from(Serde(self.tools)),
            add_generation_prompt => self.add_generation_prompt,
            strftime_now => Value::from_function(move |format: &str| now.format(format)),
        };
        context! { ..request, ..Value::from(variables) }
    }
}

/// What transformers does to a message before a template sees it: keys that are None are
/// left out, and reasoning is there under the names that templates read.
fn normalize(mut message: serde_json::Map<String, Json>) -> serde_json::Map<String, Json> {
    message.retain(|_, value| !value.is_null());
    let reasoning = REASONING.iter().find_map(|key| message.get(*key)).cloned();
    if let Some(reasoning) = reasoning {
        if !message.contains_key("thinking") {
            message.shift_insert(0, "thinking".into(), reasoning.clone());
        }
        message.insert("reasoning_content".into(), reasoning);
    }
    message
}

/// Jinja's `trim`, which turns its value into a string as Python does.
fn trim(value: Value, characters: Option<&str>) -> String {
    let text = pyformat::str(&value);
    pytext::strip(&text, characters, true, true).to_string()
}

/// What a `for` walks over: Python has nothing to walk over in None.
fn walked(value: Value) -> Result<Value, Error> {
    if value.is_none() {
        return Err(invalid("none is not iterable"));
    }
    Ok(value)
}

/// Jinja's `iterable`, which None is not.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Jinja's `sequence`: what has a length and items, strings and mappings too.
fn is_sequence(value: &Value) -> bool {
    value.is_undefined() || value.len().is_some()
}

/// Jinja's `number`, which a bool is.
fn is_number(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
}

/// `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
fn to_json(value: Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut arguments = arguments.into_values();
    let kwargs = match arguments.last() {
        Some(last) if last.is_kwargs() => Kwargs::try_from(arguments.pop().unwrap_or_default())?,
        _ => Kwargs::from_iter([] as [(&str, Value); 0]),
    };
    let argument = |position: usize, name: &str| -> Result<Value, Error> {
        let given = match arguments.get(position) {
            Some(value) => Some(value.clone()),
            None => kwargs.get(name)?,
        };
        Ok(given
            .filter(|value| !value.is_undefined())
            .unwrap_or(Value::from(())))
    };
    let indent = indentation(&argument(1, "indent")?)?;
    let separators = argument(2, "separators")?;
    let (item_separator, key_separator) = if separators.is_none() {
        let item = if indent.is_some() { "," } else { ", " };
        (item.to_string(), ": ".to_string())
    } else {
        let separators: Vec<String> = separators
            .try_iter()?
            .map(|part| pyformat::str(&part))
            .collect();
        let [item, key] = <[String; 2]>::try_from(separators)
            .map_err(|_| invalid("tojson: separators must be two strings"))?;
        (item, key)
    };
    let json = pyformat::Json {
        ensure_ascii: argument(0, "ensure_ascii")?.is_true(),
        indent,
        item_separator,
        key_separator,
        sort_keys: argument(3, "sort_keys")?.is_true(),
    };
    kwargs.assert_all_used()?;
    Ok(Value::from_safe_string(json.dumps(&value)?))
}

fn indentation(value: &Value) -> Result<Option<String>, Error> {
    if value.is_none() {
        return Ok(None);
    }
    if let Some(text) = value.as_str() {
        return Ok(Some(text.to_string()));
    }
    let width = i64::try_from(value.clone())
        .map_err(|_| invalid("tojson: indent must be an integer or a string"))?;
    Ok(Some(" ".repeat(width.clamp(0, 64) as usize)))
}

fn raise_exception(message: Value) -> Result<Value, Error> {
    Err(invalid(&format!("raised by the template: {message}")))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.to_string())
}

fn describe(error: Error) -> Failure {
    if error.kind() == ErrorKind::OutOfFuel {
        return Failure::Error(format!("the template ran for more than {MAX_STEPS} steps"));
    }
    let mut message = match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_string(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    if let Some(line) = error.line() {
        message.push_str(&format!(" (line {line})"));
    }
    Failure::Error(message)
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_template_new(
    source: *const u8,
    source_len: usize,
    out: *mut *mut Template,
) -> Buffer {
    guard(|| {
        let template = Template::compile(&text(source, source_len))?;
        *out = Box::into_raw(Box::new(template));
        Ok(vec![])
    })
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_template_render(
    template: *const Template,
    request: *const u8,
    request_len: usize,
) -> Buffer {
    guard(|| {
        let rendered = (*template).render(&text(request, request_len))?;
        Ok(rendered.into_bytes())
    })
}

/// # Safety
/// As include/mlxworker_text.h says.
#[no_mangle]
pub unsafe extern "C" fn mwt_template_free(template: *mut Template) {
    guard_number(0, || {
        drop(Box::from_raw(template));
        0
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, extra: &str) -> Result<String, String> {
        let request = format!(
            r#"{{"messages":[{{"role":"user","content":null,"thinking":"hm"}}],"tools":null,
                "special_tokens":{{"bos_token":"<s>","eos_token":"</s>"}},
                "add_generation_prompt":true,"now":[2024,7,26,0,0,0,0,5,208]{extra}}}"#
        );
        let template = match Template::compile(source) {
            Ok(template) => template,
            Err(Failure::Error(message) | Failure::Unsupported(message)) => return Err(message),
        };
        match template.render(&request) {
            Ok(text) => Ok(text),
            Err(Failure::Error(message) | Failure::Unsupported(message)) => Err(message),
        }
    }

    fn ok(source: &str) -> String {
        render(source, "").unwrap()
    }

    #[test]
    fn variables_are_those_of_transformers() {
        assert_eq!(
            ok("{{ bos_token }}{{ tools is none }}{{ documents }}"),
            "<s>TrueNone"
        );
        let kwargs = r#","kwargs":{"eos_token":"!","x":1e-7}"#;
        assert_eq!(
            render("{{ eos_token }}{{ x }}{{ [x] }}", kwargs).unwrap(),
            "!1e-07[1e-07]"
        );
        assert_eq!(ok("{{ strftime_now('%d %b %Y') }}"), "26 Jul 2024");
        assert_eq!(
            ok("{{ [1e-7] | trim }}{{ ' a ' | trim }}{{ 'xax' | trim('x') }}"),
            "[1e-07]aa"
        );
        assert_eq!(
            ok("{{ undefined_thing }}|{{ none }}|{{ true }}"),
            "|None|True"
        );
    }

    #[test]
    fn messages_are_normalized() {
        assert_eq!(
            ok("{{ messages[0] | tojson }}"),
            r#"{"role": "user", "thinking": "hm", "reasoning_content": "hm"}"#
        );
        assert_eq!(ok("{{ messages[0].content is defined }}"), "False");
    }

    #[test]
    fn generation_blocks_are_scopes() {
        let source = "{%- set x = 1 %}a\n{%- generation -%} \n{% set x = 2 %}b {{ x }}{%- endgeneration %}\n{{ x }}";
        assert_eq!(ok(source), "ab 21");
    }

    #[test]
    fn none_is_nothing_to_walk_over() {
        assert!(render("{% for a in tools %}{% endfor %}", "")
            .unwrap_err()
            .contains("none is not iterable"));
        assert_eq!(
            ok("{% for a, b in {'x': 1} | items if b %}{{ a }}{{ loop.last }}{% endfor %}"),
            "xTrue"
        );
        assert_eq!(ok("{% for a in undefined_thing %}a{% endfor %}"), "");
    }

    #[test]
    fn tests_are_jinjas() {
        for (value, expected) in [
            ("none", "FalseFalseFalse"),
            ("undefined_thing", "TrueTrueFalse"),
            ("'a'", "TrueTrueFalse"),
            ("{}", "TrueTrueFalse"),
            ("[1][:1]", "TrueTrueFalse"),
            ("true", "FalseFalseTrue"),
            ("1.5", "FalseFalseTrue"),
        ] {
            let source = format!(
                "{{{{ {value} is iterable }}}}{{{{ {value} is sequence }}}}{{{{ {value} is number }}}}"
            );
            assert_eq!(ok(&source), expected, "{value}");
        }
    }

    #[test]
    fn tojson_takes_pythons_arguments() {
        assert_eq!(
            ok("{{ {'b':1,'a':'é'} | tojson }}"),
            r#"{"b": 1, "a": "é"}"#
        );
        assert_eq!(
            ok("{{ {'b':1,'a':'é'} | tojson(true, separators=(',', ':'), sort_keys=true) }}"),
            r#"{"a":"\u00e9","b":1}"#
        );
        assert_eq!(ok("{{ [1] | tojson(indent=2) }}"), "[\n  1\n]");
        assert!(render("{{ 1 | tojson(depth=2) }}", "").is_err());
    }

    #[test]
    fn errors_say_what_and_where() {
        let raised = render("\n{{ raise_exception('no system role') }}", "").unwrap_err();
        assert_eq!(raised, "raised by the template: no system role (line 2)");
        assert!(render("{% if %}", "").unwrap_err().contains("line 1"));
        let endless =
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        assert!(render(endless, "").unwrap_err().contains("steps"));
    }
}
