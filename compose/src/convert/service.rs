//! One service: names, networks, files, and what the other modules make.

use skep_types::container::FileTarget;
use skep_types::{Annotations, ServiceSpec, TaskSpec, dependency, validate};

use super::{Scope, container, dependencies, deploy, reference};
use crate::error::Problem;
use crate::names::IMAGE_LABEL;
use crate::node::Node;
use crate::stack::{FileByName, NetworkByName, ServiceTemplate};

/// The network of services that name none.
const DEFAULT_NETWORK: &str = "default";
/// Networks that every engine has; they know no aliases.
const PREDEFINED: &[&str] = &["bridge", "host", "none", "default"];
/// Docker: everybody may read.
const FILE_MODE: u32 = 0o444;

/// Holds where a service names an image.
pub(super) fn check_image(name: &str, node: &Node) -> Result<(), Problem> {
    let image = node.text_of("image");
    if image.is_empty() {
        let message = format!("invalid image reference for service {name}: no image specified");
        return Err(node.at.problem(message));
    }
    reference::check(image).map_err(|error| {
        let at = node.get("image").map_or(node.at, |image| image.at);
        at.problem(format!("invalid image reference for service {name}: {error}"))
    })
}

pub(super) fn service(
    name: &str,
    node: &Node,
    scope: &mut Scope<'_>,
) -> Result<ServiceTemplate, Problem> {
    let image = node.text_of("image");
    let empty = Node::map(node.at, Default::default());
    let deploy = node.get("deploy").unwrap_or(&empty);
    let mut labels = scope.namespace.labels(deploy.pairs_of("labels"));
    labels.insert(IMAGE_LABEL.to_owned(), image.to_owned());
    if let Some(depends_on) = dependencies::label(node, scope, name) {
        labels.insert(dependency::LABEL.to_owned(), depends_on);
    }
    let annotations = Annotations { name: scope.namespace.scope(name), labels };
    let checked =
        validate::name(&annotations.name).and_then(|()| validate::labels(&annotations.labels));
    checked.map_err(|error| node.at.problem(format!("{}: {error}", annotations.name)))?;
    let spec = ServiceSpec {
        annotations,
        task: TaskSpec {
            container: container::container(name, node, scope)?,
            resources: deploy::resources(deploy)?,
            restart: deploy::restart(node, deploy)?,
            placement: deploy::placement(deploy),
            networks: Vec::new(),
            log_driver: container::log_driver(node),
            force_update: 0,
        },
        mode: deploy::mode(deploy)?,
        update: deploy::update(deploy.get("update_config"))?,
        rollback: deploy::update(deploy.get("rollback_config"))?,
        endpoint: deploy::endpoint(node, deploy)?,
    };
    let networks = networks(name, node, scope)?;
    let secrets = files("secret", node.get("secrets"), &scope.secrets, scope)?;
    let configs = files("config", node.get("configs"), &scope.configs, scope)?;
    Ok(ServiceTemplate { name: name.to_owned(), spec, networks, secrets, configs })
}

/// The names in the file of the networks that a service is on.
pub(super) fn networks_of(service: &Node) -> Vec<String> {
    let given = service.get("networks").into_iter().flat_map(Node::entries);
    let names: Vec<_> = given.map(|(name, _)| name.clone()).collect();
    if names.is_empty() { vec![DEFAULT_NETWORK.to_owned()] } else { names }
}

fn networks(
    service: &str,
    node: &Node,
    scope: &mut Scope<'_>,
) -> Result<Vec<NetworkByName>, Problem> {
    let given = node.get("networks");
    let mut networks = Vec::new();
    for name in networks_of(node) {
        let options = given.and_then(|given| given.get(&name));
        let network = scope.networks.get(&name);
        if network.is_none() && name != DEFAULT_NETWORK {
            let at = options.map_or(node.at, |options| options.at);
            return Err(at.problem(format!("undefined network {name:?}")));
        }
        let target = scope.name(&name, network);
        let mut aliases = options.map(|options| options.texts_of("aliases")).unwrap_or_default();
        if !PREDEFINED.contains(&target.as_str()) {
            aliases.push(service.to_owned());
        }
        for key in ["driver_opts", "ipv4_address", "ipv6_address"] {
            if options.is_some_and(|options| options.get(key).is_some()) {
                let warning = format!("service {service}: network {name}: {key} is ignored");
                scope.warnings.push(warning);
            }
        }
        networks.push(NetworkByName { network: target, aliases });
    }
    networks.sort_by(|a, b| a.network.cmp(&b.network));
    Ok(networks)
}

fn files(
    kind: &str,
    given: Option<&Node>,
    objects: &Node,
    scope: &Scope<'_>,
) -> Result<Vec<FileByName>, Problem> {
    let mut files = Vec::new();
    for node in given.map(Node::items).unwrap_or_default() {
        let source = node.text_of("source");
        let object = objects
            .get(source)
            .ok_or_else(|| node.at.problem(format!("undefined {kind} {source:?}")))?;
        let or = |key: &str, default: &str| match node.text_of(key) {
            "" => default.to_owned(),
            given => given.to_owned(),
        };
        let mode = match node.get("mode") {
            None => FILE_MODE,
            Some(mode) => mode
                .as_int()
                .and_then(|mode| u32::try_from(mode).ok())
                .filter(|mode| *mode <= 0o7777)
                .ok_or_else(|| {
                    let given = mode.scalar().unwrap_or_default();
                    mode.at.problem(format!("{kind} {source}: invalid mode {given}"))
                })?,
        };
        files.push(FileByName {
            name: scope.name(source, Some(object)),
            target: FileTarget {
                name: or("target", source),
                uid: or("uid", "0"),
                gid: or("gid", "0"),
                mode,
            },
        });
    }
    // A new order in the file is no change of the service.
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
