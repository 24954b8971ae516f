//! Where the API is served: Unix sockets and TCP ports, and who may speak there.
//!
//! Invariant: a certificate or key that cannot be used stops the daemon before anything is served.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use skep_docker_api::{Server, ServerError, defaults};

/// Docker's ports: without TLS, and with it.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;
/// Where a TCP host is that names a port alone, in Docker's words.
const LOCAL: &str = "localhost";
/// The groups that may use the socket when nobody names one: ours, or Docker's where there is none.
const GROUPS: &[&str] = &["skep", "docker"];

/// Why the API cannot be served as it is asked.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("invalid bind address ({0}): unsupported proto: expected unix or tcp")]
    Protocol(String),
    #[error("invalid bind address ({host}): {reason}")]
    Address { host: String, reason: String },
    #[error("group {0} not found")]
    Group(String),
    #[error("invalid TLS configuration: {0}")]
    Tls(String),
    #[error("failed to find the address of tcp://{host}")]
    Lookup { host: String, source: std::io::Error },
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// One place where the API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// What flags and file say of it; what they do not say is not there.
#[derive(Debug, Clone, Default)]
pub struct ApiOptions {
    pub hosts: Vec<String>,
    pub group: Option<String>,
    pub tls: Option<bool>,
    pub tls_verify: Option<bool>,
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// The files of TLS on the TCP ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate of this authority; none: everybody may speak.
    pub client_ca: Option<PathBuf>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    pub hosts: Vec<Listen>,
    /// Who may use the Unix sockets beside root; none: whoever is one of the usual.
    pub group: Option<String>,
    pub tls: Option<ApiTls>,
}

impl ApiConfig {
    /// One Unix socket, as it is without a word.
    pub fn socket(path: PathBuf) -> Self {
        Self { hosts: vec![Listen::Unix(path)], group: None, tls: None }
    }

    /// By Docker's rules: whoever names `tlsverify` means TLS, and TLS verifies unless it is told not to.
    ///
    /// # Errors
    /// A host that is none.
    pub fn new(options: ApiOptions) -> Result<Self, ListenError> {
        let ApiOptions { hosts, group, tls, tls_verify, ca, certificate, key } = options;
        let is_tls = tls_verify.is_some() || tls == Some(true);
        let mut places = Vec::new();
        for host in &hosts {
            let place = parse(host, is_tls)?;
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() {
            places.push(Listen::Unix(defaults::SOCKET.into()));
        }
        let usual = |name: &str| usual_dir().join(name);
        let tls = is_tls.then(|| ApiTls {
            certificate: certificate.unwrap_or_else(|| usual("cert.pem")),
            key: key.unwrap_or_else(|| usual("key.pem")),
            client_ca: tls_verify.unwrap_or(true).then(|| ca.unwrap_or_else(|| usual("ca.pem"))),
        });
        Ok(Self { hosts: places, group, tls })
    }

    /// What an operator should know of it, in the words that `docker info` shows.
    pub fn warnings(&self) -> Vec<String> {
        const RISK: &str = "\n         Access to the remote API is equivalent to root access on \
                            the host. Refer\n         to the 'Docker daemon attack surface' \
                            section in the documentation for\n         more information: \
                            https://docs.docker.com/go/attack-surface/";
        let of = |host: &Listen| match (host, &self.tls) {
            (Listen::Tcp(at), None) => {
                Some(format!("WARNING: API is accessible on http://{at} without encryption.{RISK}"))
            }
            (Listen::Tcp(at), Some(ApiTls { client_ca: None, .. })) => Some(format!(
                "WARNING: API is accessible on https://{at} without TLS client verification.{RISK}"
            )),
            _ => None,
        };
        self.hosts.iter().filter_map(of).collect()
    }

    /// Binds all of it, or nothing.
    ///
    /// # Errors
    /// What cannot be bound, or used.
    pub async fn bind(&self) -> Result<Vec<Server>, ListenError> {
        let has_tcp = self.hosts.iter().any(|host| matches!(host, Listen::Tcp(_)));
        let tls = match &self.tls {
            Some(tls) if has_tcp => Some(Arc::new(server_config(tls)?)),
            _ => None,
        };
        let gid = group(self.group.as_deref())?;
        let mut servers: Vec<Server> = Vec::new();
        for host in &self.hosts {
            let bound = match host {
                Listen::Unix(path) => vec![Server::bind(path, gid).await?],
                Listen::Tcp(address) => {
                    if self.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
                        warn(host);
                    }
                    let mut bound = Vec::new();
                    for address in look_up(address).await? {
                        bound.push(Server::bind_tcp(address, tls.clone()).await?);
                    }
                    bound
                }
            };
            for server in bound {
                let server = match servers.first() {
                    Some(first) => server.sharing(first),
                    None => server,
                };
                servers.push(server);
            }
            tracing::info!(%host, "API listens");
        }
        Ok(servers)
    }
}

// DEVIATION: Docker also waits for some seconds, that the words be read; a log keeps them.
fn warn(host: &Listen) {
    tracing::warn!(
        %host,
        "Binding to IP address without --tlsverify is insecure and gives root access on this \
         machine to everyone who has access to your network."
    );
    tracing::warn!(
        %host,
        "Binding to an IP address, even on localhost, can also give access to scripts run in a \
         browser. Be safe out there!"
    );
}

/// Where Docker's daemon looks for certificates that nobody names.
fn usual_dir() -> PathBuf {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = var("DOCKER_CERT_PATH").or_else(|| var("DOCKER_CONFIG")).map(PathBuf::from);
    named.unwrap_or_else(|| {
        PathBuf::from(var("HOME").unwrap_or_else(|| "/root".into())).join(".docker")
    })
}

fn parse(host: &str, tls: bool) -> Result<Listen, ListenError> {
    let text = host.trim();
    let (protocol, rest) = match text.split_once("://") {
        Some((protocol, rest)) => (protocol, rest),
        None if text.is_empty() || text.starts_with('/') => ("unix", text),
        // As in Docker, an address alone is a TCP one.
        None => ("tcp", text),
    };
    match protocol {
        "unix" if rest.is_empty() => Ok(Listen::Unix(defaults::SOCKET.into())),
        "unix" if rest.starts_with('/') => Ok(Listen::Unix(rest.into())),
        "unix" => {
            let reason = "expected an absolute path (unix:///PATH)".to_owned();
            Err(ListenError::Address { host: host.to_owned(), reason })
        }
        "tcp" => Ok(Listen::Tcp(tcp(host, rest, if tls { TLS_PORT } else { PORT })?)),
        _ => Err(ListenError::Protocol(host.to_owned())),
    }
}

/// `HOST:PORT`, with Docker's host and port for what is not given.
fn tcp(whole: &str, rest: &str, default_port: u16) -> Result<String, ListenError> {
    let wrong =
        |reason: &str| ListenError::Address { host: whole.to_owned(), reason: reason.to_owned() };
    if rest.contains(['/', '?', '#', '@']) {
        return Err(wrong("expected HOST:PORT"));
    }
    let (name, port) = match rest.rsplit_once(':') {
        // The last colon of an address in brackets may be within it.
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (rest, ""),
    };
    let name = if name.is_empty() { LOCAL } else { name };
    if name.contains(':') && !(name.starts_with('[') && name.ends_with(']')) {
        return Err(wrong("an IPv6 address stands in brackets"));
    }
    let port = match port {
        "" => default_port,
        port => port.parse().map_err(|_| wrong("invalid port"))?,
    };
    Ok(format!("{name}:{port}"))
}

/// All addresses of a host: a name may stand for one of each family.
async fn look_up(host: &str) -> Result<Vec<SocketAddr>, ListenError> {
    let failed = |source| ListenError::Lookup { host: host.to_owned(), source };
    let found: Vec<SocketAddr> = tokio::net::lookup_host(host).await.map_err(failed)?.collect();
    // Docker takes one; an IPv4 one where there is a choice, for that is what `localhost` means to most.
    let first = found.iter().find(|it| it.is_ipv4()).or(found.first()).copied();
    first.map(|it| vec![it]).ok_or_else(|| {
        failed(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"))
    })
}

fn group(named: Option<&str>) -> Result<Option<u32>, ListenError> {
    let find = |name: &str| {
        nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    };
    match named {
        None => Ok(GROUPS.iter().find_map(|name| find(name))),
        // As in Docker: nobody beside root.
        Some("") => Ok(None),
        Some(name) => {
            let gid = name.parse().ok().or_else(|| find(name));
            gid.map(Some).ok_or_else(|| ListenError::Group(name.to_owned()))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ListenError> {
    std::fs::read(path).map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, reason: &dyn Display) -> ListenError {
    ListenError::Tls(format!("{}: {reason}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    let found = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(path, &error))?;
    match found.is_empty() {
        true => Err(wrong(path, &"it holds no certificate in PEM form")),
        false => Ok(found),
    }
}

fn server_config(tls: &ApiTls) -> Result<ServerConfig, ListenError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ListenError::Tls(error.to_string()))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| wrong(path, &error))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, &error))?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key)?);
    let key = key.map_err(|error| wrong(&tls.key, &error))?;
    builder
        .with_single_cert(certificates(&tls.certificate)?, key)
        .map_err(|error| wrong(&tls.certificate, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(host: &str, tls: bool) -> String {
        match parse(host, tls) {
            Ok(place) => place.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn hosts() {
        for (host, expected) in [
            ("unix:///a/b.sock", "unix:///a/b.sock"),
            ("/a/b.sock", "unix:///a/b.sock"),
            ("unix://", "unix:///run/skep.sock"),
            ("", "unix:///run/skep.sock"),
            ("tcp://", "tcp://localhost:2375"),
            ("tcp://:7777", "tcp://localhost:7777"),
            ("tcp://0.0.0.0", "tcp://0.0.0.0:2375"),
            ("0.0.0.0:2375", "tcp://0.0.0.0:2375"),
            ("tcp://[::1]:99", "tcp://[::1]:99"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
        ] {
            assert_eq!(shown(host, false), expected, "{host}");
        }
        assert_eq!(shown("tcp://10.0.0.1", true), "tcp://10.0.0.1:2376");
        for bad in ["npipe:////./pipe/x", "fd://", "unix://relative", "tcp://::1", "tcp://a:b/c"] {
            let error = shown(bad, false);
            assert!(error.starts_with("invalid bind address ("), "{bad}: {error}");
        }
    }

    #[test]
    fn tls_is_asked_for_by_docker_s_rules() {
        let of = |tls, tls_verify| {
            let ca = Some("/ca".into());
            let options = ApiOptions { tls, tls_verify, ca, ..ApiOptions::default() };
            let config = ApiConfig::new(options).unwrap();
            config.tls.map(|tls| tls.client_ca.is_some())
        };
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some(false), None), None);
        assert_eq!(of(Some(true), None), Some(true));
        assert_eq!(of(None, Some(true)), Some(true));
        assert_eq!(of(None, Some(false)), Some(false));
        assert_eq!(of(Some(true), Some(false)), Some(false));
    }

    #[test]
    fn an_open_port_is_warned_of() {
        let of = |tls| {
            let hosts = vec!["tcp://0.0.0.0:1".to_owned(), "unix:///a".to_owned()];
            let options = ApiOptions { hosts, tls_verify: tls, ..ApiOptions::default() };
            ApiConfig::new(options).unwrap().warnings()
        };
        assert!(of(None)[0].starts_with("WARNING: API is accessible on http://0.0.0.0:1 without"));
        assert!(of(Some(false))[0].contains("https://0.0.0.0:1 without TLS client verification"));
        assert_eq!(of(Some(true)), Vec::<String>::new());
    }

    #[test]
    fn a_group_that_is_none_is_refused() {
        assert_eq!(group(Some("")).unwrap(), None);
        assert_eq!(group(Some("12")).unwrap(), Some(12));
        assert_eq!(group(Some("root")).unwrap(), Some(0));
        assert!(matches!(group(Some("no such group")), Err(ListenError::Group(_))));
    }
}
