//! A command's streams on a connection that is taken for them: heads, frames, both ways and their ends; then the docker command line.

mod common;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use common::host::{FLOOD_CHUNK_BYTES, FLOOD_CHUNKS, Host};
use common::stage::Stage;
use futures::{SinkExt, StreamExt};
use skep_docker_api::json::*;
use skep_docker_api::logs::decode;
use skep_docker_api::{Client, LogSource, Server, router};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

/// Far more than any exchange here takes, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

async fn timely<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

/// A served host.
struct Served {
    dir: tempfile::TempDir,
    host: Arc<Host>,
    stop: tokio::sync::oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn new(tty: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Arc::new(Host { tty, ..Default::default() });
        let server = Server::bind(&dir.path().join("api.sock"), None).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(router(host.clone()), async {
            let _ = stopped.await;
        }));
        Self { dir, host, stop, serving }
    }

    fn client(&self) -> Client {
        Client::connect(self.dir.path().join("api.sock").to_str().unwrap()).unwrap()
    }

    /// Sends a request as it is, and reads the answer's head.
    async fn raw(&self, request: &str) -> (String, BufReader<UnixStream>) {
        let stream = UnixStream::connect(self.dir.path().join("api.sock")).await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(timely(stream.read_line(&mut head)).await.unwrap() > 0, "{head}");
        }
        (head, stream)
    }

    /// Attaches, with an upgrade asked for.
    async fn attach(&self, path: &str) -> (String, BufReader<UnixStream>) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        );
        self.raw(&request).await
    }

    async fn clear(self) {
        self.stop.send(()).unwrap();
        timely(self.serving).await.unwrap();
    }
}

async fn rest(stream: &mut BufReader<UnixStream>) -> Vec<u8> {
    let mut rest = Vec::new();
    timely(stream.read_to_end(&mut rest)).await.unwrap();
    rest
}

const ALL: &str = "stream=1&stdin=1&stdout=1&stderr=1";
const ECHOED: &[u8] = b"\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\0\x03bye";

#[tokio::test]
async fn heads_and_frames() {
    let framed = Served::new(false).await;
    let tty = Served::new(true).await;
    let upgraded = |kind| {
        format!(
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.{kind}-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
    };
    for (served, version, kind, expected) in [
        (&framed, "", "multiplexed", ECHOED),
        (&framed, "/v1.42", "multiplexed", ECHOED),
        (&framed, "/v1.41", "raw", ECHOED),
        (&tty, "", "raw", &b"hellobye"[..]),
    ] {
        let (head, mut stream) =
            served.attach(&format!("{version}/containers/echo/attach?{ALL}")).await;
        assert_eq!(head, upgraded(kind));
        stream.write_all(b"hello").await.unwrap();
        // Half of the connection is closed: the command hears the end, and what it says then still comes.
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, expected, "{version}");
    }
    // Without an upgrade; what comes with the request is heard too.
    let (head, mut stream) = framed
        .raw(&format!("POST /containers/echo/attach?{ALL} HTTP/1.1\r\nHost: a\r\n\r\nhello"))
        .await;
    assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n");
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, ECHOED);

    let body = r#"{"Detach":false,"Tty":false}"#;
    let request = format!(
        "POST /exec/echo-exec/start HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}hello",
        body.len()
    );
    let (head, mut stream) = framed.raw(&request).await;
    assert_eq!(head, upgraded("multiplexed"));
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, ECHOED);

    // A command that did not start says why where its output would be; one that is not there has a status.
    let (_, mut stream) = framed.attach("/exec/bad-exec/start").await;
    let text = String::from_utf8(rest(&mut stream).await).unwrap();
    assert_eq!(text, "\x01\0\0\0\0\0\0\x24executable file not found in $PATH\r\n");
    for (path, status) in [
        ("/exec/lost-exec/start", "404 Not Found"),
        ("/containers/nope/attach", "404 Not Found"),
        ("/containers/paused/attach", "409 Conflict"),
        ("/containers/echo/attach?detachKeys=x,", "400 Bad Request"),
    ] {
        let (head, _) = framed.attach(path).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {head}");
    }
    // An error on the way is the last that is heard.
    let (_, mut stream) = framed.attach(&format!("/containers/broken/attach?{ALL}")).await;
    let text = String::from_utf8(rest(&mut stream).await).unwrap();
    assert_eq!(text, "\x01\0\0\0\0\0\0\x03one\x03\0\0\0\0\0\0\x0fthe shim left\r\n");
    framed.clear().await;
    tty.clear().await;
}

/// Opens a WebSocket, or gives the status of the answer.
async fn web_socket(served: &Served, path: &str) -> Result<WebSocketStream<UnixStream>, u16> {
    let stream = UnixStream::connect(served.dir.path().join("api.sock")).await.unwrap();
    let opened =
        timely(tokio_tungstenite::client_async(format!("ws://docker{path}"), stream)).await;
    match opened {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{path}: {error}"),
    }
}

/// The next message that is not the protocol's own.
async fn message(socket: &mut WebSocketStream<UnixStream>) -> Option<Message> {
    timely(socket.next()).await.map(Result::unwrap).filter(|message| !message.is_close())
}

#[tokio::test]
async fn streams_go_through_web_sockets() {
    let served = Served::new(false).await;
    let mut socket =
        web_socket(&served, &format!("/containers/echo/attach/ws?{ALL}")).await.unwrap();
    socket.send(Message::text("he")).await.unwrap();
    assert_eq!(message(&mut socket).await, Some(Message::binary("he")));
    socket.send(Message::binary("llo")).await.unwrap();
    assert_eq!(message(&mut socket).await, Some(Message::binary("llo")));
    timely(socket.close(None)).await.unwrap();
    timely(served.host.left.notified()).await;

    // The oldest clients read text, and were given all streams.
    let mut socket =
        web_socket(&served, "/v1.27/containers/echo/attach/ws?stream=1").await.unwrap();
    socket.send(Message::text("hi")).await.unwrap();
    assert_eq!(message(&mut socket).await, Some(Message::text("hi")));
    drop(socket);
    timely(served.host.left.notified()).await;

    // An error on the way is the last that is said.
    let path = format!("/containers/broken/attach/ws?{ALL}");
    let mut socket = web_socket(&served, &path).await.unwrap();
    assert_eq!(message(&mut socket).await, Some(Message::binary("one")));
    assert_eq!(message(&mut socket).await, Some(Message::binary("the shim left")));
    assert_eq!(message(&mut socket).await, None);

    assert_eq!(web_socket(&served, "/containers/nope/attach/ws").await.unwrap_err(), 404);
    let (head, _) = served.raw("GET /containers/echo/attach/ws HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    served.clear().await;
    // The keys that detach are a terminal's.
    let tty = Served::new(true).await;
    let mut socket = web_socket(&tty, &format!("/containers/echo/attach/ws?{ALL}")).await.unwrap();
    socket.send(Message::binary(&b"\x10\x11"[..])).await.unwrap();
    while message(&mut socket).await.is_some() {}
    timely(tty.host.left.notified()).await;
    tty.clear().await;
}

#[tokio::test]
async fn input_alone_lasts_until_it_ends() {
    let served = Served::new(false).await;
    let (_, mut stream) = served.attach("/containers/quiet/attach?stream=1&stdin=1").await;
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    timely(served.host.left.notified()).await;
    served.clear().await;
}

#[tokio::test]
async fn keys_that_detach() {
    let tty = Served::new(true).await;
    for (path, typed) in [
        (format!("/containers/echo/attach?{ALL}"), &b"a\x10b\x10\x11c"[..]),
        (format!("/containers/echo/attach?{ALL}&detachKeys=x,y"), b"a\x10bxyc"),
        ("/exec/echo-exec/start".to_owned(), b"a\x10b\x01c"),
    ] {
        let (_, mut stream) = tty.attach(&path).await;
        for byte in typed {
            // The session may be over before the last is written.
            let _ = stream.write_all(&[*byte]).await;
        }
        let said = rest(&mut stream).await;
        // The end comes at once, whatever of the echo was still on its way.
        assert!(b"a\x10b".starts_with(&said), "{path}: {said:?}");
        timely(tty.host.left.notified()).await;
    }
    tty.clear().await;
    // Without a terminal they are bytes like others.
    let framed = Served::new(false).await;
    let (_, mut stream) = framed.attach(&format!("/containers/echo/attach?{ALL}")).await;
    stream.write_all(b"\x10\x11").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"\x01\0\0\0\0\0\0\x02\x10\x11\x02\0\0\0\0\0\0\x03bye");
    framed.clear().await;
}

#[tokio::test]
async fn who_is_gone_lets_go() {
    let served = Served::new(false).await;
    // One that said all it had to say is still there.
    let (_, mut stream) = served.attach(&format!("/containers/quiet/attach?{ALL}")).await;
    stream.shutdown().await.unwrap();
    let host = served.host.clone();
    let mut left = Box::pin(host.left.notified());
    let mut byte = [0];
    assert!(futures::poll!(Box::pin(stream.read(&mut byte))).is_pending());
    assert!(futures::poll!(&mut left).is_pending());
    drop(stream);
    timely(left).await;
    // Neither reading nor writing is needed to see that a client is gone.
    for path in [
        "/containers/quiet/attach?stream=1&stdout=1",
        "/containers/deaf/attach?stream=1&stdin=1&stdout=1",
    ] {
        let (_, mut stream) = served.attach(path).await;
        let _ = stream.write_all(b"x").await;
        drop(stream);
        timely(served.host.left.notified()).await;
    }
    // Nor does a session keep a server from its end.
    let (_, mut stream) = served.attach(&format!("/containers/quiet/attach?{ALL}")).await;
    served.clear().await;
    assert_eq!(rest(&mut stream).await, b"");
    timely(host.left.notified()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_costs_no_memory() {
    let served = Served::new(false).await;
    let (_, stream) = served.attach(&format!("/containers/flood/attach?{ALL}")).await;
    let count = || served.host.flood.load(Ordering::SeqCst);
    timely(async {
        while count() == 0 {
            tokio::task::yield_now().await;
        }
        // Until it does not go on.
        let mut still = 0;
        let mut last = count();
        while still < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            still = if count() == last { still + 1 } else { 0 };
            last = count();
        }
    })
    .await;
    assert!(count() < 64, "{} chunks were taken for a client that reads nothing", count());
    let (mut stream, mut held) = (stream, BytesMut::new());
    let mut bytes = 0;
    timely(async {
        while stream.read_buf(&mut held).await.unwrap() > 0 {
            while let Some(frame) = decode(&mut held).unwrap() {
                assert_eq!(frame.source, LogSource::Stdout);
                bytes += frame.text.len();
            }
        }
    })
    .await;
    assert_eq!(bytes as u64, FLOOD_CHUNKS * FLOOD_CHUNK_BYTES as u64);
    served.clear().await;
}

#[tokio::test]
async fn the_client_attaches() {
    let served = Served::new(false).await;
    let options = AttachOptions {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        ..Default::default()
    };
    let mut connection = served.client().container_attach("echo", &options).await.unwrap();
    connection.write_all(b"hello").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut said = Vec::new();
    timely(connection.read_to_end(&mut said)).await.unwrap();
    assert_eq!(said, ECHOED);
    let id = ExecCreateRequest { cmd: vec!["echo".into()], ..Default::default() };
    let id = served.client().exec_create("c", &id).await.unwrap().id;
    let mut connection =
        served.client().exec_start(&id, &ExecStartRequest::default()).await.unwrap();
    connection.write_all(b"hello").await.unwrap();
    connection.shutdown().await.unwrap();
    said.clear();
    timely(connection.read_to_end(&mut said)).await.unwrap();
    assert_eq!(said, ECHOED);
    let detached = ExecStartRequest { detach: true, ..Default::default() };
    served.client().exec_start_detached(&id, &detached).await.unwrap();
    assert!(
        served.client().container_attach("nope", &options).await.is_err_and(|e| e.is_not_found())
    );
    served.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_attaches() {
    let Some(stage) = Stage::set(Host::default()).await else { return };
    for (line, code, output, errors) in [
        ("run --pull never -i --name echo a", 7, "hello", "bye"),
        ("run --pull never -i -a stdin -a stdout --name echo2 a", 7, "hello", ""),
        ("exec -i c echo", 3, "hello", "bye"),
        ("exec c bad", 127, "executable file not found in $PATH\r\n", ""),
        ("attach echo", 7, "hello", "bye"),
        ("start -a -i echo", 7, "hello", "bye"),
    ] {
        let mut command = stage.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut docker = command.spawn().unwrap();
        let mut input = docker.stdin.take().unwrap();
        let _ = input.write_all(b"hello").await;
        drop(input);
        let ended = timely(docker.wait_with_output()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let got = (ended.status.code(), text(ended.stdout), text(ended.stderr));
        assert_eq!(got, (Some(code), output.to_owned(), errors.to_owned()), "docker {line}");
    }
    // The whole of it in the order Docker's client has it.
    let notes = stage.backend.noted();
    let place = |text: &str| notes.iter().position(|it| it.starts_with(text)).unwrap();
    assert!(place("create Some(\"echo\")") < place("attach echo"));
    assert!(place("attach echo") < place("start echo"));
    assert!(place("wait echo NextExit") < place("start echo"), "{notes:#?}");
    stage.clear().await;
}
