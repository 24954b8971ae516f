//! Limits of the kernel's on each process.

use serde::{Deserialize, Serialize};

/// A limit of the kernel's (`nofile`, `core` …); -1 means none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// The kernel's name of a limit that users call `nofile`.
pub fn ulimit_type(name: &str) -> Option<String> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    NAMES.contains(&name).then(|| format!("RLIMIT_{}", name.to_ascii_uppercase()))
}
