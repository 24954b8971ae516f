//! Hosts with the product's daemon: they form a swarm, and a daemon or a whole host that was killed
//! takes its place again.

use std::time::Duration;

use skep_docker_api::filters::Filters;
use skep_e2e::{Fleet, FleetConfig, Host, Signal, eventually, skep_binary};

/// A debug build on a busy machine, missing heartbeats included.
const SOON: Duration = Duration::from_secs(60);

/// Names and states of the nodes, as a manager lists them.
async fn nodes(manager: &Host) -> Result<Vec<(String, String)>, String> {
    let nodes = manager.client().nodes(&Filters::default()).await.map_err(|e| e.to_string())?;
    let mut nodes: Vec<(String, String)> =
        nodes.into_iter().map(|node| (node.description.hostname, node.status.state)).collect();
    nodes.sort();
    Ok(nodes)
}

async fn all_are(manager: &Host, expected: [&str; 2]) {
    let expected: Vec<(String, String)> =
        (1..).map(|n| format!("host{n}")).zip(expected.map(str::to_owned)).collect();
    eventually(SOON, async || match nodes(manager).await? {
        nodes if nodes == expected => Ok(()),
        nodes => Err(format!("{nodes:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_and_a_restarted_host_come_back() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return;
    }
    let fleet = Fleet::up(FleetConfig::hosts(2).daemon(skep_binary()).managers(1)).unwrap();
    let (manager, worker) = (fleet.host(1), fleet.host(2));
    all_are(&manager, ["ready", "ready"]).await;

    worker.kill(Signal::SIGKILL).unwrap();
    assert_eq!(worker.daemon().unwrap(), None);
    assert_eq!(worker.kill(Signal::SIGKILL).unwrap_err().to_string(), "no daemon runs on host2");
    all_are(&manager, ["ready", "down"]).await;
    worker.start().unwrap();
    all_are(&manager, ["ready", "ready"]).await;

    fleet.cut(&["host2"]).unwrap();
    all_are(&manager, ["ready", "down"]).await;
    fleet.heal().unwrap();
    all_are(&manager, ["ready", "ready"]).await;

    worker.restart().unwrap();
    manager.restart().unwrap();
    all_are(&manager, ["ready", "ready"]).await;
    let said = manager.check(&["skep", "node", "ls", "--format", "{{.Hostname}}"]).unwrap();
    assert_eq!(said.lines().count(), 2, "the command on the host reaches its daemon: {said}");
}
