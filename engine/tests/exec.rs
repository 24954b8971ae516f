//! Commands run in a running container.

mod common;

use std::time::Duration;

use common::{Fixture, patiently, root_or_skip, until};
use skep_engine::signal::Signal;
use skep_engine::{Container, Error, Exec};

async fn run(container: &Container, script: &str) -> (i32, String) {
    let exec = Exec {
        args: ["sh", "-c", script].map(str::to_owned).into(),
        output_bytes_max: 64 * 1024,
        ..Exec::default()
    };
    let output = patiently(container.exec(exec)).await.unwrap();
    (output.exit_code, String::from_utf8(output.output).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_inside_with_the_containers_privileges() {
    if !root_or_skip("a_command_runs_inside_with_the_containers_privileges") {
        return;
    }
    let fixture = Fixture::new().await;
    let mut config = fixture.shell("one", "touch /tmp/mark; exec sleep 1000");
    config.env = vec!["A=1".into()];
    config.cwd = "/srv".into();
    config.resources.memory_bytes = 64 << 20;
    let container = fixture.start(config).await;
    let (code, said) =
        run(&container, "ls /tmp; pwd; echo $A $HOSTNAME; echo no >&2; exit 3").await;
    assert_eq!((code, said.as_str()), (3, "mark\n/srv\n1 one\nno\n"));

    let (_, inner) =
        run(&container, "cat /proc/self/status /proc/1/status; cat /proc/self/cgroup").await;
    for field in ["CapBnd", "CapEff", "Seccomp", "Groups", "NoNewPrivs"] {
        let lines: Vec<&str> =
            inner.lines().filter(|line| line.starts_with(&format!("{field}:"))).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], lines[1], "the same as the first process has");
    }
    assert!(inner.contains("Seccomp:\t2"));
    let pid = container.pid().await.unwrap().unwrap();
    for namespace in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let theirs = std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        let (_, ours) = run(&container, &format!("stat -Lc %i /proc/self/ns/{namespace}")).await;
        assert!(theirs.to_str().unwrap().contains(ours.trim()), "{namespace}");
    }
    let (_, limit) = run(
        &container,
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null",
    )
    .await;
    assert_eq!(limit.trim(), "67108864");

    let exec = Exec {
        args: ["sh", "-c", "id; pwd; echo $A"].map(str::to_owned).into(),
        env: vec!["A=2".into()],
        cwd: Some("/tmp".into()),
        user: Some("web".into()),
        output_bytes_max: 1000,
    };
    let output = patiently(container.exec(exec)).await.unwrap();
    let said = String::from_utf8(output.output).unwrap();
    assert_eq!(said, "uid=33(web) gid=34(web) groups=34(web),50(logs)\n/tmp\n2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_commands_and_long_ones_are_dealt_with() {
    if !root_or_skip("bad_commands_and_long_ones_are_dealt_with") {
        return;
    }
    let fixture = Fixture::new().await;
    let container = fixture.start(fixture.config("one", &["sleep", "1000"])).await;
    let exec = |args: &[&str], output_bytes_max| {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        container.exec(Exec { args, output_bytes_max, ..Exec::default() })
    };
    match patiently(exec(&["nope"], 0)).await {
        Err(Error::Failed { message, exit_code: Some(127) }) => {
            assert_eq!(message, "exec: \"nope\": executable file not found in $PATH");
        }
        other => panic!("{other:?}"),
    }
    let output = patiently(exec(&["seq", "1", "100000"], 10)).await.unwrap();
    assert_eq!((output.exit_code, &output.output[..]), (0, &b"1\n2\n3\n4\n5\n"[..]));
    assert!(output.truncated);
    // What it leaves running does not hold it up.
    let output = patiently(exec(&["sh", "-c", "sleep 999 & echo done"], 100)).await.unwrap();
    assert_eq!(&output.output[..], b"done\n");

    // A command that is given up is killed.
    let given_up = tokio::time::timeout(
        Duration::from_millis(500),
        exec(&["sh", "-c", "exec sleep 888"], 100),
    );
    given_up.await.unwrap_err();
    until("it is gone", async || {
        let list = patiently(exec(&["ps"], 100_000)).await.unwrap();
        !String::from_utf8(list.output).unwrap().contains("sleep 888")
    })
    .await;

    // A command ends with its container.
    let long = tokio::spawn({
        let container = container.clone();
        async move { run(&container, "touch /tmp/begun; exec sleep 777").await }
    });
    until("it runs", async || run(&container, "test -e /tmp/begun").await.0 == 0).await;
    patiently(container.stop(Some(Signal::KILL), Duration::ZERO)).await.unwrap();
    assert_eq!(patiently(long).await.unwrap().0, 137);
    assert!(matches!(exec(&["true"], 0).await, Err(Error::NotRunning(_))));
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}
