//! Containers that stand still: what is seen of them, and how they end.

mod common;

use std::time::Duration;

use common::{Fixture, output, patiently, root_or_skip, until};
use skep_engine::signal::Signal;
use skep_engine::{Error, Status};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_does_nothing_until_it_goes_on() {
    if !root_or_skip("a_paused_container_does_nothing_until_it_goes_on") {
        return;
    }
    let mut fixture = Fixture::new().await;
    let script = "trap 'echo got' USR1; echo ready; while :; do :; done";
    let mut config = fixture.shell("still", script);
    config.stop_signal = "SIGTERM".into();
    let created = fixture.runtime().create(config).await.unwrap();
    assert!(matches!(created.pause().await, Err(Error::NotRunning(_))));
    created.start().await.unwrap();
    until("it is ready", async || output(&created).await.contains("ready")).await;
    let said = created.unpause().await.unwrap_err().to_string();
    assert_eq!(said, "container still is not paused");

    created.pause().await.unwrap();
    assert_eq!(created.state().await.unwrap().status, Status::Paused);
    let said = created.pause().await.unwrap_err().to_string();
    assert_eq!(said, "container still is already paused");
    let before = created.stats().await.unwrap().cpu.total_ns;
    created.kill(Signal::parse("USR1").unwrap()).await.unwrap();
    assert_eq!(created.state().await.unwrap().status, Status::Paused, "the signal waits");
    // Under version 2 the kernel wakes it for a moment, to see that it is to stand still.
    let used = created.stats().await.unwrap().cpu.total_ns - before;
    assert!(used < 10_000_000, "{used} ns");
    assert!(matches!(created.delete().await, Err(Error::Running(_))));

    // A daemon that comes back finds it so.
    drop(created);
    fixture.reopen().await;
    let container = fixture.runtime().get("still").await.unwrap();
    assert_eq!(container.state().await.unwrap().status, Status::Paused);
    assert!(!output(&container).await.contains("got"));
    container.unpause().await.unwrap();
    assert_eq!(container.state().await.unwrap().status, Status::Running);
    until("it goes on", async || output(&container).await.contains("got")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_can_be_ended_in_every_way() {
    if !root_or_skip("a_paused_container_can_be_ended_in_every_way") {
        return;
    }
    let fixture = Fixture::new().await;
    let paused = async |id: &str| {
        let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";
        let container = fixture.start(fixture.shell(id, script)).await;
        until("it is ready", async || output(&container).await.contains("ready")).await;
        container.pause().await.unwrap();
        container
    };
    let killed = paused("killed").await;
    killed.kill(Signal::KILL).await.unwrap();
    assert_eq!(patiently(killed.wait()).await.unwrap().code, 137);
    killed.delete().await.unwrap();

    // The grace is for the signal to be acted upon, so the container is thawed for it.
    let stopped = paused("stopped").await;
    let exit = patiently(stopped.stop(None, Duration::from_secs(60))).await.unwrap();
    assert_eq!(exit.code, 3);
    stopped.delete().await.unwrap();

    // Its shim is killed: the runtime buries what stands still.
    let orphan = paused("orphan").await;
    let pid = orphan.pid().await.unwrap().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    let shim = nix::unistd::Pid::from_raw(shim.trim().parse().unwrap());
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
    let exit = patiently(orphan.wait()).await.unwrap();
    assert_eq!(exit.code, 255);
    orphan.delete().await.unwrap();
    fixture.assert_clean().await;
}
