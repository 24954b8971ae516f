//! Which nodes a task may go to. Each filter that refuses is counted, so that a pending task can
//! say why.

use skep_types::{Availability, NodeState, ServiceId, ServiceSpec};

use crate::constraint::{Constraint, ConstraintError, architecture};
use crate::host::{Host, host_ports};

/// Why a node cannot take a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Not in session, paused or drained.
    Unavailable,
    Cpu,
    Memory,
    Platform,
    /// The constraint that does not hold.
    Constraint(String),
    HostPort(u16),
    MaxReplicas,
}

/// What one service's tasks ask of a node, parsed once for all of them.
#[derive(Debug)]
pub struct Demand<'a> {
    pub service: ServiceId,
    pub spec: &'a ServiceSpec,
    constraints: Vec<Constraint>,
}

impl<'a> Demand<'a> {
    /// Reads a service's demands.
    ///
    /// # Errors
    /// A constraint that cannot be read; the control API lets none in.
    pub fn of(service: ServiceId, spec: &'a ServiceSpec) -> Result<Self, ConstraintError> {
        let texts = &spec.task.placement.constraints;
        let constraints =
            texts.iter().map(|text| Constraint::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { service, spec, constraints })
    }

    /// Asks the filters in order; the first that refuses is the reason.
    ///
    /// # Errors
    /// Why the node cannot take one more task of the service.
    pub fn check(&self, host: &Host) -> Result<(), Refusal> {
        self.check_standing(host)?;
        let reserved = &self.spec.task.resources.reservations;
        if reserved.nano_cpus > 0 && host.free_nano_cpus < reserved.nano_cpus {
            return Err(Refusal::Cpu);
        }
        if reserved.memory_bytes > 0 && host.free_memory_bytes < reserved.memory_bytes {
            return Err(Refusal::Memory);
        }
        let taken = host_ports(self.spec).find(|port| host.host_ports.contains(port));
        if let Some((_, port)) = taken {
            return Err(Refusal::HostPort(port));
        }
        let max = self.spec.task.placement.max_replicas_per_node;
        if max > 0 && host.count(self.service) as u64 >= max {
            return Err(Refusal::MaxReplicas);
        }
        Ok(())
    }

    /// Asks the filters that no other task can change: the node's readiness, platform, constraints.
    ///
    /// # Errors
    /// Why the node is none for this service.
    pub fn check_standing(&self, host: &Host) -> Result<(), Refusal> {
        let node = &host.node;
        if node.status.state != NodeState::Ready || node.spec.availability != Availability::Active {
            return Err(Refusal::Unavailable);
        }
        if !self.platform_fits(host) {
            return Err(Refusal::Platform);
        }
        match self.constraints.iter().find(|constraint| !constraint.holds(node)) {
            Some(constraint) => Err(Refusal::Constraint(constraint.to_string())),
            None => Ok(()),
        }
    }

    fn platform_fits(&self, host: &Host) -> bool {
        let platforms = &self.spec.task.placement.platforms;
        let Some(description) = &host.node.description else { return platforms.is_empty() };
        platforms.is_empty()
            || platforms.iter().any(|(os, arch)| {
                (os.is_empty() || os.eq_ignore_ascii_case(&description.os))
                    && (arch.is_empty()
                        || architecture(arch) == architecture(&description.architecture))
            })
    }
}
