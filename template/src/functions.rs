//! The functions a template may call: Go's own and those Docker adds.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Mode, TemplateError};

pub const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "split", "title", "truncate", "upper",
];

/// Those that a table's header passes through, so that `{{upper .Name}}` still heads its column `NAME`.
const TRANSPARENT: &[&str] =
    &["join", "json", "lower", "pad", "split", "title", "truncate", "upper"];

/// Widest padding and longest cut accepted: no terminal is wider.
const WIDTH_MAX: usize = 4096;

/// Go's truth: what is not its type's zero.
pub fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A value as Go's `%v` prints it.
pub fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{}", show(v))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

fn fault<T>(text: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(text.into()))
}

fn text(name: &str, value: &Value) -> Result<String, TemplateError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => {
            fault(format!("wrong type for value of {name}: expected string; got {}", show(other)))
        }
    }
}

fn width(name: &str, value: &Value) -> Result<usize, TemplateError> {
    match value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= WIDTH_MAX) {
        Some(width) => Ok(width),
        None => fault(format!(
            "error calling {name}: expected a width of at most {WIDTH_MAX}, got {}",
            show(value)
        )),
    }
}

/// The first letter in upper case and the others in lower case.
fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars.flat_map(char::to_lowercase)).collect()
}

fn order(a: &Value, b: &Value) -> Result<Ordering, TemplateError> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let pair = (a.as_f64(), b.as_f64());
            Ok(pair.0.partial_cmp(&pair.1).unwrap_or(Ordering::Equal))
        }
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        _ => fault("incompatible types for comparison"),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    match (value, key) {
        (Value::Object(map), Value::String(key)) => {
            Ok(map.get(key).cloned().unwrap_or_else(|| "".into()))
        }
        (Value::Array(list), Value::Number(at)) => {
            at.as_u64().and_then(|at| list.get(at as usize)).cloned().ok_or_else(|| {
                TemplateError(format!("error calling index: index out of range: {at}"))
            })
        }
        (Value::Null, _) => fault("error calling index: index of untyped nil"),
        _ => fault(format!("error calling index: can't index item with {}", show(key))),
    }
}

/// `%s`, `%v`, `%d`, `%q`, `%t` and `%%`, with a minus and a width.
fn printf(format: &str, mut values: std::vec::IntoIter<Value>) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let left = chars.next_if_eq(&'-').is_some();
        let mut digits = String::new();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let wide: usize = digits.parse().unwrap_or(0);
        let shown = match chars.next() {
            Some('%') => "%".into(),
            Some(verb @ ('s' | 'v' | 'd' | 'q' | 't')) => match values.next() {
                Some(value) if verb == 'q' => format!("{:?}", show(&value)),
                Some(value) => show(&value),
                None => format!("%!{verb}(MISSING)"),
            },
            Some(verb) => return fault(format!("printf: %{verb} is not supported")),
            None => "%!(NOVERB)".into(),
        };
        let wide = wide.min(WIDTH_MAX);
        out.push_str(&if left { format!("{shown:<wide$}") } else { format!("{shown:>wide$}") });
    }
    Ok(out)
}

pub fn call(name: &str, arguments: Vec<Value>, mode: Mode) -> Result<Value, TemplateError> {
    if mode == Mode::Header && TRANSPARENT.contains(&name) {
        return Ok(arguments.into_iter().next().unwrap_or_default());
    }
    let joined = |with: &str| arguments.iter().map(show).collect::<Vec<_>>().join(with);
    Ok(match (name, arguments.as_slice()) {
        ("json", [value]) => value.to_string().into(),
        ("lower", [value]) => text(name, value)?.to_lowercase().into(),
        ("upper", [value]) => text(name, value)?.to_uppercase().into(),
        ("title", [value]) => {
            let text = text(name, value)?;
            text.split(' ').map(capital).collect::<Vec<_>>().join(" ").into()
        }
        ("split", [value, by]) => {
            let (text, by) = (text(name, value)?, text(name, by)?);
            text.split(by.as_str()).map(Value::from).collect::<Vec<_>>().into()
        }
        ("join", [Value::Array(list), by]) => {
            list.iter().map(show).collect::<Vec<_>>().join(&text(name, by)?).into()
        }
        ("join", [Value::Null, _]) => "".into(),
        ("pad", [value, before, after]) => {
            let (before, after) = (width(name, before)?, width(name, after)?);
            let text = text(name, value)?;
            if text.is_empty() {
                text.into()
            } else {
                format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into()
            }
        }
        ("truncate", [value, length]) => {
            let length = width(name, length)?;
            text(name, value)?.chars().take(length).collect::<String>().into()
        }
        ("len", [Value::String(text)]) => text.len().into(),
        ("len", [Value::Array(list)]) => list.len().into(),
        ("len", [Value::Object(map)]) => map.len().into(),
        ("len", [Value::Null]) => 0.into(),
        ("index", [value, keys @ ..]) => {
            keys.iter().try_fold(value.clone(), |value, key| index(&value, key))?
        }
        ("not", [value]) => (!truth(value)).into(),
        ("and", [.., last]) => arguments.iter().find(|v| !truth(v)).unwrap_or(last).clone(),
        ("or", [.., last]) => arguments.iter().find(|v| truth(v)).unwrap_or(last).clone(),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => rest.contains(first).into(),
        ("ne", [a, b]) => (a != b).into(),
        ("lt", [a, b]) => order(a, b)?.is_lt().into(),
        ("le", [a, b]) => order(a, b)?.is_le().into(),
        ("gt", [a, b]) => order(a, b)?.is_gt().into(),
        ("ge", [a, b]) => order(a, b)?.is_ge().into(),
        ("print", _) => joined(" ").into(),
        ("println", _) => format!("{}\n", joined(" ")).into(),
        ("printf", [format, ..]) => {
            let format = text(name, format)?;
            let mut values = arguments.into_iter();
            values.next();
            printf(&format, values)?.into()
        }
        _ => return fault(format!("wrong number or type of args for {name}")),
    })
}
