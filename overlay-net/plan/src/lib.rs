//! What a node's kernel is to look like for the swarm's networks, and the steps from what stands
//! to that.
//!
//! Words: a **network** spans nodes; its **sandbox** is the namespace that holds its bridge and
//! VXLAN device on one node; a task has a namespace of its own, with one interface for each of its
//! networks and one to the **outside**. Nothing here acts: `skep-overlay-kernel` executes.
//!
//! **Invariant:** no async, no sockets, no files, no clock, no entropy.

pub mod address;
pub mod balance;
pub mod desired;
pub mod finding;
pub mod host_port;
pub mod network;
pub mod observed;
pub mod operation;
pub mod plan;
pub mod rules;
mod shares;
pub mod vips;

pub use address::{Mac, node_mac, outside_v6, task_mac};
pub use balance::{Balanced, Target};
pub use desired::{Desired, DesiredTask, Lent, NodeConfig, TaskNet, TaskNetError};
pub use host_port::{HostPort, LocalPorts};
pub use network::{EndpointState, NetworkState, NetworkUpdate, ServiceEntry, TaskEndpoint};
pub use observed::{Observed, ObservedSandbox, ObservedTask};
pub use operation::Operation;
pub use plan::plan;
pub use rules::{Ruleset, TaskRules};
