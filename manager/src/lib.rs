//! A manager: its part in the Raft group, the leader's loop, and the gRPC services for nodes and
//! for other managers.
//!
//! What is decided stands elsewhere (`state`, `orchestrator`, `scheduler`, `dispatch`, and
//! [`control`] here); this carries decisions into the log and over the wire.

mod attaching;
mod clock;
pub mod control;
mod core;
pub mod defaults;
mod door;
mod execute;
mod gate;
mod lead;
pub mod lists;
mod log_table;
pub mod logs;
mod manager;
pub mod metrics;
mod networks;
mod peers;
mod proposer;
mod router;
mod service;
mod session_table;
mod subscribe;
mod upkeep_table;

pub use door::Door;
pub use execute::Done;
pub use gate::Caller;
pub use manager::{Bootstrap, Manager, ManagerConfig, MemberReport, StartError};
pub use subscribe::LogStream;

/// Highest feature level that this program knows.
pub const FEATURE_LEVEL: u32 = skep_types::feature::NEWEST;

/// Docker's words for a swarm whose managers cannot agree.
pub const NO_LEADER: &str = "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online.";
