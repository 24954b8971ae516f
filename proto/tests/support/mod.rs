//! Values with every field set to something other than its default: what a conversion drops, a
//! comparison shows.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_types::cluster::RootCa;
use skep_types::container::*;
use skep_types::network::IpamConfig;
use skep_types::node::{ManagerStatus, NodeDescription, NodeStatus};
use skep_types::resources::{GenericResource, ResourceRequirements};
use skep_types::service::*;
use skep_types::task::{ContainerStatus, Slot};
use skep_types::*;

pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|it| (*it).to_owned()).collect()
}

pub fn annotations(name: &str) -> Annotations {
    Annotations { name: name.to_owned(), labels: map(&[("tier", "front"), ("empty", "")]) }
}

pub fn meta() -> Meta {
    Meta {
        revision: Revision(7),
        created_at: Timestamp(1_795_460_593_304_027_886),
        updated_at: Timestamp(1_795_460_594_000_000_001),
    }
}

pub fn resources() -> Resources {
    Resources {
        nano_cpus: 1_500_000_000,
        memory_bytes: 64 << 20,
        pids: 0,
        generic: vec![
            GenericResource::Named { kind: "gpu".into(), value: "UUID1".into() },
            GenericResource::Discrete { kind: "ssd".into(), value: 2 },
        ],
    }
}

pub fn mounts() -> Vec<Mount> {
    let mount = |kind, source: &str, target: &str| Mount {
        kind,
        source: source.into(),
        target: target.into(),
        ..Mount::default()
    };
    vec![
        Mount {
            read_only: true,
            propagation: Propagation::RecursiveSlave,
            non_recursive: true,
            read_only_non_recursive: true,
            ..mount(MountKind::Bind, "/srv", "/data")
        },
        mount(MountKind::Volume, "", "/anonymous"),
        Mount {
            volume_labels: map(&[("keep", "yes")]),
            volume_driver: Some(("local".into(), map(&[("type", "nfs")]))),
            volume_nocopy: true,
            ..mount(MountKind::Volume, "db", "/var/lib/db")
        },
        Mount {
            tmpfs_size_bytes: 1 << 20,
            tmpfs_mode: 0o1777,
            ..mount(MountKind::Tmpfs, "", "/tmp")
        },
    ]
}

pub fn container() -> ContainerSpec {
    let target = |name: &str| FileTarget {
        name: name.into(),
        uid: "33".into(),
        gid: "34".into(),
        mode: 0o440,
    };
    ContainerSpec {
        image: "web:1@sha256:abc".into(),
        labels: map(&[("a", "b")]),
        command: texts(&["/bin/web"]),
        args: texts(&["--port", "80"]),
        hostname: "{{.Node.Hostname}}".into(),
        env: texts(&["A=1", "B"]),
        dir: "/srv".into(),
        user: "www".into(),
        groups: texts(&["audio"]),
        tty: true,
        open_stdin: true,
        read_only: true,
        init: Some(false),
        mounts: mounts(),
        stop_signal: "SIGQUIT".into(),
        stop_grace_period: Some(Duration::from_millis(2500)),
        hosts: texts(&["10.0.0.9 db"]),
        dns: DnsConfig {
            nameservers: texts(&["10.0.0.53"]),
            search: texts(&["example.org"]),
            options: texts(&["ndots:2"]),
        },
        health: Some(HealthConfig {
            test: texts(&["CMD-SHELL", "true"]),
            interval: Duration::from_secs(3),
            timeout: Duration::from_millis(1),
            retries: 4,
            start_period: Duration::from_secs(5),
            start_interval: Duration::from_nanos(6),
        }),
        secrets: vec![SecretReference {
            secret_id: SecretId::new(51),
            secret_name: "password".into(),
            target: target("password"),
        }],
        configs: vec![ConfigReference {
            config_id: ConfigId::new(61),
            config_name: "motd".into(),
            target: target("/etc/motd"),
        }],
        sysctls: map(&[("net.core.somaxconn", "1024")]),
        capability_add: texts(&["CAP_NET_ADMIN"]),
        capability_drop: texts(&["CAP_MKNOD"]),
        ulimits: vec![Ulimit { name: "nofile".into(), soft: -1, hard: 4096 }],
        oom_score_adj: -500,
        registry_auth: payload(),
    }
}

pub fn task_spec() -> TaskSpec {
    TaskSpec {
        container: container(),
        resources: ResourceRequirements {
            limits: Resources { pids: 128, ..resources() },
            reservations: Resources { nano_cpus: 5, ..resources() },
        },
        restart: RestartPolicy {
            condition: RestartCondition::OnFailure,
            delay: Duration::from_secs(9),
            max_attempts: 3,
            window: Duration::from_secs(60),
        },
        placement: Placement {
            constraints: texts(&["node.role==worker", "node.labels.zone!=east"]),
            spread: texts(&["node.labels.zone", "node.labels.rack"]),
            max_replicas_per_node: 2,
            platforms: vec![("linux".into(), "amd64".into()), (String::new(), "arm64".into())],
        },
        networks: vec![NetworkAttachmentConfig {
            target: NetworkId::new(41),
            aliases: texts(&["front"]),
        }],
        log_driver: Some(LogDriver {
            name: "json-file".into(),
            options: map(&[("max-size", "1m")]),
        }),
        force_update: 5,
    }
}

pub fn ports() -> Vec<PortConfig> {
    vec![
        PortConfig {
            name: "http".into(),
            protocol: Protocol::Tcp,
            target_port: 80,
            published_port: 8080,
            publish_mode: PublishMode::Ingress,
        },
        PortConfig {
            name: "dns".into(),
            protocol: Protocol::Udp,
            target_port: 53,
            published_port: u16::MAX,
            publish_mode: PublishMode::Host,
        },
        PortConfig { protocol: Protocol::Sctp, target_port: 9, ..PortConfig::default() },
    ]
}

pub fn service_spec() -> ServiceSpec {
    ServiceSpec {
        annotations: annotations("web"),
        task: task_spec(),
        mode: ServiceMode::Replicated { replicas: 3 },
        update: UpdateConfig {
            parallelism: 2,
            delay: Duration::from_secs(1),
            failure_action: FailureAction::Rollback,
            monitor: Duration::from_secs(30),
            max_failure_ratio: 0.25,
            order: UpdateOrder::StartFirst,
        },
        rollback: UpdateConfig {
            parallelism: 0,
            delay: Duration::from_secs(2),
            failure_action: FailureAction::Continue,
            monitor: Duration::from_secs(31),
            max_failure_ratio: 1.0,
            order: UpdateOrder::StopFirst,
        },
        endpoint: EndpointSpec { mode: EndpointMode::DnsRoundRobin, ports: ports() },
    }
}

pub fn endpoint() -> Endpoint {
    let vip = |network, address: &str, prefix_length| VirtualIp {
        network: NetworkId::new(network),
        address: address.parse().unwrap(),
        prefix_length,
    };
    Endpoint {
        mode: EndpointMode::Vip,
        ports: ports(),
        virtual_ips: vec![vip(41, "10.0.1.2", 24), vip(42, "fd00::2", 64)],
    }
}

pub fn service() -> Service {
    let mut previous = service_spec();
    previous.task.container.image = "web:0".into();
    Service {
        id: ServiceId::new(u128::MAX),
        meta: meta(),
        spec: Arc::new(service_spec()),
        spec_version: Revision(6),
        previous_spec: Some(Arc::new(previous)),
        previous_spec_version: Some(Revision(4)),
        endpoint: Some(endpoint()),
        update_status: Some(UpdateStatus {
            state: UpdateState::RollbackStarted,
            started_at: Timestamp(-1),
            completed_at: Some(Timestamp(9)),
            message: "rollback in progress".into(),
            moving: [(TaskId::new(5), Moving { slot: 7, to: NodeId::new(6) })].into(),
        }),
        job: Some(JobStatus { iteration: 3, last_execution: Timestamp(1_795_460_593_426_645_437) }),
    }
}

pub fn ipam() -> Vec<IpamConfig> {
    vec![
        IpamConfig {
            subnet: "10.0.1.0/24".parse().unwrap(),
            range: Some("10.0.1.128/25".parse().unwrap()),
            gateway: Some("10.0.1.1".parse().unwrap()),
        },
        IpamConfig { subnet: "fd00::/64".parse().unwrap(), range: None, gateway: None },
    ]
}

pub fn network_spec() -> NetworkSpec {
    NetworkSpec {
        annotations: annotations("front"),
        driver: "overlay".into(),
        driver_options: map(&[("encrypted", "")]),
        internal: true,
        attachable: true,
        ingress: true,
        ipv6: true,
        ipam: ipam(),
    }
}

pub fn network() -> Network {
    Network {
        id: NetworkId::new(41),
        meta: meta(),
        spec: network_spec(),
        vni: Some(Vni(4097)),
        ipam: ipam(),
    }
}

pub fn attachment() -> NetworkAttachment {
    NetworkAttachment {
        network: NetworkId::new(41),
        addresses: vec!["10.0.1.7/24".parse().unwrap(), "fd00::7/64".parse().unwrap()],
        aliases: texts(&["front"]),
    }
}

pub fn of_container() -> Attachment {
    Attachment {
        id: AttachmentId::new(43),
        meta: meta(),
        node_id: NodeId::new(11),
        network: NetworkId::new(41),
        container_id: "c0ffee".into(),
        names: texts(&["web", "www"]),
        addresses: vec!["10.0.1.8/24".parse().unwrap(), "fd00::8/64".parse().unwrap()],
    }
}

pub fn task_status() -> TaskStatus {
    TaskStatus {
        state: TaskState::Failed,
        timestamp: Timestamp(1_795_460_593_426_645_437),
        message: "started".into(),
        error: "task: non-zero exit (1)".into(),
        container: Some(ContainerStatus {
            container_id: "c0ffee".into(),
            pid: 4711,
            exit_code: -1,
        }),
        host_ports: ports(),
        running_since: None,
    }
}

pub fn task() -> Task {
    Task {
        id: TaskId::new(31),
        meta: meta(),
        service_id: ServiceId::new(u128::MAX),
        slot: Slot::Replica(1),
        spec_version: Revision(6),
        node_id: Some(NodeId::new(11)),
        status: task_status(),
        desired_state: DesiredState::Shutdown,
        networks: vec![attachment()],
        job_iteration: Some(0),
        generic: resources().generic,
    }
}

pub fn description() -> NodeDescription {
    NodeDescription {
        hostname: "host1".into(),
        os: "linux".into(),
        architecture: "x86_64".into(),
        engine_version: "28.2".into(),
        engine_labels: map(&[("disk", "ssd")]),
        plugins: vec![("Network".into(), "overlay".into()), ("Volume".into(), "local".into())],
        resources: resources(),
    }
}

pub fn node() -> Node {
    Node {
        id: NodeId::new(11),
        meta: meta(),
        spec: NodeSpec {
            annotations: annotations("spare"),
            role: NodeRole::Manager,
            availability: Availability::Drain,
        },
        description: Some(description()),
        status: NodeStatus {
            state: NodeState::Ready,
            message: "heartbeat".into(),
            addr: "192.0.2.1".into(),
            since: Timestamp(77),
        },
        manager: Some(ManagerStatus { raft_id: 3, addr: "192.0.2.1:2377".into() }),
        certificate: b"PEM".to_vec(),
    }
}

pub fn payload() -> Payload {
    Payload(b"hunter2".as_slice().into())
}

pub fn secret() -> Secret {
    let spec = SecretSpec { annotations: annotations("password"), data: payload(), template: true };
    Secret { id: SecretId::new(51), meta: meta(), spec }
}

pub fn config() -> Config {
    let spec = ConfigSpec { annotations: annotations("motd"), data: payload(), template: true };
    Config { id: ConfigId::new(61), meta: meta(), spec }
}

pub fn cluster_spec() -> ClusterSpec {
    ClusterSpec {
        annotations: annotations("default"),
        task_history_limit: 9,
        heartbeat_period: Duration::from_secs(7),
        cert_expiry: Duration::from_secs(7200),
        autolock: true,
    }
}

pub fn cluster() -> Cluster {
    Cluster {
        id: ClusterId::new(1),
        meta: meta(),
        spec: cluster_spec(),
        root_ca: RootCa {
            certificate: b"PEM".to_vec(),
            key: payload(),
            join_tokens: JoinTokens { worker: "SWMTKN-w".into(), manager: "SWMTKN-m".into() },
        },
        feature_level: 2,
        data_path_port: 4790,
        address_pools: vec!["10.0.0.0/8".parse().unwrap(), "172.16.0.0/12".parse().unwrap()],
        subnet_length: 25,
    }
}
