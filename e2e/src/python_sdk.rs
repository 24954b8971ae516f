//! The Python SDK from PyPI, where `make test` has put it.

use std::process::Command;

use crate::host::Host;

/// A script for a host's daemon; none (and SKIP) without the SDK.
pub fn script(host: &Host, script: &str) -> Option<Command> {
    let Some(place) = std::env::var_os("SKEP_DOCKER_PY") else {
        eprintln!("SKIP: SKEP_DOCKER_PY does not say where the Python SDK is: use make test");
        return None;
    };
    let mut command = Command::new("python3");
    command.args(["-c", script]).env("PYTHONPATH", place).env("DOCKER_HOST", daemon(host));
    Some(command)
}

/// A host's daemon as the SDK has it in `DOCKER_HOST`.
pub fn daemon(host: &Host) -> String {
    format!("unix://{}", host.socket().display())
}
