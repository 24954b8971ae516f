//! The engine's numbers, each with where it comes from.

use std::time::Duration;

/// The name by which the multi-call binary is told to be a shim.
pub const SHIM_NAME: &str = "skep-shim";

/// The argument that makes it one shim, and not what shims are forked from.
pub const ALONE_NAME: &str = "alone";

/// A fork is asked for and there within this time. It takes less than a millisecond, and the first
/// waits for an execve; a machine out of memory may need seconds.
pub const FORK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the output of a command that has ended may be silent before it counts as ended too.
pub const EXEC_DRAIN_TIMEOUT: Duration = Duration::from_millis(50);

/// A shim says within this time whether its container was created. Docker waits without bound; a
/// create takes some 20 ms, and a minute is what a host under heavy load was seen to need at most.
pub const CREATE_TIMEOUT: Duration = Duration::from_secs(60);

/// A shim answers a request within this time. It does nothing slower than an `execve`, for which it
/// waits [`EXEC_TIMEOUT`].
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// How long the shim waits for a container's `execve` after it was told to start. It takes some
/// milliseconds; a machine that starts dozens at once and has a slow disk can take seconds.
pub const EXEC_TIMEOUT: Duration = Duration::from_secs(30);

/// How long after SIGKILL a container may take to be gone. A process in an uninterruptible wait
/// on a dead disk can take for ever; the caller is then told.
pub const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the shim reads on after the container's end for what is still in its pipes. With the
/// first process all others of the namespace are gone, so this bounds only a stray holder of the
/// pipe (a descriptor that was passed to another container).
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client of the shim's socket may be silent before the shim goes on without it.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Clients of a shim's socket at once, most of them attached. Docker has no bound; each costs a
/// descriptor, and up to [`ATTACH_BYTES_MAX`] of the kernel's memory if it is slow.
pub const CLIENTS_MAX: usize = 256;

/// Of [`CLIENTS_MAX`], those who may be attached: requests always find a place.
pub const ATTACHED_MAX: usize = 192;

/// Output that waits for an attached client before the container is held up. Docker's buffer grows
/// to a megabyte.
pub const ATTACH_BYTES_MAX: usize = 256 * 1024;

/// Input that waits for a container before its client is held up: what a pipe holds.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// A frame of output between shim and daemon; a shim's have at most what a pipe holds.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// How long an emptied cgroup may stay busy: the kernel frees one a moment after its last process.
pub const CGROUP_REMOVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a container may take to be frozen. A process in an uninterruptible wait is not counted
/// as stopped until it comes back.
pub const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a new daemon waits for the state directory of the last one.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a memory file may stay busy before it can be sealed. The kernel itself waits a sixth of
/// a second at a time, which was seen not to be enough on a loaded machine.
pub const SEAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A pause between two looks at something that the kernel does not announce.
pub const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The first such pause, where most waits are over in less: each further one is twice as long.
pub const POLL_INTERVAL_MIN: Duration = Duration::from_micros(200);

/// A request or a reply on the shim's socket; a long error message fits.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A container's configuration as JSON: thousands of mounts and variables fit.
pub const CONFIG_BYTES_MAX: usize = 8 * 1024 * 1024;

/// All files given to one container. Docker bounds a secret at 500 KB and a config at 1000 KB; this
/// bounds their sum, which sits in memory.
pub const FILES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Characters of a container's id; Docker's have 64.
pub const ID_CHARS_MAX: usize = 128;

/// Docker's `local` driver: five files of 20 MB. DEVIATION: Docker's json-file driver has no bound
/// by default and fills the disk.
pub const LOG_FILE_BYTES_MAX: u64 = 20 * 1024 * 1024;

/// See [`LOG_FILE_BYTES_MAX`].
pub const LOG_FILES_MAX: u32 = 5;

/// A line longer than this is logged in parts, as Docker does.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;

/// How often a follower looks for new lines. Inotify instances are few on a host (128 for a user).
pub const LOG_FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// What a log reader takes from disk at once.
pub const LOG_CHUNK_BYTES: usize = 256 * 1024;

/// Batches of entries between a log reader and who reads it.
pub const LOG_BATCHES_MAX: usize = 4;

/// How long a log service may take for one entry, before it and those after it are dropped. A
/// service that keeps up with its host takes far less.
pub const LOG_SEND_TIMEOUT: Duration = Duration::from_millis(100);

/// A log service that is not there is looked for this often.
pub const LOG_RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// Docker's period for a limit on CPU time, in microseconds.
pub const CPU_PERIOD_US: u64 = 100_000;

/// Docker's own least limit.
pub const MEMORY_BYTES_MIN: i64 = 6 * 1024 * 1024;

/// Docker's size of /dev/shm.
pub const SHM_BYTES: u64 = 64 * 1024 * 1024;

/// The shim's own score: killing it would free half a megabyte and lose a container's output.
pub const SHIM_OOM_SCORE_ADJ: i32 = -998;

/// Docker's default environment of a container.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The exit code of a container whose end nobody saw, as dockerd gives it.
pub const EXIT_CODE_UNKNOWN: i32 = 255;

/// Docker's exit codes for a command that cannot be run, and one that is not there.
pub const EXIT_CODE_CANNOT_RUN: i32 = 126;
/// See [`EXIT_CODE_CANNOT_RUN`].
pub const EXIT_CODE_NOT_FOUND: i32 = 127;
