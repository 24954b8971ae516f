//! The daemon's configuration, all of it.

use std::net::SocketAddr;
use std::path::PathBuf;

use skep_idmap::IdMaps;

use crate::config_file::{Settings, Source};
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
    /// The cgroup that holds the containers' cgroups.
    pub cgroup_parent: PathBuf,
    /// Whose subordinate ids containers get, as `--userns-remap` has it; empty: they have the
    /// host's. [`crate::remap::settle`] turns it into the next.
    pub userns_remap: String,
    /// The maps of containers' user namespaces.
    pub id_maps: Option<IdMaps>,
    /// What containers' networks on this host are told.
    pub networks: skep_bridge::NetworkOptions,
    /// What may change while the daemon runs, as it is at the start.
    pub settings: Settings,
    /// Where the daemon's process number is kept while it runs.
    pub pidfile: Option<PathBuf>,
    pub log_form: LogForm,
    /// Where `GET /metrics` is answered; none: nowhere.
    pub metrics_addr: Option<SocketAddr>,
    /// Where all of this comes from.
    pub source: Source,
}

/// How the daemon's own log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    Text,
    /// Text without colours.
    Raw,
    /// One object a line.
    Json,
}
