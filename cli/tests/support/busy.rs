//! What stands in a made-up swarm: a service in every detail, its tasks, and what it uses.

use skep_docker_api::json::*;

use super::fake::{Fake, LEADER, WORKER};

pub fn network(id: &str, name: &str) -> Network {
    Network {
        id: id.into(),
        name: name.into(),
        driver: "overlay".into(),
        scope: "swarm".into(),
        enable_ipv4: true,
        created: Timestamp("2026-01-02T03:04:05.5Z".into()),
        ..Default::default()
    }
}

/// A moment that both command lines call `2 years ago` however slow they are.
fn long_ago() -> Timestamp {
    Timestamp("2024-01-02T03:04:05Z".into())
}

pub fn task(id: &str, slot: u64, node: &str, state: &str, desired: &str, err: &str) -> Task {
    let mut task = Task {
        id: id.into(),
        service_id: WEB.into(),
        slot,
        node_id: node.into(),
        desired_state: desired.into(),
        created_at: long_ago(),
        ..Default::default()
    };
    task.spec.container_spec = Some(ContainerSpec { image: IMAGE.into(), ..Default::default() });
    task.status = TaskStatus {
        timestamp: long_ago(),
        state: state.into(),
        err: err.into(),
        ..Default::default()
    };
    task
}

pub const IMAGE: &str =
    "nginx:1.25@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub const WEB: &str = "web456789012345678901234w";

impl Fake {
    /// A swarm with a service in every detail, its tasks, and what it uses.
    pub fn busy() -> Self {
        let fake = Self::swarm();
        let mut service = Service {
            id: WEB.into(),
            version: ObjectVersion { index: 42 },
            created_at: long_ago(),
            ..Default::default()
        };
        service.spec.name = "web".into();
        service.spec.labels = Map::from([("tier".into(), "front".into())]);
        service.spec.mode.replicated = Some(ReplicatedService { replicas: Some(2) });
        service.spec.update_config = Some(UpdateConfig {
            parallelism: 1,
            delay_ns: 90_000_000_000,
            failure_action: "rollback".into(),
            monitor_ns: 1,
            max_failure_ratio: 0.25,
            order: "start-first".into(),
        });
        service.spec.task_template.container_spec = Some(ContainerSpec {
            image: IMAGE.into(),
            args: vec!["-g".into(), "daemon off;".into()],
            env: vec!["A=1".into(), "B=2".into()],
            dir: "/srv".into(),
            user: "www".into(),
            init: Some(true),
            hosts: vec!["10.0.0.9 db cache".into()],
            mounts: vec![Mount {
                kind: "volume".into(),
                source: "data".into(),
                target: "/data".into(),
                ..Default::default()
            }],
            healthcheck: Some(HealthConfig {
                test: vec!["CMD-SHELL".into(), "true".into()],
                interval_ns: 5_000_000_000,
                retries: 3,
                ..Default::default()
            }),
            secrets: vec![SecretReference {
                file: Some(FileTarget { name: "key".into(), ..Default::default() }),
                secret_id: "secret-key".into(),
                secret_name: "key".into(),
            }],
            ..Default::default()
        });
        service.spec.task_template.placement = Some(Placement {
            constraints: vec!["node.role==worker".into()],
            max_replicas: 2,
            ..Default::default()
        });
        service.spec.task_template.resources = Some(ResourceRequirements {
            limits: Some(Limit { nano_cpus: 500_000_000, memory_bytes: 64 << 20, pids: 9 }),
            ..Default::default()
        });
        service.spec.task_template.networks =
            vec![NetworkAttachmentConfig { target: "network-front".into(), ..Default::default() }];
        let port = PortConfig {
            protocol: "tcp".into(),
            target_port: 80,
            published_port: 8080,
            publish_mode: "ingress".into(),
            ..Default::default()
        };
        service.spec.endpoint_spec =
            Some(EndpointSpec { mode: "vip".into(), ports: vec![port.clone()] });
        service.endpoint.ports = vec![port];
        service.service_status =
            Some(ServiceStatus { running_tasks: 1, desired_tasks: 2, completed_tasks: 0 });
        *fake.services.lock().unwrap() = vec![service];
        *fake.tasks.lock().unwrap() = vec![
            task("taskaaaaaaaaaaaaaaaaaaaa1", 1, WORKER, "running", "running", ""),
            task(
                "taskbbbbbbbbbbbbbbbbbbbb2",
                2,
                LEADER,
                "failed",
                "shutdown",
                "task: non-zero exit (137): it was killed",
            ),
            task("taskcccccccccccccccccccc3", 2, LEADER, "running", "running", ""),
        ];
        fake.tasks.lock().unwrap()[2].created_at = Timestamp("2024-02-02T03:04:05Z".into());
        let secret = |name: &str| Secret {
            id: format!("secret-{name}"),
            created_at: long_ago(),
            updated_at: long_ago(),
            spec: SecretSpec { name: name.into(), ..Default::default() },
            ..Default::default()
        };
        *fake.secrets.lock().unwrap() = vec![secret("key"), secret("key10"), secret("key2")];
        *fake.configs.lock().unwrap() = vec![Config {
            id: "config-conf".into(),
            created_at: long_ago(),
            updated_at: long_ago(),
            spec: ConfigSpec {
                name: "conf".into(),
                labels: Map::from([("a".into(), "b".into())]),
                data: "aGVsbG8K".into(),
                ..Default::default()
            },
            ..Default::default()
        }];
        *fake.networks.lock().unwrap() =
            vec![network("network-front", "front"), network("network-back", "back")];
        fake
    }
}
