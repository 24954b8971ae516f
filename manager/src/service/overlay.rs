//! Who answers where on the networks of a node, sent by the leader whenever it changes.
//!
//! The first word on a network is all of it, what follows only what became of it since.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use prost::Message as _;
use skep_dispatch::{SessionId, StreamKind};
use skep_proto::v1 as pb;
use skep_types::{Network, NetworkId, NodeId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::core::Core;
use crate::defaults::{NETWORK_MESSAGE_BYTES, STREAM_QUEUE, UPKEEP_BYTES_MAX};
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
        mtu: network.spec.mtu().unwrap_or_default(),
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
    let mut messages = Vec::new();
    for word in words {
        match word {
            Word::Whole(network, answers) => {
                generations.insert(network.id, generation);
                let head = pb::EndpointsMessage { kind: Kind::Full.into(), ..head(&network) };
                in_parts(head, generation, answers, &mut messages);
            }
            Word::More(id, answers) => {
                let head = pb::EndpointsMessage {
                    network_id: id.to_string(),
                    kind: Kind::Delta.into(),
                    applies_to: generations.insert(id, generation).unwrap_or_default(),
                    ..pb::EndpointsMessage::default()
                };
                in_parts(head, generation, answers, &mut messages);
            }
            Word::Gone(id) => {
                generations.remove(&id);
                messages.push(pb::EndpointsMessage {
                    network_id: id.to_string(),
                    generation,
                    kind: Kind::Gone.into(),
                    ..pb::EndpointsMessage::default()
                });
            }
        }
    }
    messages
}

/// Of what is told of one network each message bears a share.
fn in_parts(
    head: pb::EndpointsMessage,
    generation: u64,
    answers: Vec<Bytes>,
    messages: &mut Vec<pb::EndpointsMessage>,
) {
    let mut next = pb::EndpointsMessage { generation, ..head };
    let mut parts = answers.into_iter().peekable();
    loop {
        let mut bytes = 0;
        while bytes < NETWORK_MESSAGE_BYTES
            && let Some(part) = parts.next()
        {
            bytes += part.len();
            next.answers.push(part);
        }
        next.goes_on = parts.peek().is_some();
        let going_on = pb::EndpointsMessage {
            network_id: next.network_id.clone(),
            kind: pb::endpoints_message::Kind::Delta.into(),
            generation,
            applies_to: generation,
            ..pb::EndpointsMessage::default()
        };
        let told = std::mem::replace(&mut next, going_on);
        let last = !told.goes_on;
        messages.push(told);
        if last {
            return;
        }
    }
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
            tokio::time::sleep(changes.pause()).await;
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

    async fn upkeep(
        &self,
        request: Request<pb::UpkeepReport>,
    ) -> Result<Response<pb::UpkeepResponse>, Status> {
        let node = Caller::node(&request)?;
        let report = request.into_inner();
        let session = parse(&report.session_id)?;
        self.0.dispatch.check(node, session).map_err(no_session)?;
        let bytes = report.encoded_len();
        if bytes > UPKEEP_BYTES_MAX {
            let message = format!("a report of {bytes} bytes: at most {UPKEEP_BYTES_MAX} are kept");
            return Err(Status::invalid_argument(message));
        }
        self.0.upkeep.take(node, report);
        Ok(Response::new(pb::UpkeepResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use pb::endpoints_message::Kind;

    use super::*;

    #[test]
    fn a_large_network_is_told_in_messages_that_go_on() {
        let id = NetworkId::new(7);
        let spec = skep_types::NetworkSpec::default();
        let network = Arc::new(Network::new(id, spec));
        // Two small ones, and three that each leave no room for another.
        let sizes = [1, 1, NETWORK_MESSAGE_BYTES, NETWORK_MESSAGE_BYTES, NETWORK_MESSAGE_BYTES];
        let parts = sizes.iter().enumerate().map(|(it, size)| Bytes::from(vec![it as u8; *size]));
        let parts: Vec<Bytes> = parts.collect();
        let mut generations = Generations::new();
        let words = vec![Word::Whole(Arc::clone(&network), parts.clone())];
        let whole = messages(words, &mut generations, 3);
        let shape = |message: &pb::EndpointsMessage| {
            (message.kind(), message.generation, message.applies_to, message.goes_on)
        };
        let shapes: Vec<_> = whole.iter().map(shape).collect();
        let expected =
            [(Kind::Full, 3, 0, true), (Kind::Delta, 3, 3, true), (Kind::Delta, 3, 3, false)];
        assert_eq!(shapes, expected);
        assert_eq!(whole.iter().flat_map(|it| it.answers.clone()).collect::<Vec<_>>(), parts);

        let words = vec![Word::More(id, parts[1..4].to_vec())];
        let more: Vec<_> = messages(words, &mut generations, 4).iter().map(shape).collect();
        assert_eq!(more, [(Kind::Delta, 4, 3, true), (Kind::Delta, 4, 4, false)]);
        // An empty network is told too.
        let empty = messages(vec![Word::Whole(network, vec![])], &mut generations, 5);
        assert_eq!(empty.iter().map(shape).collect::<Vec<_>>(), [(Kind::Full, 5, 0, false)]);
        let gone = messages(vec![Word::Gone(id)], &mut generations, 6);
        assert_eq!(gone.iter().map(shape).collect::<Vec<_>>(), [(Kind::Gone, 6, 0, false)]);
        assert!(generations.is_empty());
    }
}
