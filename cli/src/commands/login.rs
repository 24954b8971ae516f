//! `skep login` and `skep logout`.
//!
//! Invariant: a password is asked for without being shown, and goes to the daemon and to where logins are kept, nowhere else.

use std::io::{IsTerminal, Read};

use clap::Args;
use skep_docker_api::json::RegistryAuth;

use super::Session;
use crate::config::ConfigFile;
use crate::config::credentials::{self, DOCKER_HUB, bare};
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};
use crate::terminal;

#[derive(Args)]
pub struct LoginArgs {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long, value_name = "string")]
    password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    username: String,
    #[arg(hide = true, value_name = "SERVER")]
    server: Option<String>,
}

impl std::fmt::Debug for LoginArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginArgs")
            .field("username", &self.username)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Args)]
pub struct LogoutArgs {
    #[arg(hide = true, value_name = "SERVER")]
    server: Option<String>,
}

/// The key under which a server's login is kept.
fn key(server: Option<String>) -> String {
    match server.as_deref().unwrap_or_default() {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.into(),
        server => server.into(),
    }
}

/// The longest password read; tokens are a few KiB.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;

fn from_stdin() -> Outcome<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("failed to read the password: {error}")))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).into())
}

pub async fn login(session: &mut Session, args: LoginArgs) -> Outcome {
    let mut password = args.password.clone().unwrap_or_default();
    if args.password.is_some() {
        if args.password_stdin {
            return Err(Failure::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        if password.is_empty() {
            return Err(Failure::new("password is empty"));
        }
    }
    if args.password_stdin {
        if args.username.is_empty() {
            return Err(Failure::new("the --password-stdin option requires --username to be set"));
        }
        password = from_stdin()?;
        if password.is_empty() {
            return Err(Failure::new("password is empty"));
        }
    }
    let server = key(args.server);
    let kept = credentials::get(&session.config, &server)?;
    if args.username.is_empty()
        && password.is_empty()
        && let Some(auth) = kept.clone().filter(|auth| *auth != RegistryAuth::default())
    {
        let name = match auth.username.as_str() {
            "" => String::new(),
            name => format!(" [Username: {name}]"),
        };
        warn(format!(
            "Authenticating with existing credentials...{name}\n\n Info -> To login with a different account, run 'skep logout' followed by 'skep login'\n\n"
        ));
        if let Ok(answer) = session.client.auth(&auth).await {
            // What is kept already is kept.
            return match answer.identity_token.is_empty() {
                true => line(answer.status),
                false => done(session, auth, &answer.identity_token, &answer.status),
            };
        }
        warn("Login did not succeed, error: the existing credentials were refused");
    }
    let auth = asked(&server, args.username, password, kept)?;
    let answer = session.client.auth(&auth).await?;
    done(session, auth, &answer.identity_token, &answer.status)
}

/// What is not given is asked for, where there is somebody to ask.
fn asked(
    server: &str,
    mut username: String,
    mut password: String,
    kept: Option<RegistryAuth>,
) -> Outcome<RegistryAuth> {
    if (username.is_empty() || password.is_empty()) && !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            "Error: Cannot perform an interactive login from a non TTY device",
        ));
    }
    if username.is_empty() {
        let before = kept.map(|auth| auth.username).unwrap_or_default();
        let question = match before.as_str() {
            "" => "Username: ".to_owned(),
            name => format!("Username ({name}): "),
        };
        username = terminal::read(&question)?.trim().to_owned();
        if username.is_empty() {
            username = before;
        }
    }
    if username.is_empty() {
        return Err(Failure::new("Error: Non-null Username Required"));
    }
    if password.is_empty() {
        password = terminal::hidden("Password: ")?;
    }
    if password.is_empty() {
        return Err(Failure::new("Error: Password Required"));
    }
    Ok(RegistryAuth { username, password, server_address: server.into(), ..Default::default() })
}

fn done(session: &mut Session, mut auth: RegistryAuth, token: &str, status: &str) -> Outcome {
    if !token.is_empty() {
        auth.password = String::new();
        auth.identity_token = token.into();
    }
    if credentials::store(&mut session.config, &auth)? {
        let path = session.config.path().unwrap_or_default();
        warn(format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        ));
    }
    if status.is_empty() { Ok(()) } else { line(status) }
}

pub fn logout(config: &mut ConfigFile, args: LogoutArgs) -> Outcome {
    let server = key(args.server);
    let host = if server == DOCKER_HUB { server.clone() } else { bare(&server).to_owned() };
    line(format!("Removing login credentials for {host}"))?;
    let mut keys = vec![server.clone()];
    if server != DOCKER_HUB {
        keys.extend([host.clone(), format!("http://{host}"), format!("https://{host}")]);
    }
    let mut failures = Vec::new();
    let all = keys.len();
    for key in keys {
        if let Err(failure) = credentials::erase(config, &key) {
            failures.push(format!("{key}: {failure}"));
        }
    }
    // One that went is enough: a login stands under one of its names.
    if failures.len() == all {
        warn("WARNING: could not erase credentials:");
        failures.iter().for_each(warn);
    }
    Ok(())
}
