//! `skep daemon`: the daemon's own flags, and the runtime that it runs on.

mod listen_flags;
mod network_flags;

use std::path::PathBuf;

use clap::Args;
use skep_node::config::{Config, DATA_ROOT, EXEC_ROOT};
use skep_node::config_file::{self, CONFIG_FILE, ConfigError};

use self::listen_flags::ListenFlags;
use self::network_flags::NetworkFlags;
use crate::args::LogLevel;
use crate::failure::{Failure, Outcome};

/// Run the daemon
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Root directory of persistent state
    #[arg(long, value_name = "PATH", default_value = DATA_ROOT)]
    pub data_root: PathBuf,
    /// Root directory of state that ends with the boot
    #[arg(long, value_name = "PATH", default_value = EXEC_ROOT)]
    pub exec_root: PathBuf,
    #[command(flatten)]
    pub listen: ListenFlags,
    /// Registry that is spoken to without TLS (host:port)
    #[arg(long = "insecure-registry", value_name = "REGISTRY")]
    pub insecure_registries: Vec<String>,
    /// Directory of registries' certificates (HOST:PORT/*.crt below it)
    #[arg(long, value_name = "PATH", default_value = skep_node::config::CERTS_DIR)]
    pub certs_dir: PathBuf,
    /// Parent cgroup of the containers
    #[arg(long, value_name = "PATH", default_value = skep_node::config::CGROUP_PARENT)]
    pub cgroup_parent: PathBuf,
    /// Give containers a user namespace of their own, with the subordinate ids of a user
    #[arg(long, value_name = "USER[:GROUP]")]
    pub userns_remap: Option<String>,
    /// Advertise user-defined resources (NAME=VALUE; a number is a count)
    #[arg(long = "node-generic-resource", value_name = "list")]
    pub node_generic_resources: Vec<String>,
    /// File with the daemon's options, under Docker's keys
    #[arg(long, value_name = "PATH")]
    pub config_file: Option<PathBuf>,
    #[command(flatten)]
    pub networks: NetworkFlags,
    /// Write logs as JSON, one object a line
    #[arg(long)]
    pub log_json: bool,
}

/// Runs the daemon until it is told to stop.
pub fn run(args: DaemonArgs, level: LogLevel) -> Outcome {
    let level = match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let file = args.config_file.clone().unwrap_or_else(|| CONFIG_FILE.into());
    let refuse = |error: ConfigError| Failure::new(error.to_string());
    let mut flags = args.networks.keys();
    flags.extend(args.listen.keys());
    flags.extend(args.userns_remap.map(|user| ("userns-remap".to_owned(), user.into())));
    if !args.node_generic_resources.is_empty() {
        flags.insert("node-generic-resources".to_owned(), args.node_generic_resources.into());
    }
    let keys = config_file::read(&file, args.config_file.is_some())
        .and_then(|keys| config_file::together(flags, keys, &file))
        .map_err(refuse)?;
    let networks = config_file::network_options(&keys).map_err(refuse)?;
    let api = config_file::api_options(&keys).map_err(refuse)?;
    let userns_remap = config_file::userns_remap(&keys).map_err(refuse)?;
    let generic_resources = config_file::generic_resources(&keys).map_err(refuse)?;
    let config = Config {
        generic_resources,
        networks,
        userns_remap,
        id_maps: None,
        data_root: args.data_root,
        exec_root: args.exec_root,
        api,
        insecure_registries: args.insecure_registries,
        certs_dir: args.certs_dir,
        cgroup_parent: args.cgroup_parent,
        // The libraries beneath speak of their own affairs: only their troubles are of interest.
        log_filter: std::env::var("SKEP_LOG").unwrap_or_else(|_| format!("warn,{}", ours(level))),
        log_json: args.log_json,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("failed to start the runtime: {error}")))?;
    skep_node::logging::init(&config).map_err(|error| Failure::new(format!("{error:#}")))?;
    let done = runtime.block_on(skep_node::daemon::run(config));
    done.map_err(|error| Failure::new(format!("failed to run the daemon: {error:#}")))
}

fn ours(level: &str) -> String {
    let rooms = [
        "node",
        "manager",
        "agent",
        "raft",
        "engine",
        "images",
        "overlay_net",
        "docker_api",
        "bridge",
    ];
    let filters: Vec<String> = rooms.iter().map(|room| format!("skep_{room}={level}")).collect();
    filters.join(",")
}
