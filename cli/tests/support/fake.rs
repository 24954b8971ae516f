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
            resources: NodeResources { nano_cpus: 2_000_000_000, memory_bytes: 4 << 30 },
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

    async fn service(&self, id: &str, _: bool) -> Answer<Service> {
        let services = self.services.lock().unwrap();
        let found = services.iter().find(|s| s.id == id || s.spec.name == id);
        found.cloned().ok_or_else(|| ApiError::not_found(format!("service {id} not found")))
    }

    async fn tasks(&self, _: Filters) -> Answer<Vec<Task>> {
        Ok(self.tasks.lock().unwrap().clone())
    }
}
