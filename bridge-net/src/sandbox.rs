//! A container's place on networks: what is asked, and what it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use skep_docker_api::json::{EndpointSettings, PortBinding};
use skep_idmap::Owner;

use crate::options::DnsOptions;

/// A container that is about to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxRequest {
    /// 64 hexadecimal digits.
    pub container: String,
    /// Without its slash.
    pub name: String,
    pub hostname: String,
    pub mode: SandboxMode,
    /// `PortBindings`: `80/tcp` to where it is published. An empty host port is any free one.
    pub ports: BTreeMap<String, Vec<PortBinding>>,
    /// `ExposedPorts`: what links open, and what `publish_all` publishes.
    pub exposed: BTreeSet<String>,
    pub publish_all: bool,
    /// `--link` on the default bridge: to containers that run.
    pub links: Vec<Link>,
    pub dns: DnsOptions,
    /// Whose the network namespace is.
    #[serde(default)]
    pub owner: Owner,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum SandboxMode {
    /// Each network by name or id.
    Networks(BTreeMap<String, EndpointSettings>),
    Host,
    /// A namespace with its loopback alone.
    None,
    /// Another container's namespace, by its id.
    Container(String),
}

/// `--link CONTAINER:ALIAS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other container's id.
    pub container: String,
    pub alias: String,
}

/// What lists show of a container's place on networks.
#[derive(Debug, Clone)]
pub struct Shown {
    /// As inspect shows them, by the networks' names.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// As `NetworkSettings.Ports` shows them.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
}

/// What a container has of the network now.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// None: the host's own.
    pub namespace: Option<PathBuf>,
    /// As in [`Shown`].
    pub networks: BTreeMap<String, EndpointSettings>,
    /// As in [`Shown`].
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Where the container asks for names, if the embedded resolver serves it.
    pub resolver: Option<IpAddr>,
    /// Lines of `/etc/hosts` beyond the loopback's and the user's.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
    /// The text of `/etc/resolv.conf`.
    pub resolv_conf: String,
}
