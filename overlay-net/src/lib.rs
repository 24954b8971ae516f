//! A node's overlay networks: names, and the manager that makes the kernel as the leader says.
//!
//! What is decided stands in `skep-overlay-plan`, what acts on the kernel in
//! `skep-overlay-kernel`; here are the process that answers names and the one place that drives all.
//! It does not speak to the leader and does not run containers.

pub mod dns;
mod error;
mod manager;

pub use dns::client::{NameServer, NameServerConfig};
pub use error::NetworkError;
pub use manager::{
    Attached, ManagerConfig, NetworkManager, PortConnections, Standing, VipConnections,
};
pub use skep_overlay_kernel::conntrack::follows_sctp;
pub use skep_overlay_kernel::host::speaks_v6;
pub use skep_overlay_kernel::{HostNs, Namespace, requirements, underlay};
pub use skep_overlay_plan::finding::{Finding, Mend};
pub use skep_overlay_plan::operation::Subject;
pub use skep_overlay_plan::{
    EndpointState, Lent, Mac, NetworkState, NetworkUpdate, NodeConfig, ServiceEntry, TaskEndpoint,
    TaskNet, network, node_mac, task_mac,
};
