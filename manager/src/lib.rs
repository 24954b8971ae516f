//! A manager: the control API's decisions, and in time the leader's loop and the node-facing
//! services around them.
//!
//! Here so far: what each request of a user becomes, or why it is refused.

pub mod control;
