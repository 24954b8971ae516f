//! Which registries are trusted, and how far: what an operator configures, and who asks.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder, NoProxy, Proxy};
use skep_types::error_chain;

use crate::error::{Context, Error, Result};
use crate::limits::{DOWNLOAD_ATTEMPTS, DOWNLOADS_MAX, UPLOADS_MAX};
use crate::mirror::Mirror;

const USER_AGENT: &str = concat!("skep/", env!("CARGO_PKG_VERSION"));

/// A name that is not found by then is not found.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Docker trusts a registry on the same host without being told.
const ALWAYS_INSECURE: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// How registries are reached and trusted.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// `host:port` or a network in CIDR form. For these, certificates are not checked, and plain
    /// HTTP is tried where there is no TLS.
    pub insecure: Vec<String>,
    /// `HOST:PORT/*.crt` below it are trusted for that registry, as in `/etc/docker/certs.d`.
    pub ca_dir: Option<PathBuf>,
    /// Asked before Docker's own registry, in this order: `http` or `https`, a host, no more.
    pub mirrors: Vec<Mirror>,
    pub transfers: Transfers,
    pub proxies: Proxies,
    pub patience: Patience,
}

/// How long a registry is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// A registry that sends nothing for so long has gone.
    pub read: Duration,
    /// For the whole of what is small: a manifest that takes longer is a trap.
    pub answer: Duration,
    /// Each pause between attempts is longer by this.
    pub step: Duration,
    /// No pause is longer, whatever a registry asks for.
    pub pause_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // As Docker's dialer.
            connect: Duration::from_secs(30),
            read: Duration::from_secs(60),
            answer: Duration::from_secs(90),
            // Docker's step.
            step: Duration::from_secs(5),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// Who stands between this host and registries; none where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// Hosts that are reached without, with commas between.
    pub except: Option<String>,
}

/// How much is moved at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfers {
    /// Layers of one pull.
    pub downloads: usize,
    /// Layers of one push.
    pub uploads: usize,
    /// Attempts at one layer.
    pub attempts: u32,
}

impl Default for Transfers {
    fn default() -> Self {
        Self { downloads: DOWNLOADS_MAX, uploads: UPLOADS_MAX, attempts: DOWNLOAD_ATTEMPTS }
    }
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    Basic {
        username: String,
        password: String,
    },
    /// A token that the registry takes as it is.
    Token(String),
    /// What a registry's server of tokens gave for a login, to be shown to it from then on.
    Identity(String),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Basic { username, .. } => {
                f.debug_struct("Basic").field("username", username).finish_non_exhaustive()
            }
            Self::Token(_) => f.debug_tuple("Token").finish_non_exhaustive(),
            Self::Identity(_) => f.debug_tuple("Identity").finish_non_exhaustive(),
        }
    }
}

impl RegistryConfig {
    /// Whether certificates are not checked, and plain HTTP will do.
    pub(crate) async fn is_insecure(&self, domain: &str) -> Result<bool> {
        if self.insecure.iter().any(|entry| entry == domain) {
            return Ok(true);
        }
        let mut networks = Vec::new();
        let configured = self.insecure.iter().map(String::as_str).filter(|e| e.contains('/'));
        for network in ALWAYS_INSECURE.into_iter().chain(configured) {
            networks.push(network.parse::<ipnet::IpNet>().map_err(|error| Error::Invalid {
                what: format!("insecure registry {network:?}"),
                reason: error.to_string(),
            })?);
        }
        let addresses = addresses(domain).await;
        Ok(addresses.iter().any(|address| networks.iter().any(|net| net.contains(address))))
    }

    /// The beginning of a client for a host: whom it trusts, and what stands between.
    pub(crate) fn http_client(&self, host: &str, insecure: bool) -> Result<ClientBuilder> {
        // Whoever installed another provider first keeps it; both speak TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unusable = |error: reqwest::Error| Error::Registry(error_chain(&error));
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .tls_danger_accept_invalid_certs(insecure)
            .tls_certs_merge(self.authorities(host)?);
        let Proxies { http, https, except } = &self.proxies;
        let except = || except.as_ref().and_then(|it| NoProxy::from_string(it));
        if let Some(at) = https {
            builder = builder.proxy(Proxy::https(at).map_err(unusable)?.no_proxy(except()));
        }
        if let Some(at) = http {
            builder = builder.proxy(Proxy::http(at).map_err(unusable)?.no_proxy(except()));
        }
        Ok(builder)
    }

    /// Certificates that are trusted for this registry beside the system's.
    fn authorities(&self, domain: &str) -> Result<Vec<Certificate>> {
        let Some(dir) = self.ca_dir.as_ref().map(|dir| dir.join(domain)) else {
            return Ok(Vec::new());
        };
        let context = || format!("read certificates in {}", dir.display());
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.context(context)?,
        };
        let mut certificates = Vec::new();
        for entry in entries {
            let path = entry.context(context)?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                Some("crt") => certificates.extend(read_certificates(&path)?),
                Some("cert" | "key") => {
                    return Err(Error::Invalid {
                        what: format!("certificate {}", path.display()),
                        reason: "client certificates for registries are not supported".to_owned(),
                    });
                }
                _ => {}
            }
        }
        Ok(certificates)
    }
}

/// All certificates of a PEM file.
fn read_certificates(path: &Path) -> Result<Vec<Certificate>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let bytes = std::fs::read(path).context(|| format!("read {}", path.display()))?;
    let invalid =
        |reason: String| Error::Invalid { what: format!("certificate {}", path.display()), reason };
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .map(|certificate| {
            let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
            Certificate::from_der(&certificate).map_err(|error| invalid(error_chain(&error)))
        })
        .collect::<Result<Vec<_>>>()?;
    if certificates.is_empty() {
        return Err(invalid("it holds no certificate in PEM form".to_owned()));
    }
    Ok(certificates)
}

/// Addresses of a registry's host; none, if it has none that is known.
async fn addresses(domain: &str) -> Vec<IpAddr> {
    let host = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => domain,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn registries_are_secure_unless_they_are_said_not_to_be() {
        let config = RegistryConfig {
            insecure: vec!["10.0.0.0/8".to_owned(), "192.0.2.1:5000".to_owned()],
            ..RegistryConfig::default()
        };
        for (domain, expected) in [
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("10.1.2.3", true),
            ("192.0.2.1:5000", true),
            ("192.0.2.1:5001", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(config.is_insecure(domain).await.unwrap(), expected, "{domain}");
        }
        let bad = RegistryConfig { insecure: vec!["10/x".to_owned()], ..RegistryConfig::default() };
        assert!(bad.is_insecure("192.0.2.1").await.is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let auth = Auth::Basic { username: "u".to_owned(), password: "secret".to_owned() };
        for auth in [auth, Auth::Token("secret".to_owned()), Auth::Identity("secret".to_owned())] {
            assert!(!format!("{auth:?}").contains("secret"));
        }
    }
}
