//! The router over a fake backend: statuses, headers, versions, filters; then the real docker command line against it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use skep_docker_api::json::*;
use skep_docker_api::{ApiError, Backend, Client, Filters, List, Server, router};
use tower::ServiceExt;

/// One swarm in memory, enough for the shapes to travel.
#[derive(Default)]
struct Fake {
    outside: bool,
    calls: Mutex<Vec<String>>,
}

impl Fake {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
    fn gate(&self) -> Result<(), ApiError> {
        if self.outside { Err(ApiError::not_in_swarm()) } else { Ok(()) }
    }
}

fn node() -> Node {
    Node {
        id: "abcdefghijklmnopqrstuvwxy".into(),
        version: ObjectVersion { index: 7 },
        spec: NodeSpec {
            role: "manager".into(),
            availability: "active".into(),
            ..Default::default()
        },
        description: NodeDescription {
            hostname: "host1".into(),
            engine: EngineDescription { engine_version: "0.1.0".into(), ..Default::default() },
            ..Default::default()
        },
        status: NodeStatus { state: "ready".into(), addr: "10.0.0.1".into(), ..Default::default() },
        manager_status: Some(ManagerStatus {
            leader: true,
            reachability: "reachable".into(),
            addr: "10.0.0.1:2377".into(),
        }),
        ..Default::default()
    }
}

#[async_trait]
impl Backend for Fake {
    async fn version(&self) -> Result<Version, ApiError> {
        Ok(Version { version: "0.1.0".into(), api_version: "1.51".into(), ..Default::default() })
    }
    async fn info(&self) -> Result<Info, ApiError> {
        let swarm = SwarmInfo {
            node_id: node().id,
            local_node_state: "active".into(),
            ..Default::default()
        };
        Ok(Info { name: "host1".into(), swarm, ..Default::default() })
    }
    async fn swarm_status(&self) -> String {
        "active/manager".into()
    }
    async fn swarm_init(&self, request: SwarmInitRequest) -> Result<String, ApiError> {
        self.note(format!("init {}", request.advertise_addr));
        Ok(node().id)
    }
    async fn swarm_join(&self, _: SwarmJoinRequest) -> Result<(), ApiError> {
        Err(ApiError::already_in_swarm())
    }
    async fn swarm_leave(&self, force: bool) -> Result<(), ApiError> {
        self.note(format!("leave {force}"));
        Ok(())
    }
    async fn swarm_inspect(&self) -> Result<Swarm, ApiError> {
        self.gate()?;
        Ok(Swarm { id: "cluster".into(), ..Default::default() })
    }
    async fn swarm_update(&self, v: u64, _: SwarmSpec, r: RotateTokens) -> Result<(), ApiError> {
        self.note(format!("update {v} {r:?}"));
        Ok(())
    }
    async fn nodes(&self, filters: Filters) -> Result<List<Node>, ApiError> {
        self.gate()?;
        Ok(if filters.exact("role", "manager") { vec![node()].into() } else { vec![].into() })
    }
    async fn node(&self, id: &str) -> Result<Node, ApiError> {
        if id == "host1" || id == node().id {
            return Ok(node());
        }
        Err(ApiError::not_found(format!("node {id} not found")))
    }
    async fn node_update(&self, id: &str, v: u64, spec: NodeSpec) -> Result<(), ApiError> {
        self.note(format!("node {id} {v} {}", spec.availability));
        Ok(())
    }
    async fn node_remove(&self, id: &str, force: bool) -> Result<(), ApiError> {
        self.note(format!("rm {id} {force}"));
        Ok(())
    }
    async fn services(&self, _: Filters, status: bool) -> Result<List<Service>, ApiError> {
        let mut service = Service { id: "s23456789012345678901234".into(), ..Default::default() };
        service.spec.name = "web".into();
        service.spec.mode.replicated = Some(ReplicatedService { replicas: Some(3) });
        service.spec.task_template.container_spec =
            Some(ContainerSpec { image: "nginx:1".into(), ..Default::default() });
        service.service_status = status.then_some(ServiceStatus {
            running_tasks: 2,
            desired_tasks: 3,
            completed_tasks: 0,
        });
        Ok(vec![service].into())
    }
}

async fn call(
    fake: Arc<Fake>,
    method: &str,
    uri: &str,
    body: &str,
) -> (StatusCode, http::HeaderMap, String) {
    let request = Request::builder().method(method).uri(uri);
    let request = request.header("content-type", "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router(fake).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn statuses_and_wording() {
    let outside = || Arc::new(Fake { outside: true, ..Default::default() });
    for (fake, method, uri, body, status, part) in [
        (outside(), "GET", "/v1.50/swarm", "", 503, "This node is not a swarm manager. Use"),
        (Arc::default(), "GET", "/v1.23/nodes", "", 400, "client version 1.23 is too old"),
        (Arc::default(), "GET", "/v1.99/nodes", "", 400, "client version 1.99 is too new"),
        (Arc::default(), "GET", "/nodes", "", 200, "\"Hostname\":\"host1\""),
        (
            Arc::default(),
            "GET",
            "/v1.44/nodes?filters=%7B%22role%22%3A%5B%22worker%22%5D%7D",
            "",
            200,
            "[]",
        ),
        (Arc::default(), "GET", "/nodes?filters=nonsense", "", 400, "invalid filter"),
        (Arc::default(), "GET", "/nodes/nope", "", 404, "node nope not found"),
        (Arc::default(), "GET", "/nowhere", "", 404, "page not found"),
        (Arc::default(), "PUT", "/nodes", "", 404, "page not found"),
        (Arc::default(), "GET", "/tasks", "", 404, "page not found"),
        (Arc::default(), "POST", "/swarm/join", "{}", 503, "already part of a swarm"),
        (Arc::default(), "POST", "/swarm/init", "", 400, "invalid JSON"),
        (Arc::default(), "POST", "/swarm/init", "{\"Labels\":null,\"New\":1}", 200, "\"abcdef"),
        (
            Arc::default(),
            "POST",
            "/nodes/a/update?version=x",
            "{}",
            400,
            "invalid node version 'x'",
        ),
    ] {
        let (got, headers, text) = call(fake, method, uri, body).await;
        assert_eq!(got.as_u16(), status, "{method} {uri}: {text}");
        assert!(text.contains(part), "{method} {uri}: {text}");
        assert_eq!(headers["Api-Version"], "1.51");
        assert_eq!(headers["Ostype"], "linux");
    }
}

#[tokio::test]
async fn ping_answers_get_and_head() {
    let (status, headers, body) = call(Arc::default(), "GET", "/_ping", "").await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "OK"));
    assert_eq!(headers["Swarm"], "active/manager");
    let (status, _, body) = call(Arc::default(), "HEAD", "/v1.24/_ping", "").await;
    assert_eq!((status.as_u16(), body.as_str()), (200, ""));
}

#[tokio::test]
async fn an_oversized_body_is_refused() {
    let body = format!("{{\"ListenAddr\":\"{}\"}}", "x".repeat(5 << 20));
    let (status, _, text) = call(Arc::default(), "POST", "/swarm/init", &body).await;
    assert_eq!((status.as_u16(), text.as_str()), (413, "{\"message\":\"request body too large\"}"));
}

#[tokio::test]
async fn updates_carry_version_and_rotation() {
    let fake = Arc::new(Fake::default());
    call(fake.clone(), "POST", "/swarm/update?version=4&rotateWorkerToken=true", "{}").await;
    call(fake.clone(), "POST", "/swarm/leave?force=1", "").await;
    call(fake.clone(), "DELETE", "/nodes/x?force=0", "").await;
    let calls = fake.calls.lock().unwrap().join("\n");
    assert_eq!(
        calls,
        "update 4 RotateTokens { worker: true, manager: false, manager_unlock_key: false }\nleave true\nrm x false"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_and_docker_over_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let fake = Arc::new(Fake::default());
    let server = Server::bind(&path, None).await.unwrap();
    assert!(Server::bind(&path, None).await.is_err(), "a live socket must not be stolen");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(router(fake.clone()), async {
        let _ = stopped.await;
    }));
    let client = Client::connect(path.to_str().unwrap()).unwrap();
    client.ping().await.unwrap();
    assert_eq!(client.nodes(&Filters::default()).await.unwrap(), vec![node()]);
    client
        .node_update("a b", 9, &NodeSpec { availability: "drain".into(), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(fake.calls.lock().unwrap().as_slice(), ["node a b 9 drain"]);
    let error = client.node("nope").await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "Error response from daemon: node nope not found");

    let host = format!("unix://{}", path.display());
    let docker = |args: &'static [&str]| {
        tokio::process::Command::new("docker").env("DOCKER_HOST", &host).args(args).output()
    };
    match docker(&["node", "ls"]).await {
        Err(error) => eprintln!("SKIP: the docker command line is not installed: {error}"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(text.contains("abcdefghijklmnopqrstuvwxy *   host1"), "{text}");
            let output = docker(&["service", "ls"]).await.unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(text.contains("2/3") && text.contains("nginx:1"), "{text}");
        }
    }

    stop.send(()).unwrap();
    serving.await.unwrap();
    assert!(!path.exists());
    let error = client.ping().await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("Cannot connect to the skep daemon at {host}. Is the skep daemon running?")
    );
}
