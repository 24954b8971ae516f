//! Amounts of a host's means. A limit on processes is not among them on SwarmKit's wire: it rides
//! in the container's spec, and a node or a reservation has none.

use skep_types::Resources;
use skep_types::resources::{GenericResource, ResourceRequirements};

use super::error::{At, ConvertError};
use super::field::{absent, list, messages, or_default};
use crate::swarmkit;
use crate::swarmkit::generic_resource::Resource;

impl From<&GenericResource> for swarmkit::GenericResource {
    fn from(resource: &GenericResource) -> Self {
        let resource = match resource.clone() {
            GenericResource::Named { kind, value } => {
                Resource::NamedResourceSpec(swarmkit::NamedGenericResource { kind, value })
            }
            GenericResource::Discrete { kind, value } => {
                Resource::DiscreteResourceSpec(swarmkit::DiscreteGenericResource { kind, value })
            }
        };
        Self { resource: Some(resource) }
    }
}

impl TryFrom<swarmkit::GenericResource> for GenericResource {
    type Error = ConvertError;

    fn try_from(message: swarmkit::GenericResource) -> Result<Self, ConvertError> {
        match message.resource {
            Some(Resource::NamedResourceSpec(named)) => {
                Ok(Self::Named { kind: named.kind, value: named.value })
            }
            Some(Resource::DiscreteResourceSpec(count)) => {
                Ok(Self::Discrete { kind: count.kind, value: count.value })
            }
            None => Err(ConvertError::missing()).at("resource"),
        }
    }
}

impl From<&Resources> for swarmkit::Resources {
    fn from(resources: &Resources) -> Self {
        Self {
            nano_cpus: resources.nano_cpus,
            memory_bytes: resources.memory_bytes,
            generic: messages(&resources.generic),
        }
    }
}

impl TryFrom<swarmkit::Resources> for Resources {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Resources) -> Result<Self, ConvertError> {
        Ok(Self {
            nano_cpus: message.nano_cpus,
            memory_bytes: message.memory_bytes,
            pids: 0,
            generic: list(message.generic, "generic")?,
        })
    }
}

impl From<&ResourceRequirements> for swarmkit::ResourceRequirements {
    fn from(requirements: &ResourceRequirements) -> Self {
        Self {
            limits: Some((&requirements.limits).into()),
            reservations: Some((&requirements.reservations).into()),
            swap_bytes: None,
            memory_swappiness: None,
        }
    }
}

impl TryFrom<swarmkit::ResourceRequirements> for ResourceRequirements {
    type Error = ConvertError;

    fn try_from(message: swarmkit::ResourceRequirements) -> Result<Self, ConvertError> {
        absent(message.swap_bytes.is_none(), "a limit of swap", "swap_bytes")?;
        absent(message.memory_swappiness.is_none(), "swappiness", "memory_swappiness")?;
        Ok(Self {
            limits: or_default(message.limits, "limits")?,
            reservations: or_default(message.reservations, "reservations")?,
        })
    }
}
