//! The JSON documents of the Docker Engine API, v1.44 to v1.51, key for key.
//!
//! These are shapes, not vocabulary: strings stay strings, and the daemon turns them into its own types at the border.
//! Invariant: unknown keys are ignored, `null` and absence read alike, and an empty optional key is left out as Docker does.

mod auth;
mod container;
mod container_calls;
mod event;
mod host_config;
mod image;
mod network;
mod node;
mod path_stat;
mod progress;
mod secret;
mod service;
mod shape;
mod stats;
mod swarm;
mod system;
mod task;
mod task_spec;
mod timestamp;
mod volume;
mod whole;

pub use auth::*;
pub use container::*;
pub use container_calls::*;
pub use event::*;
pub use host_config::*;
pub use image::*;
pub use network::*;
pub use node::*;
pub use path_stat::*;
pub use progress::*;
pub use secret::*;
pub use service::*;
pub use stats::*;
pub use swarm::*;
pub use system::*;
pub use task::*;
pub use task_spec::*;
pub use timestamp::Timestamp;
pub use volume::*;
pub use whole::Whole;

/// A map with a stable order, as Go writes maps.
pub type Map = std::collections::BTreeMap<String, String>;
