//! `/version`, `/info` and the error document.

use super::shape::{null_default, omitempty, shape};
use super::{GenericResource, Map, SwarmClusterInfo};

shape! {
    /// The body of every failed request.
    ErrorResponse { "message" message: String }

    Platform { "Name" name: String }

    ComponentVersion { "Name" name: String, "Version" version: String, "Details" details: Map => "omitempty" }

    /// `GET /version`.
    Version {
        "Platform" platform: Platform,
        "Components" components: Vec<ComponentVersion> => "omitempty",
        "Version" version: String,
        "ApiVersion" api_version: String,
        "MinAPIVersion" min_api_version: String,
        "GitCommit" git_commit: String,
        "GoVersion" go_version: String,
        "Os" os: String,
        "Arch" arch: String,
        "KernelVersion" kernel_version: String => "omitempty",
        "Experimental" experimental: bool => "omitempty",
        "BuildTime" build_time: String => "omitempty",
    }

    /// A manager as every node knows it.
    Peer { "NodeID" node_id: String, "Addr" addr: String }

    /// The `Swarm` section of `/info`; `LocalNodeState` is `inactive`, `pending`, `active`, `error` or `locked`.
    SwarmInfo {
        "NodeID" node_id: String,
        "NodeAddr" node_addr: String,
        "LocalNodeState" local_node_state: String,
        "ControlAvailable" control_available: bool,
        "Error" error: String,
        "RemoteManagers" remote_managers: Option<Vec<Peer>>,
        "Nodes" nodes: u64 => "omitempty",
        "Managers" managers: u64 => "omitempty",
        "Cluster" cluster: Option<SwarmClusterInfo> => "omitempty",
        "Warnings" warnings: Vec<String> => "omitempty",
    }

    PluginsInfo {
        "Volume" volume: Vec<String>,
        "Network" network: Vec<String>,
        "Authorization" authorization: Vec<String>,
        "Log" log: Vec<String>,
    }

    /// The answer to `POST /build/prune`.
    BuildPruneResponse { "CachesDeleted" caches_deleted: Option<Vec<String>>, "SpaceReclaimed" space_reclaimed: u64 }

    /// What `/info` says of one registry.
    IndexInfo { "Name" name: String, "Mirrors" mirrors: Vec<String>, "Secure" secure: bool, "Official" official: bool }

    /// How registries are reached. The first two are nothing for long, and old clients read them.
    RegistryServices {
        "AllowNondistributableArtifactsCIDRs" allow_nondistributable_cidrs: Option<Vec<String>>,
        "AllowNondistributableArtifactsHostnames" allow_nondistributable_hosts: Option<Vec<String>>,
        "InsecureRegistryCIDRs" insecure_cidrs: Vec<String>,
        "IndexConfigs" index_configs: std::collections::BTreeMap<String, IndexInfo>,
        "Mirrors" mirrors: Option<Vec<String>>,
    }

    RuntimeInfo { "path" path: String, "runtimeArgs" args: Vec<String> => "omitempty" }

    /// Which build of a program is there.
    Commit { "ID" id: String }

    /// A device that a driver knows.
    DeviceInfo { "Source" source: String, "ID" id: String }

    InfoAddressPool { "Base" base: String, "Size" size: u64 }

    /// `GET /info`.
    Info {
        "ID" id: String,
        "Containers" containers: u64,
        "ContainersRunning" containers_running: u64,
        "ContainersPaused" containers_paused: u64,
        "ContainersStopped" containers_stopped: u64,
        "Images" images: u64,
        "Driver" driver: String,
        "DriverStatus" driver_status: Vec<(String, String)>,
        "Plugins" plugins: PluginsInfo,
        "MemoryLimit" memory_limit: bool,
        "SwapLimit" swap_limit: bool,
        "CpuCfsPeriod" cpu_cfs_period: bool,
        "CpuCfsQuota" cpu_cfs_quota: bool,
        "CPUShares" cpu_shares: bool,
        "CPUSet" cpu_set: bool,
        "PidsLimit" pids_limit: bool,
        "IPv4Forwarding" ipv4_forwarding: bool,
        "Debug" debug: bool,
        "NFd" nfd: u64,
        "OomKillDisable" oom_kill_disable: bool,
        "NGoroutines" ngoroutines: u64,
        "SystemTime" system_time: String,
        "LoggingDriver" logging_driver: String,
        "CgroupDriver" cgroup_driver: String,
        "CgroupVersion" cgroup_version: String => "omitempty",
        "NEventsListener" nevents_listener: u64,
        "GenericResources" generic_resources: Vec<GenericResource>,
        "KernelVersion" kernel_version: String,
        "OperatingSystem" operating_system: String,
        "OSVersion" os_version: String,
        "OSType" os_type: String,
        "Architecture" architecture: String,
        "IndexServerAddress" index_server_address: String,
        "NCPU" ncpu: u64,
        "MemTotal" mem_total: u64,
        "RegistryConfig" registry_config: Option<RegistryServices>,
        "DockerRootDir" docker_root_dir: String,
        "HttpProxy" http_proxy: String,
        "HttpsProxy" https_proxy: String,
        "NoProxy" no_proxy: String,
        "Name" name: String,
        "Labels" labels: Vec<String>,
        "ExperimentalBuild" experimental_build: bool,
        "ServerVersion" server_version: String,
        "Runtimes" runtimes: std::collections::BTreeMap<String, RuntimeInfo>,
        "DefaultRuntime" default_runtime: String,
        "Swarm" swarm: SwarmInfo,
        "LiveRestoreEnabled" live_restore_enabled: bool,
        "Isolation" isolation: String,
        "InitBinary" init_binary: String,
        "ContainerdCommit" containerd_commit: Commit,
        "RuncCommit" runc_commit: Commit,
        "InitCommit" init_commit: Commit,
        "SecurityOptions" security_options: Vec<String>,
        "DefaultAddressPools" default_address_pools: Vec<InfoAddressPool> => "omitempty",
        "CDISpecDirs" cdi_spec_dirs: Vec<String>,
        "DiscoveredDevices" discovered_devices: Vec<DeviceInfo> => "omitempty",
        "Warnings" warnings: Option<Vec<String>>,
    }
}
