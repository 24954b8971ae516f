//! Every bound and fixed name of the local fleet, with its reason.

use std::net::Ipv4Addr;
use std::time::Duration;

/// Below this directory each fleet has its own. On disk and not in /run: hosts keep images and
/// volumes there, and overlayfs wants a real file system for its upper layer.
pub const ROOT: &str = "/var/tmp/skep-fleet";
/// Overrides [`ROOT`].
pub const ROOT_ENV: &str = "SKEP_FLEET_DIR";

/// The cgroup under which fleets have theirs, in each hierarchy.
pub const CGROUP: &str = "skep-fleet";
/// Where a host's first process and what `fleet exec` runs live; as on a machine with systemd.
pub const INIT_LEAF: &str = "init.scope";
/// Where the daemon lives: a leaf of its own, so that pausing or measuring it says what it says.
pub const DAEMON_LEAF: &str = "skep.service";

/// The benchmarking range of RFC 2544: no swarm pool, Docker bridge or office network uses it.
pub const RANGE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Each fleet gets 1,022 addresses; the range then holds 128 fleets.
pub const FLEET_PREFIX: u8 = 22;
pub const FLEETS_MAX: u8 = 128;
/// The outside world: a bridge ends at 1,024 ports, and the first addresses are taken.
pub const HOSTS_MAX: usize = 1000;
/// An address that stands for the internet (RFC 5737); the outside machine answers for it.
pub const INTERNET: &str = "203.0.113.1/24";

/// Where a host sees its API socket, and the daemon's state.
pub const SOCKET: &str = "/run/skep.sock";
pub const DATA_ROOT: &str = "/var/lib/skep";
/// Where a host sees the binaries that the fleet was started with.
pub const BIN: &str = "/var/lib/fleet/bin";
/// `sun_path` of unix(7), without the closing zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Namespaces and mounts take milliseconds; this is for a machine that is busy building.
pub const BOOT_WITHIN: Duration = Duration::from_secs(30);
/// A daemon answers well within a second; a debug build on a busy machine may not.
pub const DAEMON_WITHIN: Duration = Duration::from_secs(30);
/// Killed processes go at once, except those that wait for a disk.
pub const GONE_WITHIN: Duration = Duration::from_secs(20);
/// The freezer needs each thread to reach a stopping point.
pub const FREEZE_WITHIN: Duration = Duration::from_secs(10);
/// `ip` and `nft` in a namespace.
pub const TOOL_WITHIN: Duration = Duration::from_secs(30);
/// One command of a test on a host, a pull of an image included.
pub const COMMAND_WITHIN: Duration = Duration::from_secs(120);
/// Images, containers and elections are ready well within it, on a busy machine too.
pub const SHOWN_WITHIN: Duration = Duration::from_secs(60);
/// A service's tasks and networks stand as asked for, after a node was given up for dead too.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// Joining N nodes and seeing all of them ready.
pub const SWARM_WITHIN: Duration = Duration::from_secs(120);
/// Output of one command that is kept in memory.
pub const OUTPUT_BYTES_MAX: u64 = 64 << 20;
/// Between two looks at a condition: short against what is waited for, long against a look's cost.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How much of a daemon's log an error or a failed test shows.
pub const LOG_TAIL_LINES: usize = 30;
/// A cold build of the command and all that it needs, on a machine with two busy cores.
pub const BUILD_WITHIN: Duration = Duration::from_secs(30 * 60);
