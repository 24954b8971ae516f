//! `skep daemon`'s flags on itself, on registries and on what containers are by default, as keys of
//! `daemon.json`: a flag that is not given is no key.

use clap::{ArgAction, Args};
use serde_json::{Map, Value};
use skep_node::config_file::ulimit_of_flag;

/// What the daemon itself is told, and what it tells containers.
#[derive(Debug, Args)]
pub struct EngineFlags {
    /// Root directory of persistent state
    #[arg(long, value_name = "PATH")]
    pub data_root: Option<String>,
    /// Root directory of state that ends with the boot
    #[arg(long, value_name = "PATH")]
    pub exec_root: Option<String>,
    /// Path to use for daemon PID file
    #[arg(short = 'p', long, value_name = "PATH")]
    pub pidfile: Option<String>,
    /// Enable debug mode
    #[arg(short = 'D', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub debug: Option<bool>,
    /// Set the logging level ("debug"|"info"|"warn"|"error"|"fatal")
    #[arg(id = "daemon_log_level", short = 'l', long = "log-level", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Set the logging format ("text"|"json")
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Full timestamps without ANSI coloring
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub raw_logs: Option<bool>,
    /// Set key=value labels to the daemon
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// Enable experimental features
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub experimental: Option<bool>,
    /// Set the default shutdown timeout in seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub shutdown_timeout: Option<i64>,
    /// Let services of the swarm have these on this node ("devices"|"gpus"|"privileged")
    #[arg(long = "allow-service-privilege", value_name = "PRIVILEGE")]
    pub allow_service_privileges: Vec<String>,
    /// CDI specification directories to use
    #[arg(long = "cdi-spec-dir", value_name = "DIRECTORY")]
    pub cdi_spec_dirs: Vec<String>,
    /// Advertise user-defined resource
    #[arg(long = "node-generic-resource", value_name = "RESOURCE")]
    pub generic: Vec<String>,
    /// Set default address or interface for swarm advertise address
    #[arg(long, value_name = "ADDRESS")]
    pub swarm_default_advertise_addr: Option<String>,
    /// Storage driver to use (overlay2)
    #[arg(short = 's', long, value_name = "DRIVER")]
    pub storage_driver: Option<String>,
    /// Storage driver options
    #[arg(long = "storage-opt", value_name = "OPTION")]
    pub storage_opts: Vec<String>,
    /// Enable live restore of containers; it is never off
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub live_restore: Option<bool>,
    /// Set address and port to serve the metrics API on
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_addr: Option<String>,
    /// Enable selinux support
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub selinux_enabled: Option<bool>,
    /// Authorization plugins to load
    #[arg(long = "authorization-plugin", value_name = "PLUGIN")]
    pub authorization_plugins: Vec<String>,

    /// Registry that is spoken to without TLS (host:port)
    #[arg(long = "insecure-registry", value_name = "REGISTRY")]
    pub insecure_registries: Vec<String>,
    /// Preferred registry mirror
    #[arg(long = "registry-mirror", value_name = "URL")]
    pub registry_mirrors: Vec<String>,
    /// Directory of registries' certificates (HOST:PORT/*.crt below it)
    #[arg(long, value_name = "PATH")]
    pub certs_dir: Option<String>,
    /// Set the max concurrent downloads
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub max_concurrent_downloads: Option<i64>,
    /// Set the max concurrent uploads
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub max_concurrent_uploads: Option<i64>,
    /// Set the max download attempts for each pull
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub max_download_attempts: Option<i64>,
    /// HTTP proxy URL to use for outgoing traffic
    #[arg(long, value_name = "URL")]
    pub http_proxy: Option<String>,
    /// HTTPS proxy URL to use for outgoing traffic
    #[arg(long, value_name = "URL")]
    pub https_proxy: Option<String>,
    /// Comma-separated list of hosts or IP addresses for which the proxy is skipped
    #[arg(long, value_name = "HOSTS")]
    pub no_proxy: Option<String>,

    /// Parent cgroup of the containers
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// Give containers a user namespace of their own, with the subordinate ids of a user
    #[arg(long, value_name = "USER[:GROUP]")]
    pub userns_remap: Option<String>,
    /// Default driver for container logs
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Default log driver options for containers
    #[arg(long = "log-opt", value_name = "OPTION=VALUE", value_parser = pair)]
    pub log_opts: Vec<(String, String)>,
    /// Default ulimits for containers
    #[arg(long = "default-ulimit", value_name = "NAME=SOFT[:HARD]", value_parser = ulimit_of_flag)]
    pub ulimits: Vec<(String, Value)>,
    /// Default shm size for containers
    #[arg(long, value_name = "BYTES")]
    pub default_shm_size: Option<String>,
    /// Default mode for containers ipc ("shareable" | "private")
    #[arg(long, value_name = "MODE")]
    pub default_ipc_mode: Option<String>,
    /// Default mode for containers cgroup namespace ("host" | "private")
    #[arg(long, value_name = "MODE")]
    pub default_cgroupns_mode: Option<String>,
    /// Default OCI runtime for containers
    #[arg(long, value_name = "RUNTIME")]
    pub default_runtime: Option<String>,
    /// Runtime execution options
    #[arg(long = "exec-opt", value_name = "OPTION=VALUE")]
    pub exec_opts: Vec<String>,
    /// Run an init in the container to forward signals and reap processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub init: Option<bool>,
    /// Set no-new-privileges by default for new containers
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub no_new_privileges: Option<bool>,
    /// Path to seccomp profile. Set to "unconfined" to disable the default seccomp profile
    #[arg(long, value_name = "PATH")]
    pub seccomp_profile: Option<String>,
    /// IP address that the special 'host-gateway' string in --add-host resolves to
    #[arg(long, value_name = "IP")]
    pub host_gateway_ip: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or(format!("bad attribute format: {text}"))?;
    Ok((name.to_owned(), value.to_owned()))
}

impl EngineFlags {
    pub fn keys(self) -> Map<String, Value> {
        let list = |values: Vec<String>| (!values.is_empty()).then(|| Value::from(values));
        let map = |values: Map<String, Value>| (!values.is_empty()).then(|| values.into());
        let log_opts = self.log_opts.into_iter().map(|(name, value)| (name, value.into()));
        let keys = [
            ("data-root", self.data_root.map(Value::from)),
            ("exec-root", self.exec_root.map(Value::from)),
            ("pidfile", self.pidfile.map(Value::from)),
            ("debug", self.debug.map(Value::from)),
            ("log-level", self.log_level.map(Value::from)),
            ("log-format", self.log_format.map(Value::from)),
            ("raw-logs", self.raw_logs.map(Value::from)),
            ("labels", list(self.labels)),
            ("experimental", self.experimental.map(Value::from)),
            ("shutdown-timeout", self.shutdown_timeout.map(Value::from)),
            ("allow-service-privileges", list(self.allow_service_privileges)),
            ("cdi-spec-dirs", list(self.cdi_spec_dirs)),
            ("node-generic-resources", list(self.generic)),
            ("swarm-default-advertise-addr", self.swarm_default_advertise_addr.map(Value::from)),
            ("storage-driver", self.storage_driver.map(Value::from)),
            ("storage-opts", list(self.storage_opts)),
            ("live-restore", self.live_restore.map(Value::from)),
            ("metrics-addr", self.metrics_addr.map(Value::from)),
            ("selinux-enabled", self.selinux_enabled.map(Value::from)),
            ("authorization-plugins", list(self.authorization_plugins)),
            ("insecure-registries", list(self.insecure_registries)),
            ("registry-mirrors", list(self.registry_mirrors)),
            ("certs-dir", self.certs_dir.map(Value::from)),
            ("max-concurrent-downloads", self.max_concurrent_downloads.map(Value::from)),
            ("max-concurrent-uploads", self.max_concurrent_uploads.map(Value::from)),
            ("max-download-attempts", self.max_download_attempts.map(Value::from)),
            ("http-proxy", self.http_proxy.map(Value::from)),
            ("https-proxy", self.https_proxy.map(Value::from)),
            ("no-proxy", self.no_proxy.map(Value::from)),
            ("cgroup-parent", self.cgroup_parent.map(Value::from)),
            ("userns-remap", self.userns_remap.map(Value::from)),
            ("log-driver", self.log_driver.map(Value::from)),
            ("log-opts", map(log_opts.collect())),
            ("default-ulimits", map(self.ulimits.into_iter().collect())),
            ("default-shm-size", self.default_shm_size.map(Value::from)),
            ("default-ipc-mode", self.default_ipc_mode.map(Value::from)),
            ("default-cgroupns-mode", self.default_cgroupns_mode.map(Value::from)),
            ("default-runtime", self.default_runtime.map(Value::from)),
            ("exec-opts", list(self.exec_opts)),
            ("init", self.init.map(Value::from)),
            ("no-new-privileges", self.no_new_privileges.map(Value::from)),
            ("seccomp-profile", self.seccomp_profile.map(Value::from)),
            ("host-gateway-ip", self.host_gateway_ip.map(Value::from)),
        ];
        let given = keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        given.collect()
    }
}
