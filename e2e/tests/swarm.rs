//! A swarm of real daemons: made, joined, its managers killed and restarted, roles moved.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use skep_docker_api::Filters;
use skep_docker_api::json::{ConfigSpec, Node};
use skep_e2e::{Fleet, FleetConfig, Host, Signal, eventually, eventually_blocking, skep_binary};

/// Elections, joins and renewals end well within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(60);

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIP: a fleet needs root");
    }
    root
}

/// So many hosts with daemons, not in a swarm yet.
fn daemons(hosts: usize) -> Fleet {
    Fleet::up(FleetConfig::hosts(hosts).daemon(skep_binary())).unwrap()
}

/// So many hosts, all of them managers of one swarm.
fn managers(hosts: usize) -> Fleet {
    Fleet::up(FleetConfig::hosts(hosts).daemon(skep_binary()).managers(hosts)).unwrap()
}

fn skep(host: &Host, words: &[&str]) -> Result<String> {
    let words: Vec<&str> = std::iter::once("skep").chain(words.iter().copied()).collect();
    host.check(&words)
}

/// The lines of `node ls`: hostname to (status, manager status).
fn nodes(host: &Host) -> Result<Vec<(String, String, String)>> {
    let format = "{{.Hostname}} {{.Status}} {{.ManagerStatus}}";
    let lines = skep(host, &["node", "ls", "--format", format])?;
    let line = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        (word(), word(), word())
    };
    let mut nodes: Vec<_> = lines.lines().map(line).collect();
    nodes.sort();
    Ok(nodes)
}

fn expect_nodes(seen_by: &Host, expected: &[(&str, &str, &str)]) {
    eventually_blocking(SOON, || {
        let got = nodes(seen_by)?;
        let same = got.len() == expected.len()
            && got
                .iter()
                .zip(expected)
                .all(|(got, want)| (got.0.as_str(), got.1.as_str(), got.2.as_str()) == *want);
        ensure!(same, "nodes are {got:?}");
        Ok(())
    });
}

#[test]
fn hosts_join_by_token_and_nothing_else() {
    if !root() {
        return;
    }
    let fleet = daemons(3);
    let (one, two, three) = (fleet.host(1), fleet.host(2), fleet.host(3));
    let refused = |host: &Host, words: &[&str], why: &str| {
        let error = format!("{:#}", skep(host, words).unwrap_err());
        assert!(error.contains(why), "{words:?}: {error}");
    };
    refused(&one, &["node", "ls"], "This node is not a swarm manager");
    refused(&two, &["swarm", "join", "--token", "nonsense", "198.18.0.1"], "invalid join token");

    let address = one.address().to_string();
    let made = skep(&one, &["swarm", "init", "--advertise-addr", &address]).unwrap();
    assert!(made.contains("is now a manager."), "{made}");
    assert!(made.contains("skep swarm join --token SWMTKN-1-"), "{made}");
    refused(&one, &["swarm", "init"], "already part of a swarm");

    let token = skep(&one, &["swarm", "join-token", "-q", "worker"]).unwrap();
    let token = token.trim();
    let remote = format!("{address}:2377");
    // The secret of another token for this root, and another root's token.
    let (head, secret) = token.rsplit_once('-').unwrap();
    let wrong_secret = format!("{head}-{}", secret.chars().rev().collect::<String>());
    refused(&two, &["swarm", "join", "--token", &wrong_secret, &remote], "valid join token");
    let foreign = format!("SWMTKN-1-{}-{secret}", "1".repeat(50));
    refused(&two, &["swarm", "join", "--token", &foreign, &remote], "fingerprint");

    let joined = skep(&two, &["swarm", "join", "--token", token, &remote]).unwrap();
    assert_eq!(joined.trim(), "This node joined a swarm as a worker.");
    expect_nodes(&one, &[("host1", "Ready", "Leader"), ("host2", "Ready", "")]);
    refused(&two, &["node", "ls"], "Worker nodes can't be used to view or modify cluster state");

    // A token that was rotated opens nothing any more.
    let rotated = skep(&one, &["swarm", "join-token", "-q", "--rotate", "worker"]).unwrap();
    assert_ne!(rotated.trim(), token);
    refused(&three, &["swarm", "join", "--token", token, &remote], "valid join token");
    skep(&three, &["swarm", "join", "--token", rotated.trim(), &remote]).unwrap();

    // A worker leaves; its node is down, then removed, and its certificate opens nothing.
    skep(&three, &["swarm", "leave"]).unwrap();
    refused(&one, &["node", "rm", "host3"], "is not down");
    skep(&one, &["node", "rm", "--force", "host3"]).unwrap();
    expect_nodes(&one, &[("host1", "Ready", "Leader"), ("host2", "Ready", "")]);
    refused(&one, &["swarm", "leave"], "Removing the last manager");
    fleet.down().unwrap();
}

#[test]
fn what_init_is_told_holds() {
    if !root() {
        return;
    }
    let fleet = daemons(2);
    let (one, two) = (fleet.host(1), fleet.host(2));
    let advertise = format!("{}:2400", one.address());
    for (host, data) in [(&one, "10.250.0.1/24"), (&two, "10.250.0.2/24")] {
        host.check(&["ip", "address", "add", data, "dev", "eth0"]).unwrap();
    }
    let words = [
        &["swarm", "init", "--advertise-addr", &advertise, "--listen-addr", "0.0.0.0:2400"][..],
        &["--data-path-addr", "10.250.0.1", "--data-path-port", "4800"],
        &["--default-addr-pool", "10.99.0.0/16", "--default-addr-pool-mask-length", "26"],
        &["--cert-expiry", "2h", "--dispatcher-heartbeat", "3s", "--task-history-limit", "2"],
        &["--availability", "pause"],
    ]
    .concat();
    skep(&one, &words).unwrap();
    let token = skep(&one, &["swarm", "join-token", "-q", "worker"]).unwrap();
    let join = ["swarm", "join", "--data-path-addr", "10.250.0.2", "--token", token.trim()];
    skep(&two, &[&join[..], &[&advertise]].concat()).unwrap();
    let cluster = "{{with .Swarm.Cluster}}{{.DataPathPort}} {{.SubnetSize}} {{.DefaultAddrPool}} \
                   {{.Spec.Dispatcher.HeartbeatPeriod}} {{.Spec.CAConfig.NodeCertExpiry}} \
                   {{.Spec.Orchestration.TaskHistoryRetentionLimit}}{{end}}";
    let shown = skep(&one, &["info", "--format", cluster]).unwrap();
    assert_eq!(shown.trim(), "4800 26 [10.99.0.0/16] 3000000000 7200000000000 2");
    let shown = skep(&one, &["node", "inspect", "self", "-f", "{{.Spec.Availability}}"]).unwrap();
    assert_eq!(shown.trim(), "pause");
    let listening = one.check(&["ss", "-Htln"]).unwrap();
    assert!(listening.contains(":2400") && !listening.contains(":2377"), "{listening}");
    for host in [&one, &two] {
        let lasts = |seconds: &str| {
            let at = "/var/lib/skep/swarm/node.pem";
            let words = ["openssl", "x509", "-noout", "-in", at, "-checkend", seconds];
            host.run(&words).unwrap().status.success()
        };
        assert!(lasts("3600") && !lasts("7300"), "the certificate of {}", host.name());
        // The ingress network's VXLAN.
        eventually_blocking(SOON, || {
            let open = host.check(&["ss", "-Huan"])?;
            ensure!(open.contains(":4800") && !open.contains(":4789"), "{open}");
            Ok(())
        });
    }
    skep(&one, &["network", "create", "-d", "overlay", "n"]).unwrap();
    eventually_blocking(SOON, || {
        let format = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
        let subnet = skep(&one, &["network", "inspect", "--format", format, "n"])?;
        let subnet = subnet.trim();
        ensure!(subnet.starts_with("10.99.") && subnet.ends_with("/26"), "{subnet}");
        Ok(())
    });
    // What is changed later reaches certificates that are made then.
    skep(&one, &["swarm", "update", "--cert-expiry", "5h", "--task-history-limit", "1"]).unwrap();
    skep(&two, &["swarm", "leave"]).unwrap();
    skep(&two, &[&join[..], &[&advertise]].concat()).unwrap();
    let at = "/var/lib/skep/swarm/node.pem";
    two.check(&["openssl", "x509", "-noout", "-in", at, "-checkend", "14400"]).unwrap();
    fleet.down().unwrap();
}

#[test]
fn roles_move_and_the_group_follows() {
    if !root() {
        return;
    }
    let fleet = managers(3);
    let (one, two) = (fleet.host(1), fleet.host(2));
    skep(&one, &["node", "demote", "host3"]).unwrap();
    expect_nodes(
        &one,
        &[("host1", "Ready", "Leader"), ("host2", "Ready", "Reachable"), ("host3", "Ready", "")],
    );
    // The leader itself hands over and becomes a worker.
    skep(&one, &["node", "demote", "host1"]).unwrap();
    expect_nodes(
        &two,
        &[("host1", "Ready", ""), ("host2", "Ready", "Leader"), ("host3", "Ready", "")],
    );
    // Whoever follows a manager's events is told.
    eventually_blocking(SOON, || {
        let until = two.check(&["date", "+%s.%N"])?;
        let words = ["events", "--since", "10m", "--until", until.trim(), "--filter", "type=node"];
        let told = skep(&two, &[&words[..], &["--format", "{{json .Actor.Attributes}}"]].concat())?;
        let led = told
            .lines()
            .any(|it| it.contains("\"leader.new\":\"true\"") && it.contains("\"name\":\"host2\""));
        ensure!(led, "told: {told}");
        Ok(())
    });
    let last = skep(&two, &["node", "demote", "host2"]).unwrap_err();
    let last = format!("{last:#}");
    assert!(last.contains("attempting to demote the last manager of the swarm"), "{last}");
    skep(&two, &["node", "promote", "host1", "host3"]).unwrap();
    expect_nodes(
        &two,
        &[
            ("host1", "Ready", "Reachable"),
            ("host2", "Ready", "Leader"),
            ("host3", "Ready", "Reachable"),
        ],
    );
    // A manager leaves for good, and two go on.
    eventually_blocking(SOON, || skep(&one, &["swarm", "leave", "--force"]));
    expect_nodes(
        &two,
        &[("host1", "Down", ""), ("host2", "Ready", "Leader"), ("host3", "Ready", "Reachable")],
    );
    fleet.down().unwrap();
}

#[test]
fn a_swarm_comes_back_from_disk() {
    if !root() {
        return;
    }
    let fleet = managers(3);
    let one = fleet.host(1);
    skep(&one, &["node", "update", "--label-add", "zone=east", "host2"]).unwrap();
    for host in fleet.hosts() {
        host.restart().unwrap();
    }
    let label = "{{index .Spec.Labels \"zone\"}}";
    eventually_blocking(SOON, || {
        let found = skep(&one, &["node", "inspect", "--format", label, "host2"])?;
        ensure!(found.trim() == "east", "label is {found:?}");
        Ok(())
    });
    eventually_blocking(SOON, || {
        let up = nodes(&one)?;
        ensure!(up.iter().all(|(_, status, _)| status == "Ready"), "nodes are {up:?}");
        Ok(())
    });
    fleet.down().unwrap();
}

/// Creates configs one after the other wherever a manager answers; gives the acknowledged names.
async fn create(fleet: &Fleet, wanted: usize, mut between: impl FnMut(usize)) -> BTreeSet<String> {
    let clients: Vec<_> = fleet.hosts().map(|host| host.client()).collect();
    let mut acknowledged = BTreeSet::new();
    let mut attempt = 0;
    while acknowledged.len() < wanted {
        between(acknowledged.len());
        let name = format!("c{attempt:05}");
        let spec =
            ConfigSpec { name: name.clone(), data: "aGk=".to_owned(), ..ConfigSpec::default() };
        let client = &clients[attempt % clients.len()];
        attempt += 1;
        assert!(
            attempt < 20 * wanted,
            "the swarm takes no more: {} of {wanted}",
            acknowledged.len()
        );
        if client.config_create(&spec).await.is_ok() {
            acknowledged.insert(name);
        }
    }
    acknowledged
}

fn leader(fleet: &Fleet, nodes: &[Node]) -> Result<Host> {
    let leads = |node: &&Node| node.manager_status.as_ref().is_some_and(|status| status.leader);
    let node = nodes.iter().find(leads).context("nobody leads")?;
    fleet.find(&node.description.hostname)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_the_death_of_leaders() {
    const CREATES: usize = 1_000;
    const KILLS: usize = 20;
    if !root() {
        return;
    }
    let fleet = tokio::task::spawn_blocking(|| managers(3)).await.unwrap();
    let (stop, mut killing) = tokio::sync::watch::channel(0usize);
    let acknowledged = {
        let killer = async {
            for kill in 1..=KILLS {
                killing.wait_for(|made| *made >= kill * CREATES / (KILLS + 1)).await.unwrap();
                let victim = eventually(SOON, async || {
                    for host in fleet.hosts() {
                        let nodes = host.client().nodes(&Filters::default()).await;
                        if let Ok(nodes) = nodes
                            && let Ok(leader) = leader(&fleet, &nodes)
                        {
                            return Ok(leader);
                        }
                    }
                    bail!("nobody says who leads")
                })
                .await;
                tokio::task::block_in_place(|| {
                    victim.kill(Signal::SIGKILL).unwrap();
                    victim.start().unwrap();
                });
            }
        };
        let create = create(&fleet, CREATES, |made| {
            stop.send_replace(made);
        });
        tokio::join!(create, killer).0
    };
    for host in fleet.hosts() {
        let client = host.client();
        eventually(SOON, async || {
            let found = client.configs(&Filters::default()).await?;
            let found: BTreeSet<String> = found.into_iter().map(|it| it.spec.name).collect();
            let lost: Vec<&String> = acknowledged.difference(&found).collect();
            // Nothing comes back late: a read is answered with all that was acknowledged.
            assert!(lost.is_empty(), "{} lost {lost:?}", host.name());
            anyhow::Ok(())
        })
        .await;
    }
    tokio::task::spawn_blocking(|| fleet.down().unwrap()).await.unwrap();
}

/// The daemon's files hold no token and no key in the clear but the node's own.
#[test]
fn the_log_is_sealed_and_keys_are_their_owners() {
    if !root() {
        return;
    }
    let fleet = managers(1);
    let one = fleet.host(1);
    let token = skep(&one, &["swarm", "join-token", "-q", "manager"]).unwrap();
    let secret = token.trim().rsplit('-').next().unwrap().to_owned();
    let marker = "a marker that must not be found on disk";
    one.run_with_input(&["skep", "secret", "create", "marked", "-"], marker.as_bytes()).unwrap();
    let swarm = one.dir().join("lib/skep/swarm");
    let swarm = if swarm.exists() { swarm } else { find_swarm(&one.dir()).unwrap() };
    let mut files = 0;
    for file in walk(&swarm) {
        let bytes = std::fs::read(&file).unwrap();
        files += 1;
        for text in [secret.as_bytes(), marker.as_bytes()] {
            let found = bytes.windows(text.len()).any(|window| window == text);
            assert!(!found, "{} holds what must be sealed", file.display());
        }
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if ["node.pem", "keyring"].contains(&name.as_str()) {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    }
    assert!(files >= 4, "credentials, keyring, record and log are {files} files");
    fleet.down().unwrap();
}

fn find_swarm(dir: &Path) -> Result<std::path::PathBuf> {
    walk(dir)
        .find(|file| file.ends_with("swarm/swarm.json"))
        .and_then(|file| file.parent().map(Path::to_owned))
        .context("no swarm directory")
}

fn walk(dir: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.into_iter()
}

/// A host with several addresses is asked which to use, as in Docker, and nothing is made.
#[test]
fn init_does_not_guess_among_addresses() {
    if !root() {
        return;
    }
    let fleet = daemons(1);
    let one = fleet.host(1);
    one.check(&["ip", "address", "add", "198.51.100.7/24", "dev", "eth0"]).unwrap();
    let error = format!("{:#}", skep(&one, &["swarm", "init"]).unwrap_err());
    for part in ["could not choose an IP address to advertise", "198.51.100.7", "--advertise-addr"]
    {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    skep(&one, &["node", "ls"]).unwrap_err();
    skep(&one, &["swarm", "init", "--advertise-addr", "198.51.100.7"]).unwrap();
    fleet.down().unwrap();
}

/// A manager whose disk is full takes no more, says why, and has all that it acknowledged once
/// there is room again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    if !root() {
        return;
    }
    let fleet = tokio::task::spawn_blocking(|| daemons(1)).await.unwrap();
    let one = fleet.host(1);
    tokio::task::block_in_place(|| {
        one.kill(Signal::SIGKILL).unwrap();
        one.check(&["mount", "-t", "tmpfs", "-o", "size=24m", "small", "/var/lib/skep"]).unwrap();
        one.start().unwrap();
        let address = one.address().to_string();
        skep(&one, &["swarm", "init", "--advertise-addr", &address]).unwrap();
    });
    let client = one.client();
    let big = "A".repeat(400 * 1024);
    let mut acknowledged = BTreeSet::new();
    let refusal = loop {
        let name = format!("c{:03}", acknowledged.len());
        let spec = ConfigSpec { name: name.clone(), data: big.clone(), ..ConfigSpec::default() };
        match client.config_create(&spec).await {
            Ok(_) => acknowledged.insert(name),
            Err(error) => break error.to_string(),
        };
        assert!(acknowledged.len() < 200, "a disk of 24 MiB takes 60 MiB");
    };
    assert!(!acknowledged.is_empty(), "{refusal}");
    // The answer, or the log where the manager ended over it.
    let log = std::fs::read_to_string(one.log()).unwrap();
    assert!(
        [&refusal, &log].iter().any(|text| text.to_lowercase().contains("no space left")),
        "{refusal}\n{}",
        one.log_tail()
    );
    tokio::task::block_in_place(|| {
        one.check(&["mount", "-o", "remount,size=200m", "/var/lib/skep"]).unwrap();
        if one.daemon().unwrap().is_some() {
            one.kill(Signal::SIGKILL).unwrap();
        }
        one.start().unwrap();
    });
    eventually(SOON, async || {
        let found = client.configs(&Filters::default()).await?;
        let found: BTreeSet<String> = found.into_iter().map(|it| it.spec.name).collect();
        let lost: Vec<&String> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        anyhow::Ok(())
    })
    .await;
    let more = ConfigSpec { name: "more".into(), data: "aGk=".into(), ..ConfigSpec::default() };
    eventually(SOON, async || client.config_create(&more).await).await;
    tokio::task::spawn_blocking(|| fleet.down().unwrap()).await.unwrap();
}
