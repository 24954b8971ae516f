//! A service's `TaskTemplate`: the container, its resources, and where and how it is run again.

use super::shape::{null_default, omitempty, shape};
use super::{Driver, Map};

shape! {
    FileTarget { "Name" name: String, "UID" uid: String, "GID" gid: String, "Mode" mode: u32 }

    SecretReference { "File" file: Option<FileTarget>, "SecretID" secret_id: String, "SecretName" secret_name: String }

    /// A config that the engine itself reads (Windows' credential specs).
    ConfigRuntimeTarget {}

    ConfigReference {
        "File" file: Option<FileTarget> => "omitempty",
        "Runtime" runtime: Option<ConfigRuntimeTarget> => "omitempty",
        "ConfigID" config_id: String,
        "ConfigName" config_name: String,
    }

    BindOptions {
        "Propagation" propagation: String => "omitempty",
        "NonRecursive" non_recursive: bool => "omitempty",
        "CreateMountpoint" create_mountpoint: bool => "omitempty",
        "ReadOnlyNonRecursive" read_only_non_recursive: bool => "omitempty",
        "ReadOnlyForceRecursive" read_only_force_recursive: bool => "omitempty",
    }

    VolumeOptions {
        "NoCopy" no_copy: bool => "omitempty",
        "Labels" labels: Map => "omitempty",
        "Subpath" subpath: String => "omitempty",
        "DriverConfig" driver_config: Option<Driver> => "omitempty",
    }

    TmpfsOptions {
        "SizeBytes" size_bytes: i64 => "omitempty",
        "Mode" mode: u32 => "omitempty",
        "Options" options: Vec<Vec<String>> => "omitempty",
    }

    ImageOptions { "Subpath" subpath: String => "omitempty" }

    /// `Type` is `bind`, `volume`, `tmpfs`, `image`, `cluster` or `npipe`.
    Mount {
        "Type" kind: String => "omitempty",
        "Source" source: String => "omitempty",
        "Target" target: String => "omitempty",
        "ReadOnly" read_only: bool => "omitempty",
        "Consistency" consistency: String => "omitempty",
        "BindOptions" bind_options: Option<BindOptions> => "omitempty",
        "VolumeOptions" volume_options: Option<VolumeOptions> => "omitempty",
        "TmpfsOptions" tmpfs_options: Option<TmpfsOptions> => "omitempty",
        "ImageOptions" image_options: Option<ImageOptions> => "omitempty",
    }

    /// Durations are nanoseconds.
    HealthConfig {
        "Test" test: Vec<String> => "omitempty",
        "Interval" interval_ns: i64 => "omitempty",
        "Timeout" timeout_ns: i64 => "omitempty",
        "StartPeriod" start_period_ns: i64 => "omitempty",
        "StartInterval" start_interval_ns: i64 => "omitempty",
        "Retries" retries: i64 => "omitempty",
    }

    DnsConfig {
        "Nameservers" nameservers: Vec<String> => "omitempty",
        "Search" search: Vec<String> => "omitempty",
        "Options" options: Vec<String> => "omitempty",
    }

    Ulimit { "Name" name: String, "Hard" hard: i64, "Soft" soft: i64 }

    CredentialSpec { "Config" config: String, "File" file: String, "Registry" registry: String }

    SelinuxContext {
        "Disable" disable: bool,
        "User" user: String,
        "Role" role: String,
        "Type" kind: String,
        "Level" level: String,
    }

    /// `Mode` is `default`, `unconfined` or `custom`; `Profile` is base64.
    SeccompOptions { "Mode" mode: String => "omitempty", "Profile" profile: String => "omitempty" }

    /// `Mode` is `default` or `disabled`.
    AppArmorOptions { "Mode" mode: String => "omitempty" }

    Privileges {
        "CredentialSpec" credential_spec: Option<CredentialSpec>,
        "SELinuxContext" selinux_context: Option<SelinuxContext>,
        "Seccomp" seccomp: Option<SeccompOptions> => "omitempty",
        "AppArmor" app_armor: Option<AppArmorOptions> => "omitempty",
        "NoNewPrivileges" no_new_privileges: bool,
    }

    ContainerSpec {
        "Image" image: String => "omitempty",
        "Labels" labels: Map => "omitempty",
        "Command" command: Vec<String> => "omitempty",
        "Args" args: Vec<String> => "omitempty",
        "Hostname" hostname: String => "omitempty",
        /// Where Compose files keep passwords.
        [redacted] "Env" env: Vec<String> => "omitempty",
        "Dir" dir: String => "omitempty",
        "User" user: String => "omitempty",
        "Groups" groups: Vec<String> => "omitempty",
        "Privileges" privileges: Option<Privileges> => "omitempty",
        "Init" init: Option<bool> => "omitempty",
        "StopSignal" stop_signal: String => "omitempty",
        "TTY" tty: bool => "omitempty",
        "OpenStdin" open_stdin: bool => "omitempty",
        "ReadOnly" read_only: bool => "omitempty",
        "Mounts" mounts: Vec<Mount> => "omitempty",
        "StopGracePeriod" stop_grace_period_ns: Option<i64> => "omitempty",
        "Healthcheck" healthcheck: Option<HealthConfig> => "omitempty",
        "Hosts" hosts: Vec<String> => "omitempty",
        "DNSConfig" dns_config: Option<DnsConfig> => "omitempty",
        "Secrets" secrets: Vec<SecretReference> => "omitempty",
        "Configs" configs: Vec<ConfigReference> => "omitempty",
        "Isolation" isolation: String => "omitempty",
        "Sysctls" sysctls: Map => "omitempty",
        "CapabilityAdd" capability_add: Vec<String> => "omitempty",
        "CapabilityDrop" capability_drop: Vec<String> => "omitempty",
        "Ulimits" ulimits: Vec<Ulimit> => "omitempty",
        "OomScoreAdj" oom_score_adj: i64 => "omitempty",
    }

    Limit { "NanoCPUs" nano_cpus: i64 => "omitempty", "MemoryBytes" memory_bytes: i64 => "omitempty", "Pids" pids: i64 => "omitempty" }

    NamedGenericResource { "Kind" kind: String => "omitempty", "Value" value: String => "omitempty" }

    DiscreteGenericResource { "Kind" kind: String => "omitempty", "Value" value: i64 => "omitempty" }

    /// One of the two is set.
    GenericResource {
        "NamedResourceSpec" named: Option<NamedGenericResource> => "omitempty",
        "DiscreteResourceSpec" discrete: Option<DiscreteGenericResource> => "omitempty",
    }

    /// What a task reserves, and what a node has.
    Resources {
        "NanoCPUs" nano_cpus: i64 => "omitempty",
        "MemoryBytes" memory_bytes: i64 => "omitempty",
        "GenericResources" generic: Vec<GenericResource> => "omitempty",
    }

    ResourceRequirements {
        "Limits" limits: Option<Limit> => "omitempty",
        "Reservations" reservations: Option<Resources> => "omitempty",
        "SwapBytes" swap_bytes: Option<i64> => "omitempty",
        "MemorySwappiness" memory_swappiness: Option<i64> => "omitempty",
    }

    /// `Condition` is `none`, `on-failure` or `any`; durations are nanoseconds.
    RestartPolicy {
        "Condition" condition: String => "omitempty",
        "Delay" delay_ns: Option<i64> => "omitempty",
        "MaxAttempts" max_attempts: Option<u64> => "omitempty",
        "Window" window_ns: Option<i64> => "omitempty",
    }

    SpreadOver { "SpreadDescriptor" descriptor: String }

    PlacementPreference { "Spread" spread: Option<SpreadOver> }

    PlacementPlatform { "Architecture" architecture: String => "omitempty", "OS" os: String => "omitempty" }

    Placement {
        "Constraints" constraints: Vec<String> => "omitempty",
        "Preferences" preferences: Vec<PlacementPreference> => "omitempty",
        "MaxReplicas" max_replicas: u64 => "omitempty",
        "Platforms" platforms: Vec<PlacementPlatform> => "omitempty",
    }

    NetworkAttachmentConfig {
        "Target" target: String => "omitempty",
        "Aliases" aliases: Vec<String> => "omitempty",
        "DriverOpts" driver_opts: Map => "omitempty",
    }

    /// `Runtime` is `container`, `plugin` or `attachment`; the specs of the latter two are read only to be refused.
    TaskSpec {
        "ContainerSpec" container_spec: Option<ContainerSpec> => "omitempty",
        "PluginSpec" plugin_spec: Option<serde_json::Value> => "omitempty",
        "NetworkAttachmentSpec" network_attachment_spec: Option<serde_json::Value> => "omitempty",
        "Resources" resources: Option<ResourceRequirements> => "omitempty",
        "RestartPolicy" restart_policy: Option<RestartPolicy> => "omitempty",
        "Placement" placement: Option<Placement> => "omitempty",
        "Networks" networks: Vec<NetworkAttachmentConfig> => "omitempty",
        "LogDriver" log_driver: Option<Driver> => "omitempty",
        "ForceUpdate" force_update: u64,
        "Runtime" runtime: String => "omitempty",
    }
}
