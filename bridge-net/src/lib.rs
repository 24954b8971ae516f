//! Networks on one host: bridges, addresses, published ports and names of the containers that are
//! started by hand.
//!
//! What is decided is pure (`spec`, `pool`, `endpoint`, `endpoint_options`, `ports`, `names`, `rules`, `resolv`),
//! `kernel` and `held` carry it out, `records` remembers it, and `host_networks` and `life` are the
//! one place that drives them. Networks of the swarm are somebody else's
//! (`swarm`); it runs no containers.

mod endpoint;
mod endpoint_options;
mod error;
mod held;
mod host_networks;
mod kernel;
mod life;
mod names;
mod network;
mod on_swarm;
mod options;
mod pool;
mod ports;
mod records;
mod resolv;
mod rules;
mod sandbox;
mod spec;
mod swarm;

pub use error::BridgeError;
pub use host_networks::HostNetworks;
pub use options::{
    AddressPool, DEFAULT_BRIDGE, DefaultBridge, DnsOptions, HostNetworksConfig, MTU,
    NetworkOptions, SWARM_POOL, default_pools,
};
pub use sandbox::{Link, Sandbox, SandboxMode, SandboxRequest, Shown};
pub use swarm::{SwarmContainer, SwarmNetworks, SwarmPlace, SwarmPlaceAt, SwarmWish};
