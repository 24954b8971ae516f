//! Where namespaces have their names.

use std::path::{Path, PathBuf};

use skep_types::{NetworkId, TaskId};

/// `RUN/networks/ID`, `RUN/tasks/ID`, and `RUN/lent/ID` for namespaces that are not ours.
#[derive(Debug, Clone)]
pub struct Paths {
    networks: PathBuf,
    tasks: PathBuf,
    lent: PathBuf,
}

impl Paths {
    pub fn new(run: &Path) -> Self {
        Self { networks: run.join("networks"), tasks: run.join("tasks"), lent: run.join("lent") }
    }

    pub fn networks(&self) -> &Path {
        &self.networks
    }

    pub fn tasks(&self) -> &Path {
        &self.tasks
    }

    pub fn network(&self, id: NetworkId) -> PathBuf {
        self.networks.join(id.to_string())
    }

    pub fn all_lent(&self) -> &Path {
        &self.lent
    }

    pub fn lent(&self, id: TaskId) -> PathBuf {
        self.lent.join(id.to_string())
    }

    /// Whether a task's namespace is somebody else's, with what is theirs in it.
    pub fn is_lent(&self, id: TaskId) -> bool {
        self.lent(id).exists()
    }

    pub fn task(&self, id: TaskId) -> PathBuf {
        match self.is_lent(id) {
            true => self.lent(id),
            false => self.tasks.join(id.to_string()),
        }
    }
}
