//! Hosts of one swarm: what each is to have, on the networks that they share.

#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use skep_overlay_kernel::{Executor, Namespace};
use skep_overlay_plan::network::PublishedPort;
use skep_overlay_plan::*;
use skep_types::service::{PortConfig, Protocol};
use skep_types::session::Session;
use skep_types::{NetworkAttachment, NetworkId, ServiceId, TaskId, Vni};

use super::lab::{Lab, reconcile};

pub const INGRESS: NetworkId = NetworkId::new(1);
pub const FRONT: NetworkId = NetworkId::new(2);
pub const WEB: ServiceId = ServiceId::new(7);
pub const A: TaskId = TaskId::new(11);
pub const B: TaskId = TaskId::new(12);

pub fn endpoint(address: &str, host: u8) -> TaskEndpoint {
    let address = address.parse().unwrap();
    TaskEndpoint {
        service: Some(WEB),
        names: Vec::new(),
        addresses: vec![address],
        mac: task_mac(address),
        node: Lab::address(host),
        state: EndpointState::Serving,
    }
}

pub fn front() -> NetworkState {
    NetworkState {
        id: FRONT,
        name: "front".into(),
        vni: Vni(4098),
        gateways: vec!["10.0.1.1/24".parse().unwrap()],
        ingress: false,
        internal: false,
        mtu: None,
        generation: 1,
        nodes: BTreeSet::new(),
        endpoints: BTreeMap::from([(A, endpoint("10.0.1.3", 1)), (B, endpoint("10.0.1.4", 2))]),
        services: BTreeMap::from([(
            WEB,
            ServiceEntry {
                name: "web".into(),
                aliases: Vec::new(),
                vips: vec![IpAddr::from([10, 0, 1, 2])],
                ports: Vec::new(),
                session: Session::Any,
            },
        )]),
    }
}

pub fn ingress(hosts: u8) -> NetworkState {
    let ports = vec![
        PublishedPort { protocol: Protocol::Tcp, published: 8080, target: 80, name: String::new() },
        PublishedPort { protocol: Protocol::Udp, published: 8053, target: 53, name: String::new() },
    ];
    let entry = ServiceEntry {
        name: "web".into(),
        aliases: Vec::new(),
        vips: Vec::new(),
        ports,
        session: Session::Any,
    };
    NetworkState {
        id: INGRESS,
        name: "ingress".into(),
        vni: Vni(4096),
        gateways: vec!["10.0.0.1/24".parse().unwrap()],
        ingress: true,
        nodes: (1..=hosts).map(Lab::address).collect(),
        endpoints: BTreeMap::from([(A, endpoint("10.0.0.3", 1)), (B, endpoint("10.0.0.4", 2))]),
        services: BTreeMap::from([(WEB, entry)]),
        ..front()
    }
}

/// A host with its executor and what it is to have.
pub struct Host {
    pub executor: Executor,
    pub desired: Desired,
}

impl Host {
    pub fn new(lab: &Lab, number: u8, networks: &[NetworkState]) -> Self {
        let mut desired = Desired::new(lab.node(number));
        desired.networks = networks.iter().map(|it| (it.id, it.clone())).collect();
        Self { executor: lab.executor(number), desired }
    }

    pub fn add(&mut self, task: TaskId, addresses: &[(NetworkId, &str)], ports: Vec<PortConfig>) {
        let single: Vec<[&str; 1]> = addresses.iter().map(|(_, address)| [*address]).collect();
        let networks = addresses.iter().map(|(network, _)| *network);
        let all: Vec<_> = networks.zip(single.iter().map(|it| &it[..])).collect();
        self.add_at(task, &all, ports);
    }

    pub fn add_at(&mut self, task: TaskId, at: &[(NetworkId, &[&str])], ports: Vec<PortConfig>) {
        let attachment = |(network, addresses): &(NetworkId, &[&str])| NetworkAttachment {
            network: *network,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            aliases: Vec::new(),
        };
        let networks = at.iter().map(attachment).collect();
        self.desired
            .add_task(TaskNet { task, networks, ports, nameservers: Vec::new() }, None)
            .unwrap();
    }

    pub async fn reconcile(&self) {
        reconcile(&self.executor, &self.desired).await;
    }

    pub fn task(&self, task: TaskId) -> Namespace {
        Namespace::open(&self.executor.task_path(task)).unwrap()
    }

    pub fn set_state(&mut self, network: NetworkId, task: TaskId, state: EndpointState) {
        let network = self.desired.networks.get_mut(&network).unwrap();
        network.endpoints.get_mut(&task).unwrap().state = state;
    }

    pub async fn tear_down(&mut self) {
        self.desired.tasks.clear();
        self.desired.networks.clear();
        self.reconcile().await;
    }
}
