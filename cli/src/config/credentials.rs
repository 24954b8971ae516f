//! What its user has logged in to: Docker's own file of logins, and the helpers it names.
//!
//! Invariant: a login is shown in no error.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Value, json};
use skep_docker_api::json::RegistryAuth;

use super::ConfigFile;
use crate::failure::{Failure, Outcome};

/// The key of Docker's own registry in the file.
pub const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// By this user name a helper says that the secret is a token.
const TOKEN: &str = "<token>";

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

/// The name of the program that keeps a registry's login; none: the file does.
fn helper(config: &ConfigFile, key: &str) -> Option<String> {
    let named = config.get("credHelpers").and_then(|helpers| helpers.get(key));
    let named = named.and_then(Value::as_str).filter(|name| !name.is_empty());
    named.map(str::to_owned).or_else(|| config.text("credsStore"))
}

/// A registry's host without what stands around it.
pub fn bare(name: &str) -> &str {
    let name = name.trim_start_matches("https://").trim_start_matches("http://");
    name.split('/').next().unwrap_or_default()
}

/// The login for an image's registry, where there is one; `image` is a full name.
pub fn for_image(config: &ConfigFile, image: &str) -> Outcome<Option<RegistryAuth>> {
    let host = image.split('/').next().unwrap_or_default();
    get(config, if host == "docker.io" { DOCKER_HUB } else { host })
}

/// The login under a key.
pub fn get(config: &ConfigFile, key: &str) -> Outcome<Option<RegistryAuth>> {
    if let Some(helper) = helper(config, key) {
        return asked(&helper, key);
    }
    let Some(Value::Object(auths)) = config.get("auths") else { return Ok(None) };
    let found = auths
        .get(key)
        .or_else(|| auths.iter().find(|(name, _)| bare(name) == bare(key)).map(|(_, login)| login));
    let Some(login) = found else { return Ok(None) };
    let login: Login = serde_json::from_value(login.clone())
        .map_err(|_| Failure::new(format!("invalid login for {key} in the configuration file")))?;
    decoded(&login, key).map(Some)
}

/// All logins as a file without helpers has them; none: there are none.
pub fn all(config: &ConfigFile) -> Outcome<Option<serde_json::Map<String, Value>>> {
    let names = |key: &str| match config.get(key) {
        Some(Value::Object(all)) => all.keys().cloned().collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let keys: std::collections::BTreeSet<String> =
        names("auths").into_iter().chain(names("credHelpers")).collect();
    let mut logins = serde_json::Map::new();
    for key in keys {
        if let Some(auth) = get(config, &key)? {
            logins.insert(key, entry(&auth));
        }
    }
    Ok((!logins.is_empty()).then_some(logins))
}

/// A login as it stands in the file.
fn entry(auth: &RegistryAuth) -> Value {
    let pair = format!("{}:{}", auth.username, auth.password);
    let mut login = serde_json::Map::new();
    if !auth.username.is_empty() {
        let auth = base64::engine::general_purpose::STANDARD.encode(pair);
        login.insert("auth".into(), auth.into());
    }
    if !auth.identity_token.is_empty() {
        login.insert("identitytoken".into(), auth.identity_token.clone().into());
    }
    login.into()
}

/// Keeps a login under its server's address; says whether it is in the file, where anybody who can read it has it.
pub fn store(config: &mut ConfigFile, auth: &RegistryAuth) -> Outcome<bool> {
    let key = &auth.server_address;
    if let Some(helper) = helper(config, key) {
        let (user, secret) = match auth.identity_token.as_str() {
            "" => (auth.username.as_str(), auth.password.as_str()),
            token => (TOKEN, token),
        };
        let credential = json!({ "ServerURL": key, "Username": user, "Secret": secret });
        told(&helper, "store", key, &credential.to_string())?;
        // The file notes that there is one, and nothing of it.
        put(config, key, Some(json!({})));
        config.save()?;
        return Ok(false);
    }
    put(config, key, Some(entry(auth)));
    config.save()?;
    Ok(true)
}

/// Forgets a login.
pub fn erase(config: &mut ConfigFile, key: &str) -> Outcome {
    if let Some(helper) = helper(config, key) {
        told(&helper, "erase", key, key)?;
    }
    put(config, key, None);
    config.save()
}

fn put(config: &mut ConfigFile, key: &str, login: Option<Value>) {
    let mut auths = match config.get("auths") {
        Some(Value::Object(auths)) => auths.clone(),
        _ => serde_json::Map::new(),
    };
    match login {
        Some(login) => auths.insert(key.into(), login),
        None => auths.remove(key),
    };
    config.set("auths", Some(auths.into()));
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

/// Runs a helper with its input, and gives whether it was content and what it said.
fn told(helper: &str, verb: &str, key: &str, input: &str) -> Outcome<Vec<u8>> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: String| {
        let asked = if verb == "get" { "ask" } else { "tell" };
        Failure::new(format!("failed to {asked} {program} for {key}: {why}"))
    };
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut stdin = child.stdin.take().expect("the helper's input is piped");
    // A helper that does not read ends all the same, and its status tells.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status.success() {
        true => Ok(output.stdout),
        // One that knows nothing says so and fails.
        false if text.contains("credentials not found") => Ok(Vec::new()),
        false => Err(failed(format!("it ended with {}", output.status))),
    }
}

/// What a helper knows.
fn asked(helper: &str, key: &str) -> Outcome<Option<RegistryAuth>> {
    let answer = told(helper, "get", key, key)?;
    if answer.is_empty() {
        return Ok(None);
    }
    let credential: Credential = serde_json::from_slice(&answer).map_err(|_| {
        Failure::new(format!(
            "failed to ask docker-credential-{helper} for {key}: its answer is not valid JSON"
        ))
    })?;
    let mut auth = RegistryAuth { server_address: key.into(), ..Default::default() };
    if credential.username == TOKEN {
        auth.identity_token = credential.secret;
    } else {
        auth.username = credential.username;
        auth.password = credential.secret;
    }
    Ok(Some(auth))
}
