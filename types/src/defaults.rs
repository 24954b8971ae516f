//! Values that hold where a user gives none, and bounds on what a user gives, with their source.

use std::time::Duration;

/// Docker: a task that ended is replaced after 5 s.
pub const RESTART_DELAY: Duration = Duration::from_secs(5);
/// Docker: one slot at a time.
pub const UPDATE_PARALLELISM: u64 = 1;
/// Docker: a new task is watched for 5 s.
pub const UPDATE_MONITOR: Duration = Duration::from_secs(5);
/// Docker: SIGKILL follows SIGTERM after 10 s.
pub const STOP_GRACE_PERIOD: Duration = Duration::from_secs(10);
/// Docker: tasks kept of each slot beyond the running one.
pub const TASK_HISTORY_LIMIT: u32 = 5;
/// SwarmKit: the period in which an agent says that it lives.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);
/// SwarmKit: tasks of a node that is down for so long are given up.
pub const NODE_DOWN_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// Ours: how long a node that is down keeps its tasks. Swarm replaces them as soon as three heartbeats
/// were missed, 15 s; this adds less than that again: what is gone for up to 25 s in all, as a
/// daemon that is upgraded or a link that is lost for a moment, comes back to its tasks.
pub const DOWN_GRACE: Duration = Duration::from_secs(10);
/// SwarmKit: life of a node's certificate.
pub const CERT_EXPIRY: Duration = Duration::from_secs(90 * 24 * 3600);
/// SwarmKit refuses a shorter life of certificates.
pub const CERT_EXPIRY_MIN: Duration = Duration::from_secs(3600);
/// SwarmKit: the gRPC port of managers.
pub const MANAGER_PORT: u16 = 2377;
/// RFC 7348's port for VXLAN, Docker's data path port.
pub const DATA_PATH_PORT: u16 = 4789;
/// SwarmKit: first VXLAN id that is handed out.
pub const VNI_FIRST: u32 = 4096;
/// Docker: the driver of networks that span the swarm.
pub const NETWORK_DRIVER: &str = "overlay";
/// Ours: tasks that one call to rebalance moves at most; each takes some 40 bytes of its service, which
/// must fit a log entry.
pub const REBALANCE_MOVES_MAX: usize = 10_000;
/// SwarmKit: the pool that overlay subnets are cut from, and the length of each.
pub const ADDRESS_POOL: &str = "10.0.0.0/8";
/// SwarmKit: each overlay gets a /24.
pub const SUBNET_LENGTH: u8 = 24;
/// SwarmKit: published ports that a user leaves open are taken from here.
pub const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// SwarmKit: a secret is smaller than this.
pub const SECRET_BYTES_MAX: usize = 500 * 1024;
/// SwarmKit: a config is at most this large.
pub const CONFIG_BYTES_MAX: usize = 1000 * 1024;
/// SwarmKit: names of secrets and configs have at most this many bytes.
pub const SECRET_NAME_BYTES_MAX: usize = 64;
/// A DNS label (RFC 1035): names of services and networks become parts of host names.
pub const NAME_BYTES_MAX: usize = 63;
/// Ours: keys and values of all labels of one object together, so that an object fits a log entry.
pub const LABELS_BYTES_MAX: usize = 256 * 1024;
/// Docker: a container's id is 32 bytes as hexadecimal digits.
pub const CONTAINER_ID_BYTES_MAX: usize = 64;
/// Ours: all names of a container on one network together; every node of the network hears of them.
pub const CONTAINER_NAMES_BYTES_MAX: usize = 8 * 1024;
/// Linux: what `execve` takes of arguments and environment at the least (a quarter of an 8 MiB stack).
pub const ARGUMENTS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Engine: a container with less memory does not start.
pub const MEMORY_BYTES_MIN: i64 = 6 * 1024 * 1024;
