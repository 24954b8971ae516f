//! Networks on one host: bridges, addresses, published ports and names of the containers that are
//! started by hand.
//!
//! It knows nothing of the swarm's networks and does not run containers.

mod error;
mod options;
mod sandbox;

pub use error::BridgeError;
pub use options::{
    AddressPool, DEFAULT_BRIDGE, DefaultBridge, DnsOptions, HostNetworksConfig, MTU,
    NetworkOptions, SWARM_POOL, default_pools,
};
pub use sandbox::{Link, Sandbox, SandboxMode, SandboxRequest};
