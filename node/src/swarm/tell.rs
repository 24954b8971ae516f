//! The swarm's changes as the events of `docker events`, from the view of the manager on this node.
//!
//! Invariant: what a manager reads from its log when it starts happened before, and is not told again.

use std::sync::Arc;

use skep_docker_api::Events;
use skep_docker_api::json::Map;
use skep_manager::Manager;
use skep_state::{Delta, Event, Object, State};
use skep_types::service::UpdateState;
use skep_types::{Availability, Node, NodeState, Service, ServiceMode};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::task::AbortOnDropHandle;

/// Where a manager's state stands when it is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It made its swarm a moment ago: all that comes is new.
    FromHere,
    /// It has yet to read what the others have.
    OnceCaughtUp,
}

/// Tells every change of the manager's state from now on, until the manager ends or the handle is dropped.
pub fn tell(manager: &Arc<Manager>, follow: Follow, events: Events) -> AbortOnDropHandle<()> {
    let mut changes = manager.changes();
    let manager = Arc::clone(manager);
    AbortOnDropHandle::new(tokio::spawn(async move {
        if follow == Follow::OnceCaughtUp {
            // Without a leader nothing can change either.
            while manager.fresh_view().await.is_err() {}
            changes = changes.resubscribe();
        }
        let mut leadership = manager.leadership();
        let mut leader = leadership.borrow_and_update().leader;
        loop {
            tokio::select! {
                changed = changes.recv() => match changed {
                    Ok(changed) => {
                        changed.iter().filter_map(told).for_each(|it| it.publish(&events));
                    }
                    Err(RecvError::Closed) => return,
                    Err(RecvError::Lagged(entries)) => {
                        tracing::warn!(entries, "changes of the swarm came too fast to be told");
                    }
                },
                moved = leadership.changed() => {
                    if moved.is_err() {
                        return;
                    }
                    // While nobody leads nothing is told: whoever led may go on.
                    let Some(now) = leadership.borrow_and_update().leader else { continue };
                    if let Some(before) = leader.replace(now).filter(|before| *before != now) {
                        led(&manager.view(), before, now).for_each(|it| it.publish(&events));
                    }
                }
            }
        }
    }))
}

/// That one manager leads in another's place, by their Raft ids.
fn led(state: &State, before: u64, now: u64) -> impl Iterator<Item = Told> {
    let of = |raft_id| {
        let is = |node: &&Arc<Node>| node.manager.as_ref().is_some_and(|it| it.raft_id == raft_id);
        state.nodes().iter().find(is)
    };
    let told = |node: &Arc<Node>, leads: bool| {
        let mut attributes = Map::from([("name".to_owned(), node_name(node))]);
        change(&mut attributes, "leader", Some((!leads).to_string()), Some(leads.to_string()));
        Told { kind: Node::KIND, action: "update", id: node.id.to_string(), attributes }
    };
    let told = [(of(before), false), (of(now), true)]
        .map(|(node, leads)| node.map(|node| told(node, leads)));
    told.into_iter().flatten()
}

/// What is told of one change.
#[derive(Debug, PartialEq)]
struct Told {
    kind: &'static str,
    action: &'static str,
    id: String,
    attributes: Map,
}

impl Told {
    fn publish(self, events: &Events) {
        events.publish_of_swarm(self.kind, self.action, &self.id, self.attributes);
    }
}

/// Tasks, attachments and the cluster itself have no events, as in Docker.
fn told(event: &Event) -> Option<Told> {
    match event {
        Event::Node(delta) => {
            let mut told = of(delta, node_changes)?;
            let node = delta.after.as_ref().or(delta.before.as_ref())?;
            told.attributes.insert("name".to_owned(), node_name(node));
            Some(told)
        }
        Event::Service(delta) => of(delta, service_changes),
        Event::Network(delta) => of(delta, |_, _| Map::new()),
        Event::Secret(delta) => of(delta, |_, _| Map::new()),
        Event::Config(delta) => of(delta, |_, _| Map::new()),
        Event::Cluster(_) | Event::Task(_) | Event::Attachment(_) => None,
    }
}

fn of<T: Object>(delta: &Delta<T>, changes: impl Fn(&T, &T) -> Map) -> Option<Told> {
    let (action, object, mut attributes) = match (&delta.before, &delta.after) {
        (None, Some(after)) => ("create", after, Map::new()),
        (Some(before), Some(after)) => ("update", after, changes(before, after)),
        (Some(before), None) => ("remove", before, Map::new()),
        (None, None) => return None,
    };
    if let Some(name) = object.unique_name() {
        attributes.insert("name".to_owned(), name.to_owned());
    }
    Some(Told { kind: T::KIND, action, id: object.id().to_string(), attributes })
}

/// Both sides of what changed, under Docker's `KEY.old` and `KEY.new`.
fn change(attributes: &mut Map, key: &str, before: Option<String>, after: Option<String>) {
    if before == after {
        return;
    }
    for (side, value) in [("old", before), ("new", after)] {
        if let Some(value) = value {
            attributes.insert(format!("{key}.{side}"), value);
        }
    }
}

fn node_name(node: &Node) -> String {
    let name = &node.spec.annotations.name;
    let hostname = || node.description.as_ref().map(|it| it.hostname.clone());
    Some(name.clone()).filter(|name| !name.is_empty()).or_else(hostname).unwrap_or_default()
}

fn availability(node: &Node) -> String {
    match node.spec.availability {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    }
    .to_owned()
}

fn state(node: &Node) -> String {
    match node.status.state {
        NodeState::Unknown => "unknown",
        NodeState::Down => "down",
        NodeState::Ready => "ready",
        NodeState::Disconnected => "disconnected",
    }
    .to_owned()
}

// DEVIATION: Docker also tells when a manager answers no more; only the leader knows that here.
fn node_changes(before: &Node, after: &Node) -> Map {
    let mut attributes = Map::new();
    let mut both = |key, value: &dyn Fn(&Node) -> String| {
        change(&mut attributes, key, Some(value(before)), Some(value(after)));
    };
    both("availability", &availability);
    both("role", &|node| node.spec.role.to_string());
    both("state", &state);
    attributes
}

fn update_state(state: UpdateState) -> String {
    match state {
        UpdateState::Updating => "updating",
        UpdateState::Paused => "paused",
        UpdateState::Completed => "completed",
        UpdateState::RollbackStarted => "rollback_started",
        UpdateState::RollbackPaused => "rollback_paused",
        UpdateState::RollbackCompleted => "rollback_completed",
    }
    .to_owned()
}

fn service_changes(before: &Service, after: &Service) -> Map {
    let mut attributes = Map::new();
    let mut both = |key, value: &dyn Fn(&Service) -> Option<String>| {
        change(&mut attributes, key, value(before), value(after));
    };
    both("image", &|service| Some(service.spec.task.container.image.clone()));
    both("replicas", &|service| match service.spec.mode {
        ServiceMode::Replicated { replicas } => Some(replicas.to_string()),
        _ => None,
    });
    // A status that is taken away is no news, as in Docker.
    if after.update_status.is_some() {
        both("updatestate", &|service| {
            service.update_status.as_ref().map(|status| update_state(status.state))
        });
    }
    attributes
}

#[cfg(test)]
mod tests {
    use skep_types::service::UpdateStatus;
    use skep_types::{Annotations, NodeId, NodeRole, NodeSpec, ServiceId, ServiceSpec, Timestamp};

    use skep_types::node::NodeDescription;

    use super::*;

    fn shown(event: Event) -> String {
        let told = told(&event).unwrap();
        let attributes: Vec<String> =
            told.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{} {} {}", told.kind, told.action, attributes.join(" "))
    }

    fn node(state: NodeState, role: NodeRole) -> Arc<Node> {
        Arc::new(Node {
            description: Some(NodeDescription::default()),
            status: skep_types::node::NodeStatus { state, ..Default::default() },
            ..Node::new(NodeId::new(7), NodeSpec { role, ..NodeSpec::default() })
        })
    }

    #[test]
    fn a_node_is_told_with_what_changed() {
        let host = String::new();
        let (before, after) =
            (node(NodeState::Down, NodeRole::Worker), node(NodeState::Ready, NodeRole::Worker));
        let event = |before, after| Event::Node(Delta { before, after });
        assert_eq!(shown(event(None, Some(after.clone()))), format!("node create name={host}"));
        assert_eq!(
            shown(event(Some(before), Some(after.clone()))),
            format!("node update name={host} state.new=ready state.old=down")
        );
        assert_eq!(shown(event(Some(after), None)), format!("node remove name={host}"));
    }

    fn service(image: &str, replicas: u64, state: Option<UpdateState>) -> Arc<Service> {
        let mut spec = ServiceSpec::new(
            Annotations { name: "web".to_owned(), ..Annotations::default() },
            ServiceMode::Replicated { replicas },
        );
        spec.task.container.image = image.to_owned();
        let status = |state| UpdateStatus {
            state,
            started_at: Timestamp(0),
            completed_at: None,
            message: String::new(),
            moving: Default::default(),
        };
        Arc::new(Service {
            update_status: state.map(status),
            ..Service::new(ServiceId::new(7), Arc::new(spec))
        })
    }

    #[test]
    fn a_service_is_told_with_what_changed() {
        let event = |before, after| {
            shown(Event::Service(Delta { before: Some(before), after: Some(after) }))
        };
        assert_eq!(
            event(service("a", 1, None), service("b", 3, Some(UpdateState::Updating))),
            "service update image.new=b image.old=a name=web replicas.new=3 replicas.old=1 \
             updatestate.new=updating"
        );
        let rolled = Some(UpdateState::RollbackStarted);
        assert_eq!(
            event(service("a", 1, Some(UpdateState::Updating)), service("a", 1, rolled)),
            "service update name=web updatestate.new=rollback_started updatestate.old=updating"
        );
        assert_eq!(
            event(service("a", 1, rolled), service("a", 1, None)),
            "service update name=web"
        );
    }
}
