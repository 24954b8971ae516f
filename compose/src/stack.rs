//! What a Compose file is turned into: objects that know one another by name.
//!
//! Ids are the cluster's to give, so a service's networks, secrets and configs stand beside its
//! spec, whose own lists of them are empty, until who sends it has looked the names up.

use std::collections::BTreeMap;

use skep_types::container::FileTarget;
use skep_types::{ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec};

/// Everything that `stack deploy` makes or needs; all names are the cluster's (`STACK_name`).
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    pub name: String,
    pub services: Vec<ServiceTemplate>,
    /// Those that services are on.
    pub networks: Vec<NetworkSpec>,
    /// Names of networks that services are on and that have to be there already.
    pub external_networks: Vec<String>,
    /// Volumes are made on the nodes, with the mounts that name them; this is for showing.
    pub volumes: Vec<StackVolume>,
    pub secrets: Vec<SecretSpec>,
    pub external_secrets: Vec<String>,
    pub configs: Vec<ConfigSpec>,
    pub external_configs: Vec<String>,
    /// What is ignored or looks wrong, in the words of Docker.
    pub warnings: Vec<String>,
}

/// A service whose networks, secrets and configs are known by name.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceTemplate {
    /// The name in the file, without the stack's.
    pub name: String,
    /// Networks, secrets and configs in it are empty.
    pub spec: ServiceSpec,
    pub networks: Vec<NetworkByName>,
    pub secrets: Vec<FileByName>,
    pub configs: Vec<FileByName>,
}

/// A service's place on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkByName {
    pub network: String,
    pub aliases: Vec<String>,
}

/// A secret or config in a service's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileByName {
    pub name: String,
    pub target: FileTarget,
}

/// A volume of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackVolume {
    pub name: String,
    /// Made by others.
    pub external: bool,
    /// Empty: the engine's default.
    pub driver: String,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}
