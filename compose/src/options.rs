//! Options of services that a stack cannot honour: warned of, or refused with what to write
//! instead.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::node::Node;

/// Taken and ignored. The first are Docker's; then those of the Compose Specification that Docker
/// refuses, and those that Docker's stacks honour and these do not.
const UNSUPPORTED: &[&str] = &[
    "build",
    "cgroup_parent",
    "cgroupns_mode",
    "domainname",
    "external_links",
    "ipc",
    "links",
    "mac_address",
    "network_mode",
    "pid",
    "security_opt",
    "shm_size",
    "userns_mode",
    "platform",
    "profiles",
    "pull_policy",
    "runtime",
    "credential_spec",
    "isolation",
    "oom_score_adj",
];

/// Taken and ignored, with no effect on what runs.
const DEPRECATED: &[(&str, &str)] = &[
    ("container_name", "Setting the container name is not supported."),
    (
        "expose",
        "Exposing ports is unnecessary - services on the same network can access each other's \
         containers on any port.",
    ),
];

/// Refused.
const FORBIDDEN: &[(&str, &str)] = &[
    ("extends", "Support for `extends` is not implemented yet."),
    (
        "volume_driver",
        "Instead of setting the volume driver on the service, define a volume using the top-level \
         `volumes` option and specify the driver there.",
    ),
    (
        "volumes_from",
        "To share a volume between services, define it using the top-level `volumes` option and \
         reference it from each service that shares it using the service-level `volumes` option.",
    ),
    ("cpu_quota", "Set resource limits using deploy.resources"),
    ("cpu_shares", "Set resource limits using deploy.resources"),
    ("cpuset", "Set resource limits using deploy.resources"),
    ("mem_limit", "Set resource limits using deploy.resources"),
    ("memswap_limit", "Set resource limits using deploy.resources"),
];

fn services(file: &Node) -> impl Iterator<Item = &Node> {
    file.get("services").into_iter().flat_map(|services| services.entries()).map(|(_, node)| node)
}

fn described(files: &[Node], options: &[(&'static str, &'static str)]) -> String {
    let used: BTreeMap<_, _> = options
        .iter()
        .filter(|(name, _)| files.iter().flat_map(services).any(|s| s.get(name).is_some()))
        .copied()
        .collect();
    let lines: Vec<_> = used.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    lines.join("\n\n")
}

/// Holds where no service uses an option that has been replaced.
pub(crate) fn refuse_forbidden(file: &Node) -> Result<(), Error> {
    let used = described(std::slice::from_ref(file), FORBIDDEN);
    if used.is_empty() { Ok(()) } else { Err(Error::Forbidden(used)) }
}

/// What is ignored, in Docker's words.
///
/// DEVIATION: `restart` is in Docker's list although Docker's stacks follow it where
/// `deploy.restart_policy` is not given; so do these, and the warning is for where it is, and for
/// `no`, which has no effect there nor here.
pub(crate) fn warnings(files: &[Node]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut ignored: BTreeSet<&str> = UNSUPPORTED
        .iter()
        .filter(|name| files.iter().flat_map(services).any(|s| s.get(name).is_some()))
        .copied()
        .collect();
    let superseded = |service: &Node| {
        let policy = service.get("deploy").and_then(|deploy| deploy.get("restart_policy"));
        let restart = service.get("restart").and_then(Node::as_str);
        restart.is_some_and(|restart| policy.is_some() || restart == "no")
    };
    if files.iter().flat_map(services).any(superseded) {
        ignored.insert("restart");
    }
    if !ignored.is_empty() {
        let names: Vec<_> = ignored.into_iter().collect();
        warnings.push(format!("Ignoring unsupported options: {}", names.join(", ")));
    }
    let deprecated = described(files, DEPRECATED);
    if !deprecated.is_empty() {
        warnings.push(format!("Ignoring deprecated options:\n\n{deprecated}"));
    }
    warnings
}
