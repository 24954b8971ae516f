//! How many of a service's tasks run, are wanted and have completed, kept so that a list of
//! services visits no task.

use skep_types::{DesiredState, Node, NodeState, ServiceId, Task, TaskState};

use crate::state::State;

/// The tasks of a service, or of one run of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them; with the last one the tally goes.
    tasks: u32,
    /// On nodes that are not down.
    pub running: u32,
    pub completed: u32,
    /// Asked to run.
    pub wanted: u32,
    /// Of a job: neither told to stop nor at their end.
    pub unfinished: u32,
}

/// A service, and the run that the tasks belong to if it is a job.
pub(crate) type TallyKey = (ServiceId, Option<u64>);

impl Tally {
    fn of(task: &Task, node_lives: bool) -> Self {
        let counts = u32::from;
        let state = task.status.state;
        Self {
            tasks: 1,
            running: counts(state == TaskState::Running && node_lives),
            completed: counts(state == TaskState::Complete),
            wanted: counts(task.desired_state == DesiredState::Running),
            unfinished: counts(
                task.desired_state <= DesiredState::Complete && state <= TaskState::Running,
            ),
        }
    }

    fn change(&mut self, less: Self, more: Self) {
        let change = |count: &mut u32, less: u32, more: u32| {
            *count = count.saturating_add(more).saturating_sub(less);
        };
        change(&mut self.tasks, less.tasks, more.tasks);
        change(&mut self.running, less.running, more.running);
        change(&mut self.completed, less.completed, more.completed);
        change(&mut self.wanted, less.wanted, more.wanted);
        change(&mut self.unfinished, less.unfinished, more.unfinished);
    }
}

impl State {
    /// Counts of a service's tasks; of a job's those of one run.
    pub fn tally(&self, service: ServiceId, job_iteration: Option<u64>) -> Tally {
        self.tallies.get(&(service, job_iteration)).copied().unwrap_or_default()
    }

    fn node_lives(&self, task: &Task) -> bool {
        task.node_id.and_then(|id| self.nodes.get(id)).is_some_and(|node| lives(node))
    }
}

fn lives(node: &Node) -> bool {
    node.status.state != NodeState::Down
}

fn change(state: &mut State, key: TallyKey, less: Tally, more: Tally) {
    if less == more {
        return;
    }
    let mut tally = state.tallies.get(&key).copied().unwrap_or_default();
    tally.change(less, more);
    match tally.tasks {
        0 => state.tallies.remove(&key),
        _ => state.tallies.insert(key, tally),
    };
}

/// A task changed, and its node did not. Neither its service nor its run changes while it stands.
pub(crate) fn count_task(state: &mut State, before: Option<&Task>, after: Option<&Task>) {
    let Some(task) = before.or(after) else { return };
    let of = |task: Option<&Task>| {
        task.map_or_else(Tally::default, |task| Tally::of(task, state.node_lives(task)))
    };
    let (less, more) = (of(before), of(after));
    change(state, (task.service_id, task.job_iteration), less, more);
}

/// A node changed, and none of its tasks did.
pub(crate) fn count_node(state: &mut State, before: Option<&Node>, after: Option<&Node>) {
    let (lived, live) = (before.is_some_and(lives), after.is_some_and(lives));
    let Some(node) = before.or(after).filter(|_| lived != live) else { return };
    let running: Vec<_> = state
        .tasks_on_node(node.id)
        .filter(|task| task.status.state == TaskState::Running)
        .map(|task| ((task.service_id, task.job_iteration), std::sync::Arc::clone(task)))
        .collect();
    for (key, task) in running {
        change(state, key, Tally::of(&task, lived), Tally::of(&task, live));
    }
}
