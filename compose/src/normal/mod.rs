//! One form for each thing: short and long syntax, maps and lists of pairs, durations, sizes and
//! paths come out the same, so that files can be merged, printed and converted.
//!
//! **Invariant:** a value that means what its absence means is left out, so that merging needs no
//! notion of it. Where zero has a meaning of its own (no replicas, no parallelism), it stays.

mod deploy;
mod mounts;
mod objects;
pub(crate) mod pairs;
pub(crate) mod ports;
mod service;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::error::Problem;
use crate::loader::Loader;
use crate::node::{Map, Node, Value, fingerprint};

/// There are no more ports to publish: 65,536 for each of TCP, UDP and SCTP.
const PORTS_MAX: usize = 3 * 65_536;

/// What making the one form needs to know, and what it has to say.
pub(crate) struct Context<'a> {
    pub working_dir: &'a Path,
    pub loader: &'a dyn Loader,
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    pub warnings: Vec<String>,
    /// Ports of this file so far.
    ports: usize,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        working_dir: &'a Path,
        loader: &'a dyn Loader,
        lookup: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self { working_dir, loader, lookup, warnings: Vec::new(), ports: 0 }
    }

    /// Once is enough: a range of ports would warn for each.
    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// A path of the file as the host knows it; an absolute one stays as it is.
    fn path(&self, path: &str) -> String {
        if Path::new(path).is_absolute() {
            return path.to_owned();
        }
        clean(&self.working_dir.join(path)).to_string_lossy().into_owned()
    }
}

/// A file that has the schema's shape, in the one form.
pub(crate) fn file(node: &Node, context: &mut Context<'_>) -> Result<Node, Problem> {
    let mut map = Map::new();
    for (key, value) in node.entries() {
        let value = match key.as_str() {
            "services" => each(value, |name, node| service::normal(name, node, context))?,
            "networks" => each(value, |name, node| objects::network(name, node, context))?,
            "volumes" => each(value, |name, node| objects::volume(name, node, context))?,
            "secrets" => {
                each(value, |name, node| objects::file_object("secret", name, node, context))?
            }
            "configs" => {
                each(value, |name, node| objects::file_object("config", name, node, context))?
            }
            _ => value.clone(),
        };
        map.insert(key.clone(), value);
    }
    Ok(Node::map(node.at, map))
}

/// A section with each object put in the one form; `x-…` are not objects.
fn each(
    section: &Node,
    mut normal: impl FnMut(&str, &Node) -> Result<Node, Problem>,
) -> Result<Node, Problem> {
    let mut map = Map::new();
    for (name, node) in section.entries().filter(|(name, node)| is_object(name, node)) {
        map.insert(name.clone(), normal(name, node)?);
    }
    Ok(Node::map(section.at, map))
}

/// Whether an entry of a section is an object: a name may begin with `x-`, but only a map is one.
fn is_object(name: &str, node: &Node) -> bool {
    !name.starts_with("x-") || node.as_map().is_some()
}

/// Adds what is not empty.
fn put(map: &mut Map, key: &str, node: Node) {
    let empty = match &node.value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Float(value) => *value == 0.0,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
    };
    if !empty {
        map.insert(key.to_owned(), node);
    }
}

/// Each item once, in the order given: `80:80` and `80:80/tcp` are one port.
///
/// DEVIATION: Docker prints both, and then refuses the file that it printed.
pub(crate) fn unique(items: Vec<Node>) -> Vec<Node> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(fingerprint(item))).collect()
}

/// Without `.`, `..` and doubled slashes; nothing is asked of the disk.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if cleaned.parent().is_some() => {
                cleaned.pop();
            }
            Component::ParentDir | Component::CurDir if path.is_absolute() => {}
            Component::CurDir => {}
            other => cleaned.push(other),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text_alone() {
        for (path, expected) in
            [("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/../b", "/b"), ("/a//b/", "/a/b")]
        {
            assert_eq!(clean(Path::new(path)), Path::new(expected));
        }
    }
}
