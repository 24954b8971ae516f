//! A transaction in the making: every action is tried on a view at once, so that each reconciler
//! sees what those before it decided, and nothing is planned that `apply` would refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::{Action, Change, Delta, Event, Object, Reason, State};
use skep_types::resources::GenericResource;
use skep_types::{DesiredState, NodeId, task::Slot};
use skep_types::{Service, Task, TaskId, TaskState, TaskStatus, Timestamp};

use crate::slot::is_still_there;

/// Where new ids come from: 128 random bits a call.
pub type Mint<'a> = &'a mut dyn FnMut() -> u128;

/// Actions so far, and the state as they will leave it.
pub struct Plan<'a> {
    view: State,
    now: Timestamp,
    mint: Mint<'a>,
    /// In order; what a later one took the place of is none.
    actions: Vec<Option<Action>>,
    /// Where in `actions` the tasks are made that this plan makes.
    made: BTreeMap<TaskId, usize>,
    events: Vec<Event>,
    /// How many of `events` were asked for.
    seen: usize,
    rejections: Vec<Reason>,
}

impl<'a> Plan<'a> {
    pub fn new(view: State, now: Timestamp, mint: Mint<'a>) -> Self {
        Self {
            view,
            now,
            mint,
            actions: Vec::new(),
            made: BTreeMap::new(),
            events: Vec::new(),
            seen: 0,
            rejections: Vec::new(),
        }
    }

    /// The state with everything planned so far.
    pub fn view(&self) -> &State {
        &self.view
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The actions, in order, and what the view refused: the latter is never more than a race
    /// with the user (a port that two services want), and stands in the service's own status.
    pub fn finish(self) -> (Vec<Action>, Vec<Reason>) {
        (self.actions.into_iter().flatten().collect(), self.rejections)
    }

    /// What was changed so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What was changed since the last call.
    pub(crate) fn unseen(&mut self) -> Vec<Event> {
        let unseen = self.events[self.seen..].to_vec();
        self.seen = self.events.len();
        unseen
    }

    /// A task goes to a node, with so much of the node's generic resources.
    pub fn assign(&mut self, task: TaskId, node: NodeId, generic: Vec<GenericResource>) {
        let Some(task) = self.view.tasks().get(task) else { return };
        let mut changed = Task::clone(task);
        changed.node_id = Some(node);
        changed.generic = generic;
        changed.status.state = TaskState::Assigned;
        changed.status.message = "scheduler assigned task to node".to_owned();
        changed.status.error.clear();
        changed.status.timestamp = self.now;
        self.update(changed);
    }

    /// A task goes nowhere for now; does nothing where it says the same reason already.
    pub fn leave_pending(&mut self, task: TaskId, why: String) {
        let Some(task) = self.view.tasks().get(task) else { return };
        if task.status.error != why {
            let mut changed = Task::clone(task);
            changed.status.message = "pending task scheduling".to_owned();
            changed.status.error = why;
            changed.status.timestamp = self.now;
            self.update(changed);
        }
    }

    /// Tries an action and, if it holds, keeps it.
    pub fn act(&mut self, action: impl Into<Action>) -> bool {
        let action = action.into();
        match self.view.act(&action, self.now) {
            Ok(event) => {
                self.keep(action);
                self.events.push(event);
            }
            Err(reason) => {
                self.rejections.push(reason);
                return false;
            }
        }
        true
    }

    /// A task that is made and then changed within one plan is made as it is in the end: one action
    /// rather than one for each step. It takes the place of the last one, for by then whatever was
    /// in its way (an address, the room in its slot) was out of it; and its spec still stands, since
    /// a plan changes a service's spec once at most, and the one before is kept.
    fn keep(&mut self, action: Action) {
        let place = self.actions.len();
        let kept = match &action {
            Action::Task(Change::Create(task)) => {
                self.made.insert(task.id, place);
                action
            }
            Action::Task(Change::Update(task)) => match self.made.get_mut(&task.id) {
                Some(made) => {
                    self.actions[*made] = None;
                    *made = place;
                    Change::Create(Arc::clone(task)).into()
                }
                None => action,
            },
            _ => action,
        };
        self.actions.push(Some(kept));
    }

    pub(crate) fn update<T: Object>(&mut self, object: T) -> bool
    where
        Action: From<Change<T>>,
    {
        self.act(Change::Update(Arc::new(object)))
    }

    /// A new task in a slot. It is held while one that was told to stop may still run, so that no two
    /// serve the slot: see [`crate::restart::supervise`].
    pub(crate) fn fill_slot(&mut self, service: &Service, slot: Slot, tasks: &[Arc<Task>]) {
        // As they are by now: this pass may have told them.
        let mut current = tasks.iter().filter_map(|task| self.view.tasks().get(task.id));
        let occupied = current.any(|task| !task.is_wanted() && is_still_there(&self.view, task));
        let desired = if occupied { DesiredState::Ready } else { DesiredState::Running };
        self.create_task(service, slot, desired);
    }

    /// A new task in a slot, made from the service's current spec.
    pub(crate) fn create_task(&mut self, service: &Service, slot: Slot, desired: DesiredState) {
        let node_id: Option<NodeId> = match slot {
            Slot::Node(node) => Some(node),
            Slot::Replica(_) => None,
        };
        let task = Task {
            id: TaskId::new((self.mint)()),
            meta: skep_types::Meta::default(),
            service_id: service.id,
            slot,
            spec_version: service.spec_version,
            node_id,
            status: TaskStatus {
                timestamp: self.now,
                message: "created".to_owned(),
                ..TaskStatus::default()
            },
            desired_state: started(desired, service.job.is_some()),
            networks: Vec::new(),
            job_iteration: service.job.map(|job| job.iteration),
            generic: Vec::new(),
        };
        self.act(Change::Create(Arc::new(task)));
    }

    /// Lets a task go that was held when it was ready.
    pub(crate) fn release(&mut self, task: &Task) {
        self.desire(task, started(DesiredState::Running, task.job_iteration.is_some()));
    }

    /// Asks a task to go further; does nothing where it is asked for that much already.
    pub(crate) fn desire(&mut self, task: &Task, desired: DesiredState) {
        if task.desired_state < desired {
            let mut changed = task.clone();
            changed.desired_state = desired;
            self.update(changed);
        }
    }
}

/// The changes that lead back from a plan's to what stands, for those of its actions on tasks that
/// were refused: whoever took in the plan's `events` takes in these as well.
pub fn taken_back(events: &[Event], refused: &[Action]) -> Vec<Event> {
    let tasks: BTreeSet<TaskId> = refused
        .iter()
        .filter_map(|action| match action {
            Action::Task(Change::Create(task) | Change::Update(task)) => Some(task.id),
            Action::Task(Change::Remove(id, _)) => Some(*id),
            _ => None,
        })
        .collect();
    let undone = |event: &Event| match event {
        Event::Task(Delta { before, after }) => {
            let task = before.as_ref().or(after.as_ref())?;
            let delta = Delta { before: after.clone(), after: before.clone() };
            tasks.contains(&task.id).then_some(Event::Task(delta))
        }
        _ => None,
    };
    events.iter().rev().filter_map(undone).collect()
}

/// What a task that is let go shall reach: one of a job is to come to its end.
fn started(desired: DesiredState, job: bool) -> DesiredState {
    match desired {
        DesiredState::Running if job => DesiredState::Complete,
        other => other,
    }
}
