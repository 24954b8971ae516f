//! Executes what `skep-overlay-plan` decides, through netlink and nftables, and reads back what
//! stands. It decides nothing itself.
//!
//! Every function works in a namespace that is handed in, the host's too, so that several hosts
//! can stand side by side on one machine.
//!
//! What is not the swarm's alone (links, addresses, routes, rules, settings of a namespace) is open
//! to other kinds of networks.
//!
//! **Invariant:** threads of the runtime never change their namespace: whoever must enter one does
//! so on a thread of its own, which ends with the work.

pub mod conntrack;
mod error;
mod executor;
pub mod host;
mod host_port;
pub mod link;
mod namespace;
pub mod netlink;
mod nfnetlink;
pub mod nft;
mod observe;
mod paths;
mod ports;
mod replies;
pub mod requirements;
mod sandbox;
pub mod sysctl;
mod task;
pub mod underlay;
mod v6_loopback;

pub use error::KernelError;
pub use executor::Executor;
pub use host_port::{HeldPort, local_ports};
pub use namespace::Namespace;
pub use paths::Paths;

/// The namespace that stands for the host: the daemon's own, or one that a test made.
pub type HostNs = Namespace;
