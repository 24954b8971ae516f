//! The vocabulary of a swarm: ids, specs, objects, task states and defaults.
//!
//! Everything here is plain data with the rules that make it valid. It does nothing: no IO, no
//! clock, no entropy, no encoding. Words are SwarmKit's, exactly.
//!
//! **Invariant:** this crate depends on no other crate of the project.

pub mod cluster;
pub mod constraint;
pub mod container;
pub mod defaults;
pub mod dependency;
pub mod down_grace;
pub mod drain;
pub mod duration;
pub mod error_chain;
pub mod family;
pub mod feature;
pub mod generic;
pub mod id;
pub mod meta;
pub mod network;
pub mod node;
pub mod policy;
pub mod privilege;
pub mod resources;
pub mod secret;
pub mod service;
pub mod session;
pub mod task;
pub mod validate;

pub use cluster::{Cluster, ClusterSpec, JoinTokens};
pub use container::{ContainerSpec, Mount, MountKind};
pub use error_chain::error_chain;
pub use family::Family;
pub use id::{
    AttachmentId, ClusterId, ConfigId, NetworkId, NodeId, ParseIdError, SecretId, ServiceId, TaskId,
};
pub use meta::{Annotations, Meta, Revision, Timestamp};
pub use network::{Attachment, Network, NetworkAttachment, NetworkSpec, Vni};
pub use node::{Availability, Node, NodeRole, NodeSpec, NodeState};
pub use policy::{FailureAction, RestartCondition, RestartPolicy, UpdateConfig, UpdateOrder};
pub use resources::Resources;
pub use secret::{Config, ConfigSpec, Payload, Secret, SecretSpec};
pub use service::{Service, ServiceMode, ServiceSpec, TaskSpec};
pub use task::{DesiredState, Task, TaskState, TaskStatus};
