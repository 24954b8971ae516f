//! What a node does with its tasks: the real plan of their life over a model of an engine, whose
//! steps take time and fail.

use std::time::Duration;

use skep_agent_plan::{Observed, Step, next_step};
use skep_dispatch::assignment::AssignedTask;
use skep_types::task::Slot;
use skep_types::{NodeId, ServiceId, TaskId, TaskState, TaskStatus};

use crate::agents::{Agent, Own};
use crate::invariants::Started;
use crate::managers::shown;
use crate::world::{Event, World};

/// A container on a host.
#[derive(Debug, Clone)]
pub struct Container {
    pub observed: Observed,
    pub service: ServiceId,
    pub slot: Slot,
    /// It comes to its end by itself.
    pub is_job: bool,
}

impl Container {
    pub fn is_running(&self) -> bool {
        matches!(self.observed, Observed::Running { .. })
    }
}

/// A task as its node has it.
#[derive(Debug, Default)]
pub struct Local {
    /// None: it is not assigned any more, and nothing of it stays.
    pub assigned: Option<AssignedTask>,
    pub reported: TaskState,
    /// The step under way, and the number of its end.
    pub busy: Option<(Step, u64)>,
}

impl Agent {
    /// What is not assigned any more is to be cleaned up, known or not.
    pub fn give_up(&mut self, gone: impl Fn(TaskId) -> bool) {
        for (_, local) in self.tasks.iter_mut().filter(|(id, _)| gone(**id)) {
            local.assigned = None;
        }
        for id in self.containers.keys().filter(|id| gone(**id)) {
            self.tasks.entry(*id).or_default().assigned = None;
        }
    }

    fn observed(&self, task: TaskId) -> Observed {
        self.containers.get(&task).map_or(Observed::Absent, |container| container.observed)
    }
}

impl World {
    /// Takes a task as far as it goes without waiting.
    pub(crate) fn advance(&mut self, node: NodeId, task: TaskId) {
        let now = self.now;
        loop {
            let Some(agent) = self.agents.get_mut(&node) else { return };
            let observed = agent.observed(task);
            let clock = agent.clock;
            let Some(local) = agent.tasks.get_mut(&task) else { return };
            if local.busy.is_some() {
                return;
            }
            let Some(assigned) = &local.assigned else {
                if observed == Observed::Absent {
                    agent.tasks.remove(&task);
                    agent.forget(task);
                    return;
                }
                return self.begin(node, task, Step::Remove);
            };
            match next_step(assigned.task.desired_state, local.reported, observed) {
                Step::Wait => return,
                Step::Report(state) => {
                    if state <= local.reported {
                        let why = format!("{:?} then {state:?} of task {task}", local.reported);
                        return self.fail("monotonic", why);
                    }
                    local.reported = state;
                    agent.report(task, status(state, shown(now, clock)));
                    self.tell_managers(node);
                }
                step => return self.begin(node, task, step),
            }
        }
    }

    fn begin(&mut self, node: NodeId, task: TaskId, step: Step) {
        let most = match step {
            Step::Create => 3_000,
            Step::Start => 500,
            Step::Stop => 10_000,
            _ => 100,
        };
        // Most steps are quick.
        let most = if self.rng.once_in(3) { most } else { most / 20 };
        let time = Duration::from_millis(5 + self.rng.below(most));
        let token = self.rng.number();
        let Some(agent) = self.agents.get_mut(&node) else { return };
        let run = agent.run;
        if let Some(local) = agent.tasks.get_mut(&task) {
            local.busy = Some((step, token));
        }
        let event = Event::Local(node, run, Own::Done(task, token));
        self.queue.push(self.now.saturating_add(time), event);
    }

    pub(crate) fn step_done(&mut self, node: NodeId, task: TaskId, token: u64) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        let Some(local) = agent.tasks.get_mut(&task) else { return };
        let Some((step, _)) = local.busy.take_if(|(_, it)| *it == token) else { return };
        let fails = self.faults.starts > 0 && self.rng.once_in(self.faults.starts);
        if fails && matches!(step, Step::Create | Step::Start) {
            let state = if step == Step::Create { TaskState::Rejected } else { TaskState::Failed };
            local.reported = local.reported.max(state);
            let time = shown(self.now, agent.clock);
            agent.report(task, TaskStatus { error: "broken".to_owned(), ..status(state, time) });
            self.tell_managers(node);
        } else {
            self.take_effect(node, task, step);
        }
        self.advance(node, task);
    }

    /// What a step does to the host.
    pub(crate) fn take_effect(&mut self, node: NodeId, task: TaskId, step: Step) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        match step {
            Step::Create => {
                let assigned = agent.tasks.get(&task).and_then(|local| local.assigned.as_ref());
                let Some(it) = assigned.map(|assigned| &assigned.task) else { return };
                let (service, slot, is_job) = (it.service_id, it.slot, it.job_iteration.is_some());
                let container = Container { observed: Observed::Created, service, slot, is_job };
                agent.containers.insert(task, container);
            }
            Step::Start => {
                if agent.observed(task) != Observed::Created {
                    return;
                }
                let healthy = !self.rng.once_in(4);
                self.observe(node, task, Observed::Running { healthy });
                if !healthy {
                    self.healthy_later(node, task);
                }
                self.job_ends_later(node, task);
            }
            Step::Stop => {
                if matches!(agent.observed(task), Observed::Running { .. }) {
                    self.observe(node, task, Observed::Exited { code: 143 });
                }
            }
            Step::Remove => self.observe(node, task, Observed::Absent),
            Step::Wait | Step::Report(_) => {}
        }
    }

    pub(crate) fn healthy_later(&mut self, node: NodeId, task: TaskId) {
        let Some(run) = self.agents.get(&node).map(|agent| agent.run) else { return };
        let time = Duration::from_millis(self.rng.below(4_000));
        let event = Event::Local(node, run, Own::Healthy(task));
        self.queue.push(self.now.saturating_add(time), event);
    }

    /// Does nothing for a container that is no job's.
    pub(crate) fn job_ends_later(&mut self, node: NodeId, task: TaskId) {
        let Some(agent) = self.agents.get(&node) else { return };
        let run = agent.run;
        let ends = |container: &Container| container.is_job && container.is_running();
        if agent.containers.get(&task).is_some_and(ends) {
            let time = Duration::from_millis(self.rng.below(12_000));
            self.queue
                .push(self.now.saturating_add(time), Event::Local(node, run, Own::Ends(task)));
        }
    }

    pub(crate) fn end_job(&mut self, node: NodeId, task: TaskId) {
        let Some(agent) = self.agents.get(&node) else { return };
        if agent.containers.get(&task).is_some_and(Container::is_running) {
            let fails = self.faults.starts > 0 && self.rng.once_in(4);
            self.observe(node, task, Observed::Exited { code: i32::from(fails) });
            self.advance(node, task);
        }
    }

    /// A container comes to be otherwise.
    pub(crate) fn observe(&mut self, node: NodeId, task: TaskId, observed: Observed) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        let Some(container) = agent.containers.get_mut(&task) else { return };
        let was_running = container.is_running();
        container.observed = observed;
        let is_running = container.is_running();
        let (service, slot) = (container.service, container.slot);
        if observed == Observed::Absent {
            agent.containers.remove(&task);
        }
        let place = self.running.entry((service, slot)).or_default();
        if was_running && !is_running {
            place.remove(&(node, task));
            if place.is_empty() {
                self.running.remove(&(service, slot));
            }
            return;
        }
        if was_running || !is_running {
            return;
        }
        let others: Vec<(NodeId, TaskId)> = place.iter().copied().collect();
        place.insert((node, task));
        let reachable = |node: &NodeId| self.agents.get(node).is_some_and(Agent::is_reachable);
        let others = others.into_iter().filter(|(node, _)| reachable(node)).collect();
        let started =
            Started { now: self.now, truth: &self.managers.truth, node, task, service, others };
        if let Err((name, why)) = self.invariants.started(&started) {
            self.fail(name, why);
        }
    }

    /// Containers end by themselves now and then.
    pub(crate) fn end_some_containers(&mut self, node: NodeId) {
        if self.faults.containers == 0 {
            return;
        }
        let Some(agent) = self.agents.get(&node) else { return };
        let running: Vec<TaskId> = agent
            .containers
            .iter()
            .filter(|(_, container)| container.is_running())
            .map(|(task, _)| *task)
            .collect();
        for task in running {
            if self.rng.once_in(self.faults.containers) {
                let code = i32::from(!self.rng.once_in(3));
                self.observe(node, task, Observed::Exited { code });
                self.advance(node, task);
            }
        }
    }
}

fn status(state: TaskState, timestamp: skep_types::Timestamp) -> TaskStatus {
    TaskStatus { state, timestamp, message: state.name().to_owned(), ..TaskStatus::default() }
}
