//! What Docker asks of containers, without their streams: statuses, queries, bodies; then the client and the docker command line.

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use common::host::Host;
use common::stage::Stage;
use futures::{StreamExt, TryStreamExt};
use http::Request;
use http_body_util::BodyExt;
use skep_docker_api::json::*;
use skep_docker_api::{Client, Filters, router};
use tower::ServiceExt;

/// Far more than any exchange here takes, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

async fn call(
    host: &Arc<Host>,
    method: &str,
    uri: &str,
    body: impl Into<Body>,
) -> (u16, http::HeaderMap, String) {
    let request = Request::builder().method(method).uri(uri);
    let request = request.header("content-type", "application/json").body(body.into()).unwrap();
    let (parts, body) = router(host.clone()).oneshot(request).await.unwrap().into_parts();
    let body = tokio::time::timeout(DEADLINE, body.collect()).await.unwrap().unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn statuses() {
    let host = Arc::new(Host::default());
    for (asked, body, status, part) in [
        (
            "POST /containers/create?name=web",
            r#"{"Image":"a"}"#,
            201,
            r#"{"Id":"web","Warnings":[]}"#,
        ),
        ("POST /containers/create", r#"{"Image":null,"HostConfig":null}"#, 201, "\"made\""),
        ("POST /containers/create", "", 400, "got EOF while reading request body"),
        ("POST /containers/create", "{", 400, "invalid JSON"),
        ("POST /containers/create", "[1]", 400, "invalid JSON"),
        ("POST /containers/create", r#"{"Image":7}"#, 400, "invalid JSON: expected a string"),
        ("POST /containers/create", r#"{"Image":"a"} x"#, 400, "invalid JSON: trailing"),
        ("POST /containers/create", r#"{"HostConfig":{"Memory":"much"}}"#, 400, "invalid JSON"),
        ("POST /containers/c/start", "", 204, ""),
        ("POST /containers/c/start", "{}", 204, ""),
        ("POST /containers/on/start", "", 304, ""),
        ("POST /containers/c/start", r#"{"Binds":[]}"#, 400, "non-empty request body"),
        ("POST /containers/c/start?checkpoint=x", "", 400, "experimental mode"),
        ("POST /containers/nope/start", "", 404, "No such container: nope"),
        ("POST /containers/paused/start", "", 409, "is paused"),
        ("POST /v1.24/containers/c/stop", "", 204, ""),
        ("POST /containers/off/stop", "", 304, ""),
        ("POST /containers/c/stop?t=soon", "", 400, "invalid timeout"),
        ("POST /containers/c/restart?t=-1", "", 204, ""),
        ("POST /containers/c/kill?signal=HUP", "", 204, ""),
        ("POST /containers/nope/kill", "", 404, "cannot kill container: nope: No such container"),
        ("POST /containers/c/pause", "", 204, ""),
        ("POST /containers/paused/pause", "", 409, "is paused"),
        ("POST /containers/c/unpause", "", 204, ""),
        ("POST /containers/c/wait", "", 200, r#"{"StatusCode":7}"#),
        ("POST /containers/c/wait?condition=removed", "", 200, r#"{"StatusCode":7}"#),
        ("POST /containers/c/wait?condition=never", "", 400, "invalid condition: \\\"never\\\""),
        ("POST /v1.24/containers/c/wait", "", 200, r#"{"StatusCode":7}"#),
        ("POST /v1.29/containers/c/wait?condition=never", "", 200, r#"{"StatusCode":7}"#),
        ("POST /containers/nope/wait", "", 404, "No such container"),
        ("POST /containers/c/rename?name=d", "", 204, ""),
        (
            "POST /containers/c/update",
            r#"{"Memory":5,"PidsLimit":-1}"#,
            200,
            r#"{"Warnings":null}"#,
        ),
        ("POST /containers/c/update", "", 400, "invalid JSON"),
        ("POST /containers/c/resize?h=24&w=80", "", 200, ""),
        ("POST /containers/c/resize?h=24", "", 400, "invalid resize width"),
        ("POST /containers/c/resize?h=99999&w=1", "", 400, "invalid resize height"),
        ("POST /containers/c/attach?stdout=1", "", 500, "cannot be taken"),
        ("GET /containers/c/attach/ws", "", 400, "not websocket protocol"),
        ("DELETE /containers/c?force=1&v=1", "", 204, ""),
        ("DELETE /containers/prune", "", 204, ""),
        ("DELETE /containers/nope", "", 404, "No such container"),
        (
            "POST /containers/prune",
            "",
            200,
            r#"{"ContainersDeleted":["c0ffee"],"SpaceReclaimed":12}"#,
        ),
        ("POST /containers/prune?filters=x", "", 400, "invalid filter"),
        (
            "GET /containers/c/top",
            "",
            200,
            r#"{"Titles":["PID","CMD"],"Processes":[["1","sleep"]]}"#,
        ),
        ("GET /containers/c/stats?stream=false", "", 200, "\"usage\":3145728"),
        ("GET /containers/c/changes", "", 200, r#"[{"Path":"/new","Kind":1}]"#),
        ("GET /containers/clean/changes", "", 200, "null"),
        ("GET /containers/c/export", "", 200, "tar-ball"),
        ("GET /containers//c/json", "", 200, "\"Id\":\"c\""),
        ("GET /v1.44/containers//c/json?size=1", "", 200, "\"Id\":\"c\""),
        ("GET /containers/c/archive", "", 400, "bad parameter: path cannot be empty"),
        ("GET /containers/c/archive?path=/gone", "", 404, "Could not find the file"),
        ("PUT /containers/c/archive?path=/tmp&noOverwriteDirNonDir=1", "tar", 200, ""),
        (
            "POST /commit?container=c&repo=a&tag=b&changes=CMD+x&pause=0",
            "null",
            201,
            r#"{"Id":"sha256:07"}"#,
        ),
        ("POST /commit?container=nope", "{}", 404, "No such container"),
        (
            "POST /containers/c/exec",
            r#"{"Cmd":["sh"],"ConsoleSize":[3,4]}"#,
            201,
            r#"{"Id":"sh-exec"}"#,
        ),
        ("POST /v1.41/containers/c/exec", r#"{"Cmd":["sh"],"ConsoleSize":[3,4]}"#, 201, "sh-exec"),
        ("POST /containers/c/exec", "{}", 400, "No exec command specified"),
        (
            "POST /containers/c/exec",
            r#"{"Cmd":["sh"],"DetachKeys":"x,"}"#,
            400,
            "Invalid escape keys (x,) provided",
        ),
        ("POST /exec/e/start", r#"{"Detach":true}"#, 200, ""),
        ("POST /exec/e/start", "", 500, "cannot be taken"),
        ("GET /exec/e/json", "", 200, "\"ExitCode\":3"),
        ("POST /exec/e/resize?h=1&w=2", "", 200, ""),
        (
            "POST /networks/n/connect",
            r#"{"Container":"c","EndpointConfig":{"Aliases":["a"]}}"#,
            200,
            "",
        ),
        ("POST /networks/n/disconnect", r#"{"Container":"c","Force":true}"#, 200, ""),
        ("POST /networks/prune", "", 200, r#"{"NetworksDeleted":["old"]}"#),
        ("POST /volumes/prune", "", 200, "\"SpaceReclaimed\":5"),
        ("POST /images/prune", "", 200, r#"{"ImagesDeleted":null,"SpaceReclaimed":0}"#),
        ("GET /images/a/b:1/history", "", 200, "RUN make a/b:1"),
        ("POST /images/a/b/push?tag=1", "", 200, "sha256:07"),
        ("GET /images/search?term=x&limit=3", "", 200, "\"star_count\":9"),
        ("GET /images/search?term=x&limit=-3", "", 400, "invalid limit"),
        ("DELETE /images/search", "", 200, r#"[{"Untagged":"search"}]"#),
        (
            "GET /system/df?type=image&type=volume",
            "",
            200,
            r#"{"LayersSize":7,"Images":null,"Containers":null,"Volumes":[],"BuildCache":null}"#,
        ),
        ("GET /system/df?type=shoes", "", 400, "unknown object type: shoes"),
        (
            "POST /auth",
            r#"{"username":"me","password":"x","serveraddress":"r"}"#,
            200,
            "Login Succeeded",
        ),
    ] {
        let (method, uri) = asked.split_once(' ').unwrap();
        let (got, headers, text) = call(&host, method, uri, body).await;
        assert_eq!(got, status, "{asked} {body}: {text}");
        assert!(text.contains(part), "{asked} {body}: {text}");
        assert!(!part.is_empty() || text.is_empty(), "{asked}: {text}");
        assert_eq!(headers["Api-Version"], "1.51");
    }
    let notes = host.noted();
    for note in [
        "create Some(\"web\") \"\" a [0, 0] ipc=\"\" tty=false",
        "stop c \"\" None",
        "restart c \"\" Some(-1)",
        "kill c \"HUP\"",
        "wait c NotRunning",
        "wait c Removed",
        "rename c d",
        "update c 5 Some(0) ",
        "resize c 24x80",
        "rm c RemoveOptions { force: true, volumes: true, link: false }",
        "rm prune RemoveOptions { force: false, volumes: false, link: false }",
        "top c -ef",
        "stats c false false",
        "put c /tmp keep=true owners=false true",
        "commit c a b [\"CMD x\"] false false",
        "exec c [\"sh\"] Some([3, 4])",
        "exec c [\"sh\"] None",
        "connect n c Some([\"a\"])",
        "disconnect n c true",
        "push a/b:1 false",
        "search x 3",
        "df [\"image\", \"volume\"]",
        "auth me r",
    ] {
        assert!(notes.iter().any(|it| it == note), "{note:?} is not in {notes:#?}");
    }
}

#[tokio::test]
async fn too_large_and_too_old() {
    let host = Arc::new(Host::default());
    for uri in ["/containers/create", "/containers/c/exec", "/exec/e/start", "/commit?container=c"]
    {
        let body = format!("{{\"Image\":\"{}\"}}", "x".repeat(5 << 20));
        let (status, _, text) = call(&host, "POST", uri, body).await;
        assert_eq!(
            (status, text.as_str()),
            (413, r#"{"message":"request body too large"}"#),
            "{uri}"
        );
    }
    // An archive is no document, and may be of any size.
    let body = vec![0u8; 5 << 20];
    let (status, _, _) = call(&host, "PUT", "/containers/c/archive?path=/tmp", body).await;
    assert_eq!(status, 200);
    host.noted();
    let body = r#"{"Image":"a","HostConfig":{"ConsoleSize":[5,6]}}"#;
    for version in ["1.24", "1.41", "1.42"] {
        call(&host, "POST", &format!("/v{version}/containers/create?platform=linux"), body).await;
        let stop = format!("/v{version}/containers/c/stop?signal=HUP&t=3");
        call(&host, "POST", &stop, "").await;
    }
    assert_eq!(
        host.noted(),
        [
            "create None \"\" a [0, 0] ipc=\"shareable\" tty=false",
            "stop c \"\" Some(3)",
            "create None \"linux\" a [0, 0] ipc=\"\" tty=false",
            "stop c \"\" Some(3)",
            "create None \"linux\" a [5, 6] ipc=\"\" tty=false",
            "stop c \"HUP\" Some(3)",
        ]
    );
}

#[tokio::test]
async fn what_stands_at_a_path() {
    let host = Arc::new(Host::default());
    let stat = |headers: &http::HeaderMap| {
        let header = headers["X-Docker-Container-Path-Stat"].to_str().unwrap();
        PathStat::from_header(header).unwrap()
    };
    let (status, headers, body) = call(&host, "HEAD", "/containers/c/archive?path=/tmp", "").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(stat(&headers).is_dir());
    let (status, headers, body) = call(&host, "GET", "/containers/c/archive?path=/x", "").await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/x-tar"));
    assert_eq!(stat(&headers).size, 5);
    assert!(body.starts_with("x\0"));
    let (status, _, body) = call(&host, "HEAD", "/containers/c/archive?path=/gone", "").await;
    assert_eq!((status, body.as_str()), (404, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_and_the_server() {
    let Some(stage) = Stage::set(Host::default()).await else { return };
    let client = Client::connect(stage.dir.path().join("api.sock").to_str().unwrap()).unwrap();
    let request = ContainerCreateRequest {
        config: ContainerConfig { image: "a".into(), ..Default::default() },
        ..Default::default()
    };
    let made = client.container_create(Some("web"), "", &request).await.unwrap();
    assert_eq!(made.id, "web");
    assert!(client.container_start("c").await.unwrap());
    assert!(!client.container_start("on").await.unwrap());
    assert!(!client.container_stop("off", &StopOptions::default()).await.unwrap());

    // The head is there before the end is.
    for (id, expected) in [
        ("long", ContainerWaitResponse { status_code: 7, error: None }),
        (
            "long-broken",
            ContainerWaitResponse {
                status_code: -1,
                error: Some(WaitError { message: "the shim left".into() }),
            },
        ),
    ] {
        let waiting = client.container_wait(id, WaitCondition::NextExit);
        let mut ended = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap();
        assert!(futures::poll!(&mut ended).is_pending());
        stage.backend.end.notify_one();
        let ended = tokio::time::timeout(DEADLINE, ended).await.unwrap().unwrap();
        assert_eq!(ended, expected);
    }

    // What is begun is carried out, whether or not somebody waits for it.
    let noted = async |note: &str| {
        let found = async {
            while !stage.backend.noted().iter().any(|it| it.starts_with(note)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("noted in time");
    };
    let impatient = client.clone();
    let stopping = tokio::spawn(async move {
        impatient.container_stop("long", &StopOptions::default()).await.map(drop)
    });
    noted("stop long").await;
    stopping.abort();
    assert!(stopping.await.unwrap_err().is_cancelled());
    for _ in 0..20 {
        client.ping().await.unwrap();
    }
    stage.backend.end.notify_one();
    noted("stopped").await;

    let mut stats = client.container_stats("c", true, false).await.unwrap();
    let first = tokio::time::timeout(DEADLINE, stats.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.pids_stats.current, 5);
    let once: Vec<_> =
        client.container_stats("c", false, true).await.unwrap().try_collect().await.unwrap();
    assert_eq!(once.len(), 1);
    assert_eq!(client.container_changes("clean").await.unwrap(), vec![]);
    assert!(client.container_archive_stat("c", "/tmp").await.unwrap().is_dir());
    assert!(client.container_archive_stat("c", "/gone").await.unwrap_err().is_not_found());
    let (stat, tar) = client.container_archive_get("c", "/x").await.unwrap();
    assert_eq!(stat.size, 5);
    assert_eq!(tar.try_collect::<Vec<_>>().await.unwrap().concat().len(), 2048);
    let options = ArchivePutOptions { copy_uid_gid: true, ..Default::default() };
    client.container_archive_put("c", "/tmp", &options, &b"tar"[..]).await.unwrap();
    let options = CommitOptions { container: "c".into(), pause: true, ..Default::default() };
    assert_eq!(client.container_commit(&options).await.unwrap().id, "sha256:07");
    let pruned = client.containers_prune(&Filters::default()).await.unwrap();
    assert_eq!(pruned.space_reclaimed, 12);
    assert_eq!(client.disk_usage().await.unwrap().layers_size, 7);
    let push = PushRequest { reference: "r:5000/a:1".into(), ..Default::default() };
    let lines: Vec<_> = client.image_push(&push).await.unwrap().try_collect().await.unwrap();
    assert_eq!(lines.len(), 1);
    let found = client.image_search("x", 0, &Filters::default(), None).await.unwrap();
    assert_eq!(found[0].name, "x");
    let notes = stage.backend.noted();
    for note in ["stats c false true", "push r:5000/a:1 false"] {
        assert!(notes.iter().any(|it| it == note), "{note:?} is not in {notes:#?}");
    }
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_asks() {
    let Some(stage) = Stage::set(Host::default()).await else { return };
    let dir = stage.dir.path().display().to_string();
    std::fs::write(format!("{dir}/mine"), "text").unwrap();
    for (line, part, note) in [
        ("create --name web --pull never a".to_owned(), "web", "create Some(\"web\") \"\" a"),
        ("run --pull never -d --name web a".to_owned(), "web", "start web"),
        ("start c".to_owned(), "c", "start c"),
        ("stop -t 3 c".to_owned(), "c", "stop c \"\" Some(3)"),
        ("stop off".to_owned(), "off", "stop off"),
        ("restart -s HUP c".to_owned(), "c", "restart c \"HUP\""),
        ("kill -s HUP c".to_owned(), "c", "kill c \"HUP\""),
        ("pause c".to_owned(), "c", ""),
        ("unpause c".to_owned(), "c", ""),
        ("wait c".to_owned(), "7", "wait c NotRunning"),
        ("rename c d".to_owned(), "", "rename c d"),
        ("update -m 6m --restart always c".to_owned(), "c", "update c 6291456 None always"),
        ("rm -f -v c".to_owned(), "c", "rm c RemoveOptions { force: true, volumes: true"),
        ("top c aux".to_owned(), "sleep", "top c aux"),
        ("stats --no-stream c".to_owned(), "3MiB / 1GiB", "stats c false"),
        ("diff c".to_owned(), "A /new", ""),
        (format!("export -o {dir}/out.tar c"), "", ""),
        (format!("cp c:/x {dir}/theirs"), "", "stat c /x"),
        (format!("cp {dir}/mine c:/tmp"), "", "put c /tmp keep=true owners=false true"),
        ("commit -m hi -c CMD=x c a:1".to_owned(), "sha256:07", "commit c docker.io/library/a 1"),
        ("exec -d c echo".to_owned(), "", "exec start echo-exec"),
        ("container prune -f".to_owned(), "12B", "prune containers"),
        ("volume prune -f".to_owned(), "data", ""),
        ("network prune -f".to_owned(), "old", ""),
        ("image prune -f".to_owned(), "0B", ""),
        ("network connect --alias a n c".to_owned(), "", "connect n c Some([\"a\"])"),
        ("network disconnect -f n c".to_owned(), "", "disconnect n c true"),
        ("history a".to_owned(), "RUN make a", ""),
        ("push a:1".to_owned(), "sha256:07", "push docker.io/library/a:1 false"),
        ("search --limit 3 x".to_owned(), "9", "search x 3"),
        ("system df".to_owned(), "Local Volumes", "df []"),
        ("login -u me -p secret r.example".to_owned(), "Login Succeeded", "auth me r.example"),
    ] {
        let text = stage.run(&line).await;
        assert!(text.contains(part), "docker {line}: expected {part:?} in\n{text}");
        let notes = stage.backend.noted();
        let found = notes.iter().any(|it| it.starts_with(note)) || note.is_empty();
        assert!(found, "docker {line}: {note:?} is not in {notes:#?}");
    }
    assert_eq!(std::fs::read(format!("{dir}/theirs")).unwrap(), b"hello");
    assert_eq!(std::fs::read(format!("{dir}/out.tar")).unwrap(), b"tar-ball");
    for (line, part) in [
        ("start nope", "No such container: nope"),
        ("kill nope", "cannot kill container: nope: No such container: nope"),
        ("pause paused", "is paused"),
        ("cp c:/gone -", "Could not find the file /gone in container c"),
    ] {
        let refused = stage.fail(line).await;
        assert!(refused.contains(part), "docker {line}: {refused}");
    }
    stage.clear().await;
}
