//! Who answers where on the networks of a node, sent by the leader whenever it changes.
//!
//! Each message is a whole network; what did not change is not sent again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;
use skep_dispatch::endpoints::{NetworkView, Readiness, networks_of};
use skep_dispatch::{SessionId, StreamKind};
use skep_proto::v1 as pb;
use skep_types::service::Protocol;
use skep_types::{NetworkId, NodeId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::core::Core;
use crate::defaults::{ASSIGNMENT_INTERVAL, STREAM_QUEUE};
use crate::gate::Caller;
use crate::service::dispatcher::{over, parse};
use crate::service::no_session;

pub struct OverlayService(pub Arc<Core>);

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn full(view: &NetworkView, generation: u64) -> pb::EndpointsMessage {
    use pb::network_endpoint::State;
    use pb::network_service::port::Protocol as Wire;
    let network = &view.network;
    let subnets = network.ipam.iter().map(|config| match config.gateway {
        Some(gateway) => format!("{gateway}/{}", config.subnet.prefix_len()),
        None => config.subnet.to_string(),
    });
    let endpoint = |it: &skep_dispatch::endpoints::Endpoint| pb::NetworkEndpoint {
        task_id: it.task.to_string(),
        service_id: it.service.to_string(),
        names: it.names.clone(),
        ip: bytes(it.address),
        mac: Vec::new(),
        node_ip: bytes(it.node),
        state: match it.readiness {
            Readiness::Starting => State::Unknown,
            Readiness::Serving => State::Serving,
            Readiness::Draining => State::Draining,
        }
        .into(),
    };
    let service = |it: &skep_dispatch::endpoints::Service| pb::NetworkService {
        service_id: it.id.to_string(),
        name: it.name.clone(),
        vip: it.vip.map(bytes).unwrap_or_default(),
        aliases: it.aliases.clone(),
        ports: it
            .ports
            .iter()
            .map(|port| pb::network_service::Port {
                protocol: match port.protocol {
                    Protocol::Tcp => Wire::Tcp,
                    Protocol::Udp => Wire::Udp,
                    Protocol::Sctp => Wire::Sctp,
                }
                .into(),
                target_port: port.target_port.into(),
                published_port: port.published_port.into(),
                host_mode: false,
            })
            .collect(),
    };
    pb::EndpointsMessage {
        network_id: network.id.to_string(),
        network_name: network.spec.annotations.name.clone(),
        vni: network.vni.map_or(0, |vni| vni.0),
        subnets: subnets.collect(),
        generation,
        kind: pb::endpoints_message::Kind::Full.into(),
        endpoints: view.endpoints.iter().map(endpoint).collect(),
        services: view.services.iter().map(service).collect(),
        ingress: network.spec.ingress,
        internal: network.spec.internal,
        nodes: view.nodes.iter().copied().map(bytes).collect(),
        ..pb::EndpointsMessage::default()
    }
}

/// A node's networks; what is the same for many nodes is there once.
type Networks = BTreeMap<NetworkId, Arc<NetworkView>>;

/// What is to be told to a node that knows `known`.
fn news(known: &Networks, next: &Networks, generation: u64) -> Vec<pb::EndpointsMessage> {
    let same = |known: &Arc<NetworkView>, next| Arc::ptr_eq(known, next) || known == next;
    let changed = next.iter().filter(|(id, view)| !known.get(id).is_some_and(|it| same(it, view)));
    let mut messages: Vec<_> = changed.map(|(_, view)| full(view, generation)).collect();
    let gone = known.keys().filter(|id| !next.contains_key(id));
    messages.extend(gone.map(|id| pb::EndpointsMessage {
        network_id: id.to_string(),
        generation,
        kind: pb::endpoints_message::Kind::Gone.into(),
        ..pb::EndpointsMessage::default()
    }));
    messages
}

/// Remembers, before it is sent, what the node is to confirm; without news it has nothing to.
fn note(
    core: &Core,
    (node, session): (NodeId, SessionId),
    messages: &[pb::EndpointsMessage],
    (known, next): (&Networks, &Networks),
    index: u64,
) {
    let last = messages.last().and_then(|it| Some((it.generation, it.network_id.parse().ok()?)));
    core.dispatch.mark(|marks| match last {
        Some(last) => {
            let networks = known.keys().chain(next.keys()).copied().collect();
            marks.told(node, session, networks, last, index);
            false
        }
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
        let (mut known, mut generation) = (Networks::new(), 0);
        loop {
            let (index, view) = changes.view();
            let next = changes.follow(networks_of(&view, node), (index, &view));
            generation += 1;
            let mut messages = news(&known, &next, generation);
            note(&core, (node, session), &messages, (&known, &next), index);
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
            known = next;
            drop(view);
            tokio::time::sleep(ASSIGNMENT_INTERVAL).await;
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
