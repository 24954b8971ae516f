//! All tasks of this node: one running loop for each, told what is asked of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_agent_plan::Observed;
use skep_proto::convert::{ConvertError, NodeAttachment, NodeTask};
use skep_proto::swarmkit as pb;
use skep_proto::swarmkit::assignment::Item;
use skep_types::{AttachmentId, Config, Secret, TaskId};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::defaults::PREPARING_MAX;
use crate::executor::{Executor, TaskFiles};
use crate::logs::KnownTasks;
use crate::reporter::Reporter;
use crate::task::{self, Asked, Shared};

/// A message of the stream cannot be taken: the session must begin anew.
#[derive(Debug, thiserror::Error)]
pub enum AssignmentError {
    #[error("assignments out of order: difference applies to {applies_to:?}, have {have:?}")]
    OutOfOrder { applies_to: String, have: String },
    #[error(transparent)]
    Convert(#[from] ConvertError),
    #[error("malformed id of a removed item: {0}")]
    Id(#[from] skep_types::ParseIdError),
}

/// The tasks of the node, across sessions.
pub struct Worker {
    pub shared: Arc<Shared>,
    asked: BTreeMap<TaskId, watch::Sender<Asked>>,
    running: JoinSet<TaskId>,
    /// The tasks here, for who reads their logs.
    known: watch::Sender<KnownTasks>,
    /// Names the set of assignments; none until this session's complete one.
    name: Option<String>,
}

impl Worker {
    pub fn new(executor: Arc<dyn Executor>) -> Self {
        let shared = Shared {
            executor,
            reporter: Reporter::default(),
            preparing: Semaphore::new(PREPARING_MAX),
            files: std::sync::Mutex::new(TaskFiles::default()),
        };
        Self {
            shared: Arc::new(shared),
            asked: BTreeMap::new(),
            running: JoinSet::new(),
            known: watch::Sender::default(),
            name: None,
        }
    }

    /// Follows which tasks are here.
    pub fn known(&self) -> watch::Receiver<KnownTasks> {
        self.known.subscribe()
    }

    /// A new session begins with a complete set.
    pub fn begin_session(&mut self) {
        self.name = None;
    }

    /// Takes one message of the assignment stream.
    ///
    /// # Errors
    /// It does not follow what came before, or is malformed; nothing of it was taken.
    pub async fn take(&mut self, message: pb::AssignmentsMessage) -> Result<(), AssignmentError> {
        let complete = message.r#type() == pb::assignments_message::Type::Complete;
        if !complete && self.name.as_ref() != Some(&message.applies_to) {
            let have = self.name.clone().unwrap_or_default();
            return Err(AssignmentError::OutOfOrder { applies_to: message.applies_to, have });
        }
        let mut parsed = Vec::with_capacity(message.changes.len());
        for change in message.changes {
            let removed = change.action() == pb::assignment_change::AssignmentAction::Remove;
            let item = change.assignment.and_then(|assignment| assignment.item);
            if let Some(item) = item {
                parsed.extend(Change::parse(item, removed)?);
            }
        }
        if complete {
            self.replace(&parsed).await;
        }
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for change in parsed {
            match change {
                Change::Attachment(attachment) => come.push(*attachment),
                // The id of either; an attachment's is no task's.
                Change::NoTask(id) => {
                    gone.push(AttachmentId::of_task(id));
                    self.make(Change::NoTask(id));
                }
                change => self.make(change),
            }
        }
        if let Some(attachments) = self.shared.executor.attachments() {
            attachments.told(complete, come, &gone);
        }
        self.name = Some(message.results_in);
        while let Some(ended) = self.running.try_join_next() {
            match ended {
                Ok(id) => drop(self.asked.remove(&id)),
                Err(error) => tracing::error!(%error, "a task's loop ended badly"),
            }
        }
        Ok(())
    }

    /// What is not in a complete set is not this node's any more, left over from before a restart
    /// of the daemon too.
    async fn replace(&mut self, parsed: &[Change]) {
        let tasks = parsed.iter().filter_map(|change| match change {
            Change::Task(task) => Some(Arc::new(NodeTask::clone(task))),
            _ => None,
        });
        let tasks: Vec<Arc<NodeTask>> = tasks.collect();
        let assigned: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        let restored = self.shared.executor.restore_networks(&tasks).await;
        if let Err(error) = restored {
            tracing::warn!(%error, "failed to take up the networks of running tasks");
        }
        *self.files() = TaskFiles::default();
        for (id, asked) in &self.asked {
            if !assigned.contains(id) {
                asked.send_replace(Asked::Gone);
            }
        }
        self.known.send_if_modified(|known| {
            let before = known.len();
            known.retain(|id, _| assigned.contains(id));
            known.len() != before
        });
        for id in self.shared.executor.tasks().await {
            if !assigned.contains(&id) && !self.asked.contains_key(&id) {
                let shared = Arc::clone(&self.shared);
                self.running.spawn(async move {
                    if shared.executor.observe(id).await != Observed::Absent {
                        tracing::info!(task = %id, "removing what is no longer assigned");
                    }
                    task::clean_up(&shared, id).await;
                    id
                });
            }
        }
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::Secret(secret) => drop(self.files().secrets.insert(secret.id, *secret)),
            Change::Config(config) => drop(self.files().configs.insert(config.id, *config)),
            Change::NoSecret(id) => drop(self.files().secrets.remove(&id)),
            Change::NoConfig(id) => drop(self.files().configs.remove(&id)),
            Change::Task(task) => {
                let service = task.service_id;
                self.known.send_if_modified(|known| known.insert(task.id, service).is_none());
                let (id, task) = (task.id, Asked::Task(Arc::new(*task)));
                match self.asked.get(&id).filter(|asked| !asked.is_closed()) {
                    Some(asked) => drop(asked.send_replace(task)),
                    None => {
                        let (sender, asked) = watch::channel(task);
                        self.asked.insert(id, sender);
                        let shared = Arc::clone(&self.shared);
                        self.running.spawn(async move {
                            task::run(shared, id, asked).await;
                            id
                        });
                    }
                }
            }
            // Taken in by whoever keeps them.
            Change::Attachment(_) => {}
            Change::NoTask(id) => {
                self.known.send_if_modified(|known| known.remove(&id).is_some());
                if let Some(asked) = self.asked.get(&id) {
                    asked.send_replace(Asked::Gone);
                }
            }
        }
    }

    fn files(&self) -> std::sync::MutexGuard<'_, TaskFiles> {
        self.shared.files.lock().expect("no holder panics")
    }

    /// The node is no part of the swarm any more: its tasks end, each within its grace.
    pub async fn give_up(&mut self) {
        for asked in self.asked.values() {
            asked.send_replace(Asked::Gone);
        }
        self.known.send_replace(KnownTasks::default());
        *self.files() = TaskFiles::default();
        while let Some(ended) = self.running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task's loop ended badly");
            }
        }
        self.asked.clear();
        // Of before the daemon was started again.
        for id in self.shared.executor.tasks().await {
            task::clean_up(&self.shared, id).await;
        }
    }

    /// Ends the loops; containers go on.
    pub async fn shutdown(mut self) {
        self.running.shutdown().await;
    }
}

enum Change {
    Task(Box<NodeTask>),
    NoTask(TaskId),
    Attachment(Box<NodeAttachment>),
    Secret(Box<Secret>),
    NoSecret(skep_types::SecretId),
    Config(Box<Config>),
    NoConfig(skep_types::ConfigId),
}

impl Change {
    fn parse(item: Item, removed: bool) -> Result<Option<Self>, AssignmentError> {
        Ok(Some(match (item, removed) {
            (Item::Task(task), true) => Self::NoTask(task.id.parse()?),
            (Item::Task(task), false) if NodeAttachment::is_one(&task) => {
                Self::Attachment(Box::new(NodeAttachment::try_from(task)?))
            }
            (Item::Task(task), false) => Self::Task(Box::new(NodeTask::try_from(task)?)),
            (Item::Secret(secret), true) => Self::NoSecret(secret.id.parse()?),
            (Item::Secret(secret), false) => Self::Secret(Box::new(Secret::try_from(secret)?)),
            (Item::Config(config), true) => Self::NoConfig(config.id.parse()?),
            (Item::Config(config), false) => Self::Config(Box::new(Config::try_from(config)?)),
            // Cluster volumes: a Docker manager may send them; no task here uses them.
            (Item::Volume(_), _) => return Ok(None),
        }))
    }
}
