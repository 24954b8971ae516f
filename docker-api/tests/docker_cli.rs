//! The real docker command line against a daemon whose answers are made of the vocabulary's types.
//!
//! What it prints shows that it could read every document; what it posts must be what the conversion reads.

mod common;

use std::sync::Mutex;

use async_trait::async_trait;
use common::stage::Stage;
use common::*;
use skep_docker_api::json::*;
use skep_docker_api::{ApiError, Backend, Filters, List, convert};
use skep_types::NetworkId;

type Answer<T> = Result<T, ApiError>;

/// The small swarm of `common`, and the specs that were posted.
#[derive(Default)]
struct Small {
    posted: Mutex<Vec<skep_types::ServiceSpec>>,
}

fn resolve(name: &str) -> Answer<NetworkId> {
    if name == "shop_default" || name == NETWORK.to_string() {
        return Ok(NETWORK);
    }
    Err(ApiError::not_found(format!("network {name} not found")))
}

fn raft() -> RaftConfig {
    RaftConfig {
        snapshot_interval: 10_000,
        election_tick: 10,
        heartbeat_tick: 1,
        ..Default::default()
    }
}

#[async_trait]
impl Backend for Small {
    async fn version(&self) -> Answer<Version> {
        Ok(Version { version: "0.1.0".into(), api_version: "1.51".into(), ..Default::default() })
    }
    async fn info(&self) -> Answer<Info> {
        let tls = TlsInfo::default();
        let swarm = SwarmInfo {
            node_id: NODE.to_string(),
            local_node_state: "active".into(),
            control_available: true,
            managers: 1,
            nodes: 1,
            cluster: Some(convert::cluster_info_to_api(&cluster(), &tls, &raft())),
            ..Default::default()
        };
        Ok(Info { name: "host1".into(), swarm, ..Default::default() })
    }
    async fn swarm_status(&self) -> String {
        "active/manager".into()
    }
    async fn swarm_init(&self, _: SwarmInitRequest) -> Answer<String> {
        Err(ApiError::already_in_swarm())
    }
    async fn swarm_join(&self, _: SwarmJoinRequest) -> Answer<()> {
        Err(ApiError::already_in_swarm())
    }
    async fn swarm_inspect(&self) -> Answer<Swarm> {
        Ok(convert::swarm_to_api(&cluster(), &TlsInfo::default(), &raft()))
    }
    async fn swarm_update(&self, version: u64, spec: SwarmSpec, _: RotateTokens) -> Answer<()> {
        assert_eq!(version, 2);
        convert::cluster_spec_from_api(&spec, &cluster().spec, &raft()).map(drop)
    }
    async fn nodes(&self, _: Filters) -> Answer<List<Node>> {
        Ok(vec![self.node("").await?].into())
    }
    async fn node(&self, _: &str) -> Answer<Node> {
        let view =
            convert::ManagerView { leader: true, reachability: convert::Reachability::Reachable };
        Ok(convert::node_to_api(&node(), &TlsInfo::default(), Some(view)))
    }
    async fn node_update(&self, _: &str, _: u64, spec: NodeSpec) -> Answer<()> {
        convert::node_spec_from_api(&spec).map(drop)
    }
    async fn services(&self, _: Filters, status: bool) -> Answer<List<Service>> {
        let counts = ServiceStatus { running_tasks: 2, desired_tasks: 3, completed_tasks: 0 };
        Ok(vec![convert::service_to_api(&service(), status.then_some(counts))].into())
    }
    async fn service(&self, _: &str, _: bool) -> Answer<Service> {
        Ok(convert::service_to_api(&service(), None))
    }
    async fn service_create(
        &self,
        spec: ServiceSpec,
        _: Option<RegistryAuth>,
    ) -> Answer<ServiceCreateResponse> {
        let spec = convert::service_spec_from_api(&spec, &resolve)?;
        self.posted.lock().unwrap().push(spec);
        Ok(ServiceCreateResponse { id: SERVICE.to_string(), ..Default::default() })
    }
    async fn service_update(
        &self,
        _: &str,
        options: ServiceUpdateOptions,
        spec: ServiceSpec,
    ) -> Answer<ServiceUpdateResponse> {
        assert_eq!(options.version, 12);
        let spec = convert::service_spec_from_api(&spec, &resolve)?;
        self.posted.lock().unwrap().push(spec);
        Ok(ServiceUpdateResponse::default())
    }
    async fn tasks(&self, _: Filters) -> Answer<List<Task>> {
        let network = network();
        let found = |id| (id == NETWORK).then_some(&network);
        let spec = rich_spec();
        let tasks = [1, 2].map(|slot| convert::task_to_api(&task(slot), &spec.task, &found));
        Ok(tasks.to_vec().into())
    }
    async fn networks(&self, _: Filters) -> Answer<Vec<Network>> {
        Ok(vec![convert::network_to_api(&network())])
    }
    async fn network(&self, _: &str) -> Answer<Network> {
        Ok(convert::network_to_api(&network()))
    }
    async fn network_create(&self, request: NetworkCreateRequest) -> Answer<NetworkCreateResponse> {
        let spec = convert::network_spec_from_api(&request)?;
        assert_eq!(spec.ipam[0].subnet.to_string(), "10.7.0.0/24");
        Ok(NetworkCreateResponse { id: NETWORK.to_string(), ..Default::default() })
    }
    async fn secrets(&self, _: Filters) -> Answer<Vec<Secret>> {
        Ok(vec![convert::secret_to_api(&secret())])
    }
    async fn secret_create(&self, spec: SecretSpec) -> Answer<IdResponse> {
        assert_eq!(&*convert::secret_spec_from_api(&spec)?.data.0, b"hunter2");
        Ok(IdResponse { id: secret().id.to_string() })
    }
    async fn configs(&self, _: Filters) -> Answer<Vec<Config>> {
        Ok(vec![convert::config_to_api(&config())])
    }
    async fn config(&self, _: &str) -> Answer<Config> {
        Ok(convert::config_to_api(&config()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_reads_what_we_write() {
    let Some(stage) = Stage::set(Small::default()).await else { return };
    for (line, parts) in [
        ("node ls", vec!["*   host1", "Ready", "Active", "Leader"]),
        ("node inspect --pretty self", vec!["Hostname:", "host1", "Raft Status:\t\tReachable"]),
        ("service ls", vec!["shop_web", "replicated", "2/3", "nginx:1", "*:30000->80/tcp"]),
        (
            "service inspect --pretty shop_web",
            vec![
                "Service Mode:\tReplicated",
                "Replicas:\t3",
                "State:\t\tcompleted",
                "PublishedPort = 30000",
            ],
        ),
        ("service inspect --format {{.Endpoint.VirtualIPs}} shop_web", vec!["10.0.1.2/24"]),
        (
            "service ps shop_web",
            vec!["shop_web.1", "shop_web.2", "host1", "Running", "*:8080->80/tcp"],
        ),
        ("node ps", vec!["shop_web.1"]),
        ("network ls", vec!["shop_default", "overlay", "swarm"]),
        ("network inspect shop_default", vec!["\"Subnet\": \"10.0.1.0/24\"", "4097"]),
        ("secret ls", vec!["pw"]),
        ("config ls", vec!["site"]),
        ("config inspect --pretty site", vec!["hello"]),
        ("stack ls", vec!["shop", "1"]),
        ("stack services shop", vec!["shop_web", "2/3"]),
        ("stack ps shop", vec!["shop_web.1", "host1"]),
        ("swarm join-token -q worker", vec!["SWMTKN-1-w"]),
        ("info", vec!["Swarm: active", "Task History Retention Limit: 5", "Data Path Port: 4789"]),
    ] {
        let text = stage.run(line).await;
        for part in parts {
            assert!(text.contains(part), "docker {line}: expected {part:?} in\n{text}");
        }
    }
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_docker_writes() {
    use skep_types::*;
    let Some(stage) = Stage::set(Small::default()).await else { return };
    stage
        .run(
            "service create --detach --no-resolve-image --name web --replicas 3 -p 8080:80 \
             --network shop_default --secret source=pw,target=key,mode=0400 --config source=site,target=/s \
             --mount type=volume,source=data,target=/data --limit-cpu 0.5 --reserve-memory 32m \
             --constraint node.role==worker --placement-pref spread=node.labels.rack \
             --update-parallelism 2 --update-delay 1s --restart-condition on-failure \
             --host db:10.0.0.9 --env A=b --health-cmd true --label l=1 --stop-grace-period 3s nginx:1 sh",
        )
        .await;
    let spec = stage.backend.posted.lock().unwrap().pop().unwrap();
    assert_eq!(spec.annotations.name, "web");
    assert_eq!(spec.annotations.labels, map(&[("l", "1")]));
    assert_eq!(spec.mode, ServiceMode::Replicated { replicas: 3 });
    assert_eq!(spec.endpoint.ports[0].published_port, 8080);
    assert_eq!(spec.task.networks[0].target, NETWORK);
    let container = &spec.task.container;
    assert_eq!(
        (container.image.as_str(), container.args.as_slice()),
        ("nginx:1", &["sh".to_owned()][..])
    );
    assert_eq!(container.secrets[0].secret_id, SecretId::new(1));
    assert_eq!(
        (container.secrets[0].target.name.as_str(), container.secrets[0].target.mode),
        ("key", 0o400)
    );
    assert_eq!(container.configs[0].target.name, "/s");
    assert_eq!(container.mounts[0].kind, MountKind::Volume);
    assert_eq!(container.health.as_ref().unwrap().test, ["CMD-SHELL", "true"]);
    assert_eq!(container.stop_grace_period.unwrap().as_secs(), 3);
    assert_eq!(container.hosts, ["10.0.0.9 db"]);
    assert_eq!(spec.task.resources.limits.nano_cpus, 500_000_000);
    assert_eq!(spec.task.resources.reservations.memory_bytes, 32 << 20);
    assert_eq!(spec.task.placement.constraints, ["node.role==worker"]);
    assert_eq!(spec.task.placement.spread, ["node.labels.rack"]);
    assert_eq!((spec.update.parallelism, spec.update.delay.as_secs()), (2, 1));
    assert_eq!(spec.task.restart.condition, RestartCondition::OnFailure);

    // What docker read, changed in one place and sent back, is the spec with that one change.
    stage.run("service scale --detach shop_web=7").await;
    let scaled = stage.backend.posted.lock().unwrap().pop().unwrap();
    let mut expected = rich_spec();
    expected.mode = ServiceMode::Replicated { replicas: 7 };
    assert_eq!(scaled, expected);

    // A Compose file over the stack that stands: its service is updated, its network found again by name.
    let compose = stage.dir.path().join("compose.yml");
    let text = "services:\n  web:\n    image: nginx:2\n    networks: [default]\n    volumes: [\"data:/data\"]\n    \
                deploy: {replicas: 4, update_config: {order: start-first}}\nvolumes: {data: {}}\n";
    std::fs::write(&compose, text).unwrap();
    let deploy =
        format!("stack deploy --detach --resolve-image never -c {} shop", compose.display());
    stage.run(&deploy).await;
    let spec = stage.backend.posted.lock().unwrap().pop().unwrap();
    assert_eq!(spec.annotations.name, "shop_web");
    assert_eq!(spec.mode, ServiceMode::Replicated { replicas: 4 });
    assert_eq!(spec.task.container.image, "nginx:2");
    assert_eq!(spec.task.networks[0].target, NETWORK);
    assert_eq!(spec.task.networks[0].aliases, ["web"]);
    assert_eq!(spec.task.container.mounts[0].source, "shop_data");
    assert_eq!(spec.update.order, UpdateOrder::StartFirst);

    stage.run("network create -d overlay --subnet 10.7.0.0/24 backend").await;
    stage.run("node update --availability drain host1").await;
    stage.run("swarm update --task-history-limit 2").await;
    let key = stage.dir.path().join("key");
    std::fs::write(&key, "hunter2").unwrap();
    stage.run(&format!("secret create pw {}", key.display())).await;

    stage.run("service create -d --no-resolve-image --generic-resource gpu=2 nginx").await;
    let spec = stage.backend.posted.lock().unwrap().pop().unwrap();
    let gpu = skep_types::resources::GenericResource::Discrete { kind: "gpu".into(), value: 2 };
    assert_eq!(spec.task.resources.reservations.generic, [gpu]);
    let refused = stage.fail("swarm update --snapshot-interval 77").await;
    assert!(refused.contains("changing Raft's SnapshotInterval"), "{refused}");
    stage.clear().await;
}
