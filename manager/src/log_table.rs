//! The subscriptions to logs of this manager's leadership, and the nodes that listen for them.
//!
//! What they come to is decided in [`Subscription`]; the gRPC streams look here for their next word.
//!
//! **Invariant:** a subscription is here exactly as long as its reader is served.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use skep_dispatch::{Follow, Subscription};
use skep_proto::swarmkit as pb;
use skep_state::State;
use skep_types::NodeId;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::defaults::LOG_SUBSCRIPTIONS_MAX;
use crate::logs::selector_of;

/// Names a subscription on the wire.
pub type SubscriptionId = String;

/// Where a reader's messages go.
pub type Reader = mpsc::Sender<pb::SubscribeLogsMessage>;

struct Open {
    subscription: Subscription,
    /// What nodes are asked.
    ask: pb::SubscriptionMessage,
    reader: Reader,
    /// Its publishers stop when this is cancelled.
    over: CancellationToken,
    slow: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

#[derive(Default)]
struct Held {
    open: BTreeMap<SubscriptionId, Open>,
    /// Which of a node's calls listens: a later one takes over.
    listening: BTreeMap<NodeId, u64>,
    listens: u64,
}

/// See the module.
#[derive(Default)]
pub struct LogTable {
    held: Mutex<Held>,
    changed: watch::Sender<u64>,
}

/// Where a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    Going,
    /// All there is was published, except what the warning names.
    Done(Option<String>),
    /// The reader did not take what there was.
    TooSlow,
    /// This manager leads no more.
    Gone,
}

impl LogTable {
    /// Opens a subscription under a fresh id.
    pub fn open(
        &self,
        view: &State,
        request: pb::SubscribeLogsRequest,
        id: SubscriptionId,
        reader: Reader,
    ) -> Result<(), Status> {
        let wire = request.selector.unwrap_or_default();
        let selector =
            selector_of(&wire).map_err(|error| Status::invalid_argument(error.to_string()))?;
        if selector.is_empty() {
            return Err(Status::invalid_argument("log selector must be provided"));
        }
        let options = request.options.unwrap_or_default();
        let follow = if options.follow { Follow::Yes } else { Follow::No };
        let subscription = Subscription::new(view, selector, follow);
        let ask = pb::SubscriptionMessage {
            id: id.clone(),
            selector: Some(wire),
            options: Some(options),
            close: false,
        };
        let mut held = self.lock();
        if held.open.len() >= LOG_SUBSCRIPTIONS_MAX {
            return Err(Status::resource_exhausted(format!(
                "{LOG_SUBSCRIPTIONS_MAX} logs are read already: try again later"
            )));
        }
        let over = CancellationToken::new();
        held.open.insert(id, Open { subscription, ask, reader, over, slow: false });
        self.tell(held);
        Ok(())
    }

    /// Ends a subscription; its nodes are told to stop.
    pub fn close(&self, id: &str) {
        let mut held = self.lock();
        held.open.remove(id);
        self.tell(held);
    }

    /// Ends all: this manager leads no more.
    pub(crate) fn end(&self) {
        let mut held = self.lock();
        held.open.clear();
        held.listening.clear();
        self.tell(held);
    }

    /// A node listens from now on; the number names this call.
    pub fn listen(&self, node: NodeId) -> u64 {
        let mut held = self.lock();
        held.listens += 1;
        let call = held.listens;
        held.listening.insert(node, call);
        self.tell(held);
        call
    }

    /// A node's call has ended: nothing more comes from it, unless a later call has taken over.
    pub fn stop_listening(&self, node: NodeId, call: u64) {
        let mut held = self.lock();
        if held.listening.get(&node) == Some(&call) {
            held.listening.remove(&node);
            for open in held.open.values_mut() {
                open.subscription.lost(node);
            }
        }
        self.tell(held);
    }

    /// What a node is asked now; none if this call of its is over.
    pub fn asked_of(
        &self,
        node: NodeId,
        call: u64,
    ) -> Option<BTreeMap<SubscriptionId, pb::SubscriptionMessage>> {
        let held = self.lock();
        (held.listening.get(&node) == Some(&call)).then(|| {
            let asked = held.open.iter().filter(|(_, open)| open.subscription.asks(node));
            asked.map(|(id, open)| (id.clone(), open.ask.clone())).collect()
        })
    }

    /// Where a node's messages for a subscription go, until it is over.
    pub fn reader(&self, id: &str, node: NodeId) -> Result<(Reader, CancellationToken), Status> {
        let held = self.lock();
        let open = held.open.get(id).ok_or_else(|| Status::not_found("unknown subscription ID"))?;
        if !open.subscription.asks(node) {
            let text = format!("node {node} has no part in this log subscription");
            return Err(Status::permission_denied(text));
        }
        Ok((open.reader.clone(), open.over.clone()))
    }

    /// A node has published all, or gone in the middle.
    pub fn published(&self, id: &str, node: NodeId, outcome: Published) {
        let mut held = self.lock();
        if let Some(open) = held.open.get_mut(id) {
            match outcome {
                Published::All => open.subscription.closed(node),
                Published::Partly => open.subscription.lost(node),
            }
        }
        self.tell(held);
    }

    /// A subscription's reader has not taken anything for too long.
    pub fn too_slow(&self, id: &str) {
        let mut held = self.lock();
        if let Some(open) = held.open.get_mut(id) {
            open.slow = true;
        }
        self.tell(held);
    }

    /// Looks where a subscription stands; past its patience, nodes that do not listen are given up.
    pub fn look(&self, id: &str, view: &State, patience: Patience) -> Stand {
        let mut guard = self.lock();
        let held = &mut *guard;
        let Some(open) = held.open.get_mut(id) else { return Stand::Gone };
        if open.slow {
            return Stand::TooSlow;
        }
        let subscription = &mut open.subscription;
        let more = subscription.observe(view);
        if patience == Patience::Over {
            subscription.give_up(|node| held.listening.contains_key(&node));
        }
        let stand = match subscription.is_done() {
            true => Stand::Done(subscription.warning()),
            false => Stand::Going,
        };
        if more {
            self.tell(guard);
        }
        stand
    }

    /// Changes whenever anything here does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell(&self, held: MutexGuard<'_, Held>) {
        drop(held);
        self.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no holder panics")
    }
}

/// How a node's publishing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    All,
    Partly,
}

/// Whether nodes that do not listen yet are still waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    Lasts,
    Over,
}
