//! Mirrors of Docker's own registry, as an operator names them.

use std::fmt;
use std::str::FromStr;

use crate::trust::RegistryConfig;

/// The registry that has mirrors: Docker gives them to no other.
const MIRRORED: &str = "docker.io";

/// `http://HOST[:PORT]/` or the same with `https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    plain: bool,
    host: String,
}

/// Why something is no mirror, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    #[error("invalid mirror: {0:?} is not a valid URI")]
    Malformed(String),
    #[error(
        "invalid mirror: unsupported scheme {scheme:?} in {whole:?}: must use either 'https://' or 'http://'"
    )]
    Scheme { scheme: String, whole: String },
    #[error("invalid mirror: path, query, or fragment at end of the URI {0:?}")]
    Path(String),
    #[error("invalid mirror: username/password not allowed in URI {0:?}")]
    Login(String),
}

impl Mirror {
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let whole = || text.to_owned();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(MirrorError::Malformed(whole()));
        };
        let plain = match scheme {
            "http" => true,
            "https" => false,
            _ => return Err(MirrorError::Scheme { scheme: scheme.to_owned(), whole: whole() }),
        };
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err(MirrorError::Path(whole()));
        }
        if host.contains('@') {
            // What is secret in it is not repeated.
            let shown = format!("{scheme}://xxxxx@{}", host.rsplit('@').next().unwrap_or_default());
            return Err(MirrorError::Login(shown));
        }
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(MirrorError::Malformed(whole()));
        }
        Ok(Self { plain, host: host.to_owned() })
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/", if self.plain { "http" } else { "https" }, self.host)
    }
}

impl RegistryConfig {
    /// Who is asked before a registry, in this order.
    pub(crate) fn mirrors_of(&self, domain: &str) -> &[Mirror] {
        if domain == MIRRORED { &self.mirrors } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_hosts_and_no_more() {
        let read = |text: &str| text.parse::<Mirror>().map(|mirror| mirror.to_string());
        assert_eq!(read("http://10.0.0.1:5000").as_deref(), Ok("http://10.0.0.1:5000/"));
        assert_eq!(read("https://mirror.example/").as_deref(), Ok("https://mirror.example/"));
        for (bad, why) in [
            ("mirror.example", "invalid mirror: \"mirror.example\" is not a valid URI"),
            ("http://", "invalid mirror: \"http://\" is not a valid URI"),
            (
                "ftp://m",
                "invalid mirror: unsupported scheme \"ftp\" in \"ftp://m\": must use either 'https://' or 'http://'",
            ),
            (
                "http://m/x",
                "invalid mirror: path, query, or fragment at end of the URI \"http://m/x\"",
            ),
            (
                "http://m?x",
                "invalid mirror: path, query, or fragment at end of the URI \"http://m?x\"",
            ),
            (
                "http://u:p@m",
                "invalid mirror: username/password not allowed in URI \"http://xxxxx@m\"",
            ),
        ] {
            assert_eq!(read(bad).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn one_registry_has_mirrors() {
        let mirrors = vec!["http://m".parse().unwrap()];
        let config = RegistryConfig { mirrors, ..RegistryConfig::default() };
        assert_eq!(config.mirrors_of("docker.io").len(), 1);
        assert_eq!(config.mirrors_of("registry.example").len(), 0);
    }
}
