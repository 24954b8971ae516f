//! Several files into one, each over those before it, as `docker stack deploy -c a -c b` does.
//!
//! Services are merged field by field: maps by key, lists by appending, ports by what they publish,
//! mounts by target, secrets and configs by source, commands and ulimits as a whole. Networks,
//! volumes, secrets and configs are replaced by name. What a later file sets to nothing (`false`,
//! `0`, `""`) leaves the earlier value, as in Docker.
//!
//! DEVIATION: a health check's test is replaced (Docker appends the second to the first), and ports
//! that differ in protocol, or that are left to the swarm, are kept apart (Docker keeps one). What a
//! service's list has already is not appended again: Docker prints it twice and then refuses to read
//! what it printed.

use std::collections::BTreeMap;

use skep_types::dependency::Condition;

use crate::node::{Map, Node, Value};
use crate::normal::unique;

/// `base` with `over` over it.
pub(crate) fn files(base: &mut Node, over: Node) {
    let (Some(base), Value::Map(over)) = (base.as_map_mut(), over.value) else { return };
    for (key, value) in over {
        match key.as_str() {
            "services" => {
                let Some(services) = section(base, &key, &value) else { continue };
                let Value::Map(overs) = value.value else { continue };
                for (name, service) in overs {
                    match services.get_mut(&name) {
                        Some(base) => {
                            let keyed = KEYED.map(|(name, _)| base.get(name).is_some());
                            fields(base, service, Level::Service);
                            order_by_key(base, keyed);
                        }
                        None => {
                            services.insert(name, service);
                        }
                    }
                }
            }
            "networks" | "volumes" | "secrets" | "configs" => {
                let Some(objects) = section(base, &key, &value) else { continue };
                if let Value::Map(overs) = value.value {
                    objects.extend(overs);
                }
            }
            "name" => {
                base.insert(key, value);
            }
            "version" => {
                base.entry(key).or_insert(value);
            }
            // Extension fields at the top have done their work when a file is read.
            _ => {}
        }
    }
}

fn section<'a>(base: &'a mut Map, key: &str, like: &Node) -> Option<&'a mut Map> {
    base.entry(key.to_owned()).or_insert_with(|| Node::map(like.at, Map::new())).as_map_mut()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Service,
    Below,
}

fn fields(base: &mut Node, over: Node, level: Level) {
    let (Some(base), Value::Map(over)) = (base.as_map_mut(), over.value) else { return };
    for (key, value) in over {
        let Some(old) = base.get_mut(&key) else {
            base.insert(key, value);
            continue;
        };
        match (level, key.as_str()) {
            (Level::Service, "command" | "entrypoint") | (Level::Below, "test") => *old = value,
            (Level::Service, "init") if value.as_bool() == Some(false) => {}
            (Level::Service, "networks") => networks(old, value),
            (Level::Service, "ulimits") => {
                if let (Some(old), Value::Map(new)) = (old.as_map_mut(), value.value) {
                    old.extend(new);
                }
            }
            (Level::Service, "logging") => logging(old, value),
            (Level::Service, "depends_on")
                if old.as_map().is_some() || value.as_map().is_some() =>
            {
                let over = dependencies(&value);
                let mut all = dependencies(old);
                all.extend(over);
                *old = Node::map(old.at, all);
            }
            (Level::Service, "environment") => environment(old, value),
            (Level::Service, name) if !name.starts_with("x-") && !old.items().is_empty() => {
                let items = old.items().iter().chain(value.items()).cloned().collect();
                // Those that are known by a key come to one below.
                old.value = Value::List(unique(items));
            }
            _ => match (&mut old.value, value.value) {
                (Value::Map(_), Value::Map(new)) => {
                    fields(old, Node::map(value.at, new), Level::Below);
                }
                (Value::List(items), Value::List(new)) => items.extend(new),
                (_, Value::Null) => {}
                (_, new) => *old = Node { at: value.at, value: new },
            },
        }
    }
}

/// Both forms as the long one.
fn dependencies(node: &Node) -> Map {
    let named = node.items().iter().filter_map(|item| {
        let condition = Node::text(item.at, Condition::default().word());
        let long = Node::map(item.at, Map::from([("condition".to_owned(), condition)]));
        Some((item.as_str()?.to_owned(), long))
    });
    node.entries().map(|(name, node)| (name.clone(), node.clone())).chain(named).collect()
}

fn field(node: &Node, key: &str) -> (i128, String) {
    (0, node.get(key).and_then(Node::scalar).unwrap_or_default())
}

/// What a port publishes; one that is left to the swarm is known by its target.
fn port_key(port: &Node) -> (i128, String) {
    let number = |key| port.get(key).and_then(Node::as_int).unwrap_or(0);
    let protocol = port.get("protocol").and_then(Node::as_str).unwrap_or("tcp");
    match number("published") {
        0 => (0, format!("{:05}/{protocol}", number("target"))),
        published => (published, protocol.to_owned()),
    }
}

type ItemKey = fn(&Node) -> (i128, String);

/// Lists of a service whose items are known by a key.
const KEYED: [(&str, ItemKey); 4] = [
    ("ports", port_key),
    ("volumes", |mount| field(mount, "target")),
    ("secrets", |file| field(file, "source")),
    ("configs", |file| field(file, "source")),
];

/// Later items replace earlier ones of the same key, in the keys' order; in lists that the earlier
/// file has, as in Docker.
fn order_by_key(service: &mut Node, which: [bool; KEYED.len()]) {
    let Some(service) = service.as_map_mut() else { return };
    let chosen = KEYED.iter().zip(which).filter(|(_, chosen)| *chosen);
    for ((name, key), _) in chosen {
        let Some(list) = service.get_mut(*name) else { continue };
        let items: BTreeMap<_, _> =
            list.items().iter().cloned().map(|item| (key(&item), item)).collect();
        list.value = Value::List(items.into_values().collect());
    }
}

/// A network's aliases are replaced, with what else is said of it.
fn networks(base: &mut Node, over: Node) {
    let (Some(base), Value::Map(over)) = (base.as_map_mut(), over.value) else { return };
    for (name, new) in over {
        let old = base.entry(name).or_insert_with(|| Node { at: new.at, value: Value::Null });
        let Value::Map(new_fields) = new.value else { continue };
        match old.as_map_mut() {
            Some(old) => {
                old.remove("aliases");
                old.extend(new_fields);
            }
            None => *old = Node::map(new.at, new_fields),
        }
    }
}

/// Options of the same driver are merged; another driver has its own.
fn logging(base: &mut Node, over: Node) {
    let driver = |node: &Node| node.get("driver").and_then(Node::as_str).map(str::to_owned);
    match (driver(base), driver(&over)) {
        (Some(old), Some(new)) if old != new => *base = over,
        _ => fields(base, over, Level::Below),
    }
}

/// A name without a value leaves the one there is.
fn environment(base: &mut Node, over: Node) {
    let (Some(base), Value::Map(over)) = (base.as_map_mut(), over.value) else { return };
    for (name, new) in over {
        if !base.contains_key(&name) || !new.as_str().is_none_or(str::is_empty) {
            base.insert(name, new);
        }
    }
}
