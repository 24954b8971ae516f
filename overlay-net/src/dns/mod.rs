//! Names: each task asks a resolver of its own, which knows the task's networks and nothing else.
//!
//! `names` decides what a name stands for, `answer` turns questions into messages, `server` listens
//! inside the task's namespace, `forward` asks the host's own resolvers for the rest.

pub mod answer;
pub mod forward;
pub mod names;
pub mod server;
