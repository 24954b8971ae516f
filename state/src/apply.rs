//! The one place where the state changes.
//!
//! A change is judged on the state as it is, and made only when every rule holds: so one that is
//! refused has touched nothing. What the actions before it in its transaction did is undone by their
//! events, which say what stood before. No copy of the state is taken.

use skep_types::{Attachment, Network, Node, Service, Task, Timestamp};

use crate::action::{Action, Transaction};
use crate::event::{Delta, Event};
use crate::object::Object;
use crate::rejection::{Reason, Rejection};
use crate::rules;
use crate::state::State;

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
        // Which specs are kept cannot be told from events. A clone is a pointer.
        let specs = (transaction.actions.len() > 1).then(|| self.specs.clone());
        let mut events = Vec::with_capacity(transaction.actions.len());
        for (place, action) in transaction.actions.iter().enumerate() {
            match self.act(action, transaction.now) {
                Ok(event) => events.push(event),
                Err(reason) => {
                    for event in events.into_iter().rev() {
                        self.undo(event);
                    }
                    if let Some(specs) = specs {
                        self.specs = specs;
                    }
                    return Err(Rejection { action: Some(place), reason });
                }
            }
        }
        self.epoch = transaction.epoch;
        Ok(events)
    }

    /// Takes one action, or leaves the state as it was: for plans, which keep what holds.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn act(&mut self, action: &Action, now: Timestamp) -> Result<Event, Reason> {
        Ok(match action {
            Action::Cluster(change) => {
                let delta = self.cluster.judge(change, now)?;
                rules::cluster::check(self, &delta)?;
                self.cluster.commit(&delta);
                Event::Cluster(delta)
            }
            Action::Node(change) => {
                let delta = self.nodes.judge(change, now)?;
                rules::nodes::check(self, &delta)?;
                self.commit_node(&delta);
                Event::Node(delta)
            }
            Action::Service(change) => {
                let delta = self.services.judge(change, now)?;
                let delta = rules::services::check(self, delta)?;
                self.commit_service(&delta);
                Event::Service(delta)
            }
            Action::Task(change) => {
                let delta = self.tasks.judge(change, now)?;
                rules::tasks::check(self, &delta)?;
                self.commit_task(&delta);
                Event::Task(delta)
            }
            Action::Network(change) => {
                let delta = self.networks.judge(change, now)?;
                rules::networks::check(self, &delta)?;
                self.commit_network(&delta);
                Event::Network(delta)
            }
            Action::Secret(change) => {
                let delta = self.secrets.judge(change, now)?;
                rules::secrets::check_secret(self, &delta)?;
                self.secrets.commit(&delta);
                Event::Secret(delta)
            }
            Action::Config(change) => {
                let delta = self.configs.judge(change, now)?;
                rules::secrets::check_config(self, &delta)?;
                self.configs.commit(&delta);
                Event::Config(delta)
            }
            Action::Attachment(change) => {
                let delta = self.attachments.judge(change, now)?;
                rules::attachments::check(self, &delta)?;
                self.commit_attachment(&delta);
                Event::Attachment(delta)
            }
        })
    }

    /// Takes back the change that was made last, but for the specs that are kept.
    fn undo(&mut self, event: Event) {
        match event {
            Event::Cluster(delta) => self.cluster.commit(&reversed(delta)),
            Event::Node(delta) => self.commit_node(&reversed(delta)),
            Event::Service(delta) => self.commit_service(&reversed(delta)),
            Event::Task(delta) => self.commit_task(&reversed(delta)),
            Event::Network(delta) => self.commit_network(&reversed(delta)),
            Event::Secret(delta) => self.secrets.commit(&reversed(delta)),
            Event::Config(delta) => self.configs.commit(&reversed(delta)),
            Event::Attachment(delta) => self.commit_attachment(&reversed(delta)),
        }
    }

    fn commit_node(&mut self, delta: &Delta<Node>) {
        self.nodes.commit(delta);
        rules::nodes::index(self, delta.before.as_deref(), delta.after.as_deref());
    }

    fn commit_service(&mut self, delta: &Delta<Service>) {
        self.services.commit(delta);
        rules::services::index(self, delta.before.as_deref(), delta.after.as_deref());
        if let Some(service) = delta.after.as_ref().or(delta.before.as_ref()) {
            rules::services::retain_specs(self, service.id);
        }
    }

    fn commit_task(&mut self, delta: &Delta<Task>) {
        self.tasks.commit(delta);
        rules::tasks::index(self, delta.before.as_deref(), delta.after.as_deref());
    }

    fn commit_network(&mut self, delta: &Delta<Network>) {
        self.networks.commit(delta);
        rules::networks::index(self, delta.before.as_deref(), delta.after.as_deref());
    }

    fn commit_attachment(&mut self, delta: &Delta<Attachment>) {
        self.attachments.commit(delta);
        rules::attachments::index(self, delta.before.as_deref(), delta.after.as_deref());
    }
}

fn reversed<T: Object>(delta: Delta<T>) -> Delta<T> {
    Delta { before: delta.after, after: delta.before }
}
