//! `skep image` with its short names, and `skep service logs`, beside Docker's own command line.

mod support;

use expect_test::{Expect, expect};
use support::fake::Fake;
use support::{Daemon, none};

fn check(daemon: &Daemon, line: &str, expected: Expect) {
    let arguments: Vec<_> = line.split(' ').collect();
    let mut text = daemon.skep(&arguments);
    let calls = daemon.calls();
    if !calls.is_empty() {
        text.push_str(&format!("-> {calls}\n"));
    }
    expected.assert_eq(&text);
}

#[test]
fn both_say_the_same_of_images() {
    let daemon = Daemon::start(Fake::busy());
    let unlike = [
        "images",
        "images --digests",
        "images --no-trunc",
        "images -q",
        "images nginx",
        "image ls --format {{.ID}}:{{.Repository}}:{{.Tag}}:{{.Size}}",
        "image inspect --format {{.Os}} nginx:1.25",
        "image inspect nope",
        "image inspect",
        "rmi nginx:1.25 nope",
        "rmi -f nope",
        "rmi",
        "tag nginx:1.25 me/nginx:x",
        "tag nginx:1.25 me/nginx",
        "tag nginx:1.25",
        "pull nginx:1.25",
        "pull nginx",
        "pull -q nginx:1.25",
        "pull nope:1",
        "pull broken:1",
        "pull",
        "pull -a nginx:1",
        "load -i /nonexistent",
        "save nope",
        "save",
        "import /proc/sys/kernel/ostype me:x",
        "service logs web",
        "service logs -t web",
        "service logs --raw web",
        "service logs --details --no-trunc web",
        "service logs --no-resolve --no-task-ids web",
        "service logs taskaaaaaaaaaaaaaaaaaaaa1",
        "service logs nope",
    ]
    .into_iter()
    .filter_map(|line| daemon.unlike(line));
    none(unlike);
}

#[test]
fn archives_go_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.tar");
    let daemon = Daemon::start(Fake::busy());
    let shown = path.to_str().unwrap();
    check(
        &daemon,
        &format!("save -o {shown} nginx:1.25 b"),
        expect![[r#"
        -> save ["nginx:1.25", "b"]
    "#]],
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"the archive");
    check(
        &daemon,
        &format!("load -i {shown}"),
        expect![[r#"
        Loaded image: nginx:1.25
        -> load 11 bytes
    "#]],
    );
    check(
        &daemon,
        &format!("import -c CMD=[] -m said {shown} me:x"),
        expect![[r#"
        sha256:123
        -> import me:x "said" ["CMD=[]"] 11 bytes
    "#]],
    );
    check(
        &daemon,
        &format!("save -o {shown} nope"),
        expect![[r#"
        Error response from daemon: No such image: nope
        [1]
    "#]],
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no partial file stays");
    assert_eq!(std::fs::read(&path).unwrap(), b"the archive");
}

#[test]
fn a_login_goes_with_a_pull() {
    let dir = tempfile::tempdir().unwrap();
    // user:pass
    let config =
        r#"{"auths": {"reg.example:5000": {"auth": "dXNlcjpwYXNz"}, "x": {"auth": "***"}}}"#;
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let daemon = Daemon::start(Fake::busy());
    let pull = |image: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["-H", &daemon.host(), "pull", "-q", image])
            .env("DOCKER_CONFIG", dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        format!("{text}{}", daemon.calls())
    };
    assert_eq!(pull("reg.example:5000/a:1"), "pull reg.example:5000/a:1  Some(\"user\")");
    assert_eq!(pull("nginx:1"), "pull nginx:1  None");
    std::fs::write(
        dir.path().join("config.json"),
        r#"{"auths": {"reg.example:5000": {"auth": "***"}}}"#,
    )
    .unwrap();
    assert_eq!(
        pull("reg.example:5000/a:1"),
        "invalid login for reg.example:5000 in the configuration file\n"
    );
}
