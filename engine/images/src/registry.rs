//! Speaks to one registry about one repository, and says what its answers mean in Docker's words.
//!
//! **Invariant:** what a registry sends is checked against a digest before it is used; only the
//! digest that a tag stands for is the registry's own word.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Body, Method, Response, StatusCode};
use skep_types::error_chain;

use crate::digest::Digest;
use crate::distribution::{Client, Failure, Grant, Refusal, Target, read_all};
use crate::error::{Error, Result};
use crate::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Document, OCI_INDEX, OCI_MANIFEST,
};
use crate::mirror::Mirror;
use crate::reference::Reference;
use crate::trust::{Auth, RegistryConfig};

const MANIFEST_TYPES: [&str; 4] = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];

/// A registry that answered.
pub(crate) struct Session {
    client: Client,
    /// Who is asked: the reference's domain, or a mirror of it.
    host: String,
    reference: Reference,
    purpose: Purpose,
    /// Whether there is no login.
    anonymous: bool,
    /// A whole answer that is small comes within this.
    patience: std::time::Duration,
}

/// One of the hosts that may serve a repository.
struct Endpoint {
    host: String,
    insecure: bool,
    schemes: &'static [&'static str],
}

/// What a session is for: registries grant the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Pull,
    Push,
    /// To see whether a login is good.
    Login,
}

/// What a registry gives when it is asked for the rest of a blob.
pub(crate) enum Rest {
    Rest(BoxStream<'static, Result<Bytes>>),
    Whole(BoxStream<'static, Result<Bytes>>),
}

/// A manifest or index, checked.
pub(crate) struct Fetched {
    pub bytes: Vec<u8>,
    pub digest: Digest,
    pub document: Document,
}

impl Session {
    /// Reaches the registry and fetches what the reference names.
    pub(crate) async fn open(
        reference: &Reference,
        config: &RegistryConfig,
        auth: Option<&Auth>,
    ) -> Result<(Self, Fetched)> {
        for mirror in config.mirrors_of(reference.domain()) {
            match Self::open_mirror(reference, config, mirror).await {
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    let image = reference.familiar();
                    tracing::warn!(%mirror, image, %error, "a mirror does not serve this");
                }
            }
        }
        let session = Self::connect(reference, config, auth, Purpose::Pull).await?;
        let fetched = session.document(reference.digest()).await?;
        Ok((session, fetched))
    }

    // DEVIATION: Docker shows a mirror the login for Docker's own registry; here nobody but that
    // registry sees it.
    async fn open_mirror(
        reference: &Reference,
        config: &RegistryConfig,
        mirror: &Mirror,
    ) -> Result<(Self, Fetched)> {
        let insecure = config.is_insecure(mirror.host()).await?;
        let endpoint = Endpoint {
            host: mirror.host().to_owned(),
            insecure,
            schemes: match (mirror.is_plain(), insecure) {
                (true, _) => &["http"],
                (false, true) => &["https", "http"],
                (false, false) => &["https"],
            },
        };
        let session = Self::reach(reference, config, endpoint, None, Purpose::Pull).await?;
        let fetched = session.document(reference.digest()).await?;
        Ok((session, fetched))
    }

    /// Reaches the registry and tells it who asks.
    pub(crate) async fn connect(
        reference: &Reference,
        config: &RegistryConfig,
        auth: Option<&Auth>,
        purpose: Purpose,
    ) -> Result<Self> {
        let insecure = config.is_insecure(reference.domain()).await?;
        let endpoint = Endpoint {
            host: host_of(reference.domain()).to_owned(),
            insecure,
            schemes: if insecure { &["https", "http"] } else { &["https"] },
        };
        Self::reach(reference, config, endpoint, auth, purpose).await
    }

    async fn reach(
        reference: &Reference,
        config: &RegistryConfig,
        endpoint: Endpoint,
        auth: Option<&Auth>,
        purpose: Purpose,
    ) -> Result<Self> {
        let Endpoint { host, insecure, schemes } = endpoint;
        let mut unreached = None;
        for scheme in schemes {
            let target = Target {
                scheme,
                host: &host,
                insecure,
                repository: reference.path(),
                grant: match purpose {
                    Purpose::Pull => Grant::Pull,
                    Purpose::Push => Grant::PullAndPush,
                    Purpose::Login => Grant::Nothing,
                },
            };
            let session = Self {
                client: Client::new(&target, config, auth.cloned())?,
                host: host.clone(),
                reference: reference.clone(),
                purpose,
                anonymous: auth.is_none(),
                patience: config.patience.answer,
            };
            match session.greet().await {
                Err(error @ Error::Unreachable { .. }) => drop(unreached.get_or_insert(error)),
                Err(error) => return Err(error),
                Ok(()) => return Ok(session),
            }
        }
        Err(unreached.expect("there is one scheme at least"))
    }

    async fn greet(&self) -> Result<()> {
        match self.in_time(self.client.greet()).await? {
            // What it does not show to anybody it may still show of a repository.
            Err(Failure::Refused(_)) if self.purpose != Purpose::Login => Ok(()),
            Err(failure) => Err(self.refused(&failure)),
            Ok(_) => Ok(()),
        }
    }

    /// A token that stands for the login from now on, where the registry gives such.
    pub(crate) async fn identity(&self) -> Option<String> {
        self.client.identity().await
    }

    async fn in_time<T>(&self, asking: impl Future<Output = T>) -> Result<T> {
        let (domain, patience) = (&self.host, self.patience);
        tokio::time::timeout(patience, asking).await.map_err(|_| {
            Error::Registry(format!("registry {domain} did not answer in {patience:?}"))
        })
    }

    /// Fetches a manifest or an index: by its digest, or what the tag stands for now.
    pub(crate) async fn document(&self, digest: Option<Digest>) -> Result<Fetched> {
        let path = self.manifest_path(digest);
        let request = self.client.request(Method::GET, &path);
        let request = request.header(ACCEPT, MANIFEST_TYPES.join(", "));
        let fetching = async {
            let response = self.client.send(request).await?;
            read_all(response, MANIFEST_BYTES_MAX).await
        };
        let bytes = match self.in_time(fetching).await? {
            Ok(bytes) => bytes,
            Err(Failure::TooLarge(_)) => {
                return Err(Error::Registry(format!(
                    "manifest for {} is larger than {MANIFEST_BYTES_MAX} bytes",
                    self.reference.familiar()
                )));
            }
            Err(failure) => return Err(self.refused(&failure)),
        };
        let got = Digest::of(&bytes);
        if let Some(expected) = digest.filter(|expected| *expected != got) {
            return Err(Error::Mismatch { expected, got });
        }
        let document = Document::parse(&bytes)?;
        Ok(Fetched { bytes, digest: got, document })
    }

    /// A small blob as a whole, checked.
    pub(crate) async fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.size > CONFIG_BYTES_MAX {
            return Err(Error::Registry(format!(
                "configuration of {} is larger than {CONFIG_BYTES_MAX} bytes",
                self.reference.familiar()
            )));
        }
        let mut stream = self.blob(descriptor.digest).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > descriptor.size {
                break;
            }
        }
        let got = Digest::of(&bytes);
        if got != descriptor.digest {
            return Err(Error::Mismatch { expected: descriptor.digest, got });
        }
        Ok(bytes)
    }

    /// A blob as it comes; whoever reads it checks it.
    pub(crate) async fn blob(&self, digest: Digest) -> Result<BoxStream<'static, Result<Bytes>>> {
        // Other addresses that a manifest may name for a layer are never asked.
        let request = self.client.request(Method::GET, &format!("blobs/{digest}"));
        let response = self.client.send(request).await.map_err(|failure| self.refused(&failure))?;
        Ok(content(response))
    }

    /// What is left of a blob, of which so much is there already. A registry may not know how to
    /// give less than the whole. Whoever reads it checks it together with what was there.
    pub(crate) async fn rest_of_blob(&self, digest: Digest, offset: u64) -> Result<Rest> {
        let request = self.client.request(Method::GET, &format!("blobs/{digest}"));
        let request = request.header(RANGE, format!("bytes={offset}-"));
        let response = self.client.send(request).await.map_err(|failure| self.refused(&failure))?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(Rest::Whole(content(response)));
        }
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        // `bytes FIRST-LAST/ALL`
        let first = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next());
        if first.and_then(|first| first.parse().ok()) != Some(offset) {
            let range = range.unwrap_or("none");
            return Err(Error::Registry(format!(
                "registry {} was asked for bytes from {offset} and gave the range {range:?}",
                self.host
            )));
        }
        Ok(Rest::Rest(content(response)))
    }

    /// Whether the repository has a blob.
    pub(crate) async fn has_blob(&self, digest: Digest) -> Result<bool> {
        let request = self.client.request(Method::HEAD, &format!("blobs/{digest}"));
        match self.in_time(self.client.send(request)).await? {
            Ok(_) => Ok(true),
            Err(Failure::Refused(Refusal { status: 404, .. })) => Ok(false),
            Err(failure) => Err(self.refused(&failure)),
        }
    }

    /// Gives the repository a blob.
    pub(crate) async fn put_blob(
        &self,
        digest: Digest,
        bytes: u64,
        content: impl Stream<Item = Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        let begin = self.client.request(Method::POST, "blobs/uploads/").header(CONTENT_LENGTH, 0);
        let begun = self.in_time(self.client.send(begin)).await?;
        let begun = begun.map_err(|failure| self.refused(&failure))?;
        let place = begun.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let request = place.and_then(|place| self.client.request_to(Method::PUT, place));
        let Some(request) = request else {
            let nowhere = "it names no place for an upload".to_owned();
            return Err(self.refused(&Failure::Nonsense(nowhere)));
        };
        // A blob in one request: the size is known, and nothing needs to be kept for it.
        let request = request
            .query(&[("digest", digest.to_string())])
            .header(CONTENT_LENGTH, bytes)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Body::wrap_stream(content));
        self.client.send(request).await.map(drop).map_err(|failure| self.refused(&failure))
    }

    /// Gives the reference its manifest.
    pub(crate) async fn put_manifest(&self, media_type: &str, bytes: Vec<u8>) -> Result<()> {
        let request = self.client.request(Method::PUT, &self.manifest_path(None));
        let request = request.header(CONTENT_TYPE, media_type).body(bytes);
        let put = self.in_time(self.client.send(request)).await?;
        put.map(drop).map_err(|failure| self.refused(&failure))
    }

    fn manifest_path(&self, digest: Option<Digest>) -> String {
        match digest {
            Some(digest) => format!("manifests/{digest}"),
            None => format!("manifests/{}", self.reference.tag().unwrap_or("latest")),
        }
    }

    /// What the registry's refusal means, in Docker's words.
    fn refused(&self, failure: &Failure) -> Error {
        match failure {
            Failure::Refused(refusal) => self.no(refusal),
            Failure::Token(refusal) if refusal.status >= 500 || refusal.status == 429 => {
                Error::Busy { reason: self.spoken(refusal), wait: refusal.wait }
            }
            Failure::Token(_) if self.anonymous => {
                self.denied("unauthorized: authentication required")
            }
            Failure::Token(_) => self.denied("unauthorized: incorrect username or password"),
            // DEVIATION: Docker takes a certificate that is its own authority; the TLS library here
            // does not, and its bare word would help nobody.
            Failure::Transport(error) if error_chain(error).contains("CaUsedAsEndEntity") => {
                Error::Unreachable {
                    domain: self.reference.domain().to_owned(),
                    reason: "its certificate is an authority's: give the registry one that an \
                             authority has signed, and trust that authority"
                        .to_owned(),
                }
            }
            // A redirect that is not followed, or a request that cannot be made, stays so.
            Failure::Transport(error) if error.is_redirect() || error.is_builder() => {
                Error::Registry(self.failed(&error_chain(error)))
            }
            Failure::Transport(error) => {
                let domain = self.reference.domain();
                Error::Unreachable { domain: domain.to_owned(), reason: error_chain(error) }
            }
            Failure::Nonsense(_) | Failure::TooLarge(_) => {
                Error::Registry(self.failed(&failure.to_string()))
            }
        }
    }

    fn failed(&self, why: &str) -> String {
        let whole = self.reference.familiar();
        match self.purpose {
            Purpose::Pull => format!("failed to pull {whole}: {why}"),
            Purpose::Push => format!("failed to push {whole}: {why}"),
            Purpose::Login => why.to_owned(),
        }
    }

    fn denied(&self, cause: &str) -> Error {
        match self.purpose {
            Purpose::Pull => {}
            Purpose::Push => return Error::Registry(cause.to_owned()),
            Purpose::Login => {
                let cause = "unauthorized: incorrect username or password";
                return Error::Login(cause.to_owned());
            }
        }
        let name = self.reference.familiar_name();
        Error::Registry(format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': {cause}"
        ))
    }

    /// A refusal that may pass.
    fn spoken(&self, refusal: &Refusal) -> String {
        match refusal.status {
            429 => format!("toomanyrequests: {}", refusal.message),
            status => self
                .failed(&format!("registry {} answered {status} {}", self.host, refusal.message)),
        }
    }

    fn no(&self, refusal: &Refusal) -> Error {
        let (name, whole) = (self.reference.familiar_name(), self.reference.familiar());
        let cause = |code: &str| format!("{code}: {}", refusal.message);
        match (refusal.code.as_str(), refusal.status) {
            (_, 401) => self.denied("unauthorized: authentication required"),
            _ if refusal.is_passing() => {
                Error::Busy { reason: self.spoken(refusal), wait: refusal.wait }
            }
            ("MANIFEST_UNKNOWN", _) => Error::Registry(format!(
                "manifest for {whole} not found: {}",
                cause("manifest unknown")
            )),
            ("NAME_UNKNOWN", _) => {
                Error::Registry(format!("repository {name} not found: {}", cause("name unknown")))
            }
            ("BLOB_UNKNOWN", _) => {
                Error::Registry(format!("content of {whole} not found: {}", cause("blob unknown")))
            }
            ("TOOMANYREQUESTS", _) => {
                Error::Busy { reason: cause("toomanyrequests"), wait: refusal.wait }
            }
            ("DENIED", _) => self.denied(&cause("denied")),
            ("UNAUTHORIZED", _) => self.denied(&cause("unauthorized")),
            ("", 403) => self.denied("unauthorized: authentication required"),
            ("", 404) => Error::Registry(format!("manifest for {whole} not found")),
            ("", status) => {
                Error::Registry(self.failed(&format!(
                    "registry {} answered {status} {}",
                    self.host, refusal.message
                )))
            }
            _ => Error::Registry(format!("registry refused {whole}: {}", refusal.message)),
        }
    }
}

/// Where Docker's own registry is reached.
fn host_of(domain: &str) -> &str {
    if domain == "docker.io" { "index.docker.io" } else { domain }
}

fn content(response: Response) -> BoxStream<'static, Result<Bytes>> {
    let interrupted = |error| Error::Interrupted { source: io::Error::other(error) };
    response.bytes_stream().map_err(interrupted).boxed()
}
