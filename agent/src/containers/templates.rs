//! What a task's templates are filled in with: its own names, and what it reads.

use skep_proto::convert::NodeTask;
use skep_template::service::{Names, Reads};
use skep_types::ContainerSpec;
use skep_types::node::NodeDescription;
use skep_types::task::Slot;

use crate::executor::TaskFiles;

pub fn names(task: &NodeTask, host: &NodeDescription) -> Names {
    Names {
        service_id: task.service_id.to_string(),
        service_name: task.service_name.clone(),
        service_labels: task.service_labels.clone(),
        node_id: task.node_id.to_string(),
        node_hostname: host.hostname.clone(),
        node_os: host.os.clone(),
        node_architecture: host.architecture.clone(),
        task_id: task.id.to_string(),
        task_name: task.annotations.name.clone(),
        task_slot: match task.slot {
            Slot::Replica(number) => number.to_string(),
            Slot::Node(node) => node.to_string(),
        },
    }
}

/// What a task is given, by the names of its files.
pub struct TaskReads<'a> {
    pub spec: &'a ContainerSpec,
    pub files: &'a TaskFiles,
}

impl Reads for TaskReads<'_> {
    fn secret(&self, file: &str) -> Option<String> {
        let read = self.spec.secrets.iter().find(|it| it.target.name == file)?;
        let secret = self.files.secrets.get(&read.secret_id)?;
        String::from_utf8(secret.spec.data.0.to_vec()).ok()
    }

    fn config(&self, file: &str) -> Option<String> {
        let read = self.spec.configs.iter().find(|it| it.target.name == file)?;
        let config = self.files.configs.get(&read.config_id)?;
        String::from_utf8(config.spec.data.0.to_vec()).ok()
    }

    fn variable(&self, name: &str) -> String {
        let mut pairs = self.spec.env.iter().filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map_or_else(String::new, |(_, value)| value.to_owned())
    }
}
