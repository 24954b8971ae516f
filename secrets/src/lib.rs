//! Who is who in a swarm: root CA, node certificates, join tokens, TLS, sealing, the roles table.
//!
//! It is not a service: it opens no sockets and reads no clock; `now` always comes in, except in
//! handshakes, where rustls asks the system for the time.
//! Invariant: private keys and data keys leave this crate only in zeroized buffers, in 0600 files
//! and inside rustls configurations.

pub mod csr;
pub mod defaults;
mod durable;
pub mod identity;
pub mod join_token;
pub mod role;
pub mod roles;
pub mod root_ca;
pub mod sealing;
pub mod tls;

pub use role::Role;
