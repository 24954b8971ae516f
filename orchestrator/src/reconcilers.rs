//! The reconcilers over a leadership: what there is to look at, and a pass over that alone.
//!
//! **Invariant:** nothing is known here that the state does not say. One that is built anew looks at
//! everything and reaches the same end; one that follows the events looks at what they changed.

use std::collections::BTreeSet;

use skep_state::{Action, Change, Event, State};
use skep_types::{Service, ServiceId, Timestamp};

use crate::allocator::Books;
use crate::dirty::Dirty;
use crate::plan::Plan;
use crate::wakes::Wakes;
use crate::{allocator, constraint_enforcer, earliest, look, reaper};

/// What is to be looked at, and what helps to look at no more than that.
#[derive(Debug)]
pub struct Reconcilers {
    dirty: Dirty,
    books: Books,
    wakes: Wakes,
}

impl Reconcilers {
    /// Begins with a view of the state: all of it is to be looked at.
    pub fn of(state: &State) -> Self {
        Self { dirty: Dirty::all(state), books: Books::of(state), wakes: Wakes::default() }
    }

    /// Takes in one change; all of them, in their order. `state` has it already.
    pub fn observe(&mut self, state: &State, event: &Event) {
        self.dirty.observe(state, event);
        self.books.observe(event);
    }

    /// What a pass had decided was not taken: it is to be decided anew.
    pub fn refused(&mut self, state: &State, action: &Action) {
        self.dirty.refused(state, action);
        if let Action::Task(Change::Create(task) | Change::Update(task)) = action {
            self.books.release(task);
        }
    }

    /// Passes over what is to be looked at, and gives the moment at which to look again, if time
    /// alone will change something. What the plan changes is looked at by the next pass, as if
    /// somebody else had done it.
    pub fn pass(&mut self, plan: &mut Plan<'_>) -> Option<Timestamp> {
        constraint_enforcer::enforce(plan, std::mem::take(&mut self.dirty.nodes));
        self.note(plan);
        self.wakes.due(plan.now(), &mut self.dirty.services);
        let ids: BTreeSet<ServiceId> = std::mem::take(&mut self.dirty.services);
        for id in &ids {
            let wake = match plan.view().services().get(*id).cloned() {
                Some(service) => look(plan, &service),
                None => None,
            };
            self.wakes.set(*id, wake);
        }
        self.note(plan);
        reaper::shut_down_orphans(plan, std::mem::take(&mut self.dirty.orphans));
        self.note(plan);
        let lost = reaper::give_up_lost(plan, &mut self.dirty.lost_nodes);
        self.note(plan);
        reaper::remove(plan, std::mem::take(&mut self.dirty.removable));
        for id in &ids {
            let service = plan.view().services().get(*id).cloned();
            if let Some(service) = service {
                reaper::trim_history(plan, &service);
            }
        }
        self.note(plan);
        self.allocate(plan);
        earliest(self.wakes.first(), lost)
    }

    /// Takes in what was added to a plan after the pass: where its tasks go.
    pub fn placed(&mut self, plan: &mut Plan<'_>) {
        self.note(plan);
    }

    /// Whether a pass would look at nothing before the next moment that the last one gave.
    pub fn is_idle(&self) -> bool {
        self.dirty.is_empty()
    }

    fn allocate(&mut self, plan: &mut Plan<'_>) {
        let ids = std::mem::take(&mut self.dirty.networks);
        let starved = allocator::networks(plan, &mut self.books, ids);
        self.dirty.starved_networks.extend(starved);
        self.note(plan);
        let ids = std::mem::take(&mut self.dirty.endpoints);
        let starved = allocator::services(plan, &mut self.books, ids);
        self.dirty.starved_endpoints.extend(starved);
        self.note(plan);
        let ids = std::mem::take(&mut self.dirty.new_tasks);
        let left = allocator::tasks(plan, &mut self.books, ids);
        self.dirty.starved_tasks.extend(left.starved);
        for (service, task) in left.waiting {
            self.dirty.waiting_tasks.entry(service).or_default().insert(task);
        }
        self.note(plan);
    }

    /// Takes in what the plan itself has changed since the last time.
    fn note(&mut self, plan: &mut Plan<'_>) {
        for event in plan.unseen() {
            self.observe(plan.view(), &event);
        }
    }
}

/// Whether tasks have a place on the network that published ports arrive by.
pub(crate) fn publishes(service: &Service) -> bool {
    use skep_types::service::PublishMode::Ingress;
    service.spec.endpoint.ports.iter().any(|port| port.publish_mode == Ingress)
}
