//! Mounts in short syntax, and the paths that bind mounts name.

use super::{Context, put};
use crate::error::Problem;
use crate::node::{Map, Node, Value};

const PROPAGATIONS: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// One entry of `volumes`, in long syntax.
pub(super) fn normal(node: &Node, context: &mut Context<'_>) -> Result<Node, Problem> {
    let mut map = match node.as_str() {
        Some(text) => short(node, text).map_err(|error| node.at.problem(error))?,
        None => long(node)?,
    };
    let kind = map.get("type").and_then(Node::as_str).unwrap_or_default();
    if kind == "bind" {
        let source = map.get("source").and_then(Node::as_str).unwrap_or_default();
        if source.is_empty() {
            return Err(node.at.problem(
                "invalid mount config for type \"bind\": field Source must not be empty",
            ));
        }
        let source = expand_home(source, context);
        let path = context.path(&source);
        map.insert("source".to_owned(), Node::text(node.at, path));
    }
    Ok(Node::map(node.at, map))
}

fn long(node: &Node) -> Result<Map, Problem> {
    let mut map = Map::new();
    for (key, value) in node.entries() {
        let inner = |value: &Node| {
            let mut inner = Map::new();
            for (key, value) in value.entries() {
                put(&mut inner, key, value.clone());
            }
            Node::map(value.at, inner)
        };
        match key.as_str() {
            // Options of a kind of mount count by being there, even when all are left out.
            "bind" | "volume" | "image" | "cluster" => {
                map.insert(key.clone(), inner(value));
            }
            "tmpfs" => {
                let mut options = inner(value);
                if let (Some(size), Some(map)) = (value.get("size"), options.as_map_mut()) {
                    put(map, "size", super::deploy::size(size)?);
                }
                map.insert(key.clone(), options);
            }
            _ => put(&mut map, key, value.clone()),
        }
    }
    Ok(map)
}

/// `~` is the home of who runs the command.
fn expand_home(source: &str, context: &mut Context<'_>) -> String {
    let Some(rest) = source.strip_prefix('~') else { return source.to_owned() };
    match (context.lookup)("HOME") {
        Some(home) => format!("{home}{rest}"),
        None => {
            context.warn("cannot expand '~', because the environment lacks HOME".to_owned());
            source.to_owned()
        }
    }
}

/// `[SOURCE:]TARGET[:OPTIONS]`. A source that begins as a path does is a bind mount's.
fn short(node: &Node, text: &str) -> Result<Map, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    let parts: Vec<_> = text.split(':').collect();
    let invalid = |what: &str| format!("invalid spec: {text}: {what}");
    if parts.iter().any(|part| part.is_empty()) {
        return Err(invalid("empty section between colons"));
    }
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(invalid("too many colons")),
    };
    let bind = source.starts_with(['.', '/', '~']);
    let text = |text: &str| Node::text(node.at, text);
    let mut map = Map::new();
    put(&mut map, "type", text(if bind { "bind" } else { "volume" }));
    put(&mut map, "source", text(source));
    put(&mut map, "target", text(target));
    let option = |key: &str, value| Node::map(node.at, Map::from([(key.to_owned(), value)]));
    let yes = || Node { at: node.at, value: Value::Bool(true) };
    for word in options.split(',') {
        match word {
            "ro" => put(&mut map, "read_only", yes()),
            "rw" => {
                map.remove("read_only");
            }
            "nocopy" => put(&mut map, "volume", option("nocopy", yes())),
            word if PROPAGATIONS.contains(&word) => {
                put(&mut map, "bind", option("propagation", text(word)));
            }
            // As in Docker, what is not known (`z`, `cached`) is let go.
            _ => {}
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::At;
    use crate::node::fingerprint;

    fn check(text: &str, expected: Result<&str, &str>) {
        let node = Node::text(At::default(), text);
        let got = short(&node, text).map(|map| fingerprint(&Node::map(At::default(), map)));
        let got = got.map(|text| text.replace('"', ""));
        assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn every_form() {
        check("/data", Ok("{target:/data,type:volume}"));
        check("db:/data", Ok("{source:db,target:/data,type:volume}"));
        check("/a:/b", Ok("{source:/a,target:/b,type:bind}"));
        check("./a:/b:ro", Ok("{read_only:true,source:./a,target:/b,type:bind}"));
        check("~/a:/b:rw,z", Ok("{source:~/a,target:/b,type:bind}"));
        check("db:/b:nocopy", Ok("{source:db,target:/b,type:volume,volume:{nocopy:true}}"));
        check("/a:/b:rslave", Ok("{bind:{propagation:rslave},source:/a,target:/b,type:bind}"));
        check("", Err("invalid empty volume spec"));
        check("a::b", Err("invalid spec: a::b: empty section between colons"));
        check("a:b:ro:d", Err("invalid spec: a:b:ro:d: too many colons"));
    }
}
