//! The one place where the state changes.

use skep_types::Timestamp;

use crate::action::{Action, Change, Transaction};
use crate::event::{Delta, Event};
use crate::object::Object;
use crate::rejection::{Reason, Rejection};
use crate::rules;
use crate::state::State;
use crate::table::Table;

impl State {
    /// Takes a transaction as a whole, or leaves the state as it was.
    ///
    /// # Errors
    /// The first action that breaks a rule, and which rule.
    pub fn apply(&mut self, transaction: &Transaction) -> Result<Vec<Event>, Rejection> {
        if transaction.epoch < self.epoch {
            let reason = Reason::StaleEpoch { got: transaction.epoch, current: self.epoch };
            return Err(Rejection { action: None, reason });
        }
        let mut next = self.clone();
        next.epoch = transaction.epoch;
        let mut events = Vec::with_capacity(transaction.actions.len());
        for (place, action) in transaction.actions.iter().enumerate() {
            match next.act(action, transaction.now) {
                Ok(event) => events.push(event),
                Err(reason) => return Err(Rejection { action: Some(place), reason }),
            }
        }
        *self = next;
        Ok(events)
    }

    fn act(&mut self, action: &Action, now: Timestamp) -> Result<Event, Reason> {
        Ok(match action {
            Action::Cluster(change) => {
                let delta = change_table(&mut self.cluster, change, now)?;
                rules::cluster::check(self, &delta)?;
                Event::Cluster(delta)
            }
            Action::Node(change) => {
                let delta = change_table(&mut self.nodes, change, now)?;
                rules::nodes::check(self, &delta)?;
                Event::Node(delta)
            }
            Action::Service(change) => {
                let delta = change_table(&mut self.services, change, now)?;
                let delta = rules::services::check(self, delta)?;
                Event::Service(delta)
            }
            Action::Task(change) => {
                let delta = change_table(&mut self.tasks, change, now)?;
                rules::tasks::check(self, &delta)?;
                Event::Task(delta)
            }
            Action::Network(change) => {
                let delta = change_table(&mut self.networks, change, now)?;
                rules::networks::check(self, &delta)?;
                Event::Network(delta)
            }
            Action::Secret(change) => {
                let delta = change_table(&mut self.secrets, change, now)?;
                rules::secrets::check_secret(self, &delta)?;
                Event::Secret(delta)
            }
            Action::Config(change) => {
                let delta = change_table(&mut self.configs, change, now)?;
                rules::secrets::check_config(self, &delta)?;
                Event::Config(delta)
            }
        })
    }
}

fn change_table<T: Object>(
    table: &mut Table<T>,
    change: &Change<T>,
    now: Timestamp,
) -> Result<Delta<T>, Reason> {
    Ok(match change {
        Change::Create(object) => Delta { before: None, after: Some(table.create(object, now)?) },
        Change::Update(object) => {
            let before = table.get(object.id()).cloned();
            Delta { before, after: Some(table.update(object, now)?) }
        }
        Change::Remove(id, expected) => {
            Delta { before: Some(table.remove(*id, *expected)?), after: None }
        }
    })
}
