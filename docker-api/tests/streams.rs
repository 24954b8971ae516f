//! What flows: logs, images in and out, events; through the client, the bare router, and the docker command line.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use common::stage::Stage;
use common::*;
use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use skep_docker_api::json::*;
use skep_docker_api::logs::service_attributes;
use skep_docker_api::*;
use skep_types::Timestamp;
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;

type Answer<T> = Result<T, ApiError>;

/// Far more than any exchange here takes, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Says when what holds it is dropped.
struct Left(Arc<tokio::sync::Notify>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// An engine of one container, one volume and one image, that notes what it is asked.
#[derive(Default)]
struct Engine {
    tty: bool,
    notes: Mutex<Vec<String>>,
    /// Told when a stream that goes on for ever is let go.
    left: Arc<tokio::sync::Notify>,
}

impl Engine {
    fn note(&self, text: impl Into<String>) {
        self.notes.lock().unwrap().push(text.into());
    }
    fn noted(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap())
    }

    fn logs(&self, id: &str, options: &LogOptions, attributes: Map) -> Answer<Logs> {
        if id == "nope" {
            return Err(ApiError::not_found("No such container: nope"));
        }
        self.note(format!("{id} {:?} {:?}", options.tail, options.since));
        let entry = |source, text: &'static [u8]| LogEntry {
            source,
            at: Timestamp(1_700_000_000_000_000_000),
            attributes: attributes.clone(),
            text: Bytes::from_static(text),
        };
        let mut entries =
            vec![Ok(entry(LogSource::Stdout, b"one\n")), Ok(entry(LogSource::Stderr, b"two\n"))];
        if id == "broken" {
            entries.push(Err(ApiError::system("node left")));
            entries.push(Ok(entry(LogSource::Stdout, b"never\n")));
        }
        let entries = stream::iter(entries);
        // Following goes on until the client leaves.
        let entries = if options.follow {
            let left = Left(self.left.clone());
            let ever = stream::once(async move {
                let _held = left;
                std::future::pending().await
            });
            entries.chain(ever).boxed()
        } else {
            entries.boxed()
        };
        Ok(Logs { tty: self.tty, entries })
    }
}

/// Reads a body to its end and says how much it was, a line when it begins and one when it ends.
fn counted(tar: ByteStream) -> Flow<Progress> {
    stream::unfold(Some((tar, 0u64)), |state| async {
        let (mut tar, mut count) = state?;
        while let Some(chunk) = tar.next().await {
            match chunk {
                Ok(bytes) if count == 0 => {
                    count = bytes.len() as u64;
                    return Some((Ok(Progress::status("begun")), Some((tar, count))));
                }
                Ok(bytes) => count += bytes.len() as u64,
                Err(error) => return Some((Err(error), None)),
            }
        }
        Some((Ok(Progress::status(format!("read {count}"))), None))
    })
    .boxed()
}

#[async_trait]
impl Backend for Engine {
    async fn version(&self) -> Answer<Version> {
        Ok(Version { version: "0.1.0".into(), api_version: "1.51".into(), ..Default::default() })
    }
    async fn info(&self) -> Answer<Info> {
        Ok(Info::default())
    }
    async fn swarm_status(&self) -> String {
        "active/manager".into()
    }
    async fn node(&self, _: &str) -> Answer<Node> {
        Ok(convert::node_to_api(&node(), &TlsInfo::default(), None))
    }
    async fn service(&self, _: &str, _: bool) -> Answer<Service> {
        let mut service = convert::service_to_api(&service(), None);
        if let Some(container) = &mut service.spec.task_template.container_spec {
            container.tty = false;
        }
        Ok(service)
    }
    async fn task(&self, _: &str) -> Answer<Task> {
        Ok(convert::task_to_api(&task(2), &rich_spec().task, &|_| None))
    }
    async fn service_create(
        &self,
        _: ServiceSpec,
        auth: Option<RegistryAuth>,
    ) -> Answer<ServiceCreateResponse> {
        // As much as a test may see of it.
        let warnings = auth.map(|auth| format!("{} logs in", auth.username)).into_iter().collect();
        Ok(ServiceCreateResponse { id: SERVICE.to_string(), warnings })
    }

    async fn container_logs(&self, id: &str, options: LogOptions) -> Answer<Logs> {
        self.logs(id, &options, Map::new())
    }
    async fn service_logs(&self, id: &str, options: LogOptions) -> Answer<Logs> {
        self.logs(id, &options, service_attributes(NODE, SERVICE, task(2).id))
    }
    async fn task_logs(&self, id: &str, options: LogOptions) -> Answer<Logs> {
        self.logs(id, &options, service_attributes(NODE, SERVICE, task(2).id))
    }

    async fn images(&self, _: Filters) -> Answer<Vec<ImageSummary>> {
        Ok(vec![ImageSummary {
            id: format!("sha256:{:064x}", 7),
            repo_tags: vec!["nginx:1".into()],
            size: 1_000_000,
            containers: -1,
            ..Default::default()
        }])
    }
    async fn image(&self, name: &str) -> Answer<ImageInspect> {
        if name != "registry:5000/team/nginx:1" {
            return Err(ApiError::not_found(format!("No such image: {name}")));
        }
        Ok(ImageInspect { id: "sha256:07".into(), os: "linux".into(), ..Default::default() })
    }
    async fn image_pull(&self, request: PullRequest) -> Answer<Flow<Progress>> {
        let user = request.auth.as_ref().map(|auth| auth.username.clone());
        self.note(format!("pull {} all={} {user:?}", request.reference, request.all_tags()));
        if request.reference.contains("missing") {
            let lines =
                [Ok(Progress::status("Pulling")), Err(ApiError::not_found("no such manifest"))];
            return Ok(stream::iter(lines).boxed());
        }
        let lines = [
            Progress::part("latest", "Pulling from library/nginx"),
            Progress::bytes("0123456789ab", "Downloading", 10, 20),
            Progress::part("0123456789ab", "Pull complete"),
            Progress::status("Status: Downloaded newer image for nginx:latest"),
        ];
        Ok(stream::iter(lines.map(Ok)).boxed())
    }
    async fn image_import(
        &self,
        request: ImportRequest,
        tar: ByteStream,
    ) -> Answer<Flow<Progress>> {
        self.note(format!("import {} {:?}", request.reference, request.changes));
        Ok(counted(tar))
    }
    async fn image_load(&self, quiet: bool, tar: ByteStream) -> Answer<Flow<Progress>> {
        self.note(format!("load quiet={quiet}"));
        Ok(counted(tar))
    }
    async fn image_save(&self, names: Vec<String>) -> Answer<ByteStream> {
        self.note(format!("save {}", names.join(" ")));
        let chunks = [b"tar-", b"ball"].map(|part| Ok(Bytes::from_static(part)));
        Ok(stream::iter(chunks).boxed())
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
        self.note(format!("remove {name} {options:?}"));
        Ok(vec![ImageDeleteItem { untagged: name.into(), ..Default::default() }])
    }
    async fn distribution(
        &self,
        name: &str,
        auth: Option<RegistryAuth>,
    ) -> Answer<DistributionInspect> {
        self.note(format!("distribution {name} {}", auth.is_some()));
        let descriptor = Descriptor { digest: "sha256:07".into(), size: 7, ..Default::default() };
        Ok(DistributionInspect { descriptor, platforms: vec![] })
    }

    async fn containers(&self, options: ContainerListOptions) -> Answer<Vec<ContainerSummary>> {
        self.note(format!("containers all={} limit={}", options.all, options.limit));
        let port = PortSummary {
            ip: "0.0.0.0".into(),
            private_port: 80,
            public_port: 8080,
            kind: "tcp".into(),
        };
        Ok(vec![ContainerSummary {
            id: "c0ffee".repeat(10),
            names: vec!["/web.1".into()],
            image: "nginx:1".into(),
            command: "nginx".into(),
            created: 1_700_000_000,
            ports: vec![port],
            state: "running".into(),
            status: "Up 3 minutes".into(),
            ..Default::default()
        }])
    }
    async fn container(&self, id: &str, _: bool) -> Answer<ContainerInspect> {
        if id == "nope" {
            return Err(ApiError::not_found("No such container: nope"));
        }
        let mut container = ContainerInspect { id: "c0ffee".into(), ..Default::default() };
        container.state.status = "running".into();
        container.config.tty = self.tty;
        Ok(container)
    }

    async fn volumes(&self, _: Filters) -> Answer<VolumeList> {
        Ok(VolumeList { volumes: vec![self.volume("data").await?], warnings: None })
    }
    async fn volume(&self, name: &str) -> Answer<Volume> {
        Ok(Volume {
            name: name.into(),
            driver: "local".into(),
            scope: "local".into(),
            ..Default::default()
        })
    }
    async fn volume_create(&self, request: VolumeCreateRequest) -> Answer<Volume> {
        self.note(format!("volume {} {:?}", request.name, request.labels));
        self.volume(&request.name).await
    }
    async fn volume_remove(&self, name: &str, force: bool) -> Answer<()> {
        self.note(format!("volume rm {name} {force}"));
        Ok(())
    }

    async fn events(&self, options: EventOptions) -> Answer<Flow<Event>> {
        self.note(format!("events {:?}", options.filters.0));
        let attributes = map(&[("image", "nginx:1"), ("name", "web.1")]);
        let actor = EventActor { id: "c0ffee".into(), attributes };
        let at = Timestamp(1_700_000_000_000_000_000);
        let event = Event::new("container", "start", actor, "local", at);
        Ok(stream::iter([Ok(event)]).chain(stream::pending()).boxed())
    }
}

async fn call(engine: Arc<Engine>, method: &str, uri: &str) -> (u16, String, Vec<u8>) {
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    let response = router(engine).oneshot(request).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let body = tokio::time::timeout(DEADLINE, response.into_body().collect()).await.unwrap();
    (status, kind, body.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn logs_on_the_wire() {
    let engine = Arc::new(Engine::default());
    let framed = b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x04two\n";
    let multiplexed = "application/vnd.docker.multiplexed-stream";
    let raw = "application/vnd.docker.raw-stream";
    for (uri, kind) in [
        ("/containers/c/logs?stdout=1&stderr=1&tail=all", multiplexed),
        ("/v1.42/services/c/logs?stdout=1&stderr=1", multiplexed),
        ("/v1.41/tasks/c/logs?stdout=1&stderr=1", raw),
    ] {
        let (status, got, body) = call(engine.clone(), "GET", uri).await;
        assert_eq!((status, got.as_str(), &body[..]), (200, kind, &framed[..]), "{uri}");
    }
    let (_, _, body) = call(engine.clone(), "GET", "/containers/c/logs?stderr=true").await;
    assert_eq!(body, b"\x02\0\0\0\0\0\0\x04two\n");
    let (_, _, body) = call(engine.clone(), "GET", "/containers/broken/logs?stdout=1").await;
    let text = String::from_utf8(body).unwrap();
    assert!(text.ends_with("\x03\0\0\0\0\0\0\x1fError grabbing logs: node left\n"), "{text:?}");
    assert!(!text.contains("never"));
    let terminal = Arc::new(Engine { tty: true, ..Default::default() });
    let (_, kind, body) = call(terminal, "GET", "/containers/c/logs?stdout=1&stderr=1").await;
    assert_eq!((kind.as_str(), &body[..]), (raw, &b"one\ntwo\n"[..]));
    for (uri, status, message) in [
        ("/containers/c/logs", 400, "must specify at least one of 'stdout' or 'stderr'"),
        ("/containers/c/logs?stdout=1&tail=-3", 400, "negative tail values not supported"),
        ("/containers/c/logs?stdout=1&since=x", 400, "invalid value for \\\"since\\\": \\\"x\\\""),
        ("/containers/nope/logs?stdout=1", 404, "No such container: nope"),
    ] {
        let (got, _, body) = call(engine.clone(), "GET", uri).await;
        let text = String::from_utf8(body).unwrap();
        assert!(got == status && text.contains(message), "{uri}: {got} {text}");
    }
}

#[tokio::test]
async fn names_of_images_hold_slashes() {
    let engine = Arc::new(Engine::default());
    let id = "registry:5000/team/nginx:1";
    let (status, _, _) = call(engine.clone(), "GET", &format!("/images/{id}/json")).await;
    assert_eq!(status, 200);
    let escaped = id.replace('/', "%2F");
    let (status, _, _) =
        call(engine.clone(), "GET", &format!("/v1.44/images/{escaped}/json")).await;
    assert_eq!(status, 200);
    let (status, _, body) = call(engine.clone(), "GET", "/images/nope/json").await;
    assert_eq!((status, &body[..]), (404, &b"{\"message\":\"No such image: nope\"}"[..]));
    call(engine.clone(), "DELETE", &format!("/images/{id}?force=1&noprune=1")).await;
    call(engine.clone(), "GET", &format!("/images/{id}/get")).await;
    call(engine.clone(), "GET", "/images/get?names=a/b:1&names=c").await;
    call(engine.clone(), "GET", "/distribution/a/b/c:2/json").await;
    assert_eq!(
        engine.noted(),
        [
            "remove registry:5000/team/nginx:1 ImageRemoveOptions { force: true, no_prune: true }",
            "save registry:5000/team/nginx:1",
            "save a/b:1 c",
            "distribution a/b/c:2 false",
        ]
    );
    for (method, uri, status) in [
        ("GET", "/images/a/b/nothing", 404),
        ("POST", "/images/a/tag", 400),
        ("GET", "/images/a/history?platform=linux", 501),
        ("GET", "/images/get?names=a&platform=linux", 501),
        ("POST", "/images/load?platform=linux", 501),
        ("DELETE", "/images/a?platforms=linux", 501),
        ("POST", "/images/create", 400),
        ("POST", "/images/create?fromSrc=http://x/y.tar", 400),
        ("GET", "/system/df", 404),
        ("GET", "/events?since=5&until=4", 400),
        ("GET", "/containers/json?limit=x", 400),
    ] {
        let (got, _, body) = call(engine.clone(), method, uri).await;
        assert_eq!(got, status, "{method} {uri}: {}", String::from_utf8_lossy(&body));
    }
}

#[tokio::test]
async fn a_login_comes_with_a_service() {
    let auth = RegistryAuth { username: "me".into(), ..Default::default() };
    let request = Request::post("/services/create")
        .header("X-Registry-Auth", auth.to_header())
        .header("Content-Type", "application/json")
        .body(Body::from("{}"))
        .unwrap();
    let response = router(Arc::new(Engine::default())).oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 201);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains("me logs in"));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_upload_is_given_up() {
    let tar = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"x"))]);
    let body = Body::from_stream(tar.chain(stream::pending()));
    let request = Request::post("/images/load").body(body).unwrap();
    let response = router(Arc::new(Engine::default())).oneshot(request).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.contains("\"error\":\"request body stalled for 300s\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_streams() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let engine = Arc::new(Engine::default());
    let server = Server::bind(&path, None).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(router(engine.clone()), async {
        let _ = stopped.await;
    }));
    let client = Client::connect(path.to_str().unwrap()).unwrap();

    // The daemon speaks before the client has said all: nothing waits for a whole body.
    let (mut pen, paper) = tokio::io::duplex(64 * 1024);
    pen.write_all(b"begin").await.unwrap();
    let mut lines = client.image_load(false, paper).await.unwrap();
    let line = tokio::time::timeout(DEADLINE, lines.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(line, Progress::status("begun"));
    // Sixteen times what a document may have.
    let rest = vec![7u8; 1 << 20];
    for _ in 0..64 {
        pen.write_all(&rest).await.unwrap();
    }
    drop(pen);
    let line = tokio::time::timeout(DEADLINE, lines.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(line, Progress::status(format!("read {}", 5 + (64 << 20))));
    assert!(lines.next().await.is_none());

    let request = ImportRequest {
        reference: "a/b:1".into(),
        changes: vec!["CMD [\"sh\"]".into(), "ENV A=b".into()],
        ..Default::default()
    };
    let lines: Vec<_> =
        client.image_import(&request, &b"tar"[..]).await.unwrap().try_collect().await.unwrap();
    assert_eq!(lines.last().unwrap().status, "read 3");
    let auth = RegistryAuth { username: "me".into(), ..Default::default() };
    let mut pull =
        PullRequest { reference: "nginx:1".into(), auth: Some(auth), ..Default::default() };
    let lines: Vec<_> = client.image_pull(&pull).await.unwrap().try_collect().await.unwrap();
    assert_eq!(lines[1].detail, Some(ProgressDetail { current: 10, total: 20 }));
    pull.reference = "missing".into();
    let error = client.image_pull(&pull).await.unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.to_string(), "no such manifest");
    let saved: Vec<Bytes> =
        client.image_save(&["a:1", "b"]).await.unwrap().try_collect().await.unwrap();
    assert_eq!(saved.concat(), b"tar-ball");
    let found = client.distribution("a/b", Some(&RegistryAuth::default())).await.unwrap();
    assert_eq!(found.descriptor.digest, "sha256:07");
    let tag = TagRequest { repo: "x/y".into(), tag: "2".into() };
    client.image_tag("a/b:1", &tag).await.unwrap();
    client.image_remove("x/y:2", ImageRemoveOptions::default()).await.unwrap();
    assert_eq!(client.image("registry:5000/team/nginx:1").await.unwrap().os, "linux");
    assert_eq!(
        engine.noted(),
        [
            "load quiet=false",
            "import a/b:1 [\"CMD [\\\"sh\\\"]\", \"ENV A=b\"]",
            "pull nginx:1 all=false Some(\"me\")",
            "pull missing all=true Some(\"me\")",
            "save a:1 b",
            "distribution a/b false",
            "tag a/b:1 x/y 2",
            "remove x/y:2 ImageRemoveOptions { force: false, no_prune: false }",
        ]
    );

    // Following lasts until the client leaves.
    let options = LogOptions {
        follow: true,
        tail: Some(3),
        since: Some(Timestamp(1_500_000_000)),
        timestamps: true,
        ..Default::default()
    };
    let mut frames = client.service_logs("web", &options).await.unwrap();
    for (source, text) in [(LogSource::Stdout, "one\n"), (LogSource::Stderr, "two\n")] {
        let frame = tokio::time::timeout(DEADLINE, frames.next()).await.unwrap().unwrap().unwrap();
        let text = format!("2023-11-14T22:13:20.000000000Z {text}");
        assert_eq!(frame, LogFrame { source, text: text.into() });
    }
    drop(frames);
    let left = tokio::time::timeout(DEADLINE, engine.left.notified()).await;
    left.expect("the daemon lets go of what nobody reads");
    assert_eq!(engine.noted(), ["web Some(3) Some(Timestamp(1500000000))"]);
    let broken = client.container_logs("broken", &LogOptions::default()).await.unwrap();
    let error = broken.try_collect::<Vec<_>>().await.unwrap_err().to_string();
    assert_eq!(error, "error from daemon in stream: Error grabbing logs: node left");
    // Before 1.42 the logs do not tell whether they are in frames.
    for version in ["1.41", "1.42"] {
        let spoken = client.clone().with_api_version(version);
        let frames = spoken.container_logs("c", &LogOptions::default()).await.unwrap();
        let frames = frames.try_collect::<Vec<_>>().await.unwrap();
        let frame = |source, text: &'static str| LogFrame { source, text: text.into() };
        let wanted = [frame(LogSource::Stdout, "one\n"), frame(LogSource::Stderr, "two\n")];
        assert_eq!(frames, wanted, "{version}");
    }

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = Timestamp(i64::try_from((now + Duration::from_millis(300)).as_nanos()).unwrap());
    let options = EventOptions { until: Some(until), ..Default::default() };
    let events = client.events(&options).await.unwrap().try_collect::<Vec<_>>();
    let events = tokio::time::timeout(DEADLINE, events).await.unwrap().unwrap();
    assert_eq!((events.len(), events[0].from.as_str()), (1, "nginx:1"));

    assert_eq!(client.containers(&ContainerListOptions::default()).await.unwrap().len(), 1);
    assert!(client.container("nope", false).await.unwrap_err().is_not_found());
    assert_eq!(client.volumes(&Filters::default()).await.unwrap().volumes[0].name, "data");
    let request = VolumeCreateRequest { name: "v".into(), ..Default::default() };
    assert_eq!(client.volume_create(&request).await.unwrap().name, "v");
    assert_eq!(client.volume("v").await.unwrap().driver, "local");
    client.volume_remove("v", true).await.unwrap();
    assert!(engine.noted().contains(&"volume rm v true".to_owned()));

    stop.send(()).unwrap();
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_streams() {
    let Some(stage) = Stage::set(Engine::default()).await else { return };
    let file = stage.dir.path().join("image.tar");
    std::fs::write(&file, vec![1u8; 6 << 20]).unwrap();
    let file = file.display().to_string();
    for (line, parts, note) in [
        ("pull nginx".to_owned(), vec!["Pull complete", "Downloaded newer image"], "pull "),
        (format!("load -i {file}"), vec!["read 6291456"], "load"),
        (
            format!("import -c CMD=sh {file} a/b:1"),
            vec!["read 6291456"],
            "import a/b:1 [\"CMD=sh\"]",
        ),
        (format!("save -o {file}.out a/b:1 c"), vec![], "save a/b:1 c"),
        ("tag a/b:1 x:2".to_owned(), vec![], "tag a/b:1 docker.io/library/x 2"),
        ("rmi x:2".to_owned(), vec!["Untagged: x:2"], "remove x:2"),
        ("images".to_owned(), vec!["nginx", "1MB"], ""),
        ("image inspect registry:5000/team/nginx:1".to_owned(), vec!["\"Os\": \"linux\""], ""),
        (
            "ps".to_owned(),
            vec!["web.1", "0.0.0.0:8080->80/tcp", "Up 3 minutes"],
            "containers all=false",
        ),
        ("ps -a -n 5".to_owned(), vec!["c0ffeec0ffee"], "containers all=true limit=5"),
        ("inspect --type container c0ffee".to_owned(), vec!["\"Status\": \"running\""], ""),
        ("logs --tail 7 c0ffee".to_owned(), vec!["one"], "c0ffee Some(7)"),
        ("service logs --raw shop_web".to_owned(), vec!["one"], "shop_web None"),
        (
            "service logs shop_web".to_owned(),
            vec!["shop_web.2.", "@host1    | one"],
            "shop_web None",
        ),
        (
            "service logs -t shop_web".to_owned(),
            vec!["2023-11-14T22:13:20.000000000Z shop_web.2"],
            "",
        ),
        ("volume ls".to_owned(), vec!["local", "data"], ""),
        ("volume create --label a=b v".to_owned(), vec!["v"], "volume v {\"a\": \"b\"}"),
        ("volume inspect v".to_owned(), vec!["\"Name\": \"v\""], ""),
        ("volume rm v".to_owned(), vec!["v"], "volume rm v false"),
        (
            // Relative moments count backwards: this is a second from now.
            "events --until -1s --filter type=container".to_owned(),
            vec!["container start c0ffee (image=nginx:1, name=web.1)"],
            "events {\"type\": {\"container\"}}",
        ),
    ] {
        let text = stage.run(&line).await;
        for part in parts {
            assert!(text.contains(part), "docker {line}: expected {part:?} in\n{text}");
        }
        let notes = stage.backend.noted();
        assert!(
            notes.iter().any(|it| it.starts_with(note)) || note.is_empty(),
            "{line}: {notes:?}"
        );
    }
    assert_eq!(std::fs::read(format!("{file}.out")).unwrap(), b"tar-ball");
    let refused = stage.fail("pull missing").await;
    assert!(refused.contains("no such manifest"), "{refused}");
    let refused = stage.fail("logs nope").await;
    assert!(refused.contains("No such container: nope"), "{refused}");
    let refused = stage.fail("import http://x/y.tar a:1").await;
    assert!(refused.contains("importing from a URL is not supported"), "{refused}");
    stage.clear().await;
}
