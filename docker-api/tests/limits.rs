//! What the server and the client do with peers that are slow, silent or too large.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use skep_docker_api::json::*;
use skep_docker_api::{ApiError, Backend, Client, ClientError, Filters, List, Server, router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Longer than any bound in these tests takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

struct Idle;

#[async_trait]
impl Backend for Idle {
    async fn version(&self) -> Result<Version, ApiError> {
        Ok(Version::default())
    }
    async fn info(&self) -> Result<Info, ApiError> {
        Ok(Info::default())
    }
    async fn swarm_status(&self) -> String {
        "inactive".into()
    }
    async fn swarm_init(&self, _: SwarmInitRequest) -> Result<String, ApiError> {
        Err(ApiError::not_in_swarm())
    }
    async fn swarm_join(&self, _: SwarmJoinRequest) -> Result<(), ApiError> {
        Err(ApiError::not_in_swarm())
    }
    async fn swarm_leave(&self, _: bool) -> Result<(), ApiError> {
        Err(ApiError::not_in_swarm())
    }
    async fn swarm_inspect(&self) -> Result<Swarm, ApiError> {
        Err(ApiError::not_in_swarm())
    }
    async fn swarm_update(&self, _: u64, _: SwarmSpec, _: RotateTokens) -> Result<(), ApiError> {
        Err(ApiError::not_in_swarm())
    }
    async fn nodes(&self, _: Filters) -> Result<List<Node>, ApiError> {
        Err(ApiError::not_in_swarm())
    }
    async fn node(&self, _: &str) -> Result<Node, ApiError> {
        Err(ApiError::not_in_swarm())
    }
    async fn node_update(&self, _: &str, _: u64, _: NodeSpec) -> Result<(), ApiError> {
        Err(ApiError::not_in_swarm())
    }
    async fn node_remove(&self, _: &str, _: bool) -> Result<(), ApiError> {
        Err(ApiError::not_in_swarm())
    }
}

/// Reads until the peer closes, and gives what it said.
async fn until_closed(stream: &mut UnixStream) -> String {
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    tokio::time::timeout(DEADLINE, read).await.expect("the server closes in time").unwrap();
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn the_silent_and_the_slow_are_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let server = Server::bind(&path, None).await.unwrap();
    let server = server.with_head_timeout(Duration::from_millis(200));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(router(Arc::new(Idle)), async {
        let _ = stopped.await;
    }));

    let mut silent = UnixStream::connect(&path).await.unwrap();
    assert!(!until_closed(&mut silent).await.contains("200 OK"));

    let mut slow = UnixStream::connect(&path).await.unwrap();
    slow.write_all(b"GET /_ping HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    assert!(!until_closed(&mut slow).await.contains("200 OK"));

    // A connection that was used and then kept open for nothing goes the same way.
    let mut kept = UnixStream::connect(&path).await.unwrap();
    kept.write_all(b"GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(until_closed(&mut kept).await.contains("200 OK"));

    stop.send(()).unwrap();
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_document_that_does_not_arrive_is_given_up() {
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    let endless = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let request = http::Request::post("/swarm/init").body(axum::body::Body::from_stream(endless));
    let response = router(Arc::new(Idle)).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status().as_u16(), 408);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "{\"message\":\"request body did not arrive within 60s\"}");
}

#[tokio::test]
async fn a_client_does_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mute.sock");
    // Accepts, by its queue, and never answers.
    let _mute = UnixListener::bind(&path).unwrap();
    let client = Client::connect(path.to_str().unwrap()).unwrap();
    let client = client.with_answer_timeout(Duration::from_millis(100));
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, ClientError::Late { .. }), "{error}");
    let shown = error.to_string();
    assert!(shown.starts_with("no answer from unix://"), "{shown}");
    assert!(shown.ends_with("to /_ping within 100ms"), "{shown}");
}
