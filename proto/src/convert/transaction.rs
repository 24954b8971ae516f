//! Transactions: what one change to the state is in the log.

use std::sync::Arc;

use skep_state::{Action, Change, Object, Transaction};
use skep_types::{
    Attachment, AttachmentId, Cluster, ClusterId, Config, ConfigId, Network, NetworkId, Node,
    NodeId, Revision, Secret, SecretId, Service, ServiceId, Task, TaskId, Timestamp,
};

use super::error::{At, ConvertError};
use super::field::{CompactId, list, messages};
use crate::state;
use crate::state::{action, key, object};

impl From<&Transaction> for state::Transaction {
    fn from(transaction: &Transaction) -> Self {
        Self {
            epoch: transaction.epoch,
            actions: messages(&transaction.actions),
            proposed_at_ns: transaction.now.0,
        }
    }
}

impl TryFrom<state::Transaction> for Transaction {
    type Error = ConvertError;

    fn try_from(message: state::Transaction) -> Result<Self, ConvertError> {
        Ok(Self {
            epoch: message.epoch,
            now: Timestamp(message.proposed_at_ns),
            actions: list(message.actions, "actions")?,
        })
    }
}

/// A kind of object, and how its variants in the messages are made.
trait Kind: Object {
    fn object(&self) -> object::Object;
    fn key(id: Self::Id) -> key::Key;
}

fn to_message<T: Kind>(change: &Change<T>) -> action::Action {
    let object = |object: &T| state::Object { object: Some(object.object()) };
    match change {
        Change::Create(created) => action::Action::Create(object(created)),
        Change::Update(updated) => action::Action::Update(object(updated)),
        Change::Remove(id, expected) => action::Action::Remove(state::Remove {
            expected_version: expected.map(|revision| revision.0),
            key: Some(state::Key { key: Some(T::key(*id)) }),
        }),
    }
}

/// Whether an object that came in an action is new.
#[derive(Clone, Copy)]
enum Deed {
    Create,
    Update,
}

fn change<T, M: TryInto<T, Error = ConvertError>>(
    deed: Deed,
    message: M,
    name: &str,
) -> Result<Change<T>, ConvertError>
where
    T: Object,
{
    let object = Arc::new(message.try_into().at(name)?);
    Ok(match deed {
        Deed::Create => Change::Create(object),
        Deed::Update => Change::Update(object),
    })
}

macro_rules! kinds {
    ($($kind:ident, $id:ident, $name:literal;)*) => {
        $(impl Kind for $kind {
            fn object(&self) -> object::Object {
                object::Object::$kind(self.into())
            }

            fn key(id: $id) -> key::Key {
                key::Key::$kind(id.to_bytes())
            }
        })*

        impl From<&Action> for state::Action {
            fn from(action: &Action) -> Self {
                Self {
                    action: Some(match action {
                        $(Action::$kind(change) => to_message(change),)*
                    }),
                }
            }
        }

        fn put(deed: Deed, message: state::Object) -> Result<Action, ConvertError> {
            match message.object {
                $(Some(object::Object::$kind(message)) => {
                    change::<$kind, _>(deed, message, $name).map(Action::$kind)
                })*
                None => Err(ConvertError::missing()).at("object"),
            }
        }

        fn remove(message: state::Remove) -> Result<Action, ConvertError> {
            let expected = message.expected_version.map(Revision);
            match message.key.and_then(|key| key.key) {
                $(Some(key::Key::$kind(bytes)) => {
                    let id = $id::from_bytes(&bytes, concat!("key.", $name))?;
                    Ok(Action::$kind(Change::Remove(id, expected)))
                })*
                None => Err(ConvertError::missing()).at("key"),
            }
        }
    };
}

kinds! {
    Cluster, ClusterId, "cluster";
    Node, NodeId, "node";
    Service, ServiceId, "service";
    Task, TaskId, "task";
    Network, NetworkId, "network";
    Secret, SecretId, "secret";
    Config, ConfigId, "config";
    Attachment, AttachmentId, "attachment";
}

impl TryFrom<state::Action> for Action {
    type Error = ConvertError;

    fn try_from(message: state::Action) -> Result<Self, ConvertError> {
        match message.action {
            Some(action::Action::Create(object)) => put(Deed::Create, object).at("create"),
            Some(action::Action::Update(object)) => put(Deed::Update, object).at("update"),
            Some(action::Action::Remove(it)) => remove(it).at("remove"),
            None => Err(ConvertError::missing()).at("action"),
        }
    }
}
