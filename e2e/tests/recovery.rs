//! Hosts with the product's daemon: they form a swarm, and a daemon or a whole host that was killed
//! takes its place again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use skep_docker_api::filters::Filters;
use skep_e2e::stage::{self, skep, swarm};
use skep_e2e::{Fleet, FleetConfig, Host, Signal, eventually, eventually_blocking, skep_binary};

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

fn wait_for_host2(manager: &Host, state: &str) {
    eventually_blocking(SOON, || {
        let said = skep(manager, &["node", "ls", "--format", "{{.Hostname}} {{.Status}}"])?;
        ensure!(said.lines().any(|line| line == format!("host2 {state}")), "{said}");
        Ok(())
    });
}

/// Every task there ever was of a service, with its node and what it is to be.
fn tasks(manager: &Host, service: &str) -> Result<BTreeSet<String>> {
    let format = "{{.ID}} {{.Node}} {{.DesiredState}}";
    let said = skep(manager, &["service", "ps", service, "--no-trunc", "--format", format])?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn wait_running(manager: &Host, service: &str, on: &str, count: usize) {
    eventually_blocking(SOON, || {
        let tasks = stage::running(manager, service)?;
        let here = tasks.iter().filter(|(_, node)| node == on).count();
        ensure!(here == count, "{here} of {count} run on {on}: {tasks:?}");
        Ok(())
    });
}

#[test]
fn a_node_that_is_away_for_a_short_while_keeps_its_tasks() {
    let Some(fleet) = swarm(2, 1) else { return };
    let (manager, worker) = (fleet.host(1), fleet.host(2));
    let create = ["service", "create", "--detach", "--name"];
    let web = ["web", "--replicas", "2", "--label", "skep.down-grace=1h"];
    let command = ["busybox:latest", "sleep", "86400"];
    skep(&manager, &[&create[..], &web, &command].concat()).unwrap();
    wait_running(&manager, "web", "host1", 1);
    wait_running(&manager, "web", "host2", 1);
    let before = tasks(&manager, "web").unwrap();

    worker.kill(Signal::SIGKILL).unwrap();
    wait_for_host2(&manager, "Down");
    // What the leader decides after the node went down is decided with that in its view.
    skep(&manager, &[&create[..], &["probe"], &command].concat()).unwrap();
    wait_running(&manager, "probe", "host1", 1);
    assert_eq!(tasks(&manager, "web").unwrap(), before, "within the grace nothing moves");
    worker.start().unwrap();
    wait_for_host2(&manager, "Ready");
    wait_running(&manager, "web", "host2", 1);
    assert_eq!(tasks(&manager, "web").unwrap(), before, "and it goes on as it was");

    worker.kill(Signal::SIGKILL).unwrap();
    wait_for_host2(&manager, "Down");
    let bad = ["service", "update", "--detach", "--label-add", "skep.down-grace=soon", "web"];
    let refused = skep(&manager, &bad).unwrap_err().to_string();
    assert!(refused.contains("expected a duration of at most 24h"), "{refused}");
    let none = ["service", "update", "--detach", "--label-add", "skep.down-grace=0s", "web"];
    skep(&manager, &none).unwrap();
    wait_running(&manager, "web", "host1", 2);

    // A node that comes back later has nothing, until somebody asks for it.
    worker.start().unwrap();
    wait_for_host2(&manager, "Ready");
    let told = skep(&manager, &["service", "rebalance", "--dry-run", "web"]).unwrap();
    assert!(told.starts_with("web: 1 of 2 tasks would move\n  web."), "{told}");
    assert!(told.trim_end().ends_with("host1 -> host2"), "{told}");
    wait_running(&manager, "web", "host1", 2);
    let told = skep(&manager, &["service", "rebalance", "--quiet", "web"]).unwrap();
    assert_eq!(told.trim_end(), "web: 1 of 2 tasks move");
    wait_running(&manager, "web", "host1", 1);
    wait_running(&manager, "web", "host2", 1);
    eventually_blocking(SOON, || {
        let format = ["service", "inspect", "web", "--format", "{{.UpdateStatus.Message}}"];
        let said = skep(&manager, &format)?;
        ensure!(said.trim_end() == "rebalance completed", "{said}");
        Ok(())
    });
    let told = skep(&manager, &["service", "rebalance", "web"]).unwrap();
    assert_eq!(told.trim_end(), "web: no task is to move");
    skep(&manager, &[&create[..], &["every", "--mode", "global"], &command].concat()).unwrap();
    let refused = skep(&manager, &["service", "rebalance", "every"]).unwrap_err().to_string();
    assert!(refused.contains("can only be used with replicated mode"), "{refused}");
    fleet.down().unwrap();
}
