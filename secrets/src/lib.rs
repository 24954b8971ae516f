//! Who is who in a swarm: root CA, node certificates, join tokens, TLS, sealing, the roles table.
//!
//! It is not a service: it opens no sockets and reads no clock; `now` always comes in.
//! Invariant: private keys and data keys leave this crate only in zeroized buffers and 0600 files.

pub mod csr;
pub mod defaults;
mod durable;
pub mod identity;
pub mod join_token;
pub mod role;
pub mod roles;
pub mod root_ca;
pub mod sealing;

pub use role::Role;
