//! Every number and name this crate chooses, each with its source.

use std::time::Duration;

/// The newest API version we answer to (docker 28.5 speaks it).
pub const API_VERSION: &str = "1.51";
/// The oldest API version accepted (Docker's own minimum since 25.0).
pub const API_VERSION_MIN: &str = "1.24";
/// Where the daemon listens when nobody says otherwise.
pub const SOCKET: &str = "/run/skep.sock";
/// The socket's mode: its owner and group (Docker's value).
pub const SOCKET_MODE: u32 = 0o660;
/// The largest request body read: a config (1,000 KiB) in base64, with room for the rest of a spec.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest answer the client holds in memory: a list of 100,000 tasks of about 2 KiB.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Connections served at once; beyond it those that ask for nothing are closed, and a caller waits in the listen queue. Keeps well below the usual limit of 1,024 files.
pub const CONNECTIONS_MAX: usize = 512;
/// Requests that go on to their end though their client has left, without its place; a request beyond it keeps its place.
pub const LEFT_ALONE_MAX: usize = 4096;
/// How long a TCP connection is silent before the kernel asks whether its peer is there, and between askings (Go's value).
pub const KEEPALIVE: Duration = Duration::from_secs(15);
/// Connections that wait to be accepted on a TCP port (the standard library's value).
pub const TCP_BACKLOG: u32 = 128;
/// How long a client may take to see that a container's streams have ended, while what it still says is thrown away: closing
/// at once would throw away what it has not read yet.
pub const LINGER: Duration = Duration::from_secs(5);
/// How long a graceful shutdown waits for requests under way.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a connection may take to send a request's head, and sit idle before one: hyper counts both as one. SDKs that keep
/// connections open find a closed one and open another.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request's document may take to arrive; it is at most [`BODY_BYTES_MAX`] over a local socket.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the client waits for a whole answer that is no stream; joining a swarm, the slowest, takes up to a third of it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the client waits for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream that a client sends may stall; a build or a dump that is piped in may pause, but not for this long.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The largest document or log frame in a stream: Docker cuts log lines at 16 KiB, and an event or a line of progress is far smaller.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
