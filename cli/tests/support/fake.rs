//! A swarm in memory: two nodes, and whatever a test puts in. It decides nothing; it notes what it was told to change.

use std::sync::Mutex;

use async_trait::async_trait;
use skep_docker_api::json::*;
use skep_docker_api::{ApiError, Backend, Filters};

type Answer<T> = Result<T, ApiError>;

#[derive(Default)]
pub struct Fake {
    pub outside: bool,
    pub calls: Mutex<Vec<String>>,
    pub nodes: Vec<Node>,
    pub services: Mutex<Vec<Service>>,
    pub tasks: Mutex<Vec<Task>>,
    pub secrets: Mutex<Vec<Secret>>,
    pub configs: Mutex<Vec<Config>>,
    pub networks: Mutex<Vec<Network>>,
}

pub const LEADER: &str = "abcdefghijklmnopqrstuvwx1";
pub const WORKER: &str = "bcdefghijklmnopqrstuvwxy2";

fn node(id: &str, hostname: &str, role: &str) -> Node {
    Node {
        id: id.into(),
        version: ObjectVersion { index: 7 },
        created_at: Timestamp("2026-01-02T03:04:05.5Z".into()),
        spec: NodeSpec {
            role: role.into(),
            availability: "active".into(),
            labels: Map::from([("zone".into(), "a".into())]),
            ..Default::default()
        },
        description: NodeDescription {
            hostname: hostname.into(),
            platform: NodePlatform { architecture: "x86_64".into(), os: "linux".into() },
            resources: Resources {
                nano_cpus: 2_000_000_000,
                memory_bytes: 4 << 30,
                ..Default::default()
            },
            engine: EngineDescription {
                engine_version: "0.1.0".into(),
                plugins: vec![PluginDescription { kind: "Network".into(), name: "overlay".into() }],
                ..Default::default()
            },
            ..Default::default()
        },
        status: NodeStatus { state: "ready".into(), addr: "10.0.0.1".into(), ..Default::default() },
        manager_status: (role == "manager").then(|| ManagerStatus {
            leader: true,
            reachability: "reachable".into(),
            addr: "10.0.0.1:2377".into(),
        }),
        ..Default::default()
    }
}

impl Fake {
    pub fn swarm() -> Self {
        let nodes = vec![node(WORKER, "host2", "worker"), node(LEADER, "host1", "manager")];
        Self { nodes, ..Default::default() }
    }

    pub fn outside() -> Self {
        Self { outside: true, ..Default::default() }
    }

    pub fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    fn gate(&self) -> Answer<()> {
        if self.outside { Err(ApiError::not_in_swarm()) } else { Ok(()) }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[async_trait]
impl Backend for Fake {
    async fn version(&self) -> Answer<Version> {
        Ok(Version {
            version: "0.1.0".into(),
            api_version: "1.51".into(),
            min_api_version: "1.24".into(),
            os: "linux".into(),
            arch: "amd64".into(),
            ..Default::default()
        })
    }

    async fn info(&self) -> Answer<Info> {
        let swarm = SwarmInfo {
            node_id: if self.outside { "" } else { LEADER }.into(),
            node_addr: "10.0.0.1".into(),
            local_node_state: if self.outside { "inactive" } else { "active" }.into(),
            control_available: !self.outside,
            remote_managers: Some(vec![Peer {
                node_id: LEADER.into(),
                addr: "10.0.0.1:2377".into(),
            }]),
            nodes: 2,
            managers: 1,
            cluster: Some(SwarmClusterInfo {
                id: "cluster".into(),
                default_addr_pool: vec!["10.0.0.0/8".into()],
                subnet_size: 24,
                data_path_port: 4789,
                ..Default::default()
            }),
            ..Default::default()
        };
        Ok(Info {
            name: "host1".into(),
            server_version: "0.1.0".into(),
            ncpu: 2,
            mem_total: 4 << 30,
            operating_system: "Linux".into(),
            os_type: "linux".into(),
            docker_root_dir: "/var/lib/skep".into(),
            swarm,
            ..Default::default()
        })
    }

    async fn swarm_status(&self) -> String {
        if self.outside { "inactive" } else { "active/manager" }.into()
    }

    async fn swarm_init(&self, request: SwarmInitRequest) -> Answer<String> {
        self.note(format!("init {}", json(&request)));
        Ok(LEADER.into())
    }

    async fn swarm_join(&self, request: SwarmJoinRequest) -> Answer<()> {
        self.note(format!("join {}", json(&request)));
        if request.join_token.is_empty() {
            return Err(ApiError::already_in_swarm());
        }
        Ok(())
    }

    async fn swarm_leave(&self, force: bool) -> Answer<()> {
        self.note(format!("leave {force}"));
        self.gate()
    }

    async fn swarm_inspect(&self) -> Answer<Swarm> {
        self.gate()?;
        Ok(Swarm {
            id: "cluster".into(),
            version: ObjectVersion { index: 11 },
            tls_info: TlsInfo { trust_root: "-----BEGIN\nroot\n".into(), ..Default::default() },
            join_tokens: JoinTokens {
                worker: "SWMTKN-1-worker".into(),
                manager: "SWMTKN-1-manager".into(),
            },
            ..Default::default()
        })
    }

    async fn swarm_update(&self, v: u64, spec: SwarmSpec, r: RotateTokens) -> Answer<()> {
        self.note(format!(
            "update {v} worker={} manager={} {}",
            r.worker,
            r.manager,
            json(&spec.orchestration)
        ));
        Ok(())
    }

    async fn swarm_unlock_key(&self) -> Answer<UnlockKeyResponse> {
        Ok(UnlockKeyResponse { unlock_key: "SWMKEY-1-x".into() })
    }

    async fn nodes(&self, filters: Filters) -> Answer<Vec<Node>> {
        self.gate()?;
        filters.only(&["id", "role", "name", "label", "node.label", "membership"])?;
        Ok(self.nodes.iter().filter(|n| filters.exact("role", &n.spec.role)).cloned().collect())
    }

    async fn node(&self, id: &str) -> Answer<Node> {
        self.gate()?;
        let found = self.nodes.iter().find(|n| n.id == id || n.description.hostname == id);
        found.cloned().ok_or_else(|| ApiError::not_found(format!("node {id} not found")))
    }

    async fn node_update(&self, id: &str, v: u64, spec: NodeSpec) -> Answer<()> {
        self.note(format!("node {id} {v} {}", json(&spec)));
        Ok(())
    }

    async fn node_remove(&self, id: &str, force: bool) -> Answer<()> {
        self.node(id).await?;
        self.note(format!("node rm {id} {force}"));
        Ok(())
    }

    async fn services(&self, filters: Filters, status: bool) -> Answer<Vec<Service>> {
        let mut services = self.services.lock().unwrap().clone();
        services.retain(|s| {
            filters.prefix("id", &s.id)
                && filters.prefix("name", &s.spec.name)
                && filters.labels("label", &s.spec.labels)
        });
        for service in services.iter_mut().filter(|_| !status) {
            service.service_status = None;
        }
        Ok(services)
    }

    async fn service(&self, id: &str, _: bool) -> Answer<Service> {
        let services = self.services.lock().unwrap();
        let found = services.iter().find(|s| s.id == id || s.spec.name == id);
        found.cloned().ok_or_else(|| ApiError::not_found(format!("service {id} not found")))
    }

    async fn service_create(&self, spec: ServiceSpec) -> Answer<ServiceCreateResponse> {
        self.note(format!("create {}", json(&spec)));
        let id = "newserviceidnewserviceid1".to_owned();
        let service = Service { id: id.clone(), spec, ..Default::default() };
        self.services.lock().unwrap().push(service);
        Ok(ServiceCreateResponse { id, ..Default::default() })
    }

    async fn service_update(
        &self,
        id: &str,
        options: ServiceUpdateOptions,
        spec: ServiceSpec,
    ) -> Answer<ServiceUpdateResponse> {
        let back = options.rollback_previous;
        self.note(format!("update {id} {} back={back} {}", options.version, json(&spec)));
        Ok(ServiceUpdateResponse::default())
    }

    async fn service_remove(&self, id: &str) -> Answer<()> {
        let id = self.service(id, false).await?.id;
        self.note(format!("service rm {id}"));
        self.services.lock().unwrap().retain(|service| service.id != id);
        Ok(())
    }

    async fn tasks(&self, filters: Filters) -> Answer<Vec<Task>> {
        let tasks = self.tasks.lock().unwrap().clone();
        Ok(tasks
            .into_iter()
            .filter(|t| filters.exact("service", &t.service_id))
            .filter(|t| filters.exact("node", &t.node_id))
            .collect())
    }

    async fn secrets(&self, filters: Filters) -> Answer<Vec<Secret>> {
        let secrets = self.secrets.lock().unwrap().clone();
        Ok(secrets
            .into_iter()
            .filter(|s| filters.prefix("name", &s.spec.name))
            .filter(|s| filters.labels("label", &s.spec.labels))
            .collect())
    }

    async fn secret(&self, id: &str) -> Answer<Secret> {
        let secrets = self.secrets.lock().unwrap();
        let found = secrets.iter().find(|s| s.id == id || s.spec.name == id);
        found.cloned().ok_or_else(|| ApiError::not_found(format!("secret {id} not found")))
    }

    async fn secret_create(&self, spec: SecretSpec) -> Answer<IdResponse> {
        self.note(format!("secret {}", json(&spec)));
        let id = format!("secret-{}", spec.name);
        self.secrets.lock().unwrap().push(Secret { id: id.clone(), spec, ..Default::default() });
        Ok(IdResponse { id })
    }

    async fn secret_update(&self, id: &str, v: u64, spec: SecretSpec) -> Answer<()> {
        self.note(format!("secret update {id} {v} {}", json(&spec)));
        Ok(())
    }

    async fn secret_remove(&self, id: &str) -> Answer<()> {
        let id = self.secret(id).await?.id;
        self.note(format!("secret rm {id}"));
        self.secrets.lock().unwrap().retain(|secret| secret.id != id);
        Ok(())
    }

    async fn configs(&self, filters: Filters) -> Answer<Vec<Config>> {
        let configs = self.configs.lock().unwrap().clone();
        Ok(configs
            .into_iter()
            .filter(|s| filters.prefix("name", &s.spec.name))
            .filter(|s| filters.labels("label", &s.spec.labels))
            .collect())
    }

    async fn config(&self, id: &str) -> Answer<Config> {
        let configs = self.configs.lock().unwrap();
        let found = configs.iter().find(|s| s.id == id || s.spec.name == id);
        found.cloned().ok_or_else(|| ApiError::not_found(format!("config {id} not found")))
    }

    async fn config_create(&self, spec: ConfigSpec) -> Answer<IdResponse> {
        self.note(format!("config {}", json(&spec)));
        let id = format!("config-{}", spec.name);
        self.configs.lock().unwrap().push(Config { id: id.clone(), spec, ..Default::default() });
        Ok(IdResponse { id })
    }

    async fn config_update(&self, id: &str, v: u64, spec: ConfigSpec) -> Answer<()> {
        self.note(format!("config update {id} {v} {}", json(&spec)));
        Ok(())
    }

    async fn config_remove(&self, id: &str) -> Answer<()> {
        let id = self.config(id).await?.id;
        self.note(format!("config rm {id}"));
        self.configs.lock().unwrap().retain(|config| config.id != id);
        Ok(())
    }

    async fn networks(&self, filters: Filters) -> Answer<Vec<Network>> {
        let networks = self.networks.lock().unwrap().clone();
        Ok(networks
            .into_iter()
            .filter(|n| filters.prefix("name", &n.name))
            .filter(|n| filters.labels("label", &n.labels))
            .collect())
    }

    async fn network(&self, id: &str) -> Answer<Network> {
        let networks = self.networks.lock().unwrap();
        let found = networks.iter().find(|n| n.id == id || n.name == id);
        found.cloned().ok_or_else(|| ApiError::not_found(format!("network {id} not found")))
    }

    async fn network_create(&self, request: NetworkCreateRequest) -> Answer<NetworkCreateResponse> {
        self.note(format!("network {}", json(&request)));
        let id = format!("network-{}", request.name);
        let made = Network { labels: request.labels, ..network(&id, &request.name) };
        self.networks.lock().unwrap().push(made);
        Ok(NetworkCreateResponse { id, ..Default::default() })
    }

    async fn network_remove(&self, id: &str) -> Answer<()> {
        let id = self.network(id).await?.id;
        self.note(format!("network rm {id}"));
        self.networks.lock().unwrap().retain(|network| network.id != id);
        Ok(())
    }
}

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
