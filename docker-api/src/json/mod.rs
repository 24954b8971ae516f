//! The JSON documents of the Docker Engine API, v1.44 to v1.51, key for key.
//!
//! These are shapes, not vocabulary: strings stay strings, and the daemon turns them into its own types at the border.
//! Invariant: unknown keys are ignored, `null` and absence read alike, and an empty optional key is left out as Docker does.

mod auth;
mod image;
mod network;
mod node;
mod secret;
mod service;
mod shape;
mod swarm;
mod system;
mod task;
mod task_spec;
mod timestamp;

pub use auth::*;
pub use image::*;
pub use network::*;
pub use node::*;
pub use secret::*;
pub use service::*;
pub use swarm::*;
pub use system::*;
pub use task::*;
pub use task_spec::*;
pub use timestamp::Timestamp;

/// A map with a stable order, as Go writes maps.
pub type Map = std::collections::BTreeMap<String, String>;
