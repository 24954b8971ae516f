//! Containers that were started by hand on networks of the swarm: what the managers let them, and
//! what of that this node still has.
//!
//! **Invariant:** an attachment of this node that no container has, nor is about to have, is given
//! back while a session stands; one that a container has and the managers do not know is asked for
//! again when a session begins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;
use skep_overlay_net::{Lent, TaskNet};
use skep_proto::convert::NodeAttachment;
use skep_proto::swarmkit as pb;
use skep_proto::swarmkit::resource_allocator_client::ResourceAllocatorClient;
use skep_types::{AttachmentId, Network, NetworkAttachment, NetworkId, TaskId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::defaults::{ATTACHED_WITHIN, CALL_TIMEOUT};

/// What a container asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    pub container: String,
    /// A network's id or name.
    pub network: String,
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

/// A container with all its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub container: String,
    pub namespace: PathBuf,
    pub places: Vec<Place>,
    /// The name of an interface towards the host, if it is to have one.
    pub outside: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub network: NetworkId,
    pub names: Vec<String>,
    pub addresses: Vec<IpNet>,
    pub interface: String,
}

/// Why a container is not on a network, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    #[error("Could not attach to network {network}: rpc error: code = {code} desc = {message}")]
    Refused { network: String, code: String, message: String },
    #[error(
        "attaching to network failed, make sure your network options are correct and check manager \
         logs: context deadline exceeded"
    )]
    Late,
}

impl AttachError {
    fn of(network: &str, status: &Status) -> Self {
        // Go's name of it.
        let code = match status.code() {
            Code::Cancelled => "Canceled".to_owned(),
            code => format!("{code:?}"),
        };
        Self::Refused { network: network.to_owned(), code, message: status.message().to_owned() }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Attachments {
    inner: Mutex<Inner>,
    /// Changes with `inner`.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The node is in a swarm, with a session or without.
    member: bool,
    line: Option<Channel>,
    /// As the managers have it.
    assigned: BTreeMap<AttachmentId, NodeAttachment>,
    /// As the containers have it.
    joined: BTreeMap<String, Joined>,
    /// Containers that are about to be on one more network, by how many calls.
    coming: BTreeMap<String, usize>,
    /// Under way to be given back.
    leaving: BTreeSet<AttachmentId>,
}

/// While it is there, what a container is given is not given back.
struct Coming<'a>(&'a Attachments, String);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        if let Some(count) = inner.coming.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                inner.coming.remove(&self.1);
            }
        }
    }
}

/// The place of a container among tasks: its id is random, and half of it is as long as theirs.
pub fn task_of(container: &str) -> TaskId {
    let digits = container.get(..32).unwrap_or(container);
    TaskId::new(u128::from_str_radix(digits, 16).unwrap_or_default())
}

impl Joined {
    /// What the network is asked for it.
    pub fn net(&self) -> (TaskNet, Lent) {
        let at = |place: &Place| NetworkAttachment {
            network: place.network,
            addresses: place.addresses.clone(),
            aliases: Vec::new(),
        };
        let net = TaskNet {
            task: task_of(&self.container),
            networks: self.places.iter().map(at).collect(),
            ports: Vec::new(),
            nameservers: Vec::new(),
        };
        let lent = Lent {
            namespace: self.namespace.clone(),
            interfaces: self.places.iter().map(|it| it.interface.clone()).collect(),
            outside: self.outside.clone(),
        };
        (net, lent)
    }

    fn has(&self, attachment: &NodeAttachment) -> bool {
        self.container == attachment.container_id
            && self.places.iter().any(|it| it.network == attachment.network.id)
    }
}

impl Inner {
    /// What the managers have of this node that nobody here has.
    fn strays(&self) -> Vec<AttachmentId> {
        let strays = self.assigned.values().filter(|it| {
            let held = self.joined.get(&it.container_id).is_some_and(|joined| joined.has(it));
            !held && !self.coming.contains_key(&it.container_id) && !self.leaving.contains(&it.id)
        });
        strays.map(|it| it.id).collect()
    }

    /// What containers here have and the managers do not know.
    fn lost(&self) -> Vec<Wish> {
        let places = self.joined.values().flat_map(|joined| {
            let known = |place: &Place| {
                let mut assigned = self.assigned.values();
                assigned
                    .any(|it| it.container_id == joined.container && it.network.id == place.network)
            };
            let lost = joined.places.iter().filter(move |place| !known(place));
            lost.map(|place| Wish {
                container: joined.container.clone(),
                network: place.network.to_string(),
                names: place.names.clone(),
                addresses: place.addresses.iter().map(IpNet::addr).collect(),
            })
        });
        places.collect()
    }
}

impl Attachments {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        changed
    }

    /// The node is in a swarm, or is not any more.
    pub(crate) fn membership(&self, member: bool) {
        self.change(|inner| inner.member = member);
    }

    pub fn is_member(&self) -> bool {
        self.lock().member
    }

    /// A session stands, or none.
    pub(crate) fn session(&self, line: Option<Channel>) {
        self.change(|inner| inner.line = line);
    }

    /// The managers tell of attachments: all of them, or some more and some that are gone. What is
    /// amiss is put right in the background.
    pub(crate) fn told(
        self: &Arc<Self>,
        all: bool,
        come: Vec<NodeAttachment>,
        gone: &[AttachmentId],
    ) {
        let (strays, lost) = self.change(|inner| {
            if all {
                inner.assigned.clear();
            }
            inner.assigned.extend(come.into_iter().map(|it| (it.id, it)));
            inner.assigned.retain(|id, _| !gone.contains(id));
            let strays = inner.strays();
            inner.leaving.extend(&strays);
            (strays, if all { inner.lost() } else { Vec::new() })
        });
        for id in strays {
            tracing::info!(attachment = %id, "giving back what no container here has");
            let all = Arc::clone(self);
            // Ends with its call.
            tokio::spawn(async move { all.give_back(id).await });
        }
        for wish in lost {
            let all = Arc::clone(self);
            // Ends with its call.
            tokio::spawn(async move {
                if let Err(error) = all.ask(&wish).await {
                    let Wish { container, network, .. } = wish;
                    tracing::error!(container, network, %error, "the managers do not let a container be where it is");
                }
            });
        }
    }

    /// Has the managers let a container onto a network, and waits for what they give it. To ask again
    /// for the same is no second attachment.
    pub async fn attach(&self, wish: &Wish) -> Result<NodeAttachment, AttachError> {
        let deadline = Instant::now() + ATTACHED_WITHIN;
        let _coming = self.coming(&wish.container);
        let id = self.ask_until(wish, deadline).await?;
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(given) = self.lock().assigned.get(&id) {
                return Ok(given.clone());
            }
            // The sender lives as long as this.
            if !matches!(timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return Err(AttachError::Late);
            }
        }
    }

    fn coming(&self, container: &str) -> Coming<'_> {
        self.change(|inner| *inner.coming.entry(container.to_owned()).or_default() += 1);
        Coming(self, container.to_owned())
    }

    async fn ask(&self, wish: &Wish) -> Result<AttachmentId, AttachError> {
        self.ask_until(wish, Instant::now() + ATTACHED_WITHIN).await
    }

    async fn ask_until(&self, wish: &Wish, deadline: Instant) -> Result<AttachmentId, AttachError> {
        loop {
            let line = self.line(deadline).await.ok_or(AttachError::Late)?;
            let mut changed = self.changed.subscribe();
            let request = pb::AttachNetworkRequest {
                config: Some(pb::NetworkAttachmentConfig {
                    target: wish.network.clone(),
                    aliases: wish.names.clone(),
                    addresses: wish.addresses.iter().map(ToString::to_string).collect(),
                    ..pb::NetworkAttachmentConfig::default()
                }),
                container_id: wish.container.clone(),
            };
            let mut client = ResourceAllocatorClient::new(line);
            match timeout_at(deadline, client.attach_network(request)).await {
                Ok(Ok(answer)) => {
                    let id = answer.into_inner().attachment_id;
                    let id: Result<TaskId, _> = id.parse();
                    return id.map(AttachmentId::of_task).map_err(|_| {
                        let text = "the manager's answer names no attachment";
                        AttachError::of(&wish.network, &Status::internal(text))
                    });
                }
                // Leadership moves, or the line broke: asked again it comes to the same attachment.
                Ok(Err(status)) if is_passing(&status) && Instant::now() < deadline => {
                    let pause = crate::defaults::BACKOFF_MIN;
                    let _ = timeout(pause, changed.changed()).await;
                }
                Ok(Err(status)) => return Err(AttachError::of(&wish.network, &status)),
                Err(_) => return Err(AttachError::Late),
            }
        }
    }

    async fn line(&self, deadline: Instant) -> Option<Channel> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(line) = self.lock().line.clone() {
                return Some(line);
            }
            timeout_at(deadline, changed.changed()).await.ok()?.ok()?;
        }
    }

    /// What a container is on now.
    pub(crate) fn join(&self, joined: Joined) {
        self.change(|inner| inner.joined.insert(joined.container.clone(), joined));
    }

    /// The same of one that ran when the daemon ended: it is as it was.
    pub fn remember(&self, joined: Joined) {
        self.join(joined);
    }

    /// A container is on nothing any more.
    pub(crate) fn part(&self, container: &str) {
        self.change(|inner| inner.joined.remove(container));
    }

    /// The container of an attachment of this node's.
    pub(crate) fn container(&self, id: AttachmentId) -> Option<String> {
        self.lock().assigned.get(&id).map(|it| it.container_id.clone())
    }

    /// A network that a container of this node is on.
    pub(crate) fn network(&self, id: NetworkId) -> Option<Network> {
        let inner = self.lock();
        inner.assigned.values().find(|it| it.network.id == id).map(|it| it.network.clone())
    }

    /// Those that are on networks of the swarm.
    pub(crate) fn joined(&self) -> Vec<Joined> {
        self.lock().joined.values().cloned().collect()
    }

    /// Tells the managers that a container is off a network, and waits for that if they can be told
    /// now; else they hear of it when a session begins.
    pub async fn detach(&self, container: &str, network: NetworkId) {
        let ids = self.change(|inner| {
            if let Some(joined) = inner.joined.get_mut(container) {
                joined.places.retain(|it| it.network != network);
            }
            let its =
                |it: &&NodeAttachment| it.container_id == container && it.network.id == network;
            let ids: Vec<AttachmentId> =
                inner.assigned.values().filter(its).map(|it| it.id).collect();
            inner.leaving.extend(&ids);
            ids
        });
        for id in ids {
            self.give_back(id).await;
        }
    }

    async fn give_back(&self, id: AttachmentId) {
        let line = self.lock().line.clone();
        let given_back = match line {
            Some(line) => {
                let request = pb::DetachNetworkRequest { attachment_id: id.to_string() };
                let mut client = ResourceAllocatorClient::new(line);
                match timeout(CALL_TIMEOUT, client.detach_network(request)).await {
                    Ok(Ok(_)) => true,
                    Ok(Err(status)) => status.code() == Code::NotFound,
                    Err(_) => false,
                }
            }
            None => false,
        };
        self.change(|inner| {
            inner.leaving.remove(&id);
            if given_back {
                inner.assigned.remove(&id);
            }
        });
        if !given_back {
            tracing::debug!(attachment = %id, "the managers hear later that a container left a network");
        }
    }
}

fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Aborted | Code::Cancelled)
}

#[cfg(test)]
mod tests;
