//! Messages to values of ours and back.
//!
//! Each message is converted beside its kin: a value becomes a message by `From<&Value>`, a message
//! a value by `TryFrom`, which says which field is wrong. Nothing here decides anything: whether a
//! spec is sensible is for others.
//!
//! **Invariant:** a value that goes through its message comes back equal. What a message says and
//! no value can hold is an error, not dropped, unless the place says why.

mod address;
mod attachment;
mod cluster;
mod container;
mod endpoint;
mod error;
mod field;
mod meta;
mod mount;
mod network;
mod node;
mod node_network;
mod node_task;
mod payload;
mod policy;
mod resources;
mod service;
mod snapshot;
mod task;
mod task_status;
mod transaction;
mod wire_node;

pub use attachment::{NodeAttachment, wire_attachment};
pub use error::{ConvertError, Problem};
pub use field::{id, part};
pub use node_task::{NodeTask, task_name, wire_task};
pub use snapshot::{put_record, records};
pub use task_status::{reported_status, status_update};
pub use wire_node::wire_node;
