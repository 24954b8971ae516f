//! What its user has logged in to: Docker's own file of logins, and the helpers it names.
//!
//! Invariant: a login is shown in no error.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde::Deserialize;
use skep_docker_api::json::RegistryAuth;

use crate::failure::{Failure, Outcome};

/// The key of Docker's own registry in the file.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: BTreeMap<String, Login>,
    #[serde(rename = "credsStore")]
    store: String,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Clone, Deserialize)]
#[serde(default)]
struct Login {
    auth: String,
    #[serde(rename = "identitytoken")]
    identity_token: String,
    #[serde(rename = "registrytoken")]
    registry_token: String,
}

/// What a helper answers.
#[derive(Deserialize)]
struct Credential {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

fn path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".docker")));
    folder.map(|folder| folder.join("config.json"))
}

/// The login for an image's registry, where there is one; `image` is a full name.
pub fn login(image: &str) -> Outcome<Option<RegistryAuth>> {
    let Some(path) = path() else { return Ok(None) };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::new(format!("failed to read {}: {error}", path.display())));
        }
    };
    let config: Config = serde_json::from_slice(&text).map_err(|error| {
        Failure::new(format!(
            "failed to read {}: not valid JSON at line {}, column {}",
            path.display(),
            error.line(),
            error.column()
        ))
    })?;
    let host = image.split('/').next().unwrap_or_default();
    let key = if host == "docker.io" { DOCKER_HUB } else { host };
    if let Some(helper) = config.helpers.get(key) {
        return asked(helper, key);
    }
    if !config.store.is_empty() {
        return asked(&config.store, key);
    }
    let bare = |name: &str| {
        let name = name.trim_start_matches("https://").trim_start_matches("http://");
        name.split('/').next().unwrap_or_default().to_owned()
    };
    let found = config.auths.get(key).or_else(|| {
        config.auths.iter().find(|(name, _)| bare(name) == bare(key)).map(|(_, login)| login)
    });
    found.map(|login| decoded(login, key)).transpose()
}

fn decoded(login: &Login, key: &str) -> Outcome<RegistryAuth> {
    let invalid = || Failure::new(format!("invalid login for {key} in the configuration file"));
    let mut auth = RegistryAuth {
        server_address: key.into(),
        identity_token: login.identity_token.clone(),
        registry_token: login.registry_token.clone(),
        ..Default::default()
    };
    if !login.auth.is_empty() {
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(&login.auth).map_err(|_| invalid())?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        let (user, password) = text.split_once(':').ok_or_else(invalid)?;
        auth.username = user.into();
        auth.password = password.trim_end_matches('\0').into();
    }
    Ok(auth)
}

/// What a helper knows; one that knows nothing says so and fails.
fn asked(helper: &str, key: &str) -> Outcome<Option<RegistryAuth>> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: String| Failure::new(format!("failed to ask {program} for {key}: {why}"));
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut input = child.stdin.take().expect("the helper's input is piped");
    // A helper that does not read ends all the same, and its status tells.
    let _ = input.write_all(key.as_bytes());
    drop(input);
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(format!("it ended with {}", output.status)));
    }
    let credential: Credential = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is not valid JSON".into()))?;
    let mut auth = RegistryAuth { server_address: key.into(), ..Default::default() };
    // A helper says by this name that the secret is a token.
    if credential.username == "<token>" {
        auth.identity_token = credential.secret;
    } else {
        auth.username = credential.username;
        auth.password = credential.secret;
    }
    Ok(Some(auth))
}
