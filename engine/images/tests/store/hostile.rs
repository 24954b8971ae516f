//! Pulling from registries that are ill: they lie, break off, never end, or want what they should not.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use skep_images::{
    Auth, Digest, Error, Limits, Patience, Platform, PullOptions, Reference, RegistryConfig, Store,
    StoreOptions, check_login,
};

use crate::archives::{archive, gzip, zstd};
use crate::{DEADLINE, eventually, privileged, tree};

/// What is asked.
struct Asked {
    method: String,
    path: String,
    /// Lower case.
    headers: HashMap<String, String>,
    body: String,
}

impl Asked {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = HashMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn login(&self) -> Option<&str> {
        self.headers.get("authorization").map(String::as_str)
    }

    /// `bytes=FIRST-`
    fn first(&self) -> usize {
        let range = self.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap())
    }
}

/// An HTTP server on the loopback, one request a connection. Its threads end with the program.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<Arc<Asked>>>>,
}

impl Server {
    fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, asked) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let noted: Arc<Mutex<Vec<Arc<Asked>>>> = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (answer, noted) = (answer.clone(), noted.clone());
                std::thread::spawn(move || {
                    // What asks for TLS first hears that there is none.
                    let mut first = [0];
                    if stream.peek(&mut first).is_ok()
                        && first[0] != 0x16
                        && let Some(asked) = Asked::read(&stream)
                    {
                        let asked = Arc::new(asked);
                        noted.lock().unwrap().push(asked.clone());
                        answer(&asked, &mut stream);
                    }
                });
            }
        });
        Self { port, asked }
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("127.0.0.1:{}/{rest}", self.port).parse().unwrap()
    }

    /// How often something was asked for that has this in its path.
    fn count(&self, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path.contains(part)).count()
    }
}

fn say(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    // Who asked may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Says something and then more of it, until nobody listens.
fn say_without_end(stream: &mut TcpStream, status: &str) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    while stream.write_all(&[b' '; 64 << 10]).is_ok() {}
}

/// An image as a registry has it.
struct Goods {
    manifest: Vec<u8>,
    blobs: HashMap<String, Vec<u8>>,
    layers: Vec<Digest>,
}

impl Goods {
    /// Layers are archives as they are, and as they are packed.
    fn of(layers: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut blobs = HashMap::new();
        let mut keep = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            blobs.insert(digest.to_string(), bytes.to_vec());
            json!({ "digest": digest.to_string(), "size": bytes.len() })
        };
        let diff_ids: Vec<_> = layers.iter().map(|it| Digest::of(&it.0).to_string()).collect();
        let config = json!({
            "architecture": Platform::host().architecture, "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let mut config = keep(config.to_string().as_bytes());
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let described = layers.iter().map(|(_, packed)| {
            let mut layer = keep(packed);
            layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into();
            layer
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": described.collect::<Vec<_>>(),
        });
        let layers = layers.iter().map(|it| Digest::of(&it.1)).collect();
        Self { manifest: manifest.to_string().into_bytes(), blobs, layers }
    }

    fn small() -> Self {
        let plain = archive(&[("file", "content")]);
        Self::of(&[(plain.clone(), gzip(&plain))])
    }

    /// One layer of so many bytes that do not compress, in two files.
    fn large(bytes: usize) -> Self {
        let plain = archive(&[("first", &noise(bytes / 2)), ("second", &noise(bytes / 2))]);
        Self::of(&[(plain.clone(), plain)])
    }

    /// The blob that a path asks for.
    fn blob(&self, asked: &Asked) -> Option<&[u8]> {
        self.blobs.get(asked.path.rsplit('/').next()?).map(Vec::as_slice)
    }

    fn is_layer(&self, asked: &Asked) -> bool {
        self.layers.iter().any(|layer| asked.path.ends_with(&layer.to_string()))
    }

    /// Answers as one should.
    fn give(&self, asked: &Asked, stream: &mut TcpStream) {
        if asked.path == "/v2/" {
            return say(stream, "200 OK", &[], b"{}");
        }
        if asked.path.contains("/manifests/") {
            return say(stream, "200 OK", &[], &self.manifest);
        }
        let Some(blob) = self.blob(asked) else { return say(stream, "404 Not Found", &[], b"") };
        match asked.first() {
            0 => say(stream, "200 OK", &[], blob),
            first => {
                let range = format!("bytes {first}-{}/{}", blob.len() - 1, blob.len());
                say(stream, "206 Partial Content", &[("Content-Range", &range)], &blob[first..]);
            }
        }
    }
}

fn noise(bytes: usize) -> String {
    let mut state = 88_172_645_463_325_252u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b' ' + (state >> 32) as u8 % 95)
        })
        .collect()
}

/// Nobody is waited for long, and attempts follow at once.
fn hasty() -> PullOptions {
    let patience = Patience {
        step: Duration::from_millis(1),
        pause_max: Duration::from_millis(20),
        ..Patience::default()
    };
    PullOptions {
        registries: RegistryConfig { patience, ..RegistryConfig::default() },
        ..PullOptions::default()
    }
}

async fn store() -> Option<(tempfile::TempDir, Store)> {
    if !privileged("unpacking owners") {
        return None;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    Some((root, store))
}

/// Pulls what is to be refused; gives the words, after it is sure that nothing was left.
async fn refused(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> String {
    let Some((root, store)) = store().await else { return String::new() };
    let before = tree(root.path());
    let server = Server::start(answer);
    let reference = server.reference("app");
    let error = store.pull(&reference, &hasty()).await.unwrap_err();
    eventually("nothing is left", || tree(root.path()) == before).await;
    let text = skep_types::error_chain(&error);
    text.replace(&format!("127.0.0.1:{}", server.port), "HERE")
}

macro_rules! assert_says {
    ($text:expr, $expected:expr) => {
        let text = $text;
        // Without privilege nothing was tried.
        assert!(text.is_empty() || text.contains($expected), "{text}");
    };
}

#[tokio::test]
async fn what_does_not_end_is_cut() {
    let endless = |part: &'static str, status: &'static str| {
        let goods = Goods::small();
        refused(move |asked, stream| match asked.path.contains(part) {
            true => say_without_end(stream, status),
            false => goods.give(asked, stream),
        })
    };
    assert_says!(endless("/manifests/", "200 OK").await, "is larger than 4194304 bytes");
    assert_says!(endless("/manifests/", "404 Not Found").await, "not found");
    assert_says!(endless("/manifests/", "418 I'm a teapot").await, "answered 418 i'm a teapot");
    let goods = Goods::small();
    let layer = refused(move |asked, stream| match goods.is_layer(asked) {
        true => say_without_end(stream, "200 OK"),
        false => goods.give(asked, stream),
    });
    assert_says!(layer.await, "larger than");
    let token = refused(|asked, stream| match asked.path.starts_with("/token") {
        true => say_without_end(stream, "200 OK"),
        false => {
            let host = &asked.headers["host"];
            let challenge = format!("Bearer realm=\"http://{host}/token\"");
            say(stream, "401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
        }
    });
    assert_says!(token.await, "the answer is larger than");
}

#[tokio::test]
async fn nonsense_is_called_so() {
    let manifest = |body: &'static [u8]| {
        refused(move |asked, stream| match asked.path.contains("/manifests/") {
            true => say(stream, "200 OK", &[], body),
            false => say(stream, "200 OK", &[], b""),
        })
    };
    assert_says!(manifest(b"<html>Sign in</html>").await, "invalid image manifest");
    assert_says!(manifest(b"").await, "invalid image manifest");
    assert_says!(manifest(b"{\"schemaVersion\": 1}").await, "schema version 1 is not supported");
    assert_says!(manifest(b"\0\xff").await, "invalid image manifest");
    let no_http = refused(|_, stream| drop(stream.write_all(b"+OK POP3 ready\r\n")));
    assert_says!(no_http.await, "failed to reach registry HERE");
    let no_token = refused(|asked, stream| {
        let host = &asked.headers["host"];
        let challenge = format!("Bearer realm=\"http://{host}/token\"");
        match asked.path.starts_with("/token") {
            true => say(stream, "200 OK", &[], b"{\"token\": \"two\\nlines\"}"),
            false => say(stream, "401 Unauthorized", &[("WWW-Authenticate", &challenge)], b""),
        }
    });
    assert_says!(no_token.await, "a token that cannot be shown");
    // What a terminal would obey is not passed on.
    let escapes = refused(|asked, stream| match asked.path.contains("/manifests/") {
        true => {
            let body =
                "{\"errors\": [{\"code\": \"DENIED\", \"message\": \"no\\u001b[2J\\nway\"}]}";
            say(stream, "403 Forbidden", &[], body.as_bytes());
        }
        false => say(stream, "200 OK", &[], b""),
    });
    assert_says!(escapes.await, "denied: no[2Jway");
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_left() {
    let Some((root, store)) = store().await else { return };
    let before = tree(root.path());
    let mut options = hasty();
    options.registries.patience.read = Duration::from_millis(100);
    options.registries.patience.answer = Duration::from_millis(500);
    options.registries.transfers.attempts = 2;
    let silent = Server::start(|_, stream| drop(stream.read(&mut [0; 1])));
    let error = store.pull(&silent.reference("app"), &options).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    // One that sends a byte now and then is not silent, and still is no registry.
    let slow = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let error = store.pull(&slow.reference("app"), &options).await.unwrap_err().to_string();
    assert!(error.contains("did not answer in 500ms"), "{error}");
    let goods = Goods::small();
    let stuck = Server::start(move |asked, stream| match goods.is_layer(asked) {
        true => drop(stream.read(&mut [0; 1])),
        false => goods.give(asked, stream),
    });
    let error = store.pull(&stuck.reference("app"), &options).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    eventually("nothing is left", || tree(root.path()) == before).await;
}

#[tokio::test]
async fn a_limit_of_requests_is_waited_for_or_told() {
    let Some((_root, store)) = store().await else { return };
    let goods = Goods::small();
    let refusals = AtomicUsize::new(2);
    let busy = Server::start(move |asked, stream| {
        let left = |left: usize| left.checked_sub(1);
        if goods.is_layer(asked)
            && refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok()
        {
            return say(stream, "429 Too Many Requests", &[("Retry-After", "3600")], b"");
        }
        goods.give(asked, stream);
    });
    store.pull(&busy.reference("app"), &hasty()).await.unwrap();
    assert_eq!(busy.count("/blobs/"), 4, "a configuration, and a layer at the third time");

    let text = refused(|asked, stream| match asked.path.contains("/manifests/") {
        true => {
            let body =
                br#"{"errors": [{"code": "TOOMANYREQUESTS", "message": "come back in June"}]}"#;
            say(stream, "429 Too Many Requests", &[], body);
        }
        false => say(stream, "200 OK", &[], b""),
    });
    assert_says!(text.await, "toomanyrequests: come back in June");
    let text = refused(|asked, stream| match asked.path.contains("/manifests/") {
        true => say(stream, "503 Service Unavailable", &[], b"<html>maintenance</html>"),
        false => say(stream, "200 OK", &[], b""),
    });
    assert_says!(text.await, "registry HERE answered 503 service unavailable");
}

#[tokio::test]
async fn no_login_follows_a_redirect() {
    let Some((_root, store)) = store().await else { return };
    let goods = Arc::new(Goods::small());
    let stock = goods.clone();
    let elsewhere = Server::start(move |asked, stream| stock.give(asked, stream));
    let there = elsewhere.port;
    let registry = Server::start(move |asked, stream| {
        if asked.login().is_none() {
            return say(stream, "401 Unauthorized", &[("WWW-Authenticate", "Basic realm=r")], b"");
        }
        if asked.path.contains("/blobs/") {
            let place = format!("http://127.0.0.1:{there}{}", asked.path);
            return say(stream, "307 Temporary Redirect", &[("Location", &place)], b"");
        }
        goods.give(asked, stream);
    });
    let login = Auth::Basic { username: "ali".to_owned(), password: "secret".to_owned() };
    let options = PullOptions { auth: Some(login), ..hasty() };
    store.pull(&registry.reference("app"), &options).await.unwrap();
    assert!(registry.asked.lock().unwrap().iter().any(|asked| asked.login().is_some()));
    let seen = elsewhere.asked.lock().unwrap().clone();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|asked| asked.login().is_none()));

    let ring = refused(|asked, stream| match asked.path.contains("/manifests/") {
        true => say(stream, "302 Found", &[("Location", &asked.path)], b""),
        false => say(stream, "200 OK", &[], b""),
    });
    assert_says!(ring.await, "too many redirects");
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_in_the_middle() {
    let Some((_root, store)) = store().await else { return };
    let goods = Goods::small();
    let (given, used) = (AtomicUsize::new(0), Mutex::new(String::new()));
    // Each token is good once.
    let registry = Server::start(move |asked, stream| {
        if asked.path.starts_with("/token") {
            let token = format!("token-{}", given.fetch_add(1, Ordering::SeqCst));
            let body = json!({ "token": token, "expires_in": 3600 }).to_string();
            return say(stream, "200 OK", &[], body.as_bytes());
        }
        let token = asked.login().unwrap_or_default().to_owned();
        let mut used = used.lock().unwrap();
        if token.is_empty() || *used == token {
            let host = &asked.headers["host"];
            let challenge = format!(
                "Bearer realm=\"http://{host}/token\",service=\"the registry\",scope=\"x\""
            );
            return say(stream, "401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
        }
        *used = token;
        goods.give(asked, stream);
    });
    let login = Auth::Basic { username: "ali".to_owned(), password: "secret".to_owned() };
    let options = PullOptions { auth: Some(login), ..hasty() };
    store.pull(&registry.reference("org/app"), &options).await.unwrap();
    let asked = registry.asked.lock().unwrap();
    let tokens: Vec<_> = asked.iter().filter(|it| it.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 4, "one for each of what was asked for");
    for token in tokens {
        assert!(token.path.contains("scope=repository%3Aorg%2Fapp%3Apull"), "{}", token.path);
        assert!(token.path.contains("service=the+registry"), "{}", token.path);
        assert!(token.login().is_some_and(|login| login.starts_with("Basic ")));
    }
}

#[tokio::test]
async fn a_login_is_exchanged_for_a_token_that_stands_for_it() {
    let Some((_root, store)) = store().await else { return };
    let goods = Goods::small();
    let registry = Server::start(move |asked, stream| {
        if asked.path.starts_with("/token") {
            let by_login = asked.login().is_some() && asked.path.contains("offline_token=true");
            let by_identity = asked.method == "POST"
                && asked.body.contains("grant_type=refresh_token")
                && asked.body.contains("refresh_token=the-identity");
            return match (by_login, by_identity) {
                (true, _) => {
                    let body = br#"{"token": "t", "refresh_token": "the-identity"}"#;
                    say(stream, "200 OK", &[], body);
                }
                (_, true) => say(stream, "200 OK", &[], br#"{"access_token": "t"}"#),
                _ => say(stream, "401 Unauthorized", &[], b""),
            };
        }
        if asked.login() != Some("Bearer t") {
            let host = &asked.headers["host"];
            let challenge = format!("Bearer realm=\"http://{host}/token\"");
            return say(stream, "401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
        }
        goods.give(asked, stream);
    });
    let domain = format!("127.0.0.1:{}", registry.port);
    let login = Auth::Basic { username: "ali".to_owned(), password: "secret".to_owned() };
    let identity = check_login(&domain, &RegistryConfig::default(), &login).await.unwrap();
    assert_eq!(identity.as_deref(), Some("the-identity"));
    for (identity, good) in [("another", false), ("the-identity", true)] {
        let auth = Some(Auth::Identity(identity.to_owned()));
        let pulled = store.pull(&registry.reference("app"), &PullOptions { auth, ..hasty() }).await;
        assert_eq!(pulled.is_ok(), good, "{pulled:?}");
    }
}

#[tokio::test]
async fn bombs_burst_where_nobody_is() {
    if !privileged("unpacking owners") {
        return;
    }
    let zeros = "\0".repeat(32 << 20);
    let plain = archive(&[("zeros", &zeros)]);
    for packed in [gzip(&plain), zstd(&plain)] {
        assert!(packed.len() < 1 << 20);
        let root = tempfile::tempdir().unwrap();
        let limits = Limits { layer_bytes: 1 << 20, ..Limits::default() };
        let options = StoreOptions { limits, ..StoreOptions::default() };
        let store = Store::open_with(root.path(), options).await.unwrap();
        let before = tree(root.path());
        let goods = Goods::of(&[(plain.clone(), packed)]);
        let registry = Server::start(move |asked, stream| goods.give(asked, stream));
        let error = store.pull(&registry.reference("app"), &hasty()).await.unwrap_err();
        assert!(error.to_string().contains("larger than is allowed"), "{error}");
        eventually("nothing is left", || tree(root.path()) == before).await;
    }
}

/// A small disk of its own.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("disk"), dir.path(), Some("tmpfs"), flags, Some(size.as_str()))
            .unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_cleared() {
    if !privileged("a disk of its own") {
        return;
    }
    // One is too large as it comes, the other as it is unpacked.
    let unpacked = archive(&[("zeros", &"\0".repeat(16 << 20))]);
    let packed = gzip(&unpacked);
    for goods in [Goods::large(16 << 20), Goods::of(&[(unpacked, packed)])] {
        let disk = Disk::new(8 << 20);
        let store = Store::open(disk.path()).await.unwrap();
        let before = tree(disk.path());
        let registry = Server::start(move |asked, stream| goods.give(asked, stream));
        let error = store.pull(&registry.reference("app"), &hasty()).await.unwrap_err();
        let text = skep_types::error_chain(&error);
        assert!(text.contains("No space left on device"), "{text}");
        eventually("nothing is left", || tree(disk.path()) == before).await;
        let goods = Goods::small();
        let registry = Server::start(move |asked, stream| goods.give(asked, stream));
        store.pull(&registry.reference("app"), &hasty()).await.unwrap();
    }
}

#[tokio::test]
async fn a_pull_goes_on_where_a_lost_registry_left_it() {
    let Some((root, store)) = store().await else { return };
    let first = archive(&[("whole", &noise(10_000))]);
    let second = archive(&[("half", &noise(200_000))]);
    let goods = Arc::new(Goods::of(&[(first.clone(), first), (second.clone(), second)]));
    let [whole, half] = goods.layers[..] else { unreachable!() };
    let (stock, ill) = (goods.clone(), Arc::new(Mutex::new(true)));
    let lost = ill.clone();
    let registry = Server::start(move |asked, stream| {
        if !asked.path.ends_with(&half.to_string()) || !*lost.lock().unwrap() {
            return stock.give(asked, stream);
        }
        // Once it gives the half of it, and then nothing at all.
        if asked.first() == 0 {
            let blob = stock.blob(asked).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&blob[..100_000]);
        }
    });
    let before = tree(root.path());
    let mut options = hasty();
    options.registries.transfers.downloads = 1;
    let error = store.pull(&registry.reference("app"), &options).await.unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. } | Error::Unreachable { .. }), "{error:?}");
    // No image, no layer and no blob: what has come is where nobody takes it for whole.
    let begun = |digest: Digest| format!("downloads/{}", digest.hex());
    let mut expected = [before.clone(), vec![begun(whole), begun(half)]].concat();
    expected.sort();
    eventually("only what was begun is left", || tree(root.path()) == expected).await;

    *ill.lock().unwrap() = false;
    drop(store);
    let store = crate::reopen(root.path()).await;
    let already = registry.asked.lock().unwrap().len();
    store.pull(&registry.reference("app"), &options).await.unwrap();
    let asked = registry.asked.lock().unwrap().clone();
    let after = &asked[already..];
    assert!(!after.iter().any(|asked| asked.path.ends_with(&whole.to_string())), "it had come");
    let rest: Vec<usize> = after
        .iter()
        .filter(|asked| asked.path.ends_with(&half.to_string()))
        .map(|asked| asked.first())
        .collect();
    assert_eq!(rest, [100_000]);
    eventually("nothing is left of what was begun", || {
        std::fs::read_dir(root.path().join("downloads")).unwrap().count() == 0
    })
    .await;
}

#[tokio::test]
async fn what_was_begun_is_not_believed() {
    let Some((root, store)) = store().await else { return };
    let goods = Goods::large(50_000);
    let layer = goods.layers[0];
    // As long as the layer, and something else.
    let length = goods.blobs[&layer.to_string()].len();
    std::fs::write(root.path().join("downloads").join(layer.hex()), vec![b'x'; length]).unwrap();
    let registry = Server::start(move |asked, stream| goods.give(asked, stream));
    store.pull(&registry.reference("app"), &hasty()).await.unwrap();
    assert_eq!(store.list().await.unwrap()[0].size, 50_000);
}

#[tokio::test]
async fn two_pulls_of_one_image_share_what_they_download() {
    let Some((_root, store)) = store().await else { return };
    let layers: Vec<_> = ["a", "b", "c", "d"].map(|name| archive(&[(name, name)])).into();
    let goods = Goods::of(&layers.iter().map(|it| (it.clone(), gzip(it))).collect::<Vec<_>>());
    let digests = goods.layers.clone();
    let registry = Server::start(move |asked, stream| goods.give(asked, stream));
    let (one, two) = (registry.reference("app:one"), registry.reference("app:two"));
    let options = hasty();
    let (first, second) = tokio::join!(store.pull(&one, &options), store.pull(&two, &options));
    assert_eq!(first.unwrap().id, second.unwrap().id);
    for digest in digests {
        assert_eq!(registry.count(&digest.to_string()), 1, "{digest}");
    }
}

#[tokio::test]
async fn layers_come_side_by_side() {
    let Some((_root, store)) = store().await else { return };
    let layers: Vec<_> = ["a", "b", "c", "d"].map(|name| archive(&[(name, name)])).into();
    let goods = Goods::of(&layers.iter().map(|it| (it.clone(), gzip(it))).collect::<Vec<_>>());
    let (arrived, together) = (Mutex::new(0), Condvar::new());
    let registry = Server::start(move |asked, stream| {
        if goods.is_layer(asked) {
            // None is given before three are asked for.
            let mut count = arrived.lock().unwrap();
            *count += 1;
            together.notify_all();
            let waited = together.wait_timeout_while(count, DEADLINE, |count| *count < 3).unwrap();
            if waited.1.timed_out() {
                return;
            }
        }
        goods.give(asked, stream);
    });
    store.pull(&registry.reference("app"), &hasty()).await.unwrap();
}

#[tokio::test]
async fn a_layer_is_unpacked_while_it_comes() {
    let Some((root, store)) = store().await else { return };
    let goods = Goods::large(400_000);
    let (tmp, seen) = (root.path().join("tmp"), Arc::new(Mutex::new(false)));
    let noticed = seen.clone();
    let registry = Server::start(move |asked, stream| {
        if !goods.is_layer(asked) {
            return goods.give(asked, stream);
        }
        let blob = goods.blob(asked).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&blob[..350_000]);
        // The rest comes when the first file is there.
        let start = Instant::now();
        while !*noticed.lock().unwrap() && start.elapsed() < DEADLINE {
            *noticed.lock().unwrap() = tree(&tmp).iter().any(|path| path.ends_with("diff/first"));
            std::thread::yield_now();
        }
        let _ = stream.write_all(&blob[350_000..]);
    });
    store.pull(&registry.reference("app"), &hasty()).await.unwrap();
    assert!(*seen.lock().unwrap(), "nothing was unpacked before the last byte had come");
    assert_eq!(store.list().await.unwrap()[0].size, 400_000);
}
