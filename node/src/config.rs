//! The daemon's configuration, all of it.

use std::path::PathBuf;

use skep_idmap::IdMaps;
use skep_types::resources::GenericResource;

use crate::listen::ApiConfig;

/// Where the daemon keeps its state when nobody says otherwise.
pub const DATA_ROOT: &str = "/var/lib/skep";
/// Where it keeps what does not outlive a boot.
pub const EXEC_ROOT: &str = "/run/skep";

/// Where registries' certificates stand.
pub const CERTS_DIR: &str = "/etc/skep/certs.d";
/// The cgroup of the containers' cgroups when nobody says otherwise.
pub const CGROUP_PARENT: &str = "/skep";

/// What a daemon is started with.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_root: PathBuf,
    pub exec_root: PathBuf,
    /// Where the API is served, and to whom.
    pub api: ApiConfig,
    /// Registries that are spoken to without TLS, or whose certificate is not verified: `host:port`.
    pub insecure_registries: Vec<String>,
    /// `HOST:PORT/*.crt` below it are trusted for that registry.
    pub certs_dir: PathBuf,
    /// The cgroup that holds the containers' cgroups.
    pub cgroup_parent: PathBuf,
    /// Whose subordinate ids containers get, as `--userns-remap` has it; empty: they have the
    /// host's. [`crate::remap::settle`] turns it into the next.
    pub userns_remap: String,
    /// The maps of containers' user namespaces.
    pub id_maps: Option<IdMaps>,
    /// What containers' networks on this host are told.
    pub networks: skep_bridge::NetworkOptions,
    /// What the operator declares of the host beside its CPUs and memory.
    pub generic_resources: Vec<GenericResource>,
    /// As `tracing-subscriber` reads it: `info`, `skep_raft=debug`, ….
    pub log_filter: String,
    pub log_json: bool,
}
