//! No port is held twice: a published one by two services, one in host mode by two tasks of a node.

use std::collections::BTreeMap;

use skep_state::{Delta, Event, State};
use skep_types::service::{PortConfig, Protocol, PublishMode};
use skep_types::{NodeId, Service, ServiceId, ServiceSpec, TaskId, TaskState};

use super::{Invariant, Seen, Verdict};

#[derive(Default)]
pub struct Ports {
    ingress: BTreeMap<(Protocol, u16), ServiceId>,
}

impl Invariant for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            match event {
                Event::Service(Delta { before, after }) => {
                    if let Some(before) = before {
                        self.ingress.retain(|_, owner| *owner != before.id);
                    }
                    for port in after.iter().flat_map(|service| published(service)) {
                        let owner = after.as_ref().map_or(ServiceId::new(0), |service| service.id);
                        let holder = *self.ingress.entry(port).or_insert(owner);
                        if holder != owner {
                            return Err(format!("{port:?} is both {holder}'s and {owner}'s"));
                        }
                    }
                }
                Event::Task(Delta { before, after: Some(task) }) => {
                    let placed = task.status.state >= TaskState::Assigned
                        && before.as_ref().is_none_or(|it| it.status.state < TaskState::Assigned);
                    let spec = seen.after.spec(task.service_id, task.spec_version);
                    if let (true, Some(node), Some(spec)) = (placed, task.node_id, spec) {
                        alone_on_host(seen.after, node, task.id, spec)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn published(service: &Service) -> Vec<(Protocol, u16)> {
    let spec = &service.spec.endpoint.ports;
    let ports = service.endpoint.iter().flat_map(|endpoint| &endpoint.ports).chain(spec);
    let ports = ports.filter(|it| it.publish_mode == PublishMode::Ingress && it.published_port > 0);
    ports.map(|port| (port.protocol, port.published_port)).collect()
}

pub fn host_ports(spec: &ServiceSpec) -> impl Iterator<Item = (Protocol, u16)> + '_ {
    let ports = spec.endpoint.ports.iter();
    // One without a number is each node's own to choose.
    let numbered =
        |it: &&PortConfig| it.publish_mode == PublishMode::Host && it.published_port != 0;
    let ports = ports.filter(numbered);
    ports.map(|port| (port.protocol, port.published_port))
}

/// Until its container has ended, a task holds its ports.
fn alone_on_host(state: &State, node: NodeId, task: TaskId, spec: &ServiceSpec) -> Verdict {
    if host_ports(spec).next().is_none() {
        return Ok(());
    }
    let there = state.tasks_on_node(node).filter(|other| {
        other.id != task && (TaskState::Assigned..=TaskState::Running).contains(&other.status.state)
    });
    for other in there {
        let Some(theirs) = state.spec(other.service_id, other.spec_version) else { continue };
        if let Some(port) = host_ports(spec).find(|port| host_ports(theirs).any(|it| it == *port)) {
            return Err(format!("{port:?} of node {node} went to {task} and is {}'s", other.id));
        }
    }
    Ok(())
}
