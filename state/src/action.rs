//! What a transaction is made of.

use std::sync::Arc;

use skep_types::{
    Attachment, Cluster, Config, Network, Node, Revision, Secret, Service, Task, Timestamp,
};

use crate::object::Object;

/// One change of one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T: Object> {
    /// A new object; its `meta` is written by `apply`.
    Create(Arc<T>),
    /// The object as it shall be; its `meta.revision` is the one the change was made from.
    Update(Arc<T>),
    /// Without an expected revision, whatever stands is removed.
    Remove(T::Id, Option<Revision>),
}

/// One change in one table.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Cluster(Change<Cluster>),
    Node(Change<Node>),
    Service(Change<Service>),
    Task(Change<Task>),
    Network(Change<Network>),
    Secret(Change<Secret>),
    Config(Change<Config>),
    Attachment(Change<Attachment>),
}

macro_rules! actions {
    ($($table:ident),*) => {$(
        impl From<Change<$table>> for Action {
            fn from(change: Change<$table>) -> Self {
                Self::$table(change)
            }
        }
    )*};
}

actions!(Cluster, Node, Service, Task, Network, Secret, Config, Attachment);

/// A list of changes that holds as a whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    /// The leadership it was made under; one from an earlier leadership is rejected.
    pub epoch: u64,
    /// The leader's clock when it was proposed.
    pub now: Timestamp,
    pub actions: Vec<Action>,
}
