//! A node as the scheduler sees it: what is there, and what its tasks take of it.

use std::sync::Arc;

use skep_types::service::Protocol;
use skep_types::{Node, NodeId, Resources, generic};

use crate::filter::Needs;

/// A node with its means counted. It is there as long as the node is, or a task that names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    id: NodeId,
    node: Option<Arc<Node>>,
    /// Reserved by tasks that have not ended. Wider than one reservation, so that no sum of them
    /// overflows and what is added can be taken away again.
    used_nano_cpus: i128,
    used_memory_bytes: i128,
    /// By kind; a list, for few hosts have any and none has many.
    used_generic: Vec<(String, i128)>,
    /// Tasks that have not ended, and of them those that are to stay.
    holding: u32,
    tasks: u32,
    /// Tasks that failed here of late.
    failed: u32,
    /// Ports published in host mode, with how many tasks hold each: a task that is on its way out
    /// and one whose node was given may both hold one. Few, so a sorted list.
    ports: Vec<((Protocol, u16), u32)>,
}

impl Host {
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            node: None,
            used_nano_cpus: 0,
            used_memory_bytes: 0,
            used_generic: Vec::new(),
            holding: 0,
            tasks: 0,
            failed: 0,
            ports: Vec::new(),
        }
    }

    pub fn id(&self) -> NodeId {
        self.id
    }

    /// None where tasks name a node that is gone.
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// Tasks that are to run here.
    pub fn tasks(&self) -> u32 {
        self.tasks
    }

    /// Free of reservations; negative where more is reserved than the node now says it has.
    pub fn free_nano_cpus(&self) -> i64 {
        difference(self.resources().map_or(0, |of| of.nano_cpus), self.used_nano_cpus)
    }

    pub fn free_memory_bytes(&self) -> i64 {
        difference(self.resources().map_or(0, |of| of.memory_bytes), self.used_memory_bytes)
    }

    /// How many of a kind of generic resources nobody holds.
    pub fn free_generic(&self, kind: &str) -> i64 {
        let has = self.resources().map_or(0, |of| generic::amount(&of.generic, kind));
        let used = self.used_generic.iter().find(|(of, _)| of == kind);
        difference(has, used.map_or(0, |(_, used)| *used))
    }

    /// Whether a task holds this port.
    pub fn has_port(&self, port: (Protocol, u16)) -> bool {
        self.ports.iter().any(|(held, _)| *held == port)
    }

    pub(crate) fn set_node(&mut self, node: Option<Arc<Node>>) {
        self.node = node;
    }

    /// Counts one more task; `stays` if it is not on its way out.
    pub(crate) fn take(&mut self, needs: &Needs, stays: bool) {
        self.used_nano_cpus += i128::from(needs.nano_cpus);
        self.used_memory_bytes += i128::from(needs.memory_bytes);
        for (kind, count) in &needs.generic {
            let count = i128::from(*count);
            match self.used_generic.binary_search_by_key(&kind, |(of, _)| of) {
                Ok(place) => self.used_generic[place].1 += count,
                Err(place) => self.used_generic.insert(place, (kind.clone(), count)),
            }
        }
        self.holding += 1;
        self.tasks += u32::from(stays);
        for port in &needs.host_ports {
            match self.ports.binary_search_by_key(port, |(held, _)| *held) {
                Ok(place) => self.ports[place].1 += 1,
                Err(place) => self.ports.insert(place, (*port, 1)),
            }
        }
    }

    /// Undoes [`Host::take`].
    pub(crate) fn release(&mut self, needs: &Needs, stayed: bool) {
        self.used_nano_cpus -= i128::from(needs.nano_cpus);
        self.used_memory_bytes -= i128::from(needs.memory_bytes);
        for (kind, count) in &needs.generic {
            if let Ok(place) = self.used_generic.binary_search_by_key(&kind, |(of, _)| of) {
                self.used_generic[place].1 -= i128::from(*count);
                if self.used_generic[place].1 == 0 {
                    self.used_generic.remove(place);
                }
            }
        }
        self.holding -= 1;
        self.tasks -= u32::from(stayed);
        for port in &needs.host_ports {
            if let Ok(place) = self.ports.binary_search_by_key(port, |(held, _)| *held) {
                self.ports[place].1 -= 1;
                if self.ports[place].1 == 0 {
                    self.ports.remove(place);
                }
            }
        }
    }

    pub(crate) fn add_failure(&mut self) {
        self.failed += 1;
    }

    pub(crate) fn remove_failure(&mut self) {
        self.failed -= 1;
    }

    /// Whether neither a node nor a task stands for it any more.
    pub(crate) fn is_vacant(&self) -> bool {
        self.node.is_none() && self.holding == 0 && self.failed == 0
    }

    fn resources(&self) -> Option<&Resources> {
        self.node.as_ref()?.description.as_ref().map(|description| &description.resources)
    }
}

fn difference(has: i64, used: i128) -> i64 {
    (i128::from(has) - used).clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::node::NodeDescription;

    #[test]
    fn what_tasks_take_is_added_up_and_given_back_to_the_last_bit() {
        let mut node = Node::new(NodeId::new(1), skep_types::NodeSpec::default());
        let resources = Resources {
            nano_cpus: 10,
            memory_bytes: 10,
            generic: generic::parse(["gpu=9", "ssd=9"]).unwrap(),
            ..Resources::default()
        };
        node.description = Some(NodeDescription { resources, ..NodeDescription::default() });
        let mut empty = Host::new(NodeId::new(1));
        empty.set_node(Some(Arc::new(node)));
        let needs = |kind: &str, count, port| Needs {
            nano_cpus: 1,
            memory_bytes: 2,
            generic: vec![(kind.to_owned(), count)],
            host_ports: vec![(Protocol::Tcp, port)],
            ..Needs::default()
        };
        let (gpu, ssd) = (needs("gpu", 2, 80), needs("ssd", 3, 81));
        let mut host = empty.clone();
        for (needs, stays) in [(&gpu, true), (&ssd, true), (&gpu, false)] {
            host.take(needs, stays);
        }
        assert_eq!((host.free_nano_cpus(), host.free_memory_bytes()), (7, 4));
        assert_eq!((host.free_generic("gpu"), host.free_generic("ssd")), (5, 6));
        assert_eq!((host.tasks(), host.is_vacant()), (2, false));
        assert!(host.has_port((Protocol::Tcp, 80)) && !host.has_port((Protocol::Udp, 80)));
        host.release(&gpu, true);
        assert!(host.has_port((Protocol::Tcp, 80)), "the other holds it still");
        assert_eq!((host.free_generic("gpu"), host.tasks()), (7, 1));
        host.release(&gpu, false);
        assert!(!host.has_port((Protocol::Tcp, 80)));
        host.release(&ssd, true);
        assert_eq!(host, empty);
        host.set_node(None);
        host.add_failure();
        assert!(!host.is_vacant());
        host.remove_failure();
        assert!(host.is_vacant());
    }
}
