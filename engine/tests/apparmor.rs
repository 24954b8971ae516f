//! AppArmor's profiles, on a kernel that has it: `make test-vm` boots one.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Fixture, output, patiently, root_or_skip};
use skep_engine::apparmor::{self, DEFAULT_PROFILE, Support};
use skep_engine::{ContainerConfig, Exec, Signal};

/// Set by who has made sure that the host has all it takes.
const DEMANDED: &str = "SKEP_TEST_APPARMOR";

fn apparmor_or_skip(test: &str) -> bool {
    if !root_or_skip(test) {
        return false;
    }
    let support = apparmor::support();
    assert!(support == Support::Full || std::env::var_os(DEMANDED).is_none(), "{support:?}");
    if support != Support::Full {
        eprintln!("SKIP {test}: AppArmor with its parser is not there ({support:?})");
    }
    support == Support::Full
}

/// A profile that the kernel has as long as this lives.
struct Loaded(String);

impl Loaded {
    fn new(name: &str, rules: &str) -> Loaded {
        let source = format!("profile {name} flags=(attach_disconnected) {{ {rules} }}");
        parse("--replace", &source);
        Loaded(source)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        parse("--remove", &self.0);
    }
}

fn parse(how: &str, source: &str) {
    let mut child = Command::new("/sbin/apparmor_parser")
        .args([how, "--skip-cache"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{how} {source}");
}

async fn said(
    fixture: &Fixture,
    id: &str,
    script: &str,
    change: impl FnOnce(&mut ContainerConfig),
) -> String {
    let mut config = fixture.shell(id, script);
    change(&mut config);
    fixture.run(config).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_have_dockers_profile_unless_told() {
    if !apparmor_or_skip("containers_have_dockers_profile_unless_told") {
        return;
    }
    let fixture = Fixture::new().await;
    let who = "cat /proc/self/attr/current; mount -t tmpfs x /srv 2>/dev/null && echo mounted; \
               { echo box > /proc/sys/kernel/hostname; } 2>/dev/null && hostname; cat /proc/1/attr/current; true";
    // What the kernel allows without a profile.
    let open = |config: &mut ContainerConfig| {
        config.capability_add = vec!["SYS_ADMIN".into(), "SYS_PTRACE".into()];
        config.read_only_paths = Some(Vec::new());
    };
    let confined = format!("{DEFAULT_PROFILE} (enforce)\n{DEFAULT_PROFILE} (enforce)\n");
    let ours = said(&fixture, "ours", who, open).await;
    assert_eq!(ours, confined);
    let none = said(&fixture, "none", who, |config| {
        open(config);
        config.apparmor = Some("unconfined".into());
    });
    assert_eq!(none.await, "unconfined\nmounted\nbox\nunconfined\n");
    let all = said(&fixture, "all", who, |config| config.privileged = true);
    assert_eq!(all.await, "unconfined\nmounted\nbox\nunconfined\n");
    // The command's parent in the container makes no execve, and has the profile all the same.
    let init = said(&fixture, "init", who, |config| {
        open(config);
        config.init = true;
        config.user = "0".into();
    });
    assert_eq!(init.await, confined);
    let user = said(&fixture, "user", "cat /proc/1/attr/current", |config| {
        config.init = true;
        config.user = "33:34".into();
        config.no_new_privileges = true;
    });
    assert_eq!(user.await, format!("{DEFAULT_PROFILE} (enforce)\n"));
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_profile_holds_for_all_of_its_commands() {
    if !apparmor_or_skip("a_named_profile_holds_for_all_of_its_commands") {
        return;
    }
    let fixture = Fixture::new().await;
    let name = format!("skep-test-{}", std::process::id());
    let rules = "file, network, capability, signal, deny /etc/passwd r,";
    let _loaded = Loaded::new(&name, rules);
    let look = "cat /proc/self/attr/current; cat /etc/passwd 2>/dev/null | wc -l";
    let mut config = fixture.shell("named", &format!("{look}; sleep 1000"));
    config.apparmor = Some(name.clone());
    let container = fixture.start(config).await;
    let wanted = format!("{name} (enforce)\n0\n");
    common::until("it has spoken", async || output(&container).await == wanted).await;
    let args = ["sh", "-c", look].map(str::to_owned).to_vec();
    let exec = Exec { args, output_bytes_max: 4096, ..Exec::default() };
    let beside = container.exec(exec).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&beside.output), wanted);
    // The profile lets the host's processes end it.
    let ended = patiently(container.stop(Some(Signal::KILL), Duration::from_secs(10))).await;
    assert_eq!(ended.unwrap().code, 137);
    container.delete().await.unwrap();

    let mut missing = fixture.shell("missing", "true");
    missing.apparmor = Some("skep-no-such-profile".into());
    let error = fixture.runtime().create(missing).await.unwrap_err().to_string();
    assert!(error.contains("AppArmor profile \"skep-no-such-profile\" is not loaded"), "{error}");
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_a_container_with_dockers_profile() {
    if !apparmor_or_skip("signals_reach_a_container_with_dockers_profile") {
        return;
    }
    let fixture = Fixture::new().await;
    let mut config = fixture
        .shell("hears", "trap 'echo heard; exit 3' TERM; echo up; while :; do sleep 0.1; done");
    config.init = true;
    let container = fixture.start(config).await;
    common::until("it is up", async || output(&container).await == "up\n").await;
    let ended = patiently(container.stop(Some(Signal::TERM), Duration::from_secs(60))).await;
    assert_eq!((ended.unwrap().code, output(&container).await.as_str()), (3, "up\nheard\n"));
    container.delete().await.unwrap();
}
