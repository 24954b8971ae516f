//! The Python SDK from PyPI against skep's daemon; `make test` installs it and says where.

use std::process::Command;

use skep_e2e::{Fleet, FleetConfig, IMAGE, Single, image_archive, python_sdk, skep_binary};

/// What it prints.
fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the script prints; none (and SKIP) without root or the SDK.
fn python(script: &str) -> Option<String> {
    let single = Single::shared()?;
    Some(said(python_sdk::script(&single.host(), script)?))
}

/// A script of this directory: each of its cases takes away what it made, and asserts.
fn cases(script: &str) {
    python(&[include_str!("docker_py/common.py"), script].concat());
}

#[test]
fn runs_containers() {
    cases(include_str!("docker_py/runs.py"));
}

#[test]
fn leads_containers_through_their_lives() {
    cases(include_str!("docker_py/life.py"));
}

#[test]
fn speaks_with_what_runs() {
    cases(include_str!("docker_py/streams.py"));
}

#[test]
fn looks_into_containers() {
    cases(include_str!("docker_py/inside.py"));
}

#[test]
fn speaks_as_old_clients_do() {
    cases(include_str!("docker_py/versions.py"));
}

#[test]
fn makes_a_swarm_and_leaves_it() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return;
    }
    let fleet = Fleet::up(FleetConfig::hosts(2).daemon(skep_binary())).unwrap();
    let (one, two) = (fleet.host(1), fleet.host(2));
    let archive = image_archive();
    one.check(&["skep", "image", "import", archive.to_str().unwrap(), IMAGE]).unwrap();
    let script = [include_str!("docker_py/common.py"), include_str!("docker_py/swarm.py")].concat();
    let Some(mut command) = python_sdk::script(&one, &script) else { return };
    command.env("OTHER", python_sdk::daemon(&two));
    command.env("HERE", one.address().to_string()).env("THERE", two.address().to_string());
    said(command);
    fleet.down().unwrap();
}

#[test]
fn speaks_of_the_daemon_and_its_images() {
    let script = r#"
import docker
client = docker.from_env()
assert client.ping()
assert client.version()["ApiVersion"]
image = client.images.get("busybox:latest")
assert image.tag("from-python", tag="one")
assert [i.id for i in client.images.list("from-python")] == [image.id]
client.images.remove("from-python:one")
try:
    client.images.get("from-python:one")
except docker.errors.ImageNotFound:
    print("gone")
"#;
    if let Some(said) = python(script) {
        assert_eq!(said, "gone\n");
    }
}

#[test]
fn makes_and_removes_volumes() {
    let script = r#"
import docker
client = docker.from_env()
volume = client.volumes.create("py", labels={"a": "b"})
assert [v.name for v in client.volumes.list(filters={"label": "a=b"})] == ["py"]
assert volume.attrs["Labels"] == {"a": "b"}
volume.remove()
print(len(client.volumes.list(filters={"label": "a=b"})))
"#;
    if let Some(said) = python(script) {
        assert_eq!(said, "0\n");
    }
}
