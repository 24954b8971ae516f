//! Where namespaces have their names.

use std::path::{Path, PathBuf};

use skep_types::{NetworkId, TaskId};

/// `RUN/networks/ID` and `RUN/tasks/ID`.
#[derive(Debug, Clone)]
pub struct Paths {
    networks: PathBuf,
    tasks: PathBuf,
}

impl Paths {
    pub fn new(run: &Path) -> Self {
        Self { networks: run.join("networks"), tasks: run.join("tasks") }
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

    pub fn task(&self, id: TaskId) -> PathBuf {
        self.tasks.join(id.to_string())
    }
}
