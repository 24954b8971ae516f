//! A swarm in memory: two nodes, and whatever a test puts in. It decides nothing; it notes what it was told to change.

use std::sync::Mutex;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use skep_docker_api::json::*;
use skep_docker_api::{
    ApiError, Backend, ByteStream, Filters, Flow, List, LogEntry, LogOptions, LogSource, Logs,
};

use super::busy::{WEB, network};

type Answer<T> = Result<T, ApiError>;

#[derive(Default)]
pub struct Fake {
    pub outside: bool,
    /// The next network to be removed is in use, once.
    pub held: std::sync::atomic::AtomicBool,
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

/// What comes beside a service, where something does.
fn login(auth: Option<RegistryAuth>) -> String {
    auth.map(|auth| format!(" as {}:{}", auth.username, auth.password)).unwrap_or_default()
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
        self.note(format!("update {v} worker={} manager={} {}", r.worker, r.manager, json(&spec)));
        Ok(())
    }

    async fn swarm_unlock_key(&self) -> Answer<UnlockKeyResponse> {
        Ok(UnlockKeyResponse { unlock_key: "SWMKEY-1-x".into() })
    }

    async fn nodes(&self, filters: Filters) -> Answer<List<Node>> {
        self.gate()?;
        filters.only(&["id", "role", "name", "label", "node.label", "membership"])?;
        let nodes = self.nodes.iter().filter(|n| filters.exact("role", &n.spec.role));
        Ok(nodes.cloned().collect::<Vec<_>>().into())
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

    async fn services(&self, filters: Filters, status: bool) -> Answer<List<Service>> {
        let mut services = self.services.lock().unwrap().clone();
        services.retain(|s| {
            filters.prefix("id", &s.id)
                && filters.prefix("name", &s.spec.name)
                && filters.labels("label", &s.spec.labels)
        });
        for service in services.iter_mut().filter(|_| !status) {
            service.service_status = None;
        }
        Ok(services.into())
    }

    async fn service(&self, id: &str, _: bool) -> Answer<Service> {
        let services = self.services.lock().unwrap();
        let found = services.iter().find(|s| s.id == id || s.spec.name == id);
        found.cloned().ok_or_else(|| ApiError::not_found(format!("service {id} not found")))
    }

    async fn service_create(
        &self,
        spec: ServiceSpec,
        auth: Option<RegistryAuth>,
    ) -> Answer<ServiceCreateResponse> {
        self.note(format!("create {}{}", json(&spec), login(auth)));
        let mut services = self.services.lock().unwrap();
        let made = services.iter().filter(|it| it.id.starts_with("newservice")).count();
        let id = format!("newserviceidnewserviceid{}", made + 1);
        services.push(Service { id: id.clone(), spec, ..Default::default() });
        Ok(ServiceCreateResponse { id, ..Default::default() })
    }

    async fn service_update(
        &self,
        id: &str,
        options: ServiceUpdateOptions,
        spec: ServiceSpec,
    ) -> Answer<ServiceUpdateResponse> {
        let back = options.rollback_previous;
        let login = login(options.registry_auth);
        self.note(format!("update {id} {} back={back} {}{login}", options.version, json(&spec)));
        Ok(ServiceUpdateResponse::default())
    }

    async fn service_rebalance(&self, id: &str, dry_run: bool) -> Answer<ServiceRebalanceResponse> {
        let service = self.service(id, false).await?;
        self.note(format!("rebalance {} dry={dry_run}", service.id));
        if service.spec.mode.replicated.is_none() {
            return Err(ApiError::invalid("rebalance can only be used with replicated mode"));
        }
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.id.clone()).collect();
        let (from, to) = (nodes[0].clone(), nodes[1].clone());
        let moves = vec![ServiceMove { task_id: "t".into(), slot: 3, from, to }];
        let even = service.spec.labels.contains_key("even");
        Ok(ServiceRebalanceResponse {
            tasks: 6,
            moves: if even { Vec::new() } else { moves },
            left: 0,
        })
    }

    async fn service_remove(&self, id: &str) -> Answer<()> {
        let id = self.service(id, false).await?.id;
        self.note(format!("service rm {id}"));
        self.services.lock().unwrap().retain(|service| service.id != id);
        Ok(())
    }

    async fn tasks(&self, filters: Filters) -> Answer<List<Task>> {
        let tasks = self.tasks.lock().unwrap().clone();
        Ok(tasks
            .into_iter()
            .filter(|t| filters.exact("service", &t.service_id))
            .filter(|t| filters.exact("node", &t.node_id))
            .collect::<Vec<_>>()
            .into())
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
        let have = self.secret(id).await?;
        // As a manager does: content before revision.
        if !spec.data.is_empty() && spec.data != have.spec.data {
            return Err(ApiError::invalid("only updates to Labels are allowed"));
        }
        if v != have.version.index {
            return Err(ApiError::invalid("update out of sequence"));
        }
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

    async fn task(&self, id: &str) -> Answer<Task> {
        let tasks = self.tasks.lock().unwrap();
        let found = tasks.iter().find(|task| task.id == id);
        found.cloned().ok_or_else(|| ApiError::not_found(format!("task {id} not found")))
    }

    async fn service_logs(&self, _: &str, options: LogOptions) -> Answer<Logs> {
        self.note(format!("logs tail={:?} since={:?}", options.tail, options.since));
        let entries = [
            ("taskaaaaaaaaaaaaaaaaaaaa1", WORKER, LogSource::Stdout, "hello\n"),
            ("taskcccccccccccccccccccc3", LEADER, LogSource::Stderr, "oh no, a line\n"),
            ("taskaaaaaaaaaaaaaaaaaaaa1", WORKER, LogSource::Stdout, "again\n"),
        ];
        let entry = |(task, node, source, text): (&str, &str, LogSource, &'static str)| {
            let ids = [("task", task), ("node", node), ("service", WEB)];
            let mut attributes: Map = ids
                .into_iter()
                .map(|(kind, id)| (format!("com.docker.swarm.{kind}.id"), id.to_owned()))
                .collect();
            attributes.insert("env".into(), "a b".into());
            let at = skep_types::Timestamp(1_700_000_000_000_000_000);
            Ok(LogEntry { source, at, attributes, text: text.as_bytes().into() })
        };
        let entries: Vec<_> = entries.into_iter().map(entry).collect();
        Ok(Logs { tty: false, entries: stream::iter(entries).boxed() })
    }

    async fn task_logs(&self, id: &str, options: LogOptions) -> Answer<Logs> {
        self.service_logs(id, options).await
    }

    async fn images(&self, filters: Filters) -> Answer<Vec<ImageSummary>> {
        let image = |id: &str, tags: &[&str], digests: &[&str]| ImageSummary {
            id: format!("sha256:{id:0<64}"),
            repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            repo_digests: digests.iter().map(|one| (*one).to_owned()).collect(),
            created: 1_700_000_000,
            size: 187_654_321,
            shared_size: -1,
            containers: -1,
            ..Default::default()
        };
        let digest = format!("nginx@sha256:{:0<64}", "d");
        let all = vec![
            image("1", &["nginx:1.25"], &[&digest]),
            image("2", &[], &[]),
            image("3", &["reg.example:5000/a/b:c"], &[]),
            image("4", &[], &[&digest]),
        ];
        let wanted = filters.values("reference").next().map(str::to_owned);
        Ok(all
            .into_iter()
            .filter(|i| {
                wanted.as_ref().is_none_or(|w| i.repo_tags.iter().any(|t| t.starts_with(w)))
            })
            .collect())
    }

    async fn image(&self, name: &str) -> Answer<ImageInspect> {
        if name == "nginx:1.25" {
            let id = format!("sha256:{:0<64}", "1");
            return Ok(ImageInspect { id, os: "linux".into(), ..Default::default() });
        }
        Err(ApiError::not_found(format!("No such image: {name}")))
    }

    async fn image_pull(&self, request: PullRequest) -> Answer<Flow<Progress>> {
        let user = request.auth.map(|auth| auth.username);
        self.note(format!("pull {} {} {user:?}", request.reference, request.platform));
        if request.reference.contains("nope") {
            return Err(ApiError::not_found("manifest unknown"));
        }
        let mut lines = vec![
            Ok(Progress::part("1.25", "Pulling from library/nginx")),
            Ok(Progress::part("aa", "Pulling fs layer")),
            Ok(Progress::bytes("aa", "Downloading", 5, 10)),
            Ok(Progress::part("aa", "Pull complete")),
        ];
        if request.reference.contains("broken") {
            lines.push(Ok(Progress::failed("the layer is broken")));
        } else {
            lines.push(Ok(Progress::status("Digest: sha256:abc")));
            lines.push(Ok(Progress::status("Status: Downloaded newer image for nginx:1.25")));
        }
        Ok(stream::iter(lines).boxed())
    }

    async fn image_load(&self, _: bool, tar: ByteStream) -> Answer<Flow<Progress>> {
        let bytes: Vec<bytes::Bytes> = tar.try_collect().await?;
        self.note(format!("load {} bytes", bytes.concat().len()));
        let line = Progress::stream("Loaded image: nginx:1.25\n");
        Ok(stream::iter([Ok(line)]).boxed())
    }

    async fn image_import(
        &self,
        request: ImportRequest,
        tar: ByteStream,
    ) -> Answer<Flow<Progress>> {
        let bytes: Vec<bytes::Bytes> = tar.try_collect().await?;
        let ImportRequest { reference, message, changes, .. } = request;
        let length = bytes.concat().len();
        self.note(format!("import {reference} {message:?} {changes:?} {length} bytes"));
        Ok(stream::iter([Ok(Progress::status("sha256:123"))]).boxed())
    }

    async fn image_save(&self, names: Vec<String>) -> Answer<ByteStream> {
        if names.iter().any(|name| name == "nope") {
            return Err(ApiError::not_found("No such image: nope"));
        }
        self.note(format!("save {names:?}"));
        Ok(stream::iter([Ok("the ".into()), Ok("archive".into())]).boxed())
    }

    async fn image_tag(&self, name: &str, request: TagRequest) -> Answer<()> {
        self.note(format!("tag {name} {} {}", request.repo, request.tag));
        Ok(())
    }

    async fn image_remove(
        &self,
        name: &str,
        options: ImageRemoveOptions,
    ) -> Answer<Vec<ImageDeleteItem>> {
        self.image(name).await?;
        self.note(format!("rmi {name} {}", options.force));
        Ok(vec![
            ImageDeleteItem { untagged: name.into(), ..Default::default() },
            ImageDeleteItem { deleted: "sha256:1".into(), ..Default::default() },
        ])
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
        if self.held.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Err(ApiError::conflict("network 'x' is in use by task t"));
        }
        self.note(format!("network rm {id}"));
        self.networks.lock().unwrap().retain(|network| network.id != id);
        Ok(())
    }
}
