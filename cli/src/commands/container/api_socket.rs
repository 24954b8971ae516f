//! `--use-api-socket`: a container is lent the daemon that made it, and the logins of who made it.

use skep_docker_api::json::{ArchivePutOptions, BindOptions, ContainerCreateRequest, Mount};

use crate::commands::Session;
use crate::config::credentials;
use crate::failure::{Failure, Outcome};

/// Where a container's programs look for the daemon.
const SOCKET: &str = "/var/run/docker.sock";
/// The folder of the logins in it.
const LOGINS: &str = "/run/secrets/docker";

/// What is to be put into the container once it is made.
pub struct Lent {
    /// The text of a `config.json`.
    logins: Option<String>,
}

/// Adds the socket, and says where the logins will be unless the user does.
pub fn lend(session: &Session, request: &mut ContainerCreateRequest) -> Outcome<Lent> {
    let host = session.client.host();
    let socket = host.strip_prefix("unix://").ok_or_else(|| {
        Failure::new(format!(
            "flag --use-api-socket can only be used with unix sockets: docker endpoint {host} incompatible"
        ))
    })?;
    request.host_config.mounts.push(Mount {
        kind: "bind".into(),
        source: socket.into(),
        target: SOCKET.into(),
        bind_options: Some(BindOptions::default()),
        ..Default::default()
    });
    let told = request.config.env.iter().any(|it| it.starts_with("DOCKER_CONFIG="));
    let logins = if told { None } else { credentials::all(&session.config)? };
    if logins.is_some() {
        request.config.env.push(format!("DOCKER_CONFIG={LOGINS}"));
    }
    Ok(Lent { logins: logins.map(|auths| serde_json::json!({ "auths": auths }).to_string()) })
}

impl Lent {
    /// Puts the logins where only the container's root reads them.
    pub async fn put(&self, session: &Session, id: &str) -> Outcome {
        let Some(text) = &self.logins else { return Ok(()) };
        let failed = |error: std::io::Error| {
            Failure::new(format!("injecting docker config.json into container failed: {error}"))
        };
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(text.len() as u64);
        let path = format!("{}/config.json", LOGINS.trim_start_matches('/'));
        archive.append_data(&mut header, path, text.as_bytes()).map_err(failed)?;
        let bytes = std::io::Cursor::new(archive.into_inner().map_err(failed)?);
        let options = ArchivePutOptions::default();
        session.client.container_archive_put(id, "/", &options, bytes).await.map_err(|error| {
            Failure::new(format!("injecting docker config.json into container failed: {error}"))
        })
    }
}
