//! What becomes of a wish to have a container that was started by hand on a network, or off it.
//!
//! **Invariant:** to ask twice is to ask once: a node's container is on a network once, and keeps its
//! addresses unless it asks for others.

use std::net::IpAddr;
use std::sync::Arc;

use skep_orchestrator::allocator::{NoAddress, attachment_addresses};
use skep_proto::swarmkit as pb;
use skep_state::{Action, Change, State};
use skep_types::validate::{self, Invalid};
use skep_types::{Attachment, AttachmentId, Meta, Network, NodeId, feature};
use tonic::{Code, Status};

/// What a node asks for one of its containers.
#[derive(Debug, Clone)]
pub struct Wish {
    /// A network's id or its name.
    pub target: String,
    pub container_id: String,
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

/// Why it is not met; where SwarmKit has words, they are these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("network {0} not found")]
    NoNetwork(String),
    #[error("network {0} not manually attachable")]
    NotAttachable(String),
    #[error("node {0} not found")]
    NoNode(NodeId),
    #[error("attachment {0} not found")]
    NoAttachment(String),
    #[error("attachment {0} doesn't belong to this node")]
    Foreign(AttachmentId),
    #[error("invalid address {0:?}")]
    NoAddress(String),
    #[error("the managers are of different versions: upgrade all of them first")]
    TooEarly,
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Exhausted(#[from] NoAddress),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::NoNetwork(_) | Refusal::NoNode(_) | Refusal::NoAttachment(_) => Code::NotFound,
            Refusal::NotAttachable(_) | Refusal::Foreign(_) => Code::PermissionDenied,
            Refusal::NoAddress(_) | Refusal::Invalid(_) => Code::InvalidArgument,
            Refusal::TooEarly => Code::FailedPrecondition,
            Refusal::Exhausted(why) => match why {
                NoAddress::NoSubnet(_) | NoAddress::Exhausted(_) => Code::ResourceExhausted,
                NoAddress::Outside(_) | NoAddress::TwoOfAFamily(_) => Code::InvalidArgument,
                NoAddress::Taken { .. } => Code::AlreadyExists,
            },
        };
        Self::new(code, refusal.to_string())
    }
}

impl TryFrom<pb::AttachNetworkRequest> for Wish {
    type Error = Refusal;

    fn try_from(request: pb::AttachNetworkRequest) -> Result<Self, Refusal> {
        let config = request.config.unwrap_or_default();
        validate::attachment(&request.container_id, &config.aliases)?;
        let address = |text: &String| text.parse().map_err(|_| Refusal::NoAddress(text.clone()));
        Ok(Self {
            addresses: config.addresses.iter().map(address).collect::<Result<_, _>>()?,
            target: config.target,
            container_id: request.container_id,
            names: config.aliases,
        })
    }
}

/// What is to be done for a wish, and the attachment that comes of it; `fresh` is the id of a new one.
pub fn attach(
    state: &State,
    node: NodeId,
    wish: &Wish,
    fresh: AttachmentId,
) -> Result<(AttachmentId, Vec<Action>), Refusal> {
    let network = find(state, &wish.target)?;
    if !network.spec.attachable {
        return Err(Refusal::NotAttachable(wish.target.clone()));
    }
    if state.cluster().map_or(0, |it| it.feature_level) < feature::ATTACHMENTS {
        return Err(Refusal::TooEarly);
    }
    state.nodes().get(node).ok_or(Refusal::NoNode(node))?;
    let mut actions = Vec::new();
    if let Some(held) = state.attachment_at((node, network.id, &wish.container_id)) {
        let has = |it: &IpAddr| held.addresses.iter().any(|net| net.addr() == *it);
        if wish.addresses.iter().all(has) {
            if held.names != wish.names {
                let names = wish.names.clone();
                let renamed = Attachment { names, ..Attachment::clone(held) };
                actions.push(Change::Update(Arc::new(renamed)).into());
            }
            return Ok((held.id, actions));
        }
        actions.push(Change::<Attachment>::Remove(held.id, None).into());
    }
    let attachment = Attachment {
        id: fresh,
        meta: Meta::default(),
        node_id: node,
        network: network.id,
        container_id: wish.container_id.clone(),
        names: wish.names.clone(),
        addresses: attachment_addresses(state, network, &wish.addresses)?,
    };
    actions.push(Change::Create(Arc::new(attachment)).into());
    Ok((fresh, actions))
}

/// What is to be done for a node that wants one of its attachments gone.
pub fn detach(state: &State, node: NodeId, given: &str) -> Result<Vec<Action>, Refusal> {
    let id: Option<AttachmentId> = given.parse().ok();
    let found = id.and_then(|id| state.attachments().get(id));
    let found = found.ok_or_else(|| Refusal::NoAttachment(given.to_owned()))?;
    if found.node_id != node {
        return Err(Refusal::Foreign(found.id));
    }
    Ok(vec![Change::<Attachment>::Remove(found.id, None).into()])
}

fn find<'a>(state: &'a State, target: &str) -> Result<&'a Arc<Network>, Refusal> {
    let by_id = target.parse().ok().and_then(|id| state.networks().get(id));
    let found = by_id.or_else(|| state.networks().by_name(target));
    found.ok_or_else(|| Refusal::NoNetwork(target.to_owned()))
}

#[cfg(test)]
mod tests;
