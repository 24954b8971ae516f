//! Published ports as users and operators see them, on a fleet: both families, rules of the operator,
//! sessions, refusals, ports of the host, another endpoint mode, and a node that drains.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skep_e2e::{Fleet, FleetConfig, Host, Signal, eventually_blocking, image_archive, skep_binary};

/// Images, containers and elections are ready well within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(90);

/// Tells its own name and the client's address.
const WHO: &str = "mkdir -p /w/cgi-bin; \
    printf '#!/bin/sh\\necho; echo $(hostname) $REMOTE_ADDR\\n' > /w/cgi-bin/who; \
    chmod +x /w/cgi-bin/who; exec httpd -f -p 80 -h /w";

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIP: a fleet needs root");
    }
    root
}

/// Three hosts, of which the first is a manager, each with busybox's image and an IPv6 address:
/// host N is fd77::N, the outside fd77::ff.
fn swarm() -> Fleet {
    let fleet = Fleet::up(FleetConfig::hosts(3).daemon(skep_binary()).managers(1)).unwrap();
    fleet.hosts().for_each(|host| import(&host));
    for (host, last) in fleet.hosts().chain([fleet.outside()]).zip(["1", "2", "3", "ff"]) {
        add_address(&host, &format!("fd77::{last}/64"));
    }
    fleet
}

fn import(host: &Host) {
    let socket = format!("unix://{}", host.socket().display());
    let mut import = Command::new(skep_binary());
    import.args(["-H", &socket, "image", "import"]).arg(image_archive()).arg("busybox:latest");
    let output = import.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn add_address(host: &Host, address: &str) {
    let family = if address.contains(':') { "-6" } else { "-4" };
    let mut words = vec!["ip", family, "addr", "add", address, "dev", "eth0"];
    words.extend(address.contains(':').then_some("nodad"));
    host.check(&words).unwrap();
}

fn skep(host: &Host, words: &[&str]) -> Result<String> {
    let words: Vec<&str> = std::iter::once("skep").chain(words.iter().copied()).collect();
    host.check(&words)
}

/// What a refused command says.
fn refused(host: &Host, words: &[&str]) -> String {
    let output = host.run(words).unwrap();
    assert!(!output.status.success(), "{words:?} was taken");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn create(host: &Host, words: &[&str]) {
    let command = ["busybox:latest", "sh", "-c", WHO];
    // A shell that is the first process heeds no signal to end.
    let begin = ["service", "create", "--detach", "--stop-grace-period", "1s"];
    skep(host, &[&begin[..], words, &command].concat()).unwrap();
}

/// The nodes of the service's tasks that run, while no others are to run or to end.
fn settled(host: &Host, service: &str, count: usize) -> Result<Vec<String>> {
    let format = "{{.Node}} {{.DesiredState}} {{.CurrentState}}";
    let all = skep(host, &["service", "ps", service, "--no-trunc", "--format", format])?;
    let mut nodes = Vec::new();
    for line in all.lines() {
        let mut words = line.split(' ');
        let node = words.next().context("no node")?;
        match (words.next().context("no desired state")?, words.next().context("no state")?) {
            ("Running", "Running") => nodes.push(node.to_owned()),
            ("Running" | "Ready", _) | (_, "Running") => anyhow::bail!("not settled:\n{all}"),
            _ => {}
        }
    }
    ensure!(nodes.len() == count, "{service} has {} of {count} tasks", nodes.len());
    Ok(nodes)
}

fn wait_settled(host: &Host, service: &str, count: usize) -> Vec<String> {
    eventually_blocking(SOON, || settled(host, service, count))
}

/// Which task answers, and whom it sees: `(name, address)`. From one address of the asking host.
fn who(from: &Host, source: Option<&str>, at: &str) -> Result<(String, String)> {
    let url = format!("http://{at}/cgi-bin/who");
    let mut words = vec!["curl", "-g", "-s", "--fail", "--max-time", "3", &url];
    words.extend(source.into_iter().flat_map(|source| ["--interface", source]));
    let said = from.check(&words)?;
    let (name, address) = said.trim().split_once(' ').context("not an answer")?;
    // As a server that listens on both families calls a client of IPv4.
    let address = address.trim_start_matches('[').trim_end_matches(']');
    Ok((name.to_owned(), address.trim_start_matches("::ffff:").to_owned()))
}

fn wait_who(from: &Host, source: Option<&str>, at: &str) -> (String, String) {
    eventually_blocking(SOON, || who(from, source, at))
}

#[test]
fn a_swarm_on_the_loopback_publishes_on_all_addresses_of_its_host() {
    if !root() {
        return;
    }
    let fleet = Fleet::up(FleetConfig::hosts(1).daemon(skep_binary())).unwrap();
    let (one, outside) = (fleet.host(1), fleet.outside());
    import(&one);
    for (host, last) in [(&one, "1"), (&outside, "ff")] {
        add_address(host, &format!("fd77::{last}/64"));
    }
    skep(&one, &["swarm", "init", "--advertise-addr", "127.0.0.1"]).unwrap();
    create(&one, &["--name=web", "--publish=8080:80"]);
    wait_settled(&one, "web", 1);
    let host = one.address().to_string();
    let (client, client_v6) = (outside.address().to_string(), "fd77::ff");
    for (at, seen) in [(host.clone(), client.as_str()), ("[fd77::1]".to_owned(), client_v6)] {
        assert_eq!(wait_who(&outside, None, &format!("{at}:8080")).1, seen, "{at}");
    }
    // From the host itself, by any of its addresses.
    for at in ["127.0.0.1", "[::1]", &host, "[fd77::1]"] {
        wait_who(&one, None, &format!("{at}:8080"));
    }
    // It refuses to call well what nobody has looked at yet.
    let said = eventually_blocking(SOON, || skep(&one, &["network", "doctor"]));
    assert!(said.contains("host1: as it should be, ") && !said.contains("mended"), "{said}");
}

#[test]
fn a_port_answers_in_both_families_and_heeds_the_operator() {
    if !root() {
        return;
    }
    let fleet = swarm();
    let (one, outside) = (fleet.host(1), fleet.outside());
    create(&one, &["--name", "web", "--replicas", "2", "-p", "8080:80"]);
    let in_host_mode = "mode=host,published=9090,target=80";
    create(&one, &["--name", "each", "--mode", "global", "-p", in_host_mode]);
    wait_settled(&one, "web", 2);
    wait_settled(&one, "each", 3);
    let v4 = outside.address().to_string();
    for (host, number) in fleet.hosts().zip(1..) {
        // Both tasks see the client itself, whichever node it asks.
        for (at, client) in [
            (format!("[fd77::{number}]:8080"), "fd77::ff"),
            (format!("{}:8080", host.address()), &v4),
        ] {
            let mut seen = BTreeSet::new();
            eventually_blocking(SOON, || {
                let (name, address) = who(&outside, None, &at)?;
                ensure!(address == client, "{at}: the client is {address}");
                seen.insert(name);
                ensure!(seen.len() == 2, "{at}: only {seen:?} answered");
                Ok(())
            });
        }
        for at in [format!("[fd77::{number}]:9090"), format!("{}:9090", host.address())] {
            let (_, address) = wait_who(&outside, None, &at);
            assert!(address == "fd77::ff" || address == v4, "{at}: the client is {address}");
        }
        // The node's own clients, by every name that it has for itself.
        for at in ["[::1]:8080", "127.0.0.1:8080", "localhost:8080", "[::1]:9090", "127.0.0.1:9090"]
        {
            wait_who(&host, None, at);
        }
    }

    // The operator's rule for one source, on every node.
    let (good, bad) = ("203.0.113.1", "203.0.113.66");
    outside.check(&["ip", "addr", "add", "203.0.113.66/24", "dev", "lo"]).unwrap();
    let at: Vec<String> = fleet.hosts().map(|host| format!("{}:8080", host.address())).collect();
    for at in &at {
        assert_eq!(wait_who(&outside, Some(good), at).1, good);
        assert_eq!(wait_who(&outside, Some(bad), at).1, bad);
    }
    let rule = "nft add rule inet skep-user forward meta l4proto tcp ct original proto-dst 8080 \
                ip saddr 203.0.113.66 drop";
    for host in fleet.hosts() {
        host.check(&["sh", "-c", rule]).unwrap();
    }
    let holds = || {
        for at in &at {
            assert_eq!(wait_who(&outside, Some(good), at).1, good);
            who(&outside, Some(bad), at).unwrap_err();
        }
    };
    let table = |host: &Host| host.check(&["nft", "-s", "list", "table", "inet", "skep-user"]);
    let before = table(&one).unwrap();
    holds();
    skep(&one, &["service", "update", "--detach", "--force", "web"]).unwrap();
    skep(&one, &["service", "scale", "--detach", "web=3"]).unwrap();
    wait_settled(&one, "web", 3);
    holds();
    for host in fleet.hosts() {
        host.kill(Signal::SIGKILL).unwrap();
        host.start().unwrap();
    }
    wait_settled(&one, "web", 3);
    skep(&one, &["service", "scale", "--detach", "web=2"]).unwrap();
    wait_settled(&one, "web", 2);
    holds();
    assert_eq!(table(&one).unwrap(), before);
    fleet.down().unwrap();
}

#[test]
fn clients_keep_their_task_and_taken_ports_are_refused() {
    if !root() {
        return;
    }
    let fleet = swarm();
    let (one, outside) = (fleet.host(1), fleet.outside());
    create(&one, &["--name", "web", "--replicas", "3", "-p", "8080:80"]);
    wait_settled(&one, "web", 3);
    let running = ["service", "ps", "-q", "--filter", "desired-state=running", "web"];
    let tasks = skep(&one, &running).unwrap();
    skep(
        &one,
        &["service", "update", "--detach", "--label-add", "skep.session=client-address", "web"],
    )
    .unwrap();
    let clients: Vec<String> = (10..26).map(|last| format!("203.0.113.{last}")).collect();
    for client in &clients {
        outside.check(&["ip", "addr", "add", &format!("{client}/24"), "dev", "lo"]).unwrap();
    }
    let at: Vec<String> = fleet.hosts().map(|host| format!("{}:8080", host.address())).collect();
    let whose = |client: &String| -> Result<String> {
        let names: BTreeSet<String> = at
            .iter()
            .map(|at| who(&outside, Some(client), at).map(|(name, _)| name))
            .collect::<Result<_>>()?;
        ensure!(names.len() == 1, "{client} came to {names:?}");
        names.into_iter().next().context("nobody answered")
    };
    // The nodes hear of it one after the other.
    let all = || -> Result<BTreeMap<&String, String>> {
        clients.iter().map(|client| Ok((client, whose(client)?))).collect()
    };
    let before = eventually_blocking(SOON, all);
    let used: BTreeSet<&String> = before.values().collect();
    assert!(used.len() > 1, "all clients come to one task: {before:?}");
    assert_eq!(skep(&one, &running).unwrap(), tasks, "a label restarts nothing");
    // A task that comes takes its own share, and nobody else's client moves.
    skep(&one, &["service", "scale", "--detach", "web=4"]).unwrap();
    wait_settled(&one, "web", 4);
    let after = eventually_blocking(SOON, || {
        let after = all()?;
        let stayed =
            |client: &&String| after[*client] == before[*client] || !used.contains(&after[*client]);
        ensure!(clients.iter().all(|it| stayed(&it)), "{before:?}\n{after:?}");
        Ok(after)
    });
    assert!(after.values().filter(|name| used.contains(name)).count() > 0);
    let sticky = ["service", "update", "--label-add", "skep.session=sticky", "web"];
    let said = refused(&one, &[&["skep"], &sticky[..]].concat());
    assert!(said.contains("expected any or client-address"), "{said}");

    // Ports that are taken, by either command line.
    let id = skep(&one, &["service", "inspect", "--format", "{{.ID}}", "web"]).unwrap();
    let owner = format!("port '8080' is already in use by service 'web' ({})", id.trim());
    for program in [&["skep"][..], &["docker", "-H", "unix:///run/skep.sock"]] {
        for port in ["8080:80", "8079-8081:79-81", "mode=host,published=8080,target=80"] {
            let create = ["service", "create", "--detach", "--name", "other", "-p", port];
            let said = refused(&one, &[program, &create, &["busybox:latest", "true"]].concat());
            assert!(said.contains(&format!("{owner} as an ingress port")), "{port}: {said}");
        }
        let create = ["service", "create", "--detach", "--name", "other", "-p", "8090-8092:80-81"];
        let said = refused(&one, &[program, &create, &["busybox:latest", "true"]].concat());
        let words = "invalid ranges specified for container and host Ports: 80-81 and 8090-8092";
        assert!(said.contains(words), "{said}");
    }
    let names = skep(&one, &["service", "ls", "--format", "{{.Name}}"]).unwrap();
    assert_eq!(names.trim(), "web", "a refusal leaves nothing");
    // A range is a port for each number.
    create(&one, &["--name", "many", "-p", "8090-8092:80"]);
    for number in 8090..=8092 {
        wait_who(&outside, None, &format!("{}:{number}", fleet.host(2).address()));
    }
    fleet.down().unwrap();
}

/// Runs in a client's network: the first process of that command on the host.
fn inside(host: &Host, words: &[&str]) -> Result<String> {
    let found = host.check(&["pgrep", "-f", "-x", "sleep 86400"])?;
    let pid = found.split_whitespace().next().context("no such process")?.to_owned();
    let enter = ["nsenter", "-t", &pid, "-n", "-m", "-r", "-w"];
    host.check(&[&enter[..], words].concat())
}

/// What a name comes to for a client.
fn resolved(host: &Host, name: &str) -> Result<BTreeSet<String>> {
    let said = inside(host, &["/bin/nslookup", name])?;
    let addresses = said.lines().skip(2).filter_map(|line| line.strip_prefix("Address: "));
    Ok(addresses.map(|it| it.trim().to_owned()).filter(|it| !it.contains("127.0.0.11")).collect())
}

#[test]
fn another_endpoint_mode_leaves_no_old_name_or_address() {
    if !root() {
        return;
    }
    let fleet = swarm();
    let one = fleet.host(1);
    skep(&one, &["network", "create", "-d", "overlay", "front"]).unwrap();
    create(&one, &["--name", "web", "--network", "front", "--replicas", "2"]);
    let client =
        ["client", "--mode", "global", "--network", "front", "busybox:latest", "sleep", "86400"];
    skep(&one, &[&["service", "create", "--detach", "--name"], &client[..]].concat()).unwrap();
    wait_settled(&one, "web", 2);
    wait_settled(&one, "client", 3);
    let format = "{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}";
    let vips = || skep(&one, &["service", "inspect", "--format", format, "web"]).unwrap();
    let vip_of = |vips: &str| vips.trim().split('/').next().unwrap_or_default().to_owned();
    let first = vip_of(&vips());
    // Whether connections to an address are translated for a host's client.
    let balanced = |host: &Host, address: &str| -> Result<bool> {
        Ok(inside_rules(host)?.contains(&format!(" {address} : goto ")))
    };
    for host in fleet.hosts() {
        eventually_blocking(SOON, || {
            let found = resolved(&host, "web")?;
            ensure!(found == BTreeSet::from([first.clone()]), "web is {found:?}");
            ensure!(balanced(&host, &first)?, "{first} is not translated on {}", host.name());
            Ok(())
        });
    }
    skep(&one, &["service", "update", "--detach", "--endpoint-mode", "dnsrr", "web"]).unwrap();
    wait_settled(&one, "web", 2);
    for host in fleet.hosts() {
        eventually_blocking(SOON, || {
            // The old address is free, and may be a new task's.
            let (found, tasks) = (resolved(&host, "web")?, resolved(&host, "tasks.web")?);
            ensure!(found.len() == 2 && found == tasks, "web is {found:?}, its tasks {tasks:?}");
            ensure!(!balanced(&host, &first)?, "{first} is translated on {} still", host.name());
            Ok(())
        });
    }
    assert_eq!(vips().trim(), "");
    skep(&one, &["service", "update", "--detach", "--endpoint-mode", "vip", "web"]).unwrap();
    wait_settled(&one, "web", 2);
    let second = eventually_blocking(SOON, || {
        let second = vip_of(&vips());
        ensure!(!second.is_empty(), "no virtual address yet");
        Ok(second)
    });
    for host in fleet.hosts() {
        eventually_blocking(SOON, || {
            let found = resolved(&host, "web")?;
            ensure!(found == BTreeSet::from([second.clone()]), "web is {found:?}");
            ensure!(balanced(&host, &second)?, "{second} is not translated on {}", host.name());
            Ok(())
        });
    }
    fleet.down().unwrap();
}

/// The rules of a client's namespace.
fn inside_rules(host: &Host) -> Result<String> {
    let found = host.check(&["pgrep", "-f", "-x", "sleep 86400"])?;
    let pid = found.split_whitespace().next().context("no such process")?.to_owned();
    host.check(&["nsenter", "-t", &pid, "-n", "nft", "list", "table", "inet", "skep"])
}

#[test]
fn nothing_is_lost_through_any_node_while_one_drains() {
    if !root() {
        return;
    }
    let fleet = swarm();
    let (one, outside) = (fleet.host(1), fleet.outside());
    let drain = "skep.drain=2s";
    create(&one, &["--name", "web", "--replicas", "3", "--label", drain, "-p", "8080:80"]);
    let nodes = wait_settled(&one, "web", 3);
    assert!(nodes.contains(&"host3".to_owned()), "{nodes:?}");
    // A client address for each node: the same address and port through two nodes to one task would
    // be one connection to it.
    let ending = Arc::<AtomicBool>::default();
    let mut clients = Vec::new();
    for (host, number) in fleet.hosts().zip(1..) {
        let source = format!("fd77::a{number}");
        add_address(&outside, &format!("{source}/64"));
        let v4 = format!("203.0.113.{}", 10 + number);
        outside.check(&["ip", "addr", "add", &format!("{v4}/24"), "dev", "lo"]).unwrap();
        for (source, at) in
            [(source, format!("[fd77::{number}]:8080")), (v4, format!("{}:8080", host.address()))]
        {
            wait_who(&outside, Some(&source), &at);
            let (outside, ending) = (outside.clone(), Arc::clone(&ending));
            let answers = Arc::<AtomicUsize>::default();
            let counted = Arc::clone(&answers);
            let run = move || {
                let mut lost = Vec::new();
                while !ending.load(Ordering::Relaxed) {
                    match who(&outside, Some(&source), &at) {
                        Ok(_) => drop(counted.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => lost.push(format!("{source} to {at}: {error:#}")),
                    }
                }
                lost
            };
            clients.push((answers, std::thread::spawn(run)));
        }
    }
    let wait_answers = || {
        let before: Vec<usize> = clients.iter().map(|it| it.0.load(Ordering::Relaxed)).collect();
        eventually_blocking(SOON, || {
            let now = clients.iter().map(|it| it.0.load(Ordering::Relaxed));
            ensure!(now.zip(&before).all(|(now, before)| now >= before + 5), "not yet");
            Ok(())
        });
    };
    wait_answers();
    skep(&one, &["node", "update", "--availability", "drain", "host3"]).unwrap();
    eventually_blocking(SOON, || {
        let nodes = settled(&one, "web", 3)?;
        ensure!(!nodes.contains(&"host3".to_owned()), "tasks are on {nodes:?}");
        Ok(())
    });
    wait_answers();
    ending.store(true, Ordering::Relaxed);
    let lost: Vec<String> =
        clients.into_iter().flat_map(|(_, client)| client.join().unwrap()).collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    fleet.down().unwrap();
}
