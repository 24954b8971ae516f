//! gRPC over mutual TLS: a connector for clients and a stream of connections for servers.
//!
//! Which certificates are good is said by the rustls configurations that are handed in; this only
//! carries bytes, and tells a server's methods who called. Session resumption is the
//! configuration's affair, too.

mod connect;
mod incoming;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use connect::{Connector, channel};
pub use incoming::{PeerInfo, TlsConnection, TlsIncoming};

/// What gRPC speaks inside TLS; Go's clients refuse a server that does not name it.
pub const ALPN_H2: &[u8] = b"h2";

/// A peer that has not shown itself by then is not worth a socket.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes under way at one time: at a fraction of a millisecond of work each, a burst of
/// thousands of returning agents is through in seconds, and silent peers hold at most so many
/// sockets. The rest wait in the kernel's backlog.
pub const HANDSHAKES_MAX: usize = 256;
