//! Who answers where on the networks of a node, sent by the leader whenever it changes.
//!
//! The first word on a network is all of it, what follows only what became of it since.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;
use skep_dispatch::{SessionId, StreamKind};
use skep_proto::v1 as pb;
use skep_types::{Network, NetworkId, NodeId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::core::Core;
use crate::defaults::{NETWORKS_INTERVAL, STREAM_QUEUE};
use crate::gate::Caller;
use crate::router::{ToldNetworks, Word};
use crate::service::dispatcher::{over, parse};
use crate::service::no_session;

pub struct OverlayService(pub Arc<Core>);

/// What is told of a network itself.
fn head(network: &Network) -> pb::EndpointsMessage {
    let subnets = network.ipam.iter().map(|config| match config.gateway {
        Some(gateway) => format!("{gateway}/{}", config.subnet.prefix_len()),
        None => config.subnet.to_string(),
    });
    pb::EndpointsMessage {
        network_id: network.id.to_string(),
        network_name: network.spec.annotations.name.clone(),
        vni: network.vni.map_or(0, |vni| vni.0),
        subnets: subnets.collect(),
        ingress: network.spec.ingress,
        internal: network.spec.internal,
        ..pb::EndpointsMessage::default()
    }
}

/// The generation in which a node was told of each network that it knows.
type Generations = BTreeMap<NetworkId, u64>;

/// What is to be told in a generation, as messages.
fn messages(
    words: Vec<Word>,
    generations: &mut Generations,
    generation: u64,
) -> Vec<pb::EndpointsMessage> {
    use pb::endpoints_message::Kind;
    let mut message = |word| match word {
        Word::Whole(network, answers) => {
            generations.insert(network.id, generation);
            let kind = Kind::Full.into();
            pb::EndpointsMessage { generation, kind, answers, ..head(&network) }
        }
        Word::More(id, answers) => pb::EndpointsMessage {
            network_id: id.to_string(),
            generation,
            kind: Kind::Delta.into(),
            applies_to: generations.insert(id, generation).unwrap_or_default(),
            answers,
            ..pb::EndpointsMessage::default()
        },
        Word::Gone(id) => {
            generations.remove(&id);
            pb::EndpointsMessage {
                network_id: id.to_string(),
                generation,
                kind: Kind::Gone.into(),
                ..pb::EndpointsMessage::default()
            }
        }
    };
    words.into_iter().map(&mut message).collect()
}

/// Remembers, before it is sent, what the node is to confirm; without news it has nothing to.
fn note(
    core: &Core,
    (node, session): (NodeId, SessionId),
    messages: &[pb::EndpointsMessage],
    networks: BTreeSet<NetworkId>,
    index: u64,
) {
    let last = messages.last().and_then(|it| Some((it.generation, it.network_id.parse().ok()?)));
    core.dispatch.mark(|marks| match last {
        Some(last) => marks.told(node, session, networks, last, index),
        None => marks.unchanged(node, session, index),
    });
}

/// Follows the state until the session ends.
async fn tell(
    core: Arc<Core>,
    node: NodeId,
    session: SessionId,
    out: mpsc::Sender<Result<pb::EndpointsMessage, Status>>,
) {
    let follow = async {
        let opened = core.router.open(StreamKind::Endpoints, node);
        let Some(changes) = opened else { return over() };
        let mut told = ToldNetworks::default();
        let (mut generations, mut generation) = (Generations::new(), 0);
        loop {
            let mut before_and_after: BTreeSet<NetworkId> = told.known().collect();
            let (index, words) = changes.hear(&mut told);
            before_and_after.extend(told.known());
            generation += 1;
            let mut messages = messages(words, &mut generations, generation);
            note(&core, (node, session), &messages, before_and_after, index);
            if generation == 1 {
                messages.push(pb::EndpointsMessage {
                    kind: pb::endpoints_message::Kind::Settled.into(),
                    ..pb::EndpointsMessage::default()
                });
            }
            for message in messages {
                if out.send(Ok(message)).await.is_err() {
                    return Status::cancelled("the node hung up");
                }
            }
            tokio::time::sleep(NETWORKS_INTERVAL).await;
            changes.woken().await;
        }
    };
    let end = tokio::select! {
        status = follow => status,
        () = core.dispatch.over(node, session) => over(),
        () = out.closed() => return,
    };
    // It may have hung up meanwhile.
    let _ = out.send(Err(end)).await;
}

#[async_trait]
impl pb::overlay_server::Overlay for OverlayService {
    type EndpointsStream = Pin<Box<dyn Stream<Item = Result<pb::EndpointsMessage, Status>> + Send>>;

    async fn endpoints(
        &self,
        request: Request<pb::EndpointsRequest>,
    ) -> Result<Response<Self::EndpointsStream>, Status> {
        let node = Caller::node(&request)?;
        let session = parse(&request.get_ref().session_id)?;
        self.0.dispatch.check(node, session).map_err(no_session)?;
        self.0.dispatch.mark(|marks| {
            marks.follow(node, session);
            false
        });
        let (out, messages) = mpsc::channel(STREAM_QUEUE);
        // Ends with the session, the node's connection or this leadership.
        tokio::spawn(tell(Arc::clone(&self.0), node, session, out));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn acknowledge(
        &self,
        request: Request<pb::AcknowledgeRequest>,
    ) -> Result<Response<pb::AcknowledgeResponse>, Status> {
        let node = Caller::node(&request)?;
        let request = request.into_inner();
        let session = parse(&request.session_id)?;
        self.0.dispatch.check(node, session).map_err(no_session)?;
        let network = request.network_id.parse();
        let network = network.map_err(|_| Status::invalid_argument("network_id: malformed id"))?;
        let confirmed = (request.generation, network);
        self.0.dispatch.mark(|marks| marks.confirmed(node, session, confirmed));
        Ok(Response::new(pb::AcknowledgeResponse {}))
    }
}
