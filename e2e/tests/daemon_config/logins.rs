//! Debian's registry behind TLS, with passwords and with tokens: everything that a login is for,
//! through both command lines and the Python SDK.

use skep_e2e::{IMAGE, ImageRegistry, Way, python_sdk};

use super::told;

/// What the Python SDK does with a registry.
const PYTHON: &str = r#"
import os
import docker
client = docker.from_env(timeout=60)
at, tag = os.environ["AT"], os.environ["AT"] + "/python:v1"
client.images.get("busybox:latest").tag(tag)
def last(lines):
    return list(lines)[-1]
assert "unauthorized" in last(client.images.push(tag, stream=True, decode=True))["error"]
try:
    client.login("ali", "close sesame", registry=at)
    raise AssertionError("a wrong password was taken")
except docker.errors.APIError as error:
    assert error.status_code == 401, error
assert client.login("ali", "open sesame", registry=at)["Status"] == "Login Succeeded"
pushed = last(client.images.push(tag, stream=True, decode=True))
digest = pushed["aux"]["Digest"]
client.images.remove(tag)
image = client.images.pull(at + "/python", tag="v1")
assert image.attrs["RepoDigests"] == [at + "/python@" + digest], image.attrs
found = client.images.get_registry_data(tag)
assert found.id == digest, found.attrs
assert found.has_platform("linux/" + image.attrs["Architecture"]), found.attrs
client.images.remove(tag)
login = {"username": "ali", "password": "open sesame"}
assert client.api.pull(at + "/python", tag="v1", auth_config=login)
client.images.remove(tag)
print("done")
"#;

fn a_login_opens_everything(way: Way) {
    let Some(told) = told("--certs-dir /tmp/certs") else { return };
    let served = ImageRegistry::serve_by_tls(&told.single.host(), way);
    let Some(registry) = served.unwrap_or_else(|error| panic!("{error:#}")) else { return };
    registry.trust(&told.single.host(), "/tmp/certs").unwrap();
    let at = registry.at;
    told.each(|cli| {
        let tag = format!("{at}/{}:v1", cli.name("app"));
        cli.ok(&["tag", IMAGE, &tag]);
        cli.fails(&["push", &tag], "unauthorized: authentication required");
        cli.fails(&["login", "-u", "ali", "-p", "close sesame", &at], "unauthorized");
        let login = ["login", "-u", "ali", "--password-stdin", &at];
        assert!(cli.ok_with_input(&login, b"open sesame\n").contains("Login Succeeded"));
        let pushed = cli.ok(&["push", &tag]);
        let (_, digest) = pushed.split_once("digest: ").unwrap();
        let digest = digest.split(' ').next().unwrap();
        cli.ok(&["rmi", &tag]);
        let pulled = cli.ok(&["pull", &tag]);
        assert!(pulled.contains(&format!("Digest: {digest}")), "{pulled}");
        let by_digest = format!("{}@{digest}", tag.trim_end_matches(":v1"));
        cli.ok(&["pull", "-q", &by_digest]);
        cli.ok(&["logout", &at]);
        cli.ok(&["rmi", &tag]);
        cli.fails(&["pull", &tag], "unauthorized: authentication required");
    });
    let Some(mut python) = python_sdk::script(&told.single.host(), PYTHON) else { return };
    let output = python.env("AT", &at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_password_opens_a_registry_behind_tls() {
    a_login_opens_everything(Way::Password);
}

#[test]
fn a_token_opens_a_registry_behind_tls() {
    a_login_opens_everything(Way::Token);
}
