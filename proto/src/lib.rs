//! What goes over the wire and onto disk: protobuf messages, gRPC stubs, and the TLS they run on.
//!
//! `swarmkit` is SwarmKit's node-facing protocol, field for field, so that a dockerd can be a
//! worker here. `v1` is what is ours alone. `state` is what the Raft log and snapshots hold.
//! Nothing here decides anything; who may call what is the manager's table.
//!
//! **Invariant:** `Debug` of a message never shows a credential.

/// Nested as the packages are, since the generated paths between them are relative.
mod generated {
    pub mod docker {
        pub mod swarmkit {
            pub mod v1 {
                tonic::include_proto!("docker.swarmkit.v1");
            }
        }
    }
    pub mod skep {
        pub mod v1 {
            tonic::include_proto!("skep.v1");
        }
        pub mod state {
            pub mod v1 {
                tonic::include_proto!("skep.state.v1");
            }
        }
    }
}

/// SwarmKit's protocol between nodes and managers.
pub use generated::docker::swarmkit::v1 as swarmkit;
/// The Raft log's transactions and the snapshots' records.
pub use generated::skep::state::v1 as state;
/// Our own services: Raft, membership, control and overlay endpoints.
pub use generated::skep::v1;

pub mod convert;
mod redacted;
pub mod transport;
