//! One service in the one form.

use std::path::Path;

use super::pairs::{Absent, hosts, pairs, texts};
use super::{Context, deploy, mounts, ports, put, unique};
use crate::error::{Error, Problem};
use crate::node::{Map, Node, Value};
use crate::read::env_file;
use crate::words;

pub(super) fn normal(name: &str, node: &Node, context: &mut Context<'_>) -> Result<Node, Problem> {
    let mut map = Map::new();
    let path = format!("services.{name}");
    for (key, value) in node.entries() {
        let inner = format!("{path}.{key}");
        match key.as_str() {
            "command" | "entrypoint" => put(&mut map, key, command(value, &inner)?),
            "labels" | "sysctls" => put(&mut map, key, pairs(value, Absent::Empty)),
            "extra_hosts" => put(&mut map, key, hosts(value)?),
            "dns" | "dns_search" | "dns_opt" | "tmpfs" | "expose" | "group_add" | "env_file" => {
                put(&mut map, key, texts(value));
            }
            "ports" => {
                let mut all = Vec::new();
                for port in value.items() {
                    all.extend(ports::normal(port, context)?);
                }
                put(&mut map, key, Node::list(value.at, unique(all)));
            }
            "volumes" => {
                let all = value.items().iter().map(|mount| mounts::normal(mount, context));
                put(&mut map, key, Node::list(value.at, all.collect::<Result<_, _>>()?));
            }
            "secrets" | "configs" => {
                let all = value.items().iter().map(file_reference).collect();
                put(&mut map, key, Node::list(value.at, all));
            }
            "networks" => put(&mut map, key, networks(value)),
            "depends_on" => {
                // In the order given where it is names alone; what the long form says is kept.
                put(&mut map, key, value.clone());
            }
            "logging" => {
                // There even when empty: it then says nothing but is merged as a whole.
                let mut inner = Map::new();
                for (name, value) in value.entries().filter(|(name, _)| !name.starts_with("x-")) {
                    match name.as_str() {
                        "options" => put(&mut inner, name, pairs(value, Absent::Empty)),
                        _ => put(&mut inner, name, value.clone()),
                    }
                }
                map.insert(key.clone(), Node::map(value.at, inner));
            }
            "healthcheck" => {
                map.insert(key.clone(), deploy::healthcheck(value, &inner)?);
            }
            "deploy" => put(&mut map, key, deploy::normal(value, &inner)?),
            "stop_grace_period" => {
                map.insert(key.clone(), deploy::duration(value)?);
            }
            "init" => {
                map.insert(key.clone(), value.clone());
            }
            "credential_spec" => {
                let mut inner = Map::new();
                for (key, value) in value.entries() {
                    put(&mut inner, key, value.clone());
                }
                put(&mut map, key, Node::map(value.at, inner));
            }
            "build" => put(&mut map, key, build(value)?),
            "shm_size" => {
                put(&mut map, key, Node::text(value.at, value.scalar().unwrap_or_default()));
            }
            "environment" => {}
            _ if key.starts_with("x-") => {
                map.insert(key.clone(), value.clone());
            }
            _ => put(&mut map, key, value.clone()),
        }
    }
    put(&mut map, "environment", environment(node, context)?);
    Ok(Node::map(node.at, map))
}

fn command(node: &Node, path: &str) -> Result<Node, Problem> {
    let Some(text) = node.as_str() else { return Ok(node.clone()) };
    let words =
        words::split(text).map_err(|message| node.at.problem(format!("{path}: {message}")))?;
    Ok(Node::list(node.at, words.into_iter().map(|word| Node::text(node.at, word)).collect()))
}

fn file_reference(node: &Node) -> Node {
    let mut map = Map::new();
    match node.as_str() {
        Some(source) => put(&mut map, "source", Node::text(node.at, source)),
        None => {
            for (key, value) in node.entries().filter(|(key, _)| !key.starts_with("x-")) {
                match key.as_str() {
                    // Zero is a mode: nobody may read.
                    "mode" => {
                        map.insert(key.clone(), value.clone());
                    }
                    _ => put(&mut map, key, value.clone()),
                }
            }
        }
    }
    Node::map(node.at, map)
}

fn networks(node: &Node) -> Node {
    let mut map = Map::new();
    for item in node.items() {
        if let Some(name) = item.as_str() {
            map.insert(name.to_owned(), Node { at: item.at, value: Value::Null });
        }
    }
    for (name, value) in node.entries().filter(|(name, node)| super::is_object(name, node)) {
        let mut inner = Map::new();
        for (key, value) in value.entries().filter(|(key, _)| !key.starts_with("x-")) {
            match key.as_str() {
                "driver_opts" => put(&mut inner, key, pairs(value, Absent::Empty)),
                _ => put(&mut inner, key, value.clone()),
            }
        }
        let value = match value.is_null() {
            true => value.clone(),
            false => Node::map(value.at, inner),
        };
        map.insert(name.clone(), value);
    }
    Node::map(node.at, map)
}

fn build(node: &Node) -> Result<Node, Problem> {
    let mut map = Map::new();
    if let Some(context) = node.as_str() {
        put(&mut map, "context", Node::text(node.at, context));
    }
    for (key, value) in node.entries() {
        match key.as_str() {
            "args" => put(&mut map, key, pairs(value, Absent::Null)),
            "labels" => put(&mut map, key, pairs(value, Absent::Empty)),
            "extra_hosts" => put(&mut map, key, hosts(value)?),
            _ => put(&mut map, key, value.clone()),
        }
    }
    Ok(Node::map(node.at, map))
}

/// The files of `env_file` and, before them, `environment`. A name without a value, or with an
/// empty one, takes the environment's where that has it.
fn environment(service: &Node, context: &mut Context<'_>) -> Result<Node, Problem> {
    let mut map = Map::new();
    let mut set = |name: &str, mut node: Node| {
        let empty = node.as_str().is_none_or(str::is_empty);
        if let Some(value) = (context.lookup)(name).filter(|_| empty) {
            node.value = Value::Text(value);
        }
        map.insert(name.to_owned(), node);
    };
    let mut at = service.at;
    if let Some(files) = service.get("env_file") {
        at = files.at;
        let single = files.as_str().map(|_| files);
        for file in single.into_iter().chain(files.items()) {
            let path = file.get("path").unwrap_or(file).as_str().unwrap_or_default();
            let required = file.get("required").and_then(Node::as_bool).unwrap_or(true);
            let path = context.path(path);
            let contents = match context.loader.read(Path::new(&path)) {
                Ok(contents) => contents,
                Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => {
                    let what = "env file".to_owned();
                    return Err(Error::Read { what, path: path.into(), source }.into());
                }
            };
            let variables = env_file::parse(&contents, context.lookup).map_err(|message| {
                file.at.problem(format!("invalid env file ({path}): {message}"))
            })?;
            for (name, value) in variables {
                set(&name, Node::text(file.at, value));
            }
        }
    }
    if let Some(environment) = service.get("environment") {
        at = environment.at;
        for (name, node) in pairs(environment, Absent::Null).entries() {
            set(name, node.clone());
        }
    }
    Ok(Node::map(at, map))
}
