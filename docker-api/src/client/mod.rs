//! A client of the API over a Unix socket or TCP: one connection a call, typed documents.
//!
//! It retries nothing: whether a call may be repeated is its caller's knowledge. Invariant: every wait for an answer has a bound, but
//! for streams after their head, which last as long as they last.

mod calls;
mod containers;
mod streams;
mod transport;

pub use containers::Ended;
pub use streams::{Download, ProgressLines};
use transport::Target;
pub use transport::{Connection, Duplex, Tls};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::defaults;
use crate::filters::Filters;
use crate::json::*;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("Cannot connect to the skep daemon at {host}. Is the skep daemon running?")]
    Connect { host: String, source: std::io::Error },
    #[error("unable to parse docker host `{host}`")]
    BadHost { host: String },
    #[error("Error response from daemon: {message}")]
    Daemon { status: StatusCode, message: String },
    #[error("no answer from {host} to {path} within {within:?}")]
    Late { host: String, path: String, within: std::time::Duration },
    #[error("failed to call {host}: {reason}")]
    Transport { host: String, reason: String },
    /// What began well and failed on the way; the daemon's words.
    #[error("{message}")]
    Failed { message: String },
    #[error("failed to read the daemon's answer to {path}")]
    Answer { path: String, source: serde_json::Error },
}

impl ClientError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Daemon { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

/// An address to call; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    target: Target,
    host: String,
    answer_timeout: std::time::Duration,
    /// What paths begin with: the version of the API that is spoken, `/v1.44`.
    prefix: std::sync::Arc<str>,
}

type Answer<T> = Result<T, ClientError>;

/// A request's body: whole, or read while it is sent.
type Body = UnsyncBoxBody<Bytes, std::io::Error>;

fn whole(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte as char)
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn with_filters(path: &str, filters: &Filters) -> String {
    if filters.is_empty() {
        return path.into();
    }
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}filters={}", encode(&filters.to_json()))
}

impl Client {
    /// `unix:///path`, a bare absolute path, `tcp://host:port` or `ssh://[user@]host[:port]`. No connection is made yet.
    pub fn connect(host: &str) -> Answer<Self> {
        Self::with_tls(host, None)
    }

    /// As [`Self::connect`]; over TCP with these certificates.
    pub fn with_tls(host: &str, tls: Option<Tls>) -> Answer<Self> {
        let target = Target::parse(host, tls.as_ref())
            .map_err(|message| ClientError::Failed { message })?
            .ok_or_else(|| ClientError::BadHost { host: host.into() })?;
        let shown = if host.starts_with('/') { format!("unix://{host}") } else { host.into() };
        let prefix = format!("/v{}", defaults::API_VERSION).into();
        Ok(Self { target, host: shown, answer_timeout: defaults::ANSWER_TIMEOUT, prefix })
    }

    /// `SKEP_HOST`, else `DOCKER_HOST`, else the default socket.
    pub fn from_env() -> Answer<Self> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = set("SKEP_HOST").or_else(|| set("DOCKER_HOST"));
        Self::connect(host.as_deref().unwrap_or(defaults::SOCKET))
    }

    /// Asks the daemon which versions it speaks, and speaks the newest that both know, as Docker's
    /// clients do. Without it our newest is spoken, which our own daemon knows.
    pub async fn negotiated(mut self) -> Answer<Self> {
        self.prefix = "".into();
        let answer = self.send(Method::GET, "/_ping", None, whole(Vec::new())).await?;
        let theirs = answer.headers().get("Api-Version").and_then(|it| it.to_str().ok());
        let older = theirs
            .filter(|it| number(it).is_some_and(|it| Some(it) < number(defaults::API_VERSION)));
        self.prefix = format!("/v{}", older.unwrap_or(defaults::API_VERSION)).into();
        Ok(self)
    }

    /// Speaks that version, `1.44`, whatever the daemon may think of it.
    pub fn with_api_version(mut self, version: &str) -> Self {
        self.prefix = format!("/v{version}").into();
        self
    }

    /// Whether logs say by their kind whether they are in frames: since 1.42.
    fn tells_frames(&self) -> bool {
        number(self.api_version()).is_none_or(|version| version >= (1, 42))
    }

    /// The version that is spoken.
    pub fn api_version(&self) -> &str {
        self.prefix.trim_start_matches("/v")
    }

    /// Another bound than the default on the wait for an answer; streams have none after their head.
    pub fn with_answer_timeout(mut self, timeout: std::time::Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    fn transport(&self, error: impl std::fmt::Display) -> ClientError {
        ClientError::Transport { host: self.host.clone(), reason: error.to_string() }
    }

    /// One connection of its own, with nothing said yet.
    pub async fn dial(&self) -> Answer<Connection> {
        let refused = |source| ClientError::Connect { host: self.host.clone(), source };
        tokio::time::timeout(defaults::CONNECT_TIMEOUT, self.target.open())
            .await
            .map_err(|_| refused(std::io::ErrorKind::TimedOut.into()))?
            .map_err(refused)
    }

    async fn sender(&self) -> Answer<hyper::client::conn::http1::SendRequest<Body>> {
        let stream = self.dial().await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.transport(error))?;
        // Ends with the sender or the peer; its error reaches the caller through the request.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// One call; the answer's bytes, or the daemon's error, within a bound.
    async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Answer<Bytes> {
        self.timely(path, self.exchange(method, path, None, body)).await
    }

    /// Waits for an answer, or its head, within a bound.
    async fn timely<T>(&self, path: &str, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
        let within = self.answer_timeout;
        tokio::time::timeout(within, answer).await.unwrap_or_else(|_| {
            Err(ClientError::Late { host: self.host.clone(), path: path.into(), within })
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        auth: Option<&RegistryAuth>,
        body: Vec<u8>,
    ) -> Answer<Bytes> {
        let response = self.send(method, path, auth, whole(body)).await?;
        let limited = Limited::new(response.into_body(), defaults::ANSWER_BYTES_MAX);
        Ok(limited.collect().await.map_err(|error| self.transport(error))?.to_bytes())
    }

    /// Sends a request; gives the answer's head with its body to come, or the daemon's error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        auth: Option<&RegistryAuth>,
        body: Body,
    ) -> Answer<http::Response<Incoming>> {
        let mut headers = HeaderMap::new();
        if let Some(auth) = auth {
            let value = auth.to_header().parse().map_err(|error| self.transport(error))?;
            headers.insert("X-Registry-Auth", value);
        }
        self.send_with(method, path, headers, body).await
    }

    async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Answer<http::Response<Incoming>> {
        let mut sender = self.sender().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(header::HOST, "api.skep.local")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| self.transport(error))?;
        request.headers_mut().extend(headers);
        let response = sender.send_request(request).await.map_err(|error| self.transport(error))?;
        let status = response.status();
        // Not modified: there was nothing to do, which is no error either.
        let fine = [StatusCode::SWITCHING_PROTOCOLS, StatusCode::NOT_MODIFIED];
        if status.is_success() || fine.contains(&status) {
            return Ok(response);
        }
        let limited = Limited::new(response.into_body(), defaults::LINE_BYTES_MAX);
        let bytes = limited.collect().await.map_err(|error| self.transport(error))?.to_bytes();
        let message = serde_json::from_slice::<ErrorResponse>(&bytes).map_or_else(
            |_| String::from_utf8_lossy(&bytes).trim().to_owned(),
            |error| error.message,
        );
        Err(ClientError::Daemon { status, message })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Answer<T> {
        Self::read(path, &self.call(method, path, body).await?)
    }

    fn read<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Answer<T> {
        serde_json::from_slice(bytes)
            .map_err(|source| ClientError::Answer { path: path.into(), source })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.json(Method::GET, path, Vec::new()).await
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, filters: &Filters) -> Answer<Vec<T>> {
        // Go's servers write an empty list as null.
        Ok(self.get::<Option<Vec<T>>>(&with_filters(path, filters)).await?.unwrap_or_default())
    }

    fn bytes(value: &impl Serialize) -> Vec<u8> {
        serde_json::to_vec(value).expect("API documents always serialise")
    }

    async fn post(&self, path: &str, value: &impl Serialize) -> Answer<()> {
        self.call(Method::POST, path, Self::bytes(value)).await.map(drop)
    }

    async fn create<T: DeserializeOwned>(&self, path: &str, value: &impl Serialize) -> Answer<T> {
        self.json(Method::POST, path, Self::bytes(value)).await
    }

    /// As [`Self::create`], with a login for a registry.
    async fn create_with<T: DeserializeOwned>(
        &self,
        path: &str,
        auth: Option<&RegistryAuth>,
        value: &impl Serialize,
    ) -> Answer<T> {
        let sent = self.exchange(Method::POST, path, auth, Self::bytes(value));
        Self::read(path, &self.timely(path, sent).await?)
    }

    async fn delete(&self, path: &str) -> Answer<()> {
        self.call(Method::DELETE, path, Vec::new()).await.map(drop)
    }
}

/// A version of the API as numbers.
fn number(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
