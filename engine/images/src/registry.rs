//! Speaks to one registry about one repository, and says what its answers mean in Docker's words.
//!
//! **Invariant:** what a registry sends is checked against a digest before it is used; only the
//! digest that a tag stands for is the registry's own word.

use skep_types::error_chain;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use http::HeaderValue;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Document, OCI_INDEX, OCI_MANIFEST,
};
use crate::mirror::Mirror;
use crate::reference::Reference;
use crate::trust::{Auth, Proxies, RegistryConfig};

/// As Docker's dialer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A registry that sends nothing for so long has gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A manifest is small; one that takes longer is a trap.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(90);

const USER_AGENT: &str = concat!("skep/", env!("CARGO_PKG_VERSION"));

const MANIFEST_TYPES: &[&str] = &[OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];

/// A registry that answered.
pub(crate) struct Session {
    client: Client,
    /// Who is asked: the reference's domain, or a mirror of it.
    host: String,
    reference: Reference,
    auth: RegistryAuth,
    purpose: Purpose,
}

/// One of the hosts that may serve a repository.
struct Endpoint {
    host: String,
    insecure: bool,
    protocols: &'static [ClientProtocol],
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
            protocols: match (mirror.is_plain(), insecure) {
                (true, _) => &[ClientProtocol::Http],
                (false, true) => &[ClientProtocol::Https, ClientProtocol::Http],
                (false, false) => &[ClientProtocol::Https],
            },
        };
        let session =
            Self::reach(reference, config, endpoint, RegistryAuth::Anonymous, Purpose::Pull)
                .await?;
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
        let auth = match auth {
            None => RegistryAuth::Anonymous,
            Some(Auth::Basic { username, password }) => {
                RegistryAuth::Basic(username.clone(), password.clone())
            }
            Some(Auth::Token(token)) => RegistryAuth::Bearer(token.clone()),
        };
        let protocols: &'static [ClientProtocol] = if insecure {
            &[ClientProtocol::Https, ClientProtocol::Http]
        } else {
            &[ClientProtocol::Https]
        };
        let endpoint = Endpoint { host: reference.domain().to_owned(), insecure, protocols };
        Self::reach(reference, config, endpoint, auth, purpose).await
    }

    async fn reach(
        reference: &Reference,
        config: &RegistryConfig,
        endpoint: Endpoint,
        auth: RegistryAuth,
        purpose: Purpose,
    ) -> Result<Self> {
        // Whoever installed another provider first keeps it; both speak TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Endpoint { host, insecure, protocols } = endpoint;
        let authorities = config.authorities(&host)?;
        let Proxies { http, https, except } = config.proxies.clone();
        let mut unreached = None;
        for protocol in protocols {
            let client = Client::try_from(ClientConfig {
                protocol: protocol.clone(),
                accept_invalid_certificates: insecure,
                extra_root_certificates: authorities.clone(),
                // A blob in one request: the size is known, and nothing needs to be kept for it.
                use_monolithic_push: true,
                platform_resolver: None,
                connect_timeout: Some(CONNECT_TIMEOUT),
                read_timeout: Some(READ_TIMEOUT),
                user_agent: USER_AGENT,
                http_proxy: http.clone(),
                https_proxy: https.clone(),
                no_proxy: except.clone(),
                ..ClientConfig::default()
            })
            .map_err(|error| Error::Registry(error_chain(&error)))?;
            let session = Self {
                client,
                host: host.clone(),
                reference: reference.clone(),
                auth: auth.clone(),
                purpose,
            };
            match session.greet().await {
                Err(error @ Error::Unreachable { .. }) => drop(unreached.get_or_insert(error)),
                Err(error) => return Err(error),
                Ok(()) => return Ok(session),
            }
        }
        Err(unreached.expect("there is one protocol at least"))
    }

    async fn greet(&self) -> Result<()> {
        let name = self.remote(None);
        let greeting = async {
            let operation = match self.purpose {
                Purpose::Pull | Purpose::Login => RegistryOperation::Pull,
                Purpose::Push => RegistryOperation::Push,
            };
            let token = self.client.auth(&name, &self.auth, operation).await?;
            if self.purpose == Purpose::Login && token.is_none() {
                // Without a server for tokens nothing was shown to anybody yet.
                let nothing = Digest::of(b"").to_string();
                return match self.client.blob_exists(&name, &nothing).await {
                    Err(error) if is_transport(&error) || is_unauthorized(&error) => Err(error),
                    _ => Ok(()),
                };
            }
            if matches!(self.auth, RegistryAuth::Bearer(_)) {
                // A token is taken as it is, so nothing was asked yet. Whether the registry has
                // this does not matter, only whether it answers.
                let nothing = Digest::of(b"").to_string();
                match self.client.blob_exists(&name, &nothing).await {
                    Err(error) if is_transport(&error) => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        };
        tokio::time::timeout(MANIFEST_TIMEOUT, greeting)
            .await
            .map_err(|_| self.slow())?
            .map_err(|error| self.refused(&error))
    }

    /// Fetches a manifest or an index: by its digest, or what the tag stands for now.
    pub(crate) async fn document(&self, digest: Option<Digest>) -> Result<Fetched> {
        let name = self.remote(digest);
        let fetching = self.client.pull_manifest_raw(&name, &self.auth, MANIFEST_TYPES);
        let (bytes, _) = tokio::time::timeout(MANIFEST_TIMEOUT, fetching)
            .await
            .map_err(|_| self.slow())?
            .map_err(|error| self.refused(&error))?;
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(Error::Registry(format!(
                "manifest for {} is larger than {MANIFEST_BYTES_MAX} bytes",
                self.reference.familiar()
            )));
        }
        let got = Digest::of(&bytes);
        if let Some(expected) = digest.filter(|expected| *expected != got) {
            return Err(Error::Mismatch { expected, got });
        }
        let document = Document::parse(&bytes)?;
        Ok(Fetched { bytes: bytes.to_vec(), digest: got, document })
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
        let text = digest.to_string();
        let stream = self.client.pull_blob_stream(&self.remote(None), text.as_str()).await;
        let stream = stream.map_err(|error| self.refused(&error))?.stream;
        Ok(stream.map_err(move |error| broken(error, digest)).boxed())
    }

    /// What is left of a blob, of which so much is there already. A registry may not know how to
    /// give less than the whole. Whoever reads it checks it together with what was there.
    pub(crate) async fn rest_of_blob(&self, digest: Digest, offset: u64) -> Result<Rest> {
        let text = digest.to_string();
        let name = self.remote(None);
        let asking = self.client.pull_blob_stream_partial(&name, text.as_str(), offset, None);
        let broken = move |error| broken(error, digest);
        match asking.await.map_err(|error| self.refused(&error))? {
            BlobResponse::Partial(part) => Ok(Rest::Rest(part.stream.map_err(broken).boxed())),
            BlobResponse::Full(whole) => Ok(Rest::Whole(whole.stream.map_err(broken).boxed())),
        }
    }

    /// Whether the repository has a blob.
    pub(crate) async fn has_blob(&self, digest: Digest) -> Result<bool> {
        let asking = self.client.blob_exists(&self.remote(None), &digest.to_string()).await;
        asking.map_err(|error| self.refused(&error))
    }

    /// Gives the repository a blob.
    pub(crate) async fn put_blob(
        &self,
        digest: Digest,
        bytes: u64,
        content: impl Stream<Item = Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        let content =
            content.map_err(|error| OciDistributionError::GenericError(Some(error_chain(&error))));
        self.client
            .push_blob_stream(&self.remote(None), content, &digest.to_string(), Some(bytes))
            .await
            .map(drop)
            .map_err(|error| self.refused(&error))
    }

    /// Gives the reference its manifest.
    pub(crate) async fn put_manifest(&self, media_type: &str, bytes: Vec<u8>) -> Result<()> {
        let media_type = HeaderValue::from_str(media_type).map_err(|_| Error::Invalid {
            what: format!("media type {media_type:?}"),
            reason: "it cannot stand in a header".to_owned(),
        })?;
        self.client
            .push_manifest_raw(&self.remote(None), bytes, media_type)
            .await
            .map(drop)
            .map_err(|error| self.refused(&error))
    }

    fn remote(&self, digest: Option<Digest>) -> oci_client::Reference {
        let (domain, path) = (self.host.clone(), self.reference.path().to_owned());
        match (digest, self.reference.tag()) {
            (Some(digest), _) => {
                oci_client::Reference::with_digest(domain, path, digest.to_string())
            }
            (None, tag) => {
                let tag = tag.unwrap_or("latest").to_owned();
                oci_client::Reference::with_tag(domain, path, tag)
            }
        }
    }

    fn slow(&self) -> Error {
        let domain = &self.host;
        Error::Registry(format!("registry {domain} did not answer in {MANIFEST_TIMEOUT:?}"))
    }

    /// What the registry's refusal means, in Docker's words.
    fn refused(&self, error: &OciDistributionError) -> Error {
        let (name, whole) = (self.reference.familiar_name(), self.reference.familiar());
        let denied = |cause: &str| {
            match self.purpose {
                Purpose::Pull => {}
                Purpose::Push => return Error::Registry(cause.to_owned()),
                Purpose::Login => {
                    let cause = "unauthorized: incorrect username or password";
                    return Error::Login(cause.to_owned());
                }
            }
            Error::Registry(format!(
                "pull access denied for {name}, repository does not exist or may require 'docker login': {cause}"
            ))
        };
        match error {
            OciDistributionError::RegistryError { envelope, .. } => {
                let Some(first) = envelope.errors.first() else {
                    return Error::Registry(error_chain(error));
                };
                let cause = |code: &str| {
                    let message = if first.message.is_empty() { code } else { &first.message };
                    format!("{code}: {message}")
                };
                match &first.code {
                    OciErrorCode::ManifestUnknown => Error::Registry(format!(
                        "manifest for {whole} not found: {}",
                        cause("manifest unknown")
                    )),
                    OciErrorCode::NameUnknown => Error::Registry(format!(
                        "repository {name} not found: {}",
                        cause("name unknown")
                    )),
                    OciErrorCode::Denied => denied(&cause("denied")),
                    OciErrorCode::Unauthorized => denied(&cause("unauthorized")),
                    OciErrorCode::Toomanyrequests => Error::Registry(cause("toomanyrequests")),
                    OciErrorCode::BlobUnknown => Error::Registry(format!(
                        "content of {whole} not found: {}",
                        cause("blob unknown")
                    )),
                    _ => Error::Registry(format!("registry refused {whole}: {}", first.message)),
                }
            }
            OciDistributionError::UnauthorizedError { .. } => {
                denied("unauthorized: authentication required")
            }
            OciDistributionError::AuthenticationFailure(_) => {
                denied("unauthorized: incorrect username or password")
            }
            OciDistributionError::ServerError { code: 404, .. } => {
                Error::Registry(format!("manifest for {whole} not found"))
            }
            OciDistributionError::RequestError(error)
                if error.status().is_some_and(|status| matches!(status.as_u16(), 401 | 403)) =>
            {
                denied("unauthorized: authentication required")
            }
            // DEVIATION: Docker takes a certificate that is its own authority; the TLS library here
            // does not, and its bare word would help nobody.
            error if is_transport(error) && error_chain(error).contains("CaUsedAsEndEntity") => {
                Error::Unreachable {
                    domain: self.reference.domain().to_owned(),
                    reason: "its certificate is an authority's: give the registry one that an \
                             authority has signed, and trust that authority"
                        .to_owned(),
                }
            }
            error if is_transport(error) => {
                let domain = self.reference.domain();
                Error::Unreachable { domain: domain.to_owned(), reason: error_chain(error) }
            }
            error => Error::Registry(match self.purpose {
                Purpose::Pull => format!("failed to pull {whole}: {}", error_chain(error)),
                Purpose::Push => format!("failed to push {whole}: {}", error_chain(error)),
                Purpose::Login => error_chain(error),
            }),
        }
    }
}

/// The client checks what passes as well, and says so in its stream.
fn broken(error: io::Error, expected: Digest) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<DigestError>());
    match inner {
        Some(DigestError::VerificationError { actual, .. }) => match actual.parse() {
            Ok(got) => Error::Mismatch { expected, got },
            Err(_) => Error::Registry(format!("content does not match its digest {expected}")),
        },
        _ => Error::Interrupted { source: error },
    }
}

fn is_unauthorized(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::UnauthorizedError { .. } => true,
        OciDistributionError::RequestError(error) => {
            error.status().is_some_and(|status| status.as_u16() == 401)
        }
        _ => false,
    }
}

fn is_transport(error: &OciDistributionError) -> bool {
    matches!(error, OciDistributionError::RequestError(error) if error.status().is_none())
}
