//! Which daemon is meant: flags, variables, contexts, in that order.

use std::path::{Path, PathBuf};

use clap::Args;
use skep_docker_api::client::Tls;
use skep_docker_api::{Client, defaults};

use crate::config::ConfigFile;
use crate::config::contexts::{DEFAULT, Store};
use crate::failure::{Failure, Outcome};
use crate::values::{integer, pairs};

/// The flags before every command that say where it goes.
#[derive(Debug, Clone, Args)]
pub struct Asked {
    /// Location of client config files
    #[arg(long, value_name = "string")]
    config: Option<PathBuf>,
    /// Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with "docker context use")
    #[arg(short, long, value_name = "string")]
    context: Option<String>,
    /// Enable debug mode
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Daemon socket to connect to
    #[arg(short = 'H', long, value_name = "list")]
    host: Vec<String>,
    /// Use TLS; implied by --tlsverify
    #[arg(long)]
    tls: bool,
    /// Trust certs signed only by this CA
    #[arg(long, value_name = "string")]
    tlscacert: Option<PathBuf>,
    /// Path to TLS certificate file
    #[arg(long, value_name = "string")]
    tlscert: Option<PathBuf>,
    /// Path to TLS key file
    #[arg(long, value_name = "string")]
    tlskey: Option<PathBuf>,
    /// Use TLS and verify the remote
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool", value_parser = integer::truth)]
    tlsverify: Option<bool>,
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `SKEP_HOST`, `DOCKER_HOST` or the socket everybody means.
pub fn default_host() -> String {
    set("SKEP_HOST")
        .or_else(|| set("DOCKER_HOST"))
        .unwrap_or_else(|| format!("unix://{}", defaults::SOCKET))
}

/// Whether a daemon could be at it.
pub fn is_host(host: &str) -> bool {
    ["unix://", "tcp://", "ssh://", "/"]
        .iter()
        .any(|kind| host.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()))
}

pub fn store(config: &ConfigFile) -> Outcome<Store> {
    config
        .folder()
        .map(Store::new)
        .ok_or_else(|| Failure::new("no place for contexts: neither DOCKER_CONFIG nor HOME is set"))
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        unresolved(&format!("open {}: {}", path.display(), pairs::io_words(&error)))
    })
}

/// Docker's words for a daemon that cannot even be looked for.
fn unresolved(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("Failed to initialize: unable to resolve docker endpoint: {why}"))
}

impl Asked {
    pub fn config(&self) -> ConfigFile {
        ConfigFile::load(self.config.clone())
    }

    /// The name of the context in use.
    pub fn context(&self, config: &ConfigFile) -> Outcome<String> {
        if self.context.is_some() && !self.host.is_empty() {
            return Err(Failure::new(
                "conflicting options: cannot specify both --host and --context",
            ));
        }
        Ok(match &self.context {
            Some(name) if !name.is_empty() => name.clone(),
            _ if !self.host.is_empty() || set("DOCKER_HOST").is_some() => DEFAULT.into(),
            _ if set("SKEP_HOST").is_some() => DEFAULT.into(),
            _ => set("DOCKER_CONTEXT")
                .or_else(|| config.text("currentContext"))
                .unwrap_or_else(|| DEFAULT.into()),
        })
    }

    /// No connection is made yet.
    pub fn client(&self, config: &ConfigFile) -> Outcome<Client> {
        let client = self.newest(config)?;
        Ok(match set("DOCKER_API_VERSION") {
            Some(version) => client.with_api_version(version.trim_start_matches('v')),
            None => client,
        })
    }

    /// As [`Self::client`], with our own version of the API.
    fn newest(&self, config: &ConfigFile) -> Outcome<Client> {
        let name = self.context(config)?;
        if name != DEFAULT {
            let store = store(config)?;
            let context = store.expect(&name).map_err(|error| unresolved(&error))?;
            let material = store.material(&name);
            let tls = (!material.is_empty() || context.skips_verification()).then(|| Tls {
                ca: material.get("ca.pem").cloned(),
                certificate: material.get("cert.pem").cloned(),
                key: material.get("key.pem").cloned(),
                verify: !context.skips_verification(),
            });
            return Ok(Client::with_tls(context.host(), tls)?);
        }
        let host = match self.host.as_slice() {
            [] => default_host(),
            [host] => host.clone(),
            _ => return Err(Failure::new("specify only one -H")),
        };
        Ok(Client::with_tls(&host, self.tls(config, &host)?)?)
    }

    /// Certificates for a daemon over TCP: those that flags name must be there, the usual ones may.
    fn tls(&self, config: &ConfigFile, host: &str) -> Outcome<Option<Tls>> {
        let verify = self.tlsverify.unwrap_or_else(|| set("DOCKER_TLS_VERIFY").is_some());
        let wanted = self.tls || verify || self.tlsverify.is_some() || set("DOCKER_TLS").is_some();
        if !wanted || !host.starts_with("tcp://") {
            return Ok(None);
        }
        let folder = set("DOCKER_CERT_PATH")
            .map(PathBuf::from)
            .or_else(|| config.folder().map(Path::to_owned))
            .unwrap_or_default();
        let file = |flag: &Option<PathBuf>, name: &str, needed: bool| match flag {
            Some(path) => read(path).map(Some),
            None if needed => read(&folder.join(name)).map(Some),
            None => Ok(std::fs::read(folder.join(name)).ok()),
        };
        Ok(Some(Tls {
            // Wanted without verification too, as in Docker.
            ca: file(&self.tlscacert, "ca.pem", true)?,
            certificate: file(&self.tlscert, "cert.pem", false)?,
            key: file(&self.tlskey, "key.pem", false)?,
            verify,
        }))
    }
}
