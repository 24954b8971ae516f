//! Commands in a running container that somebody is attached to.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Fixture, Said, patiently, root_or_skip, until};
use skep_engine::signal::Signal;
use skep_engine::{AttachOptions, Container, Error, ExecConfig, ExecSession};
use tokio::io::AsyncWriteExt;

const ALL: AttachOptions = AttachOptions { stdin: true, stdout: true, stderr: true };

fn shell(script: &str) -> ExecConfig {
    let args = ["sh", "-c", script].map(str::to_owned).into();
    ExecConfig { args, attach: ALL, ..ExecConfig::default() }
}

async fn open(container: &Container, exec: ExecConfig) -> ExecSession {
    patiently(container.open_exec(exec)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_both_ways() {
    if !root_or_skip("streams_go_both_ways") {
        return;
    }
    let fixture = Fixture::new().await;
    let mut config = fixture.config("one", &["sleep", "1000"]);
    config.env = vec!["A=1".into()];
    let container = fixture.start(config).await;
    let exec = ExecConfig {
        env: vec!["B=2".into()],
        cwd: Some("/tmp".into()),
        user: Some("web".into()),
        ..shell("cat; id -u; pwd; echo $A $B $TERM; echo err >&2; exit 3")
    };
    let mut session = open(&container, exec).await;
    assert!(Path::new(&format!("/proc/{}", session.pid())).exists());
    let mut attached = session.attached().unwrap();
    assert!(session.attached().is_none() && session.terminal().is_none());
    // Given up and asked again, more than once.
    tokio::time::timeout(Duration::from_millis(50), session.wait()).await.unwrap_err();
    let mut input = attached.input.take().unwrap();
    let sent: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    let write = async {
        input.write_all(sent.as_bytes()).await.unwrap();
        input.shutdown().await.unwrap();
        drop(input);
    };
    let (said, ()) = patiently(async { tokio::join!(Said::all(&mut attached), write) }).await;
    assert!(said.stdout == format!("{sent}33\n/tmp\n1 2\n"), "{}", said.stdout.len());
    assert_eq!(said.stderr, "err\n");
    assert_eq!(patiently(session.wait()).await.unwrap(), 3);
    assert_eq!(patiently(session.wait()).await.unwrap(), 3);

    let privileged = ExecConfig { privileged: true, ..shell("grep CapEff /proc/self/status") };
    let mut session = open(&container, privileged).await;
    let all = patiently(Said::all(&mut session.attached().unwrap())).await.stdout;
    let mut session = open(&container, shell("grep CapEff /proc/self/status")).await;
    let few = patiently(Said::all(&mut session.attached().unwrap())).await.stdout;
    assert_ne!(all, few);

    for (command, code) in [("nope", 127), ("/etc/passwd", 126)] {
        let exec = ExecConfig { args: vec![command.into()], ..ExecConfig::default() };
        match patiently(container.open_exec(exec)).await {
            Err(Error::Failed { message, exit_code }) => {
                assert_eq!(exit_code, Some(code), "{message}");
                assert!(message.starts_with("exec: \""), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    let nobody = ExecConfig { user: Some("nobody".into()), ..shell("true") };
    match patiently(container.open_exec(nobody)).await {
        Err(Error::Failed { message, exit_code: Some(126) }) => {
            assert_eq!(message, "unable to find user nobody: no matching entries in passwd file");
        }
        other => panic!("{other:?}"),
    }
    let mut long = open(&container, shell("exec sleep 1000")).await;
    container.kill(Signal::KILL).await.unwrap();
    assert_eq!(patiently(long.wait()).await.unwrap(), 137);
    patiently(container.wait()).await.unwrap();
    assert!(matches!(container.open_exec(shell("true")).await, Err(Error::NotRunning(_))));
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_outlives_who_asked_for_it() {
    if !root_or_skip("a_command_outlives_who_asked_for_it") {
        return;
    }
    let mut fixture = Fixture::new().await;
    let mut config = fixture.config("one", &["sleep", "1000"]);
    std::fs::create_dir(fixture.path("mark")).unwrap();
    config.mounts.push(common::bind(&fixture.path("mark"), "/mark"));
    let container = fixture.start(config).await;
    // Neither the want of a reader nor a full pipe holds it up, with and without a terminal.
    for (name, tty) in [("pipes", false), ("tty", true)] {
        let script = format!(
            "echo begun; while ! [ -e /mark/go-{name} ]; do sleep 0.01; done; \
                              seq 1 100000; seq 1 100000 >&2; touch /mark/done-{name}"
        );
        let mut session = open(&container, ExecConfig { tty, ..shell(&script) }).await;
        let mut attached = session.attached().unwrap();
        patiently(Said::until(&mut attached, "begun")).await;
        drop(attached);
        std::fs::write(fixture.path("mark").join(format!("go-{name}")), "").unwrap();
        assert_eq!(patiently(session.wait()).await.unwrap(), 0);
        assert!(fixture.path("mark").join(format!("done-{name}")).exists());
        std::fs::remove_file(fixture.path("mark").join(format!("done-{name}"))).unwrap();
        std::fs::remove_file(fixture.path("mark").join(format!("go-{name}"))).unwrap();
        drop(open(&container, ExecConfig { tty, ..shell(&script) }).await);
    }
    drop(container);
    fixture.reopen().await;
    for name in ["pipes", "tty"] {
        std::fs::write(fixture.path("mark").join(format!("go-{name}")), "").unwrap();
        let done = fixture.path("mark").join(format!("done-{name}"));
        until("it is done", async || done.exists()).await;
    }
    let container = fixture.runtime().get("one").await.unwrap();
    container.stop(Some(Signal::KILL), Duration::ZERO).await.unwrap();
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_a_size_and_interrupts() {
    if !root_or_skip("a_terminal_has_a_size_and_interrupts") {
        return;
    }
    let fixture = Fixture::new().await;
    let container = fixture.start(fixture.config("one", &["sleep", "1000"])).await;
    let script = "tty; stty size; echo $TERM; read line; stty size; trap 'echo caught' INT; \
                  cat; exit 4";
    let exec = ExecConfig {
        tty: true,
        console: Some((33, 111)),
        user: Some("web".into()),
        ..shell(script)
    };
    let mut session = open(&container, exec).await;
    let mut attached = session.attached().unwrap();
    let said = patiently(Said::until(&mut attached, "xterm\r\n")).await;
    assert_eq!(said.stdout, "/dev/pts/0\r\n33 111\r\nxterm\r\n");
    session.terminal().unwrap().resize(44, 122).unwrap();
    let mut input = attached.input.take().unwrap();
    input.write_all(b"line\n").await.unwrap();
    patiently(Said::until(&mut attached, "44 122\r\n")).await;
    input.write_all(b"twice\n").await.unwrap();
    patiently(Said::until(&mut attached, "twice\r\ntwice\r\n")).await;
    input.write_all(b"\x03").await.unwrap();
    let said = patiently(Said::all(&mut attached)).await;
    assert!(said.stdout.ends_with("caught\r\n"), "{said:?}");
    assert_eq!(patiently(session.wait()).await.unwrap(), 4);
}
