//! `deploy` and `healthcheck`: durations, sizes, labels and counts.

use super::pairs::{Absent, pairs};
use super::put;
use crate::error::Problem;
use crate::node::{Map, Node, Value};
use crate::units;

/// A duration as Go prints it, so that `90s` and `1m30s` are the same.
pub(super) fn duration(node: &Node) -> Result<Node, Problem> {
    let text = node.as_str().unwrap_or_default();
    let duration = units::duration(text).map_err(|message| node.at.problem(message))?;
    Ok(Node::text(node.at, units::show_duration(duration)))
}

/// A size in bytes.
pub(super) fn size(node: &Node) -> Result<Node, Problem> {
    match node.as_str() {
        Some(text) => {
            let bytes = units::size(text).map_err(|message| node.at.problem(message))?;
            Ok(Node::int(node.at, bytes))
        }
        None => Ok(node.clone()),
    }
}

/// A count; the types that it ends up in hold none below zero.
pub(super) fn count(node: &Node, path: &str) -> Result<Node, Problem> {
    let count = node.as_int().filter(|count| (0..=i128::from(i64::MAX)).contains(count));
    let count = count.ok_or_else(|| {
        let given = node.scalar().unwrap_or_default();
        node.at.problem(format!("{path} must be a whole number not below 0, got {given}"))
    })?;
    Ok(Node::int(node.at, count))
}

pub(super) fn normal(node: &Node, path: &str) -> Result<Node, Problem> {
    let mut map = Map::new();
    for (key, value) in node.entries().filter(|(key, _)| !key.starts_with("x-")) {
        let path = format!("{path}.{key}");
        match key.as_str() {
            "labels" => put(&mut map, key, pairs(value, Absent::Empty)),
            "replicas" => {
                map.insert(key.clone(), count(value, &path)?);
            }
            // A configuration that is there counts even when it holds nothing.
            "update_config" | "rollback_config" | "restart_policy" => {
                map.insert(key.clone(), policy(value, &path)?);
            }
            "resources" => put(&mut map, key, resources(value, &path)?),
            "placement" => put(&mut map, key, placement(value, &path)?),
            _ => put(&mut map, key, value.clone()),
        }
    }
    Ok(Node::map(node.at, map))
}

fn policy(node: &Node, path: &str) -> Result<Node, Problem> {
    let mut map = Map::new();
    let restart = path.ends_with("restart_policy");
    for (key, value) in node.entries().filter(|(key, _)| !key.starts_with("x-")) {
        let path = format!("{path}.{key}");
        match key.as_str() {
            "parallelism" | "max_attempts" => {
                map.insert(key.clone(), count(value, &path)?);
            }
            "delay" | "monitor" | "window" => {
                let duration = duration(value)?;
                if restart || duration.as_str() != Some("0s") {
                    map.insert(key.clone(), duration);
                }
            }
            _ => put(&mut map, key, value.clone()),
        }
    }
    Ok(Node::map(node.at, map))
}

fn resources(node: &Node, path: &str) -> Result<Node, Problem> {
    let mut map = Map::new();
    for (key, amounts) in node.entries().filter(|(key, _)| !key.starts_with("x-")) {
        let mut inner = Map::new();
        for (name, value) in amounts.entries().filter(|(name, _)| !name.starts_with("x-")) {
            let value = match name.as_str() {
                "cpus" => Node::text(value.at, value.scalar().unwrap_or_default()),
                "memory" => {
                    // Digits as text, as Docker prints them; none for no bytes.
                    let bytes = size(value)?.scalar().filter(|bytes| bytes != "0");
                    Node::text(value.at, bytes.unwrap_or_default())
                }
                "pids" => count(value, &format!("{path}.{key}.{name}"))?,
                _ => value.clone(),
            };
            put(&mut inner, name, value);
        }
        map.insert(key.clone(), Node::map(amounts.at, inner));
    }
    Ok(Node::map(node.at, map))
}

fn placement(node: &Node, path: &str) -> Result<Node, Problem> {
    let mut map = Map::new();
    for (key, value) in node.entries().filter(|(key, _)| !key.starts_with("x-")) {
        let value = match key.as_str() {
            "max_replicas_per_node" => count(value, &format!("{path}.{key}"))?,
            _ => value.clone(),
        };
        put(&mut map, key, value);
    }
    Ok(Node::map(node.at, map))
}

pub(super) fn healthcheck(node: &Node, path: &str) -> Result<Node, Problem> {
    let mut map = Map::new();
    for (key, value) in node.entries().filter(|(key, _)| !key.starts_with("x-")) {
        match key.as_str() {
            "test" => {
                let test = match value.as_str() {
                    Some(command) => Node::list(
                        value.at,
                        vec![Node::text(value.at, "CMD-SHELL"), Node::text(value.at, command)],
                    ),
                    None => value.clone(),
                };
                put(&mut map, key, test);
            }
            "retries" => {
                map.insert(key.clone(), count(value, &format!("{path}.{key}"))?);
            }
            "disable" => put(&mut map, key, value.clone()),
            _ => {
                map.insert(key.clone(), duration(value)?);
            }
        }
    }
    Ok(Node { at: node.at, value: Value::Map(map) })
}
