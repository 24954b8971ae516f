//! Where things of a container stand. What must outlive a reboot is in the state directory; what a
//! reboot ends is in the run directory.

use std::path::{Path, PathBuf};

/// The places of one container.
#[derive(Debug, Clone)]
pub struct Places {
    state: PathBuf,
    run: PathBuf,
}

impl Places {
    pub fn new(state_dir: &Path, run_dir: &Path, id: &str) -> Places {
        Places { state: containers(state_dir).join(id), run: containers(run_dir).join(id) }
    }

    /// From what the shim is told.
    pub fn of(state: PathBuf, run: PathBuf) -> Places {
        Places { state, run }
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The configuration, written before anything else and removed last.
    pub fn config(&self) -> PathBuf {
        self.state.join("config.json")
    }

    /// How the container ended.
    pub fn exit(&self) -> PathBuf {
        self.state.join("exit.json")
    }

    /// The newest log file; older ones have `.1`, `.2` … after it.
    pub fn log(&self) -> PathBuf {
        self.state.join("json.log")
    }

    /// Locked by the shim as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.run.join("lock")
    }

    /// The process of the container.
    pub fn live(&self) -> PathBuf {
        self.run.join("live.json")
    }

    /// What a shim that broke had to say.
    pub fn shim_errors(&self) -> PathBuf {
        self.run.join("shim.log")
    }

    /// A mount point for what exists in the shim's mount namespace only.
    pub fn bundle(&self) -> PathBuf {
        self.run.join("bundle")
    }
}

/// The shim's socket, in the run directory. Reached by way of a descriptor of the directory, since
/// a socket's path may have 107 bytes only.
pub const SOCKET: &str = "shim.sock";

pub fn containers(dir: &Path) -> PathBuf {
    dir.join("containers")
}
