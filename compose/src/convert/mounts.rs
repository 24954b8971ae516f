//! Mounts of a service: binds, volumes and tmpfs.
//!
//! DEVIATION: `tmpfs` of a service is honoured; Docker's stacks leave it out without a word.

use std::path::Path;

use skep_types::container::Propagation;
use skep_types::{Mount, MountKind};

use super::Scope;
use crate::error::Problem;
use crate::node::Node;
use crate::units;

pub(super) fn mounts(
    service: &str,
    node: &Node,
    scope: &mut Scope<'_>,
) -> Result<Vec<Mount>, Problem> {
    let mut mounts = Vec::new();
    for mount in node.get("volumes").map(Node::items).unwrap_or_default() {
        mounts.push(convert(mount, scope)?);
    }
    for entry in node.get("tmpfs").map(Node::items).unwrap_or_default() {
        mounts.push(tmpfs(service, entry, scope)?);
    }
    Ok(mounts)
}

fn empty(kind: MountKind, node: &Node) -> Result<Mount, Problem> {
    let target = node.text_of("target");
    let at = node.get("target").map_or(node.at, |target| target.at);
    let kind_name = match kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
    };
    let invalid = |what: &str| {
        Err(at.problem(format!("invalid mount config for type {kind_name:?}: {what}")))
    };
    if target.is_empty() {
        return invalid("field Target must not be empty");
    }
    if !Path::new(target).is_absolute() {
        return invalid(&format!("invalid mount path: '{target}' mount path must be absolute"));
    }
    Ok(Mount {
        kind,
        target: target.to_owned(),
        read_only: node.flag("read_only"),
        ..Mount::default()
    })
}

fn convert(node: &Node, scope: &Scope<'_>) -> Result<Mount, Problem> {
    let kind = node.text_of("type");
    let only = |own: &str| {
        for options in ["bind", "volume", "tmpfs", "image", "cluster"] {
            if let Some(given) = node.get(options).filter(|_| options != own) {
                let message = format!("{options} options are incompatible with type {kind}");
                return Err(given.at.problem(message));
            }
        }
        Ok(())
    };
    match kind {
        "volume" => {
            only("volume")?;
            volume(node, scope)
        }
        "bind" => {
            only("bind")?;
            bind(node)
        }
        "tmpfs" => {
            only("tmpfs")?;
            if !node.text_of("source").is_empty() {
                return Err(node.at.problem("invalid tmpfs source, source must be empty"));
            }
            let mut mount = empty(MountKind::Tmpfs, node)?;
            if let Some(options) = node.get("tmpfs") {
                let number = |key| options.get(key).and_then(Node::as_int).unwrap_or(0);
                mount.tmpfs_size_bytes = i64::try_from(number("size"))
                    .map_err(|_| options.at.problem("invalid tmpfs size: out of range"))?;
                mount.tmpfs_mode = mode(number("mode"))
                    .ok_or_else(|| options.at.problem("invalid tmpfs mode: out of range"))?;
            }
            Ok(mount)
        }
        "npipe" | "cluster" | "image" => {
            Err(node.at.problem(format!("mounts of type {kind} are not supported")))
        }
        _ => Err(node.at.problem("volume type must be volume, bind, or tmpfs")),
    }
}

fn mode(mode: i128) -> Option<u32> {
    u32::try_from(mode).ok().filter(|mode| *mode <= 0o7777)
}

fn bind(node: &Node) -> Result<Mount, Problem> {
    let source = node.text_of("source");
    if source.is_empty() {
        return Err(node.at.problem("invalid bind source, source cannot be empty"));
    }
    let mut mount = empty(MountKind::Bind, node)?;
    mount.source = source.to_owned();
    if let Some(options) = node.get("bind") {
        let word = options.text_of("propagation");
        mount.propagation = Propagation::from_word(word)
            .ok_or_else(|| options.at.problem(format!("invalid propagation: {word}")))?;
        if options.get("selinux").is_some() {
            return Err(options.at.problem("bind option selinux is not supported"));
        }
    }
    Ok(mount)
}

fn volume(node: &Node, scope: &Scope<'_>) -> Result<Mount, Problem> {
    let mut mount = empty(MountKind::Volume, node)?;
    let source = node.text_of("source");
    if let Some(options) = node.get("volume") {
        mount.volume_nocopy = options.flag("nocopy");
        if options.get("subpath").is_some() {
            return Err(options.at.problem("volume option subpath is not supported"));
        }
    }
    if source.is_empty() {
        return Ok(mount);
    }
    let volume = scope
        .volumes
        .get(source)
        .ok_or_else(|| node.at.problem(format!("undefined volume {source:?}")))?;
    mount.source = scope.name(source, Some(volume));
    if volume.flag("external") {
        return Ok(mount);
    }
    mount.volume_labels = scope.namespace.labels(volume.pairs_of("labels"));
    let (driver, options) = (volume.text_of("driver"), volume.pairs_of("driver_opts"));
    if !driver.is_empty() || !options.is_empty() {
        // Options without a driver are for the engine's own.
        let driver = if driver.is_empty() { "local" } else { driver };
        mount.volume_driver = Some((driver.to_owned(), options));
    }
    Ok(mount)
}

/// `PATH[:OPTION,…]`, with `size=` and `mode=` among the options.
fn tmpfs(service: &str, node: &Node, scope: &mut Scope<'_>) -> Result<Mount, Problem> {
    let text = node.as_str().unwrap_or_default();
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let target = Node::map(
        node.at,
        crate::node::Map::from([("target".to_owned(), Node::text(node.at, path))]),
    );
    let mut mount = empty(MountKind::Tmpfs, &target)?;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let invalid = |what: &str| node.at.problem(format!("tmpfs {path}: {what}"));
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", size) => {
                mount.tmpfs_size_bytes = units::size(size).map_err(|error| invalid(&error))?;
            }
            ("mode", text) => {
                let parsed = i128::from_str_radix(text, 8).ok().and_then(mode);
                mount.tmpfs_mode =
                    parsed.ok_or_else(|| invalid(&format!("invalid mode: '{text}'")))?;
            }
            ("ro", "") => mount.read_only = true,
            ("rw", "") => {}
            _ => {
                let warning = format!("service {service}: tmpfs {path}: {option} is ignored");
                scope.warnings.push(warning);
            }
        }
    }
    Ok(mount)
}
