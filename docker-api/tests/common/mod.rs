//! A small swarm in the vocabulary's types, for the tests that turn it into documents.

// Each test binary uses its part of this.
#![allow(dead_code)]

pub mod host;
pub mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_types::container::{
    ConfigReference, DnsConfig, FileTarget, HealthConfig, Propagation, SecretReference, Ulimit,
};
use skep_types::network::{IpamConfig, NetworkAttachment};
use skep_types::node::{ManagerStatus, NodeDescription, NodeStatus};
use skep_types::resources::ResourceRequirements;
use skep_types::service::{
    Endpoint, EndpointMode, EndpointSpec, LogDriver, NetworkAttachmentConfig, Placement,
    PortConfig, Protocol, PublishMode, UpdateState, UpdateStatus, VirtualIp,
};
use skep_types::task::{ContainerStatus, Slot};
use skep_types::*;

pub const NETWORK: NetworkId = NetworkId::new(0x77);
pub const SERVICE: ServiceId = ServiceId::new(0x5e);
pub const NODE: NodeId = NodeId::new(0x0d);

pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub fn named(name: &str) -> Annotations {
    Annotations { name: name.to_owned(), labels: BTreeMap::new() }
}

pub fn meta(revision: u64) -> Meta {
    Meta {
        revision: Revision(revision),
        created_at: Timestamp(1_700_000_000_000_000_000),
        updated_at: Timestamp(1_700_000_001_500_000_000),
    }
}

fn file(name: &str) -> FileTarget {
    FileTarget { name: name.into(), uid: "0".into(), gid: "0".into(), mode: 0o444 }
}

/// A spec with something in every field, so that a field that is forgotten shows.
pub fn rich_spec() -> ServiceSpec {
    let mount = |kind, source: &str, target: &str| Mount {
        kind,
        source: source.into(),
        target: target.into(),
        ..Mount::default()
    };
    let volume = Mount {
        volume_labels: map(&[("k", "v")]),
        volume_driver: Some(("local".into(), map(&[("type", "nfs")]))),
        volume_nocopy: true,
        ..mount(MountKind::Volume, "data", "/data")
    };
    let tmpfs = Mount {
        tmpfs_size_bytes: 65536,
        tmpfs_mode: 0o1770,
        ..mount(MountKind::Tmpfs, "", "/tmp")
    };
    let bind = Mount {
        read_only: true,
        propagation: Propagation::RecursiveSlave,
        non_recursive: true,
        read_only_non_recursive: true,
        ..mount(MountKind::Bind, "/etc/hosts", "/hosts")
    };
    let container = ContainerSpec {
        image: "nginx:1@sha256:00".into(),
        labels: map(&[("tier", "front")]),
        command: vec!["nginx".into()],
        args: vec!["-g".into(), "daemon off;".into()],
        hostname: "{{.Task.Name}}".into(),
        env: vec!["A=b".into(), "UNSET".into()],
        dir: "/srv".into(),
        user: "www".into(),
        groups: vec!["adm".into()],
        tty: true,
        open_stdin: true,
        read_only: true,
        init: Some(true),
        mounts: vec![bind, volume, tmpfs],
        stop_signal: "SIGQUIT".into(),
        stop_grace_period: Some(Duration::from_secs(30)),
        hosts: vec!["10.0.0.9 db".into(), "fd00::1 six".into()],
        dns: DnsConfig {
            nameservers: vec!["9.9.9.9".into()],
            search: vec!["example.org".into()],
            options: vec!["ndots:2".into()],
        },
        health: Some(HealthConfig {
            test: vec!["CMD".into(), "true".into()],
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            retries: 3,
            start_period: Duration::from_secs(5),
            start_interval: Duration::from_secs(1),
        }),
        secrets: vec![SecretReference {
            secret_id: SecretId::new(1),
            secret_name: "pw".into(),
            target: file("pw"),
        }],
        configs: vec![ConfigReference {
            config_id: ConfigId::new(2),
            config_name: "site".into(),
            target: file("/etc/site"),
        }],
        sysctls: map(&[("net.core.somaxconn", "512")]),
        capability_add: vec!["CAP_NET_ADMIN".into()],
        capability_drop: vec!["CAP_MKNOD".into()],
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 1024, hard: 4096 }],
        oom_score_adj: -500,
        // No document has it.
        registry_auth: Payload::default(),
    };
    let amounts = |cpus, bytes, pids| Resources {
        nano_cpus: cpus,
        memory_bytes: bytes,
        pids,
        generic: vec![],
    };
    ServiceSpec {
        annotations: Annotations {
            name: "shop_web".into(),
            labels: map(&[("com.docker.stack.namespace", "shop")]),
        },
        task: TaskSpec {
            container,
            resources: ResourceRequirements {
                limits: amounts(500_000_000, 64 << 20, 100),
                reservations: amounts(250_000_000, 32 << 20, 0),
            },
            restart: RestartPolicy {
                condition: RestartCondition::OnFailure,
                delay: Duration::from_secs(3),
                max_attempts: 4,
                window: Duration::from_secs(60),
            },
            placement: Placement {
                constraints: vec!["node.role == worker".into()],
                spread: vec!["node.labels.rack".into()],
                max_replicas_per_node: 2,
                platforms: vec![("linux".into(), "x86_64".into())],
            },
            networks: vec![NetworkAttachmentConfig {
                target: NETWORK,
                aliases: vec!["web".into()],
            }],
            log_driver: Some(LogDriver {
                name: "json-file".into(),
                options: map(&[("max-size", "1m")]),
            }),
            force_update: 2,
        },
        mode: ServiceMode::Replicated { replicas: 3 },
        update: UpdateConfig {
            parallelism: 2,
            delay: Duration::from_secs(1),
            failure_action: FailureAction::Rollback,
            monitor: Duration::from_secs(7),
            max_failure_ratio: 0.25,
            order: UpdateOrder::StartFirst,
        },
        rollback: UpdateConfig {
            failure_action: FailureAction::Continue,
            ..UpdateConfig::default()
        },
        endpoint: EndpointSpec { mode: EndpointMode::Vip, ports: vec![port(0)] },
    }
}

fn port(published_port: u16) -> PortConfig {
    PortConfig {
        name: "http".into(),
        protocol: Protocol::Tcp,
        target_port: 80,
        published_port,
        publish_mode: PublishMode::Ingress,
    }
}

pub fn network() -> Network {
    let subnet = IpamConfig {
        subnet: "10.0.1.0/24".parse().unwrap(),
        range: None,
        gateway: Some("10.0.1.1".parse().unwrap()),
    };
    let spec = NetworkSpec {
        annotations: Annotations {
            name: "shop_default".into(),
            labels: map(&[("com.docker.stack.namespace", "shop")]),
        },
        attachable: true,
        ..Default::default()
    };
    Network { id: NETWORK, meta: meta(5), spec, vni: Some(Vni(4097)), ipam: vec![subnet] }
}

pub fn service() -> Service {
    let spec = Arc::new(rich_spec());
    let mut previous = rich_spec();
    previous.mode = ServiceMode::Replicated { replicas: 1 };
    Service {
        id: SERVICE,
        meta: meta(12),
        spec,
        spec_version: Revision(12),
        previous_spec: Some(Arc::new(previous)),
        previous_spec_version: Some(Revision(9)),
        endpoint: Some(Endpoint {
            mode: EndpointMode::Vip,
            ports: vec![port(30_000)],
            virtual_ips: vec![VirtualIp {
                network: NETWORK,
                address: "10.0.1.2".parse().unwrap(),
                prefix_length: 24,
            }],
        }),
        update_status: Some(UpdateStatus {
            state: UpdateState::Completed,
            started_at: Timestamp(1_700_000_001_000_000_000),
            completed_at: Some(Timestamp(1_700_000_002_000_000_000)),
            message: "update completed".into(),
            moving: Default::default(),
        }),
        job: None,
    }
}

pub fn task(slot: u64) -> Task {
    Task {
        id: TaskId::new(0x7a_00 + u128::from(slot)),
        meta: meta(13),
        service_id: SERVICE,
        slot: Slot::Replica(slot),
        spec_version: Revision(12),
        node_id: Some(NODE),
        status: TaskStatus {
            state: TaskState::Running,
            timestamp: Timestamp(1_700_000_003_000_000_000),
            message: "started".into(),
            error: String::new(),
            container: Some(ContainerStatus {
                container_id: "c0ffee".into(),
                pid: 4711,
                exit_code: 0,
            }),
            host_ports: vec![PortConfig { publish_mode: PublishMode::Host, ..port(8080) }],
            running_since: Some(Timestamp(1_700_000_003_000_000_000)),
        },
        desired_state: DesiredState::Running,
        networks: vec![NetworkAttachment {
            network: NETWORK,
            addresses: vec!["10.0.1.3/24".parse().unwrap()],
            aliases: vec!["web".into()],
        }],
        job_iteration: None,
        generic: vec![],
    }
}

pub fn node() -> Node {
    Node {
        id: NODE,
        meta: meta(3),
        spec: NodeSpec { role: NodeRole::Manager, ..Default::default() },
        description: Some(NodeDescription {
            hostname: "host1".into(),
            os: "linux".into(),
            architecture: "x86_64".into(),
            engine_version: "0.1.0".into(),
            engine_labels: map(&[("disk", "ssd")]),
            plugins: vec![("Network".into(), "overlay".into())],
            resources: Resources {
                nano_cpus: 2_000_000_000,
                memory_bytes: 1 << 30,
                ..Default::default()
            },
        }),
        status: NodeStatus {
            state: NodeState::Ready,
            addr: "10.9.0.1".into(),
            ..Default::default()
        },
        manager: Some(ManagerStatus { raft_id: 1, addr: "10.9.0.1:2377".into() }),
        certificate: vec![],
    }
}

pub fn secret() -> Secret {
    let data = Payload(b"hunter2".as_slice().into());
    Secret {
        id: SecretId::new(1),
        meta: meta(7),
        spec: SecretSpec { annotations: named("pw"), data, template: true },
    }
}

pub fn config() -> Config {
    let data = Payload(b"hello".as_slice().into());
    Config {
        id: ConfigId::new(2),
        meta: meta(8),
        spec: ConfigSpec { annotations: named("site"), data, template: true },
    }
}

pub fn cluster() -> Cluster {
    Cluster {
        id: ClusterId::new(0xc1),
        meta: meta(2),
        spec: ClusterSpec::default(),
        root_ca: skep_types::cluster::RootCa {
            certificate: b"PEM".to_vec(),
            key: Payload(b"private".as_slice().into()),
            join_tokens: JoinTokens { worker: "SWMTKN-1-w".into(), manager: "SWMTKN-1-m".into() },
        },
        feature_level: 1,
        data_path_port: 4789,
        address_pools: vec!["10.0.0.0/8".parse().unwrap()],
        subnet_length: 24,
    }
}
