//! `/containers`: the line of a list and the whole of one, as far as this engine knows it.

use std::collections::BTreeMap;

use super::shape::{null_default, omitempty, shape};
use super::{HealthConfig, HostConfig, Map, PortBinding};

shape! {
    PortSummary {
        "IP" ip: String => "omitempty",
        "PrivatePort" private_port: u16,
        "PublicPort" public_port: u16 => "omitempty",
        "Type" kind: String,
    }

    MountPoint {
        "Type" kind: String => "omitempty",
        "Name" name: String => "omitempty",
        "Source" source: String,
        "Destination" destination: String,
        "Driver" driver: String => "omitempty",
        "Mode" mode: String,
        "RW" rw: bool,
        "Propagation" propagation: String,
    }

    EndpointIpamConfig {
        "IPv4Address" ipv4_address: String => "omitempty",
        "IPv6Address" ipv6_address: String => "omitempty",
        "LinkLocalIPs" link_local_ips: Vec<String> => "omitempty",
    }

    /// A container's place on a network: what is wished of it, and, once it is there, what it got.
    EndpointSettings {
        "IPAMConfig" ipam_config: Option<EndpointIpamConfig>,
        "Links" links: Option<Vec<String>>,
        "Aliases" aliases: Option<Vec<String>>,
        "MacAddress" mac_address: String,
        "DriverOpts" driver_opts: Option<Map>,
        "GwPriority" gw_priority: i64,
        "NetworkID" network_id: String,
        "EndpointID" endpoint_id: String,
        "Gateway" gateway: String,
        "IPAddress" ip_address: String,
        "IPPrefixLen" ip_prefix_len: u8,
        "IPv6Gateway" ipv6_gateway: String,
        "GlobalIPv6Address" global_ipv6_address: String,
        "GlobalIPv6PrefixLen" global_ipv6_prefix_len: u8,
        "DNSNames" dns_names: Option<Vec<String>>,
    }

    NetworkSettingsSummary { "Networks" networks: BTreeMap<String, EndpointSettings> }

    HostConfigSummary { "NetworkMode" network_mode: String => "omitempty" }

    /// `State` is `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`; `Status` says it for people.
    ContainerSummary {
        "Id" id: String,
        "Names" names: Vec<String>,
        "Image" image: String,
        "ImageID" image_id: String,
        "Command" command: String,
        "Created" created: i64,
        "Ports" ports: Vec<PortSummary>,
        "SizeRw" size_rw: i64 => "omitempty",
        "SizeRootFs" size_root_fs: i64 => "omitempty",
        "Labels" labels: Map,
        "State" state: String,
        "Status" status: String,
        "HostConfig" host_config: HostConfigSummary,
        "NetworkSettings" network_settings: NetworkSettingsSummary,
        "Mounts" mounts: Vec<MountPoint>,
    }

    HealthcheckResult { "Start" start: String, "End" end: String, "ExitCode" exit_code: i64, "Output" output: String }

    Health { "Status" status: String, "FailingStreak" failing_streak: u64, "Log" log: Vec<HealthcheckResult> }

    ContainerState {
        "Status" status: String,
        "Running" running: bool,
        "Paused" paused: bool,
        "Restarting" restarting: bool,
        "OOMKilled" oom_killed: bool,
        "Dead" dead: bool,
        "Pid" pid: i64,
        "ExitCode" exit_code: i64,
        "Error" error: String,
        "StartedAt" started_at: String,
        "FinishedAt" finished_at: String,
        "Health" health: Option<Health> => "omitempty",
    }

    /// A Go set: the keys alone matter.
    Nothing {}

    ContainerConfig {
        "Hostname" hostname: String,
        "Domainname" domainname: String,
        "User" user: String,
        "AttachStdin" attach_stdin: bool,
        "AttachStdout" attach_stdout: bool,
        "AttachStderr" attach_stderr: bool,
        "ExposedPorts" exposed_ports: BTreeMap<String, Nothing> => "omitempty",
        "Tty" tty: bool,
        "OpenStdin" open_stdin: bool,
        "StdinOnce" stdin_once: bool,
        [redacted] "Env" env: Vec<String>,
        "Cmd" cmd: Option<Vec<String>>,
        "Healthcheck" healthcheck: Option<HealthConfig> => "omitempty",
        "Image" image: String,
        "Volumes" volumes: Option<BTreeMap<String, Nothing>>,
        "WorkingDir" working_dir: String,
        "Entrypoint" entrypoint: Option<Vec<String>>,
        "NetworkDisabled" network_disabled: bool => "omitempty",
        "MacAddress" mac_address: String => "omitempty",
        "OnBuild" on_build: Option<Vec<String>>,
        "Labels" labels: Map,
        "StopSignal" stop_signal: String => "omitempty",
        "StopTimeout" stop_timeout: Option<i64> => "omitempty",
        "Shell" shell: Option<Vec<String>> => "omitempty",
    }

    /// Made by [`NetworkSettings::new`]: from `HairpinMode` on it repeats the default network's part, as scripts have read it since
    /// there was only one network.
    NetworkSettings {
        "Bridge" bridge: String,
        "SandboxID" sandbox_id: String,
        "SandboxKey" sandbox_key: String,
        "Ports" ports: BTreeMap<String, Option<Vec<PortBinding>>>,
        "HairpinMode" hairpin_mode: bool,
        "LinkLocalIPv6Address" link_local_ipv6_address: String,
        "LinkLocalIPv6PrefixLen" link_local_ipv6_prefix_len: u8,
        "SecondaryIPAddresses" secondary_ip_addresses: Option<Vec<String>>,
        "SecondaryIPv6Addresses" secondary_ipv6_addresses: Option<Vec<String>>,
        "EndpointID" endpoint_id: String,
        "Gateway" gateway: String,
        "GlobalIPv6Address" global_ipv6_address: String,
        "GlobalIPv6PrefixLen" global_ipv6_prefix_len: u8,
        "IPAddress" ip_address: String,
        "IPPrefixLen" ip_prefix_len: u8,
        "IPv6Gateway" ipv6_gateway: String,
        "MacAddress" mac_address: String,
        "Networks" networks: BTreeMap<String, EndpointSettings>,
    }

    /// Where a container's or an image's files lie on the host, by the words of its storage driver.
    DriverData { "Data" data: Option<Map>, "Name" name: String }

    /// `GET /containers/{id}/json`; moments are RFC 3339.
    ContainerInspect {
        "Id" id: String,
        "Created" created: String,
        "Path" path: String,
        "Args" args: Vec<String>,
        "State" state: ContainerState,
        "Image" image: String,
        "ResolvConfPath" resolv_conf_path: String,
        "HostnamePath" hostname_path: String,
        "HostsPath" hosts_path: String,
        "LogPath" log_path: String,
        "Name" name: String,
        "RestartCount" restart_count: u64,
        "Driver" driver: String,
        "Platform" platform: String,
        "MountLabel" mount_label: String,
        "ProcessLabel" process_label: String,
        "AppArmorProfile" app_armor_profile: String,
        "ExecIDs" exec_ids: Option<Vec<String>>,
        "HostConfig" host_config: HostConfig,
        "GraphDriver" graph_driver: DriverData,
        "SizeRw" size_rw: Option<i64> => "omitempty",
        "SizeRootFs" size_root_fs: Option<i64> => "omitempty",
        "Mounts" mounts: Vec<MountPoint>,
        "Config" config: ContainerConfig,
        "NetworkSettings" network_settings: NetworkSettings,
    }
}

/// The network that a container is on where nothing else was said.
const DEFAULT_NETWORK: &str = "bridge";

impl NetworkSettings {
    /// What a container has on its networks.
    pub fn new(
        ports: BTreeMap<String, Option<Vec<PortBinding>>>,
        networks: BTreeMap<String, EndpointSettings>,
    ) -> Self {
        let main = networks.get(DEFAULT_NETWORK).cloned().unwrap_or_default();
        Self {
            ports,
            endpoint_id: main.endpoint_id,
            gateway: main.gateway,
            global_ipv6_address: main.global_ipv6_address,
            global_ipv6_prefix_len: main.global_ipv6_prefix_len,
            ip_address: main.ip_address,
            ip_prefix_len: main.ip_prefix_len,
            ipv6_gateway: main.ipv6_gateway,
            mac_address: main.mac_address,
            networks,
            ..Self::default()
        }
    }
}

/// The query of `GET /containers/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerListOptions {
    /// Those that do not run too.
    pub all: bool,
    /// So many of the newest, whatever their state; zero: no limit.
    pub limit: u64,
    /// With `SizeRw` and `SizeRootFs`.
    pub size: bool,
    pub filters: crate::filters::Filters,
}
