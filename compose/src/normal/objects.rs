//! Networks, volumes, secrets and configs in the one form.
//!
//! `external: {name: x}` becomes `name: x, external: true`, and what is external always has a name.

use super::pairs::{Absent, pairs};
use super::{Context, put};
use crate::error::Problem;
use crate::node::{Map, Node, Value};

pub(super) fn network(name: &str, node: &Node, context: &mut Context<'_>) -> Result<Node, Problem> {
    let mut map = fields(node);
    external("network", name, node, &mut map, context)?;
    if let Some(ipam) = node.get("ipam") {
        let mut inner = Map::new();
        for (key, value) in ipam.entries() {
            put(&mut inner, key, value.clone());
        }
        put(&mut map, "ipam", Node::map(ipam.at, inner));
    }
    Ok(Node::map(node.at, map))
}

pub(super) fn volume(name: &str, node: &Node, context: &mut Context<'_>) -> Result<Node, Problem> {
    let mut map = fields(node);
    if external("volume", name, node, &mut map, context)? {
        for key in ["driver", "driver_opts", "labels"] {
            if let Some(value) = map.get(key) {
                return Err(value.at.problem(format!(
                    "conflicting parameters \"external\" and {key:?} specified for volume {name:?}"
                )));
            }
        }
    }
    Ok(Node::map(node.at, map))
}

/// A secret or a config: from a file, from a variable, from the Compose file itself, or external.
pub(super) fn file_object(
    kind: &str,
    name: &str,
    node: &Node,
    context: &mut Context<'_>,
) -> Result<Node, Problem> {
    let mut map = fields(node);
    let external = external(kind, name, node, &mut map, context)?;
    if let Some(value) = map.get("driver") {
        return Err(value.at.problem(format!("{kind} {name}: drivers are not supported")));
    }
    let given: Vec<_> = ["file", "environment", "content"]
        .into_iter()
        // Empty content is content: the cluster says what it thinks of it.
        .filter(|key| map.contains_key(*key) || node.get(key).is_some_and(|_| *key == "content"))
        .chain(external.then_some("external"))
        .collect();
    match given[..] {
        [] => {
            let content = if kind == "config" { "content, " } else { "" };
            return Err(node.at.problem(format!(
                "{kind} {name}: one of file, environment, {content}external is required"
            )));
        }
        [_] => {}
        [first, second, ..] => {
            return Err(node.at.problem(format!(
                "{kind} {name}: {kind}.{first} and {kind}.{second} conflict; use only one"
            )));
        }
    }
    if let Some(content) = node.get("content") {
        map.insert("content".to_owned(), content.clone());
    }
    if let Some(file) = map.get_mut("file") {
        let path = context.path(file.as_str().unwrap_or_default());
        file.value = Value::Text(path);
    }
    Ok(Node::map(node.at, map))
}

fn fields(node: &Node) -> Map {
    let mut map = Map::new();
    for (key, value) in node.entries() {
        match key.as_str() {
            "external" | "ipam" => {}
            "labels" | "driver_opts" => put(&mut map, key, pairs(value, Absent::Empty)),
            _ if key.starts_with("x-") => {
                map.insert(key.clone(), value.clone());
            }
            _ => put(&mut map, key, value.clone()),
        }
    }
    map
}

/// Whether the object is external; it then has a name.
fn external(
    kind: &str,
    name: &str,
    node: &Node,
    map: &mut Map,
    context: &mut Context<'_>,
) -> Result<bool, Problem> {
    let Some(external) = node.get("external").filter(|node| node.as_bool() != Some(false)) else {
        return Ok(false);
    };
    if let Some(given) = external.get("name").and_then(Node::as_str).filter(|n| !n.is_empty()) {
        if map.contains_key("name") {
            return Err(external.at.problem(format!(
                "{kind} {name}: {kind}.external.name and {kind}.name conflict; only use {kind}.name"
            )));
        }
        context.warn(format!(
            "{kind} {name}: {kind}.external.name is deprecated in favor of {kind}.name"
        ));
        map.insert("name".to_owned(), Node::text(external.at, given));
    }
    map.entry("name".to_owned()).or_insert_with(|| Node::text(node.at, name));
    map.insert("external".to_owned(), Node { at: external.at, value: Value::Bool(true) });
    Ok(true)
}
