//! A parsed document: values that know where they stand.
//!
//! The same tree is carried from parsing to conversion, so that an error found late still has its
//! place. Reading a value by the wrong type gives nothing; that types are right is the schema's.

use std::collections::BTreeMap;

use crate::error::At;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub at: At,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// Keys in order of their text: what comes out does not depend on how a file was laid out.
pub(crate) type Map = BTreeMap<String, Node>;

impl Node {
    pub(crate) fn text(at: At, text: impl Into<String>) -> Self {
        Self { at, value: Value::Text(text.into()) }
    }

    pub(crate) fn int(at: At, value: impl Into<i128>) -> Self {
        Self { at, value: Value::Int(value.into()) }
    }

    pub(crate) fn list(at: At, items: Vec<Node>) -> Self {
        Self { at, value: Value::List(items) }
    }

    pub(crate) fn map(at: At, map: Map) -> Self {
        Self { at, value: Value::Map(map) }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        if let Value::Map(map) = &self.value { Some(map) } else { None }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        if let Value::Map(map) = &mut self.value { Some(map) } else { None }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value { Some(value) } else { None }
    }

    /// A whole number; `3.0` is one too.
    pub(crate) fn as_int(&self) -> Option<i128> {
        match self.value {
            Value::Int(value) => Some(value),
            Value::Float(value) if value.fract() == 0.0 => Some(value as i128),
            _ => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<f64> {
        match self.value {
            Value::Int(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// A field of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// The items of a list; none for anything else.
    pub(crate) fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The entries of a map; none for anything else.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.as_map().into_iter().flatten()
    }

    /// The text of a field; empty where there is none.
    pub(crate) fn text_of(&self, key: &str) -> &str {
        self.get(key).and_then(Node::as_str).unwrap_or_default()
    }

    /// A field that is true; false where there is none.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Node::as_bool).unwrap_or(false)
    }

    /// The texts in a field's list.
    pub(crate) fn texts_of(&self, key: &str) -> Vec<String> {
        self.get(key).map(Node::items).unwrap_or_default().iter().filter_map(Node::scalar).collect()
    }

    /// The texts in a field's map by their names.
    pub(crate) fn pairs_of(&self, key: &str) -> BTreeMap<String, String> {
        let entries = self.get(key).into_iter().flat_map(Node::entries);
        entries.map(|(name, node)| (name.clone(), node.scalar().unwrap_or_default())).collect()
    }

    /// A scalar as Docker prints it; nothing for null, lists and maps.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Null | Value::List(_) | Value::Map(_) => None,
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(float(*value)),
            Value::Text(text) => Some(text.clone()),
        }
    }
}

/// Text that is equal for equal values, wherever they stand.
pub(crate) fn fingerprint(node: &Node) -> String {
    match &node.value {
        Value::List(items) => {
            format!("[{}]", items.iter().map(fingerprint).collect::<Vec<_>>().join(","))
        }
        Value::Map(map) => {
            let entry = |(key, value): (&String, &Node)| format!("{key:?}:{}", fingerprint(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(","))
        }
        Value::Text(text) => format!("{text:?}"),
        _ => node.scalar().unwrap_or_else(|| "null".to_owned()),
    }
}

/// A float as Go's `%v` prints it: the shortest that reads back, with an exponent from 1e21 on
/// and below 1e-4.
pub(crate) fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) =
            exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_go() {
        for (value, expected) in [
            (1.1, "1.1"),
            (1000.0, "1000"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (0.00001, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (0.0, "0"),
        ] {
            assert_eq!(float(value), expected);
        }
    }
}
