//! `/networks`, for the swarm's scope.

use super::shape::{null_default, omitempty, shape};
use super::{Driver, Map, ObjectVersion, Timestamp};

shape! {
    IpamConfig {
        "Subnet" subnet: String => "omitempty",
        "IPRange" ip_range: String => "omitempty",
        "Gateway" gateway: String => "omitempty",
        "AuxiliaryAddresses" auxiliary_addresses: Map => "omitempty",
    }

    Ipam { "Driver" driver: String, "Options" options: Option<Map>, "Config" config: Vec<IpamConfig> }

    ConfigFrom { "Network" network: String }

    SwarmIpamConfig {
        "Subnet" subnet: String => "omitempty",
        "Range" range: String => "omitempty",
        "Gateway" gateway: String => "omitempty",
    }

    SwarmIpamOptions { "Driver" driver: Driver, "Configs" configs: Vec<SwarmIpamConfig> => "omitempty" }

    SwarmNetworkSpec {
        "Name" name: String => "omitempty",
        "Labels" labels: Map,
        "DriverConfiguration" driver_configuration: Option<Driver> => "omitempty",
        "IPv6Enabled" ipv6_enabled: bool => "omitempty",
        "Internal" internal: bool => "omitempty",
        "Attachable" attachable: bool => "omitempty",
        "Ingress" ingress: bool => "omitempty",
        "IPAMOptions" ipam_options: Option<SwarmIpamOptions> => "omitempty",
        "Scope" scope: String => "omitempty",
    }

    /// A network as a task's attachments show it: the swarm's object, not the engine's document.
    SwarmNetwork {
        "ID" id: String,
        "Version" version: ObjectVersion,
        "CreatedAt" created_at: Timestamp,
        "UpdatedAt" updated_at: Timestamp,
        "Spec" spec: SwarmNetworkSpec,
        "DriverState" driver_state: Driver,
        "IPAMOptions" ipam_options: Option<SwarmIpamOptions> => "omitempty",
    }

    /// `GET /networks/{id}` and the items of `GET /networks`.
    Network {
        "Name" name: String,
        "Id" id: String,
        "Created" created: Timestamp,
        "Scope" scope: String,
        "Driver" driver: String,
        "EnableIPv4" enable_ipv4: bool,
        "EnableIPv6" enable_ipv6: bool,
        "IPAM" ipam: Ipam,
        "Internal" internal: bool,
        "Attachable" attachable: bool,
        "Ingress" ingress: bool,
        "ConfigFrom" config_from: ConfigFrom,
        "ConfigOnly" config_only: bool,
        "Containers" containers: std::collections::BTreeMap<String, serde_json::Value>,
        "Options" options: Map,
        "Labels" labels: Map,
        "Peers" peers: Vec<PeerInfo> => "omitempty",
        "Services" services: std::collections::BTreeMap<String, ServiceInfo> => "omitempty",
    }

    /// A node that has a network of the swarm.
    PeerInfo { "Name" name: String, "IP" ip: String }

    /// A service on a network, for `?verbose=true`.
    ServiceInfo {
        "VIP" vip: String,
        "Ports" ports: Vec<String>,
        "LocalLBIndex" local_lb_index: i64,
        "Tasks" tasks: Vec<ServiceTask>,
    }

    ServiceTask {
        "Name" name: String,
        "EndpointID" endpoint_id: String,
        "EndpointIP" endpoint_ip: String,
        "Info" info: Map,
    }

    NetworkCreateRequest {
        "Name" name: String,
        "Driver" driver: String,
        "Scope" scope: String,
        "EnableIPv4" enable_ipv4: Option<bool> => "omitempty",
        "EnableIPv6" enable_ipv6: Option<bool> => "omitempty",
        "IPAM" ipam: Option<Ipam>,
        "Internal" internal: bool,
        "Attachable" attachable: bool,
        "Ingress" ingress: bool,
        "ConfigOnly" config_only: bool,
        "ConfigFrom" config_from: Option<ConfigFrom> => "omitempty",
        "Options" options: Map,
        "Labels" labels: Map,
    }

    /// Ours: something on a node that was not as it should be. Without an error it was mended.
    NetworkFinding { "What" what: String, "Error" error: String => "omitempty", "AgeMs" age_ms: u64 }

    /// Ours: what a node found of its networks when it last looked. `AgeMs` is how long ago it said so,
    /// null where it has not yet.
    NodeNetworks {
        "ID" id: String,
        "Hostname" hostname: String,
        "Down" down: bool,
        "AgeMs" age_ms: Option<u64>,
        "TookUs" took_us: u64,
        "Error" error: String => "omitempty",
        "Found" found: Vec<NetworkFinding>,
    }

    /// Ours: how many of what a pool gives are given: addresses of a network's subnet, or, without a
    /// network, subnets of the swarm.
    AddressPool { "Network" network: String => "omitempty", "Subnet" subnet: String, "Used" used: u64, "Size" size: u64 }

    /// Ours: how the networks of the swarm are.
    NetworkDoctor { "Nodes" nodes: Vec<NodeNetworks>, "Pools" pools: Vec<AddressPool> }

    NetworkCreateResponse { "Id" id: String, "Warning" warning: String }
}
