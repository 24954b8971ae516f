//! Containers that are started by hand on networks of the swarm, on a fleet of real daemons.

use anyhow::{Context, Result, ensure};
use skep_e2e::stage::{self, SOON, WEB, fetch, swarm};
use skep_e2e::{Host, Signal, eventually_blocking};

fn docker(host: &Host, words: &[&str]) -> Result<String> {
    let words: Vec<&str> = std::iter::once("docker").chain(words.iter().copied()).collect();
    Ok(host.check(&words)?.trim().to_owned())
}

/// What docker's command line complains when it is refused.
fn refused(host: &Host, words: &[&str]) -> String {
    stage::refused(host, &[&["docker"], words].concat())
}

/// A container that sleeps; its id.
fn sleeper(host: &Host, name: &str, more: &[&str]) -> String {
    let run = ["run", "-d", "--name", name];
    docker(host, &[&run[..], more, &["busybox:latest", "sleep", "86400"]].concat()).unwrap()
}

fn exec(host: &Host, container: &str, words: &[&str]) -> Result<String> {
    docker(host, &[&["exec", container], words].concat())
}

/// One container reaches another by whatever it is called.
fn reaches(host: &Host, container: &str, other: &str) {
    eventually_blocking(SOON, || exec(host, container, &["ping", "-c", "1", "-W", "1", other]));
}

/// The addresses of a name, as a container is told.
fn addresses(host: &Host, container: &str, name: &str) -> Result<Vec<String>> {
    let said = exec(host, container, &["nslookup", name])?;
    let found = said.lines().filter_map(|line| line.strip_prefix("Address: "));
    let mut found: Vec<String> = found.map(|it| it.trim().to_owned()).collect();
    found.sort();
    ensure!(!found.is_empty(), "no address in {said}");
    Ok(found)
}

fn resolves(host: &Host, container: &str, name: &str, expected: &[&str]) {
    eventually_blocking(SOON, || {
        let found = addresses(host, container, name)?;
        ensure!(found == expected, "{name} is {found:?}");
        Ok(())
    });
}

fn address_of(host: &Host, container: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks {network:?}).IPAddress}}}}");
    docker(host, &["inspect", "--format", &format, container]).unwrap()
}

fn make_network(host: &Host, name: &str, subnet: &str) {
    let words = ["network", "create", "-d", "overlay", "--attachable", "--subnet", subnet, name];
    docker(host, &words).unwrap();
}

/// Nothing of the swarm's networks is left in a host's kernel but the ingress network.
fn nothing_left(host: &Host) {
    eventually_blocking(SOON, || {
        let script = "ls /run/skep/net/lent /run/skep/net/tasks 2>/dev/null | grep -c '^[0-9a-z]\\{25\\}$'; \
                      ls /run/skep/net/networks | wc -l; ls /run/skep/bridge/sandboxes 2>/dev/null | wc -l; \
                      ip -o link | grep -c 'sko-'";
        let said = host.run(&["sh", "-c", script])?;
        let said =
            String::from_utf8_lossy(&said.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(said == "0 1 0 0", "left: tasks, networks, sandboxes, links: {said}");
        Ok(())
    });
}

#[test]
fn containers_reach_tasks_and_one_another_on_every_host() {
    let Some(fleet) = swarm(3, 1) else { return };
    let (one, two, three) = (fleet.host(1), fleet.host(2), fleet.host(3));
    make_network(&one, "open", "10.9.0.0/24");
    let web = ["service", "create", "--detach", "--network", "open", "--name", "web", "--replicas"];
    docker(&one, &[&web[..], &["2", "busybox:latest", "sh", "-c", WEB]].concat()).unwrap();

    let a = sleeper(&two, "ann", &["--network", "open", "--network-alias", "ali"]);
    sleeper(&three, "ben", &["--network", "open", "--ip", "10.9.0.77"]);
    sleeper(&one, "cat", &["--network", "open"]);
    let (a_at, c_at) = (address_of(&two, "ann", "open"), address_of(&one, "cat", "open"));
    assert!(a_at.starts_with("10.9.0.") && c_at.starts_with("10.9.0."), "{a_at} {c_at}");
    assert_eq!(address_of(&three, "ben", "open"), "10.9.0.77");

    // By address and by name, from every host to every other.
    for (host, from) in [(&one, "cat"), (&two, "ann"), (&three, "ben")] {
        for to in ["10.9.0.77", &a_at, "ann", "ben", "cat"] {
            reaches(host, from, to);
        }
        resolves(host, from, "ali", &[&a_at]);
        resolves(host, from, &a[..12], &[&a_at]);
        resolves(host, from, "ben", &["10.9.0.77"]);
        // The service's virtual address leads to both of its tasks.
        let mut seen = std::collections::BTreeSet::new();
        eventually_blocking(SOON, || {
            let vip = addresses(host, from, "web")?.remove(0);
            let ask = format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {vip} 80");
            let said = exec(host, from, &["sh", "-c", &ask])?;
            seen.insert(said.lines().last().unwrap_or_default().to_owned());
            ensure!(seen.len() == 2, "only {seen:?} answered");
            Ok(())
        });
        let tasks = addresses(host, from, "tasks.web").unwrap();
        assert_eq!(tasks.len(), 2);
        // And the way to the outside is that of tasks.
        reaches(host, from, "203.0.113.1");
    }
    // A task reaches a container.
    let task = eventually_blocking(SOON, || {
        for host in fleet.hosts() {
            let task = docker(&host, &["ps", "-q", "--filter", "name=web.1"])?;
            if !task.is_empty() {
                return Ok((host, task));
            }
        }
        Err(anyhow::anyhow!("no host has web.1"))
    });
    reaches(&task.0, &task.1, "ben");
    reaches(&task.0, &task.1, "ali");

    // On a bridge and an overlay together; off again, it is reached no more.
    sleeper(&three, "dan", &[]);
    docker(&three, &["network", "connect", "--alias", "dee", "--ip", "10.9.0.99", "open", "dan"])
        .unwrap();
    reaches(&two, "ann", "dee");
    reaches(&three, "dan", "ann");
    reaches(&three, "dan", "203.0.113.1");
    docker(&three, &["network", "disconnect", "bridge", "dan"]).unwrap();
    reaches(&three, "dan", "203.0.113.1");
    reaches(&three, "dan", "ann");
    docker(&three, &["network", "connect", "bridge", "dan"]).unwrap();
    reaches(&three, "dan", "203.0.113.1");
    docker(&three, &["rename", "dan", "dora"]).unwrap();
    resolves(&two, "ann", "dora", &["10.9.0.99"]);
    let last = refused(&three, &["network", "connect", "open", "dora"]);
    assert!(last.contains("endpoint with name dora already exists in network open"), "{last}");
    docker(&three, &["network", "disconnect", "open", "dora"]).unwrap();
    eventually_blocking(SOON, || {
        ensure!(addresses(&two, "ann", "dora").is_err(), "it is still named");
        Ok(())
    });

    // In use.
    docker(&one, &["service", "rm", "web"]).unwrap();
    eventually_blocking(SOON, || {
        let why = refused(&one, &["network", "rm", "open"]);
        ensure!(
            why.contains("network 'open' is in use by task") && why.contains("(container "),
            "{why}"
        );
        Ok(())
    });
    // A stop gives the place up and a start takes it again.
    docker(&two, &["stop", "-t", "0", "ann"]).unwrap();
    eventually_blocking(SOON, || {
        ensure!(addresses(&one, "cat", "ali").is_err(), "it is still named");
        Ok(())
    });
    docker(&two, &["start", "ann"]).unwrap();
    reaches(&one, "cat", "ali");
    for (host, container) in [(&one, "cat"), (&two, "ann"), (&three, "ben"), (&three, "dora")] {
        docker(host, &["rm", "-f", container]).unwrap();
    }
    docker(&one, &["network", "rm", "open"]).unwrap();
    fleet.hosts().for_each(|host| nothing_left(&host));
    fleet.down().unwrap();
}

#[test]
fn refusals_are_dockers_and_addresses_come_back() {
    let Some(fleet) = swarm(3, 1) else { return };
    let (one, two, three) = (fleet.host(1), fleet.host(2), fleet.host(3));
    docker(&one, &["network", "create", "-d", "overlay", "closed"]).unwrap();
    make_network(&one, "open", "10.9.0.0/29");
    for host in [&one, &two] {
        for (network, why) in [
            ("closed", "code = PermissionDenied desc = network closed not manually attachable"),
            ("nope", "code = NotFound desc = network nope not found"),
        ] {
            let said =
                refused(host, &["run", "--rm", "--network", network, "busybox:latest", "true"]);
            let expected = format!("Could not attach to network {network}: rpc error: {why}");
            assert!(said.contains(&expected), "{said}");
        }
    }
    // All five that the gateway leaves.
    let names = ["ann", "ben", "cat", "dan", "eve"];
    for name in names {
        sleeper(&two, name, &["--network", "open"]);
    }
    let full = refused(&three, &["run", "--network", "open", "busybox:latest", "true"]);
    let expected = "Could not attach to network open: rpc error: code = ResourceExhausted desc = \
                    network open has no free address left";
    assert!(full.contains(expected), "{full}");
    let taken = address_of(&two, "cat", "open");
    docker(&two, &["rm", "-f", "cat"]).unwrap();
    sleeper(&three, "fay", &["--network", "open", "--ip", &taken]);
    assert_eq!(address_of(&three, "fay", "open"), taken);
    let doubled =
        refused(&one, &["run", "--network", "open", "--ip", &taken, "busybox:latest", "true"]);
    assert!(doubled.contains(&format!("address {taken} is already in use")), "{doubled}");

    // A node that is gone for good leaves its addresses to others.
    two.kill(Signal::SIGKILL).unwrap();
    let node = eventually_blocking(SOON, || {
        let line = docker(&one, &["node", "ls", "--format", "{{.ID}} {{.Hostname}} {{.Status}}"])?;
        let down = line.lines().find(|line| line.contains("host2") && line.contains("Down"));
        down.and_then(|line| line.split(' ').next()).map(str::to_owned).context("it is not down")
    });
    docker(&one, &["node", "rm", &node]).unwrap();
    for name in ["gus", "hal", "ivy", "jon"] {
        eventually_blocking(SOON, || {
            docker(&three, &["rm", "-f", name]).ok();
            docker(
                &three,
                &[
                    "run",
                    "-d",
                    "--name",
                    name,
                    "--network",
                    "open",
                    "busybox:latest",
                    "sleep",
                    "86400",
                ],
            )
        });
    }
    reaches(&three, "gus", "fay");
    for name in ["fay", "gus", "hal", "ivy", "jon"] {
        docker(&three, &["rm", "-f", name]).unwrap();
    }
    docker(&one, &["network", "rm", "open"]).unwrap();
    nothing_left(&three);
    fleet.down().unwrap();
}

#[test]
fn a_daemon_that_is_killed_cuts_nothing_and_its_next_run_knows_what_it_has() {
    let Some(fleet) = swarm(3, 1) else { return };
    let (one, two, three) = (fleet.host(1), fleet.host(2), fleet.host(3));
    make_network(&one, "open", "10.9.0.0/24");
    sleeper(&two, "ann", &["--network", "open"]);
    sleeper(&two, "gone", &["--network", "open"]);
    sleeper(&three, "ben", &["--network", "open"]);
    reaches(&two, "ann", "ben");
    let a_at = address_of(&two, "ann", "open");
    exec(&two, "ann", &["sh", "-c", "ping -i 0.2 ben > /pings 2>&1 & echo $!"]).unwrap();
    let pings = |host: &Host| exec(host, "ann", &["grep", "-c", "bytes from", "/pings"]);
    eventually_blocking(SOON, || {
        ensure!(pings(&two)?.parse::<u32>()? > 3, "no ping came back");
        Ok(())
    });
    two.kill(Signal::SIGKILL).unwrap();
    // What ends meanwhile nobody sees.
    two.check(&["pkill", "-9", "-f", "-x", "-n", "sleep 86400"]).unwrap();
    reaches(&three, "ben", &a_at);
    two.start().unwrap();
    let before: u32 = eventually_blocking(SOON, || pings(&two)).parse().unwrap();
    eventually_blocking(SOON, || {
        ensure!(pings(&two)?.parse::<u32>()? > before + 3, "the pings ended");
        Ok(())
    });
    reaches(&three, "ben", "ann");
    resolves(&two, "ann", "ben", &[&address_of(&three, "ben", "open")]);
    assert_eq!(address_of(&two, "ann", "open"), a_at);
    eventually_blocking(SOON, || {
        ensure!(addresses(&three, "ben", "gone").is_err(), "who ended is still named");
        Ok(())
    });
    // No manager can be reached: what is removed meanwhile is told when one can.
    one.kill(Signal::SIGKILL).unwrap();
    two.kill(Signal::SIGKILL).unwrap();
    two.start().unwrap();
    docker(&two, &["rm", "-f", "ann", "gone"]).unwrap();
    one.start().unwrap();
    eventually_blocking(SOON, || {
        ensure!(addresses(&three, "ben", "ann").is_err(), "who was removed is still named");
        Ok(())
    });
    docker(&three, &["rm", "-f", "ben"]).unwrap();
    eventually_blocking(SOON, || docker(&one, &["network", "rm", "open"]));
    fleet.hosts().for_each(|host| nothing_left(&host));
    fleet.down().unwrap();
}

#[test]
fn inspect_tells_who_is_there_on_managers_and_workers() {
    let Some(fleet) = swarm(3, 1) else { return };
    let (one, two, three) = (fleet.host(1), fleet.host(2), fleet.host(3));
    make_network(&one, "open", "10.9.0.0/24");
    let web = ["service", "create", "--detach", "--network", "open", "--name", "web", "--mode"];
    let more = ["global", "-p", "8080:80", "busybox:latest", "sh", "-c", WEB];
    docker(&one, &[&web[..], &more].concat()).unwrap();
    let a = sleeper(&two, "ann", &["--network", "open"]);
    let inspect = |host: &Host, words: &[&str]| -> Result<serde_json::Value> {
        let said = docker(host, &[&["network", "inspect"], words, &["open"]].concat())?;
        let found: serde_json::Value = serde_json::from_str(&said)?;
        Ok(found[0].clone())
    };
    eventually_blocking(SOON, || {
        let shown = inspect(&two, &["-v"])?;
        let tasks = shown["Services"]["web"]["Tasks"].as_array().context("no tasks")?.len();
        ensure!(tasks == 3, "{shown}");
        Ok(())
    });
    for host in [&one, &two, &three] {
        let plain = inspect(host, &[]).unwrap();
        assert!(plain.get("Services").is_none(), "{plain}");
        let shown = eventually_blocking(SOON, || {
            let shown = inspect(host, &["--verbose"])?;
            ensure!(shown["Services"][""]["Tasks"][0]["Name"] == "ann", "{shown}");
            Ok(shown)
        });
        assert_eq!(shown["Scope"], "swarm");
        assert_eq!(shown["IPAM"]["Config"][0]["Subnet"], "10.9.0.0/24");
        let peers: Vec<&str> =
            shown["Peers"].as_array().unwrap().iter().filter_map(|it| it["IP"].as_str()).collect();
        let expected = fleet.hosts().map(|host| host.address().to_string()).collect::<Vec<_>>();
        assert_eq!(peers, expected);
        let service = &shown["Services"]["web"];
        assert!(service["VIP"].as_str().unwrap().starts_with("10.9.0."), "{service}");
        assert_eq!(service["Ports"][0], "Target: 80, Publish: 8080");
        assert!(service["LocalLBIndex"].is_i64());
        for task in service["Tasks"].as_array().unwrap() {
            assert!(task["Name"].as_str().unwrap().starts_with("web."), "{task}");
            assert!(task["EndpointIP"].as_str().unwrap().starts_with("10.9.0."), "{task}");
            assert_eq!(task["EndpointID"].as_str().unwrap().len(), 64);
            assert!(expected.iter().any(|ip| task["Info"]["Host IP"] == *ip), "{task}");
        }
        let containers = shown["Containers"].as_object().unwrap();
        let there: Vec<&str> = containers.values().filter_map(|it| it["Name"].as_str()).collect();
        let mine = if host.name() == two.name() { 2 } else { 1 };
        assert_eq!(there.len(), mine, "{there:?}");
    }
    let shown = inspect(&two, &[]).unwrap();
    let at = shown["Containers"][&a]["IPv4Address"].as_str().unwrap().to_owned();
    assert_eq!(at, format!("{}/24", address_of(&two, "ann", "open")));
    let names =
        docker(&three, &["network", "ls", "--filter", "driver=overlay", "--format", "{{.Name}}"]);
    assert!(names.unwrap().lines().any(|name| name == "open"));
    fleet.down().unwrap();
}

/// The port of its host that a container's port is published at.
fn published(host: &Host, container: &str, port: &str) -> String {
    let said = docker(host, &["port", container, port]).unwrap();
    said.lines().next().and_then(|line| line.rsplit(':').next()).unwrap().to_owned()
}

#[test]
fn ports_of_a_container_on_networks_of_the_swarm_alone_are_published() {
    let Some(fleet) = swarm(3, 1) else { return };
    let (one, two) = (fleet.host(1), fleet.host(2));
    make_network(&one, "open", "10.9.0.0/24");
    let run = |name: &str, more: &[&str]| {
        let begin = ["run", "-d", "--name", name, "--hostname", name, "--network", "open"];
        docker(&two, &[&begin[..], more, &["busybox:latest", "sh", "-c", WEB]].concat()).unwrap()
    };
    run("ann", &["-p", "8080:80"]);
    run("ben", &["-P", "--expose", "80"]);
    run("cat", &["-p", "127.0.0.1:8081:80"]);
    let host = two.address().to_string();
    let chosen = published(&two, "ben", "80/tcp");
    let everywhere = |ann: &str, ben: &str| {
        for (port, name) in [("8080", ann), (chosen.as_str(), ben)] {
            for (from, at) in
                [(&one, host.as_str()), (&two, host.as_str()), (&two, "127.0.0.1"), (&two, "[::1]")]
            {
                let url = format!("http://{at}:{port}/");
                let said = eventually_blocking(SOON, || fetch(from, &url));
                assert_eq!(said, name, "{url}");
            }
        }
    };
    everywhere("ann", "ben");
    // One address of the host is that one alone.
    assert_eq!(fetch(&two, "http://127.0.0.1:8081/").unwrap(), "cat");
    assert!(fetch(&one, &format!("http://{host}:8081/")).is_err());
    // A number that is taken is refused, as for any container.
    let again = ["run", "--network", "open", "-p", "8080:80", "busybox:latest", "true"];
    let said = refused(&two, &again);
    assert!(said.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{said}");

    // They go on without the daemon that published them, and with the next one.
    two.kill(Signal::SIGKILL).unwrap();
    assert_eq!(fetch(&one, &format!("http://{host}:8080/")).unwrap(), "ann");
    two.start().unwrap();
    eventually_blocking(SOON, || docker(&two, &["info"]));
    everywhere("ann", "ben");

    // A network of the host takes over the way in, and gives it back.
    docker(&two, &["network", "connect", "bridge", "ann"]).unwrap();
    everywhere("ann", "ben");
    docker(&two, &["network", "disconnect", "bridge", "ann"]).unwrap();
    everywhere("ann", "ben");

    docker(&two, &["rm", "-f", "ann", "ben", "cat"]).unwrap();
    assert!(fetch(&one, &format!("http://{host}:8080/")).is_err());
    nothing_left(&two);
}
