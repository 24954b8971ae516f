//! YAML text to [`Node`]s, by the rules that Docker's parser has for Compose files.
//!
//! `0444` is octal, `yes` and `on` are text, anchors and merge keys are expanded, duplicate keys
//! and documents that grow beyond bounds are refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, NonFiniteFloatPolicy, Options, Spanned};

use crate::error::{At, Problem};
use crate::node::{Map, Node, Value};

/// A Compose file is written by hand or by a small program; beyond this it is a mistake.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What YAML says, before keys are known to be text.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Int(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Int(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Int(value)))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Raw, E> {
        i128::try_from(value)
            .map(|value| Raw::Scalar(Value::Int(value)))
            .map_err(|_| E::custom("number is out of range"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Float(value)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

fn at(file: usize, location: Location) -> At {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    At { file, line: number(location.line()), column: number(location.column()) }
}

/// A map's keys are text, as in Compose they must be.
fn node(file: usize, raw: Spanned<Raw>, path: &str) -> Result<Node, Problem> {
    let place = at(file, raw.referenced);
    let value = match raw.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => Value::List(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| node(file, item, &format!("{path}[{index}]")))
                .collect::<Result<_, _>>()?,
        ),
        Raw::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let Raw::Scalar(Value::Text(name)) = key.value else {
                    let where_ = if path.is_empty() { "at top level" } else { "in" };
                    let message = format!("non-string key {where_} {path}");
                    return Err(at(file, key.referenced).problem(message.trim_end()));
                };
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                map.insert(name, node(file, value, &inner)?);
            }
            Value::Map(map)
        }
    };
    Ok(Node { at: place, value })
}

/// The document in a file.
pub(crate) fn parse(file: usize, contents: &[u8]) -> Result<Node, Problem> {
    let start = At { file, line: 1, column: 1 };
    if contents.len() > FILE_BYTES_MAX {
        return Err(start.problem(format!(
            "file is too large: expected at most {FILE_BYTES_MAX} bytes, got {}",
            contents.len()
        )));
    }
    let text = std::str::from_utf8(contents).map_err(|error| {
        let before = &contents[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        At { file, line: line as u32, column: column as u32 }.problem("yaml: invalid UTF-8")
    })?;
    let mut options = Options::default();
    options.legacy_octal_numbers = true;
    options.strict_booleans = true;
    options.underscored_numbers_as_strings = true;
    options.non_finite_float_policy = NonFiniteFloatPolicy::AsString;
    let raw =
        serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options).map_err(|error| {
            let place = error.location().map_or(start, |location| at(file, location));
            place.problem(format!("yaml: {}", plain(&error)))
        })?;
    let node = node(file, raw, "")?;
    if node.as_map().is_none() {
        return Err(node.at.problem("top-level object must be a mapping"));
    }
    Ok(node)
}

/// The parser's message without place, snippet and advice: the first are ours, the last is
/// addressed to programmers.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let text = match text.split_once(": ") {
        Some((place, message)) if place.starts_with("line ") => message,
        _ => text,
    };
    let text = text.split(" at line ").next().unwrap_or(text);
    for advice in [", set DuplicateKeyPolicy", "; use from_str_multiple"] {
        if let Some((message, _)) = text.split_once(advice) {
            return message.to_owned();
        }
    }
    text.to_owned()
}
