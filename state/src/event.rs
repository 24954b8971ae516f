//! What a transaction changed, for those who follow the state.

use std::sync::Arc;

use skep_types::{Attachment, Cluster, Config, Network, Node, Secret, Service, Task};

use crate::object::Object;

/// An object before and after a change; at least one of the two is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta<T: Object> {
    pub before: Option<Arc<T>>,
    pub after: Option<Arc<T>>,
}

/// One object changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Cluster(Delta<Cluster>),
    Node(Delta<Node>),
    Service(Delta<Service>),
    Task(Delta<Task>),
    Network(Delta<Network>),
    Secret(Delta<Secret>),
    Config(Delta<Config>),
    Attachment(Delta<Attachment>),
}
