//! `{A: 1}` and `["A=1"]`, lists that may be one string, and lists of hosts.

use super::unique;
use crate::error::Problem;
use crate::node::{Map, Node, Value};

/// What a name without a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Empty text.
    Empty,
    /// Null: in an environment it takes its value from outside, or unsets the image's.
    Null,
}

/// Pairs as a map from names to text.
pub(crate) fn pairs(node: &Node, absent: Absent) -> Node {
    let mut map = Map::new();
    let value = |at, text: Option<String>| match (text, absent) {
        (Some(text), _) => Node::text(at, text),
        (None, Absent::Empty) => Node::text(at, ""),
        (None, Absent::Null) => Node { at, value: Value::Null },
    };
    for (key, node) in node.entries() {
        map.insert(key.clone(), value(node.at, node.scalar()));
    }
    for item in node.items() {
        let text = item.scalar().unwrap_or_default();
        let (name, text) = match text.split_once('=') {
            Some((name, text)) => (name.to_owned(), Some(text.to_owned())),
            None => (text, None),
        };
        map.insert(name, value(item.at, text));
    }
    Node::map(node.at, map)
}

/// A string or a list as a list of strings.
pub(crate) fn texts(node: &Node) -> Node {
    let items = match &node.value {
        Value::List(items) => items
            .iter()
            .map(|item| match item.scalar() {
                Some(text) => Node::text(item.at, text),
                None => item.clone(),
            })
            .collect(),
        _ => node.scalar().map(|text| Node::text(node.at, text)).into_iter().collect(),
    };
    Node::list(node.at, unique(items))
}

/// `host:address` for each entry of `extra_hosts`, in the order given.
pub(crate) fn hosts(node: &Node) -> Result<Node, Problem> {
    let mut hosts = Vec::new();
    let mut push = |at, host: &str, address: &str| {
        let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = inner.unwrap_or(address);
        hosts.push(Node::text(at, format!("{host}:{address}")));
    };
    for (host, address) in node.entries() {
        if let Some(text) = address.scalar() {
            push(address.at, host, &text);
        }
    }
    for item in node.items() {
        let text = item.scalar().unwrap_or_default();
        let (host, address) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .ok_or_else(|| item.at.problem(format!("bad format for add-host: {text:?}")))?;
        push(item.at, host, address);
    }
    Ok(Node::list(node.at, unique(hosts)))
}
