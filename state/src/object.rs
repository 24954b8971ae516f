//! What the tables need to know of an object.

use std::fmt;

use skep_types::{
    Attachment, AttachmentId, Cluster, ClusterId, Config, ConfigId, Meta, Network, NetworkId, Node,
    NodeId, Secret, SecretId, Service, ServiceId, Task, TaskId,
};

/// An object that stands in a table.
pub trait Object: Clone + PartialEq + fmt::Debug {
    type Id: Copy + Ord + fmt::Debug + fmt::Display;

    /// Docker's word for it, in errors.
    const KIND: &'static str;

    fn id(&self) -> Self::Id;
    fn meta(&self) -> Meta;
    fn meta_mut(&mut self) -> &mut Meta;

    /// The name that must be unique in its table, for objects that have one.
    fn unique_name(&self) -> Option<&str>;
}

macro_rules! objects {
    ($($object:ty, $id:ty, $kind:literal, $name:expr;)*) => {$(
        impl Object for $object {
            type Id = $id;
            const KIND: &'static str = $kind;

            fn id(&self) -> Self::Id {
                self.id
            }

            fn meta(&self) -> Meta {
                self.meta
            }

            fn meta_mut(&mut self) -> &mut Meta {
                &mut self.meta
            }

            fn unique_name(&self) -> Option<&str> {
                let name: fn(&Self) -> Option<&str> = $name;
                name(self)
            }
        }
    )*};
}

objects! {
    Cluster, ClusterId, "swarm", |cluster| Some(&cluster.spec.annotations.name);
    Node, NodeId, "node", |_| None;
    Service, ServiceId, "service", |service| Some(&service.spec.annotations.name);
    Task, TaskId, "task", |_| None;
    Network, NetworkId, "network", |network| Some(&network.spec.annotations.name);
    Secret, SecretId, "secret", |secret| Some(&secret.spec.annotations.name);
    Config, ConfigId, "config", |config| Some(&config.spec.annotations.name);
    Attachment, AttachmentId, "attachment", |_| None;
}
