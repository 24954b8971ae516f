//! Networks as nodes are told of them: encoded once for all nodes, and after the first time only
//! what became of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use skep_dispatch::endpoints::{Answers, Endpoint, NetworkView, Readiness, Service};
use skep_dispatch::{Journals, Touched};
use skep_proto::v1 as pb;
use skep_state::State;
use skep_types::service::{PortConfig, Protocol};
use skep_types::session::Session;
use skep_types::{Network, NetworkId};

use crate::defaults::{JOURNALS_MAX, NETWORK_PART_MAX, WHOLE_NETWORKS_BYTES_MAX};

/// A whole network as it was at an index of the log.
#[derive(Debug, Clone)]
pub struct Whole {
    pub network: Arc<Network>,
    index: u64,
    answers: Vec<Bytes>,
}

impl Whole {
    /// None while it is not allocated.
    pub fn of(view: &State, index: u64, id: NetworkId) -> Option<Self> {
        let NetworkView { network, answers } = NetworkView::of(view, id)?;
        Some(Self { network, index, answers: encode(&answers) })
    }

    pub fn into_answers(self) -> Vec<Bytes> {
        self.answers
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.answers)
    }
}

/// What became of one network with an entry of the log.
pub struct News {
    network: NetworkId,
    /// None: it is to be told anew, or nobody asked.
    answers: Option<(Vec<Bytes>, usize)>,
    gone: bool,
}

impl News {
    pub fn of(view: &State, id: NetworkId, touched: &Touched, is_followed: bool) -> Self {
        let network = view.networks().get(id);
        let told = network.filter(|_| is_followed && !touched.all);
        let answers = told.map(|network| Answers::of(view, network, touched));
        let answers = answers.map(|answers| (encode(&answers), answers.weight()));
        Self { network: id, answers, gone: network.is_none() }
    }
}

struct Kept {
    whole: Whole,
    /// The higher, the later it was asked for.
    used: u64,
}

/// The networks of one leadership.
pub struct Networks {
    journals: Journals<Vec<Bytes>>,
    wholes: BTreeMap<NetworkId, Kept>,
    bytes: usize,
    uses: u64,
}

impl Networks {
    /// What comes after an index will be written.
    pub fn from(index: u64) -> Self {
        let journals = Journals::from(index, JOURNALS_MAX);
        Self { journals, wholes: BTreeMap::new(), bytes: 0, uses: 0 }
    }

    /// The state has come to an index, with this.
    pub fn write(&mut self, index: u64, news: Vec<News>) {
        for News { network, answers, gone } in news {
            match answers {
                _ if gone => {
                    self.journals.forget(network);
                    self.drop_whole(network);
                }
                Some((answers, weight)) => self.journals.write(network, index, answers, weight),
                None => {
                    self.journals.anew(network, index);
                    self.drop_whole(network);
                }
            }
        }
    }

    /// What became of a network since an index; none where it is to be told whole.
    pub fn since(&self, id: NetworkId, index: u64) -> Option<Vec<Bytes>> {
        self.journals.since(id, index).map(|parts| parts.concat())
    }

    /// A network that was made whole for a node before, with what became of it since; none where it
    /// is to be made anew.
    pub fn whole(&mut self, id: NetworkId) -> Option<(Arc<Network>, Vec<Bytes>)> {
        let kept = self.wholes.get_mut(&id)?;
        let since = self.journals.since(id, kept.whole.index)?.concat();
        if bytes_of(&since) > kept.whole.bytes() {
            return None;
        }
        self.uses += 1;
        kept.used = self.uses;
        let answers = [kept.whole.answers.clone(), since].concat();
        Some((Arc::clone(&kept.whole.network), answers))
    }

    /// Keeps one that was made; those that were not asked for the longest make room.
    pub fn keep(&mut self, whole: Whole) {
        let id = whole.network.id;
        self.drop_whole(id);
        self.bytes += whole.bytes();
        self.uses += 1;
        self.wholes.insert(id, Kept { whole, used: self.uses });
        while self.bytes > WHOLE_NETWORKS_BYTES_MAX {
            let oldest = self.wholes.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { break };
            self.drop_whole(oldest);
        }
    }

    fn drop_whole(&mut self, id: NetworkId) {
        if let Some(dropped) = self.wholes.remove(&id) {
            self.bytes -= dropped.whole.bytes();
        }
    }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn bytes_of(answers: &[Bytes]) -> usize {
    answers.iter().map(Bytes::len).sum()
}

/// In parts that each fit a message well.
fn encode(answers: &Answers) -> Vec<Bytes> {
    let mut parts = vec![pb::NetworkAnswers {
        removed_task_ids: answers.endpoints_gone.iter().map(ToString::to_string).collect(),
        removed_service_ids: answers.services_gone.iter().map(ToString::to_string).collect(),
        nodes: answers.nodes.iter().copied().map(bytes).collect(),
        removed_nodes: answers.nodes_gone.iter().copied().map(bytes).collect(),
        ..pb::NetworkAnswers::default()
    }];
    parts.extend(answers.services.chunks(NETWORK_PART_MAX).map(|part| pb::NetworkAnswers {
        services: part.iter().map(service).collect(),
        ..pb::NetworkAnswers::default()
    }));
    parts.extend(answers.endpoints.chunks(NETWORK_PART_MAX).map(|part| pb::NetworkAnswers {
        endpoints: part.iter().map(endpoint).collect(),
        ..pb::NetworkAnswers::default()
    }));
    let parts = parts.into_iter().map(|part| part.encode_to_vec());
    parts.filter(|part| !part.is_empty()).map(Bytes::from).collect()
}

fn endpoint(it: &Endpoint) -> pb::NetworkEndpoint {
    use pb::network_endpoint::State;
    pb::NetworkEndpoint {
        task_id: it.task.to_string(),
        service_id: it.service.map(|it| it.to_string()).unwrap_or_default(),
        names: it.names.clone(),
        ips: it.addresses.iter().copied().map(bytes).collect(),
        mac: Vec::new(),
        node_ip: bytes(it.node),
        state: match it.readiness {
            Readiness::Starting => State::Unknown,
            Readiness::Serving => State::Serving,
            Readiness::Draining => State::Draining,
        }
        .into(),
    }
}

fn service(it: &Service) -> pb::NetworkService {
    pb::NetworkService {
        service_id: it.id.to_string(),
        name: it.name.clone(),
        vips: it.vips.iter().copied().map(bytes).collect(),
        aliases: it.aliases.clone(),
        ports: it.ports.iter().map(port).collect(),
        session: match it.session {
            Session::Any => pb::network_service::Session::Any,
            Session::ClientAddress => pb::network_service::Session::ClientAddress,
        }
        .into(),
    }
}

fn port(port: &PortConfig) -> pb::network_service::Port {
    use pb::network_service::port::Protocol as Wire;
    pb::network_service::Port {
        protocol: match port.protocol {
            Protocol::Tcp => Wire::Tcp,
            Protocol::Udp => Wire::Udp,
            Protocol::Sctp => Wire::Sctp,
        }
        .into(),
        target_port: port.target_port.into(),
        name: port.name.clone(),
        published_port: port.published_port.into(),
        host_mode: false,
    }
}
