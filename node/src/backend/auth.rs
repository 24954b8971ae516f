//! `/auth`: whether a registry knows a login. Nothing of it is kept here: that is the client's business.

use skep_docker_api::json::{AuthResponse, RegistryAuth};
use skep_docker_api::{ApiError, Kind};
use skep_images::check_login;
use skep_types::error_chain;

use super::images::reference;
use super::{Answer, DaemonBackend};

/// Names of Docker's own registry.
const DOCKER_HUB: &[&str] = &["", "index.docker.io", "registry-1.docker.io", "docker.io"];

/// `host:port` of what a client calls a server: with or without a scheme, with a path of the old API or none.
fn domain(server: &str) -> &str {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    if DOCKER_HUB.contains(&host) { "docker.io" } else { host }
}

impl DaemonBackend {
    pub(super) async fn check_registry_login(&self, auth: RegistryAuth) -> Answer<AuthResponse> {
        let server = auth.server_address.clone();
        let domain = domain(&server);
        // A name without a dot or a port would be read as a repository of Docker's registry.
        if reference(&format!("{domain}/skep/login"))?.domain() != domain {
            return Err(ApiError::invalid(format!("invalid registry host {domain:?}")));
        }
        let Some(login) = skep_containers::registry_login(auth)? else {
            return Err(ApiError::new(
                Kind::Unauthorized,
                "unauthorized: a user name and a password are needed",
            ));
        };
        match check_login(domain, &self.engine.registries(), &login).await {
            Ok(identity) => Ok(AuthResponse {
                status: "Login Succeeded".to_owned(),
                identity_token: identity.unwrap_or_default(),
            }),
            Err(error @ skep_images::Error::Login(_)) => {
                Err(ApiError::new(Kind::Unauthorized, error_chain(&error)))
            }
            Err(error) => Err(super::engine_error::image(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn servers() {
        for (server, expected) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("https://registry.example/v2/", "registry.example"),
        ] {
            assert_eq!(domain(server), expected, "{server}");
        }
    }
}
