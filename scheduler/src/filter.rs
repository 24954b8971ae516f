//! Which nodes a task may go to. Each filter that refuses is counted, so that a pending task can
//! say why.
//!
//! A filter is a method of [`Needs`] that [`Needs::check`] asks in its turn, with a [`Refusal`] of
//! its own; what it looks at of a service is a field of [`Needs`], and of a node, of [`Host`].

use skep_types::privilege::{self, Privilege};
use skep_types::service::{Protocol, PublishMode};
use skep_types::{Availability, NodeState, ServiceSpec, defaults};

use crate::constraint::{Constraint, ConstraintError, architecture};
use crate::host::Host;

/// Why a node cannot take a task, in the order in which reasons are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Not in session, paused or drained.
    Unavailable,
    Cpu,
    Memory,
    /// The kind of which there is too little, by its place in [`Needs::generic`].
    Generic(usize),
    Platform,
    /// The plugin that the node lacks, by its place in [`Needs::plugins`].
    Plugin(usize),
    /// What the node's operator does not allow to services.
    Privilege(Privilege),
    /// The constraint that does not hold, by its place in [`Needs::constraints`].
    Constraint(usize),
    HostPort(u16),
    MaxReplicas,
}

/// All that filters look at of a service: services that need the same share what is known of nodes.
///
/// The most replicas on a node are not part of it: they depend on the service's own tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Needs {
    pub nano_cpus: i64,
    pub memory_bytes: i64,
    /// Kinds of generic resources, and how many of each.
    pub generic: Vec<(String, i64)>,
    /// Ports on the node's own addresses.
    pub host_ports: Vec<(Protocol, u16)>,
    /// (os, architecture), either of which may be empty; none: any.
    pub platforms: Vec<(String, String)>,
    pub constraints: Vec<Constraint>,
    /// Kinds and names of drivers that the containers use: of logs, of networks, of volumes.
    pub plugins: Vec<(&'static str, String)>,
    /// What a node's operator must allow.
    pub privileges: Vec<Privilege>,
    /// Labels whose values the tasks are spread over; not a filter, but it orders the nodes.
    pub spread: Vec<String>,
    /// A constraint that cannot be read; the control API lets none in.
    pub unreadable: Option<ConstraintError>,
}

impl Needs {
    /// Reads what a service's tasks ask of a node.
    pub fn of(spec: &ServiceSpec) -> Self {
        let placement = &spec.task.placement;
        let reserved = &spec.task.resources.reservations;
        let texts = placement.constraints.iter();
        let parsed: Result<Vec<Constraint>, _> =
            texts.map(|text| Constraint::parse(text)).collect();
        let (constraints, unreadable) = match parsed {
            Ok(constraints) => (constraints, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        Self {
            nano_cpus: reserved.nano_cpus,
            memory_bytes: reserved.memory_bytes,
            generic: reserved
                .generic
                .iter()
                .map(|it| (it.kind().to_owned(), it.amount()))
                .collect(),
            host_ports: host_ports(spec).collect(),
            platforms: placement.platforms.clone(),
            constraints,
            plugins: plugins(spec),
            // The control API lets none in that cannot be read, and the node refuses them too.
            privileges: privilege::of(&spec.task.container.labels)
                .map(|asked| asked.needs())
                .unwrap_or_default(),
            spread: placement.spread.clone(),
            unreadable,
        }
    }

    /// Asks the filters in order; the first that refuses is the reason.
    ///
    /// # Errors
    /// Why the node cannot take one more task with these needs.
    pub fn check(&self, host: &Host) -> Result<(), Refusal> {
        // First those that no other task can change, so that a node which is none for a service at
        // all is not said to be full.
        self.available(host)?;
        self.platform(host)?;
        self.plugins(host)?;
        self.privileges(host)?;
        self.constraints(host)?;
        self.cpu(host)?;
        self.memory(host)?;
        self.generic(host)?;
        self.host_port(host)
    }

    fn available(&self, host: &Host) -> Result<(), Refusal> {
        let ready = host.node().is_some_and(|node| {
            node.status.state == NodeState::Ready && node.spec.availability == Availability::Active
        });
        if ready { Ok(()) } else { Err(Refusal::Unavailable) }
    }

    fn platform(&self, host: &Host) -> Result<(), Refusal> {
        if self.platforms.is_empty() {
            return Ok(());
        }
        let description = host.node().and_then(|node| node.description.as_ref());
        let fits = description.is_some_and(|description| {
            self.platforms.iter().any(|(os, arch)| {
                (os.is_empty() || os.eq_ignore_ascii_case(&description.os))
                    && (arch.is_empty()
                        || architecture(arch) == architecture(&description.architecture))
            })
        });
        if fits { Ok(()) } else { Err(Refusal::Platform) }
    }

    fn plugins(&self, host: &Host) -> Result<(), Refusal> {
        if self.plugins.is_empty() {
            return Ok(());
        }
        // SwarmKit's: of a node that says nothing of itself nothing is asked.
        let description = host.node().and_then(|node| node.description.as_ref());
        let Some(description) = description else { return Ok(()) };
        let has = |(kind, name): &(&str, String)| {
            description.plugins.iter().any(|(of, is)| of == kind && same_plugin(is, name))
        };
        match self.plugins.iter().position(|plugin| !has(plugin)) {
            Some(place) => Err(Refusal::Plugin(place)),
            None => Ok(()),
        }
    }

    fn privileges(&self, host: &Host) -> Result<(), Refusal> {
        if self.privileges.is_empty() {
            return Ok(());
        }
        let description = host.node().and_then(|node| node.description.as_ref());
        let allowed = description.map(|of| privilege::allowed(&of.engine_labels));
        let allowed = allowed.unwrap_or_default();
        match self.privileges.iter().find(|privilege| !allowed.contains(privilege)) {
            Some(privilege) => Err(Refusal::Privilege(*privilege)),
            None => Ok(()),
        }
    }

    fn constraints(&self, host: &Host) -> Result<(), Refusal> {
        let Some(node) = host.node() else { return Ok(()) };
        match self.constraints.iter().position(|constraint| !constraint.holds(node)) {
            Some(place) => Err(Refusal::Constraint(place)),
            None => Ok(()),
        }
    }

    fn cpu(&self, host: &Host) -> Result<(), Refusal> {
        if self.nano_cpus > 0 && host.free_nano_cpus() < self.nano_cpus {
            return Err(Refusal::Cpu);
        }
        Ok(())
    }

    fn memory(&self, host: &Host) -> Result<(), Refusal> {
        if self.memory_bytes > 0 && host.free_memory_bytes() < self.memory_bytes {
            return Err(Refusal::Memory);
        }
        Ok(())
    }

    fn generic(&self, host: &Host) -> Result<(), Refusal> {
        match self.generic.iter().position(|(kind, count)| host.free_generic(kind) < *count) {
            Some(place) => Err(Refusal::Generic(place)),
            None => Ok(()),
        }
    }

    fn host_port(&self, host: &Host) -> Result<(), Refusal> {
        match self.host_ports.iter().find(|port| host.has_port(**port)) {
            Some((_, port)) => Err(Refusal::HostPort(*port)),
            None => Ok(()),
        }
    }
}

/// What every engine has is not asked for: volumes that are local, and to log nothing. Networks of
/// the swarm are of one driver.
fn plugins(spec: &ServiceSpec) -> Vec<(&'static str, String)> {
    let drivers =
        spec.task.container.mounts.iter().filter_map(|mount| mount.volume_driver.as_ref());
    let volumes = drivers.map(|(driver, _)| driver);
    let volumes = volumes.filter(|driver| !driver.is_empty() && *driver != "local");
    let log = spec.task.log_driver.iter().map(|driver| &driver.name);
    let log = log.filter(|driver| !driver.is_empty() && *driver != "none");
    let ports = &spec.endpoint.ports;
    let networks = !spec.task.networks.is_empty()
        || ports.iter().any(|port| port.publish_mode == PublishMode::Ingress);
    let network = networks.then(|| ("Network", defaults::NETWORK_DRIVER.to_owned()));
    let mut plugins: Vec<_> = log
        .map(|driver| ("Log", driver.clone()))
        .chain(network)
        .chain(volumes.map(|driver| ("Volume", driver.clone())))
        .collect();
    plugins.sort();
    plugins.dedup();
    plugins
}

/// A plugin without a tag is its `latest`.
fn same_plugin(is: &str, wanted: &str) -> bool {
    let bare = |name: &'_ str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    bare(is) == bare(wanted)
}

/// Ports that a service wants on the node's own addresses.
fn host_ports(spec: &ServiceSpec) -> impl Iterator<Item = (Protocol, u16)> + '_ {
    spec.endpoint
        .ports
        .iter()
        .filter(|port| port.publish_mode == PublishMode::Host && port.published_port != 0)
        .map(|port| (port.protocol, port.published_port))
}
