//! The docker command, to compare with. It needs no daemon for `stack config`.

use std::process::Command;

/// Layout and words change between docker's releases; these are compared with this one's.
const RELEASE: &str = "28.";

/// `docker stack config`, where the command is installed and of the release that is compared with.
pub fn stack_config() -> Option<Command> {
    let output = Command::new("docker").arg("--version").output().ok();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if !version.as_ref().is_some_and(|text| text.contains(&format!("version {RELEASE}"))) {
        eprintln!("SKIP: no comparison with docker: want release {RELEASE}x, have {version:?}");
        return None;
    }
    let mut command = Command::new("docker");
    command.args(["stack", "config"]).env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
    Some(command)
}
