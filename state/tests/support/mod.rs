//! Objects to test with: valid ones, as small as they can be.
#![allow(dead_code)]

use std::sync::Arc;

use skep_state::{Action, Change, State, Transaction};
use skep_types::network::IpamConfig;
use skep_types::service::{NetworkAttachmentConfig, PortConfig};
use skep_types::task::Slot;
use skep_types::*;

pub fn annotations(name: &str) -> Annotations {
    Annotations { name: name.to_owned(), ..Annotations::default() }
}

pub fn service(id: u128, name: &str) -> Service {
    Service::new(
        ServiceId::new(id),
        Arc::new(ServiceSpec::new(annotations(name), ServiceMode::Replicated { replicas: 1 })),
    )
}

pub fn respec(service: &Service, change: impl FnOnce(&mut ServiceSpec)) -> Service {
    let mut changed = service.clone();
    change(Arc::make_mut(&mut changed.spec));
    changed
}

pub fn publishing(service: &Service, port: u16) -> Service {
    respec(service, |spec| {
        spec.endpoint.ports =
            vec![PortConfig { target_port: 80, published_port: port, ..PortConfig::default() }];
    })
}

pub fn attached(service: &Service, network: NetworkId) -> Service {
    respec(service, |spec| {
        spec.task.networks = vec![NetworkAttachmentConfig { target: network, aliases: vec![] }];
    })
}

pub fn task(id: u128, service: ServiceId, version: u64, slot: u64) -> Task {
    Task {
        id: TaskId::new(id),
        meta: Meta::default(),
        service_id: service,
        slot: Slot::Replica(slot),
        spec_version: Revision(version),
        node_id: None,
        status: TaskStatus::default(),
        desired_state: DesiredState::Running,
        networks: vec![],
        job_iteration: None,
        generic: vec![],
    }
}

pub fn network(id: u128, name: &str, vni: u32, subnet: &str) -> Network {
    Network {
        id: NetworkId::new(id),
        meta: Meta::default(),
        spec: NetworkSpec { annotations: annotations(name), ..NetworkSpec::default() },
        vni: Some(Vni(vni)),
        ipam: vec![IpamConfig { subnet: subnet.parse().unwrap(), range: None, gateway: None }],
    }
}

pub fn cluster(feature_level: u32) -> Cluster {
    Cluster {
        id: ClusterId::new(1),
        meta: Meta::default(),
        spec: ClusterSpec::default(),
        root_ca: skep_types::cluster::RootCa {
            certificate: vec![],
            key: Payload::default(),
            join_tokens: JoinTokens::default(),
        },
        feature_level,
        data_path_port: defaults::DATA_PATH_PORT,
        address_pools: vec![],
        subnet_length: defaults::SUBNET_LENGTH,
    }
}

pub fn node(id: u128, role: NodeRole) -> Node {
    Node::new(NodeId::new(id), NodeSpec { role, ..NodeSpec::default() })
}

pub fn secret(id: u128, name: &str) -> Secret {
    let data = skep_types::Payload(b"s3cret".as_slice().into());
    let spec = SecretSpec { annotations: annotations(name), data, template: false };
    Secret { id: SecretId::new(id), meta: Meta::default(), spec }
}

pub fn create<T: skep_state::Object>(object: T) -> Action
where
    Action: From<Change<T>>,
{
    Change::Create(Arc::new(object)).into()
}

pub fn update<T: skep_state::Object>(object: T) -> Action
where
    Action: From<Change<T>>,
{
    Change::Update(Arc::new(object)).into()
}

pub fn remove<T: skep_state::Object>(id: T::Id) -> Action
where
    Action: From<Change<T>>,
{
    Change::<T>::Remove(id, None).into()
}

/// Applies in one transaction; on a rejection, asserts that nothing changed and gives its text.
pub fn apply(state: &mut State, actions: Vec<Action>) -> Result<(), String> {
    let before = state.clone();
    let epoch = state.epoch();
    let transaction = Transaction { epoch, now: Timestamp(7), actions };
    state.apply(&transaction).map(drop).map_err(|rejection| {
        assert_eq!(*state, before, "a rejected transaction changed the state");
        rejection.to_string()
    })
}
