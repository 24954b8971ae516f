//! Numbers for ports in host mode that nobody chose one for: the node chooses, as Docker's engine
//! does, from the ports that its kernel gives to whoever asks for any.
//!
//! **Invariant:** a number that was chosen here is one task's alone on this node, and it is kept as
//! long as the task has its networks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use skep_types::TaskId;
use skep_types::service::{PortConfig, Protocol, PublishMode};

use crate::desired::{Desired, TaskNet, TaskNetError};

/// A port of the host's namespace.
pub type HostPort = (Protocol, u16);

/// Linux's own, and Docker's where the kernel does not say.
pub const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// From which ports of a host numbers are chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPorts {
    /// `net.ipv4.ip_local_port_range`.
    pub range: RangeInclusive<u16>,
    /// `net.ipv4.ip_local_reserved_ports`: left out, as the kernel leaves them out.
    pub reserved: Vec<RangeInclusive<u16>>,
}

impl Default for LocalPorts {
    fn default() -> Self {
        Self { range: EPHEMERAL, reserved: Vec::new() }
    }
}

impl LocalPorts {
    /// From what the kernel's two files say: `32768 60999` and `40000,50000-50010`. A range that is
    /// none is taken for Linux's own, as Docker does.
    pub fn parse(range: &str, reserved: &str) -> Self {
        let mut ends = range.split_whitespace().map(str::parse::<u16>);
        let range = match (ends.next(), ends.next()) {
            (Some(Ok(first)), Some(Ok(last))) if 0 < first && first <= last => first..=last,
            _ => EPHEMERAL,
        };
        let part = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        let reserved = reserved.trim().split(',').filter_map(part).collect();
        Self { range, reserved }
    }

    fn offers(&self, number: u16) -> bool {
        !self.reserved.iter().any(|part| part.contains(&number))
    }
}

impl TaskNet {
    /// Where in `ports` those in host mode stand that have no number yet.
    pub fn unnumbered(&self) -> impl Iterator<Item = usize> + '_ {
        let open = |(_, port): &(usize, &PortConfig)| {
            port.publish_mode == PublishMode::Host && port.published_port == 0
        };
        self.ports.iter().enumerate().filter(open).map(|(index, _)| index)
    }

    /// Fills in the numbers that the task has already, each once. Returns them.
    pub fn keep(&mut self, had: &[PortConfig]) -> Vec<HostPort> {
        let mut had: Vec<&PortConfig> = had.iter().filter(|it| it.published_port != 0).collect();
        let mut kept = Vec::new();
        for index in self.unnumbered().collect::<Vec<_>>() {
            let wish = &mut self.ports[index];
            let same = |it: &&PortConfig| {
                (it.protocol, it.target_port) == (wish.protocol, wish.target_port)
            };
            if let Some(at) = had.iter().position(same) {
                wish.published_port = had.remove(at).published_port;
                kept.push((wish.protocol, wish.published_port));
            }
        }
        kept
    }
}

impl Desired {
    /// The numbers that a port may have as far as is known here, in the order in which they are to
    /// be tried: what else is bound on the host only the host can tell. They go on after `after`,
    /// the last one that was chosen, so that a port that was given back is not at once another
    /// task's.
    ///
    /// Not free are the host ports of all tasks, `net`'s own among them, and what the swarm
    /// publishes on every node.
    pub fn free_numbers(
        &self,
        net: &TaskNet,
        protocol: Protocol,
        local: &LocalPorts,
        after: Option<u16>,
    ) -> Vec<u16> {
        let of_tasks = self.tasks.values().flat_map(|task| &task.host_ports).chain(&net.ports);
        let of_tasks = of_tasks.map(|port| (port.protocol, port.published_port));
        let taken: BTreeSet<HostPort> =
            self.published().chain(of_tasks).chain(self.chosen.keys().copied()).collect();
        let (first, last) = (*local.range.start(), *local.range.end());
        let split = after.filter(|it| local.range.contains(it)).unwrap_or(last);
        let rest = split.checked_add(1).map(|next| next..=last);
        let order = rest.into_iter().flatten().chain(first..=split);
        order
            .filter(|number| local.offers(*number) && !taken.contains(&(protocol, *number)))
            .collect()
    }

    /// Notes a chosen number as a task's.
    ///
    /// # Errors
    /// It was chosen for another task.
    pub fn choose(&mut self, port: HostPort, task: TaskId) -> Result<(), TaskNetError> {
        self.may_have(port, task)?;
        self.chosen.insert(port, task);
        Ok(())
    }

    /// Whether a port was not chosen for another task.
    pub(crate) fn may_have(&self, port: HostPort, task: TaskId) -> Result<(), TaskNetError> {
        match self.chosen.get(&port) {
            Some(other) if *other != task => {
                Err(TaskNetError::PortTaken { protocol: port.0, number: port.1, other: *other })
            }
            _ => Ok(()),
        }
    }

    /// Gives back what was chosen for tasks that are not wanted any more, or do not have it.
    pub fn give_back(&mut self) {
        let tasks = &self.tasks;
        self.chosen.retain(|(protocol, number), task| {
            tasks.get(task).is_some_and(|task| {
                let has =
                    |it: &PortConfig| (it.protocol, it.published_port) == (*protocol, *number);
                task.host_ports.iter().any(has)
            })
        });
    }

    /// The ports that were chosen here and that the swarm publishes on every node too: this node
    /// answers them for the task.
    pub fn shadowed(&self) -> BTreeSet<(HostPort, TaskId)> {
        if self.chosen.is_empty() {
            return BTreeSet::new();
        }
        let chosen = |port: HostPort| self.chosen.get(&port).map(|task| (port, *task));
        self.published().filter_map(chosen).collect()
    }

    /// The names of the services that publish ports on every node. A port that is a task's own here
    /// has none.
    pub fn publishers(&self) -> BTreeMap<HostPort, String> {
        let services = self.ingress().into_iter().flat_map(|network| network.services.values());
        let named = services.flat_map(|service| {
            let ports = service.ports.iter().map(|port| (port.protocol, port.published));
            ports.map(|port| (port, service.name.clone()))
        });
        let of_tasks = |port: &HostPort| {
            let mut ports = self.tasks.values().flat_map(|task| &task.host_ports);
            ports.any(|it| (it.protocol, it.published_port) == *port)
        };
        named.filter(|(port, _)| !of_tasks(port)).collect()
    }

    /// The ports that the swarm publishes on every node and that this one's kernel cannot answer.
    pub fn unanswered(&self) -> BTreeSet<HostPort> {
        let by_sctp = |(protocol, _): &HostPort| *protocol == Protocol::Sctp;
        self.published().filter(|port| !self.node.sctp && by_sctp(port)).collect()
    }

    /// What the swarm publishes on every node, as far as this one was told.
    fn published(&self) -> impl Iterator<Item = HostPort> + '_ {
        let services = self.ingress().into_iter().flat_map(|network| network.services.values());
        let ports = services.flat_map(|service| &service.ports);
        ports.map(|port| (port.protocol, port.published)).filter(|(_, number)| *number != 0)
    }
}
