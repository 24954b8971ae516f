//! What every object carries: names, labels, drivers, revisions and times.

use std::collections::BTreeMap;

use skep_types::service::LogDriver;
use skep_types::{Annotations, Meta, Revision, Timestamp};

use super::error::ConvertError;
use super::field::{timestamp, timestamp_of};
use crate::{state, swarmkit};

impl From<&Annotations> for swarmkit::Annotations {
    fn from(annotations: &Annotations) -> Self {
        Self {
            name: annotations.name.clone(),
            labels: annotations.labels.clone(),
            indices: Vec::new(),
        }
    }
}

impl TryFrom<swarmkit::Annotations> for Annotations {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Annotations) -> Result<Self, ConvertError> {
        // Indices are SwarmKit's, for look-ups by its own extensions; they mean nothing to a node.
        Ok(Self { name: message.name, labels: message.labels })
    }
}

pub(super) fn driver(name: &str, options: &BTreeMap<String, String>) -> swarmkit::Driver {
    swarmkit::Driver { name: name.to_owned(), options: options.clone() }
}

impl From<&LogDriver> for swarmkit::Driver {
    fn from(log: &LogDriver) -> Self {
        driver(&log.name, &log.options)
    }
}

impl TryFrom<swarmkit::Driver> for LogDriver {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Driver) -> Result<Self, ConvertError> {
        Ok(Self { name: message.name, options: message.options })
    }
}

pub(super) fn version(revision: Revision) -> swarmkit::Version {
    swarmkit::Version { index: revision.0 }
}

impl From<&Meta> for swarmkit::Meta {
    fn from(meta: &Meta) -> Self {
        Self {
            version: Some(version(meta.revision)),
            created_at: Some(timestamp(meta.created_at)),
            updated_at: Some(timestamp(meta.updated_at)),
        }
    }
}

impl TryFrom<swarmkit::Meta> for Meta {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Meta) -> Result<Self, ConvertError> {
        Ok(Self {
            revision: Revision(message.version.unwrap_or_default().index),
            created_at: timestamp_of(message.created_at, "created_at")?,
            updated_at: timestamp_of(message.updated_at, "updated_at")?,
        })
    }
}

impl From<&Meta> for state::Meta {
    fn from(meta: &Meta) -> Self {
        Self {
            version: meta.revision.0,
            created_at_ns: meta.created_at.0,
            updated_at_ns: meta.updated_at.0,
        }
    }
}

impl TryFrom<state::Meta> for Meta {
    type Error = ConvertError;

    fn try_from(message: state::Meta) -> Result<Self, ConvertError> {
        Ok(Self {
            revision: Revision(message.version),
            created_at: Timestamp(message.created_at_ns),
            updated_at: Timestamp(message.updated_at_ns),
        })
    }
}
