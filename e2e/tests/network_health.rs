//! Networks that somebody disturbed, that were cut off, and that went: what the kernel holds is what
//! the swarm says, again and in the end.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use skep_e2e::stage::{SOON, WEB, create, fetch, inside, resolve, skep, swarm, wait_running};
use skep_e2e::{Host, Signal, eventually_blocking};

#[test]
fn what_somebody_took_away_is_mended_and_told() {
    let Some(fleet) = swarm(2, 1) else { return };
    let (one, two) = (fleet.host(1), fleet.host(2));
    let small = ["--subnet", "10.77.0.0/29"];
    skep(&one, &["network", "create", "-d", "overlay", small[0], small[1], "front"]).unwrap();
    create(&one, &["--name=web", "--mode=global", "--network=front", "-p", "8080:80"], WEB);
    wait_running(&one, "web", 2);
    let url = format!("http://{}:8080/", two.address());
    eventually_blocking(SOON, || fetch(&one, &url));

    // A firewall that was started again flushed all rules; somebody took an interface.
    two.check(&["nft", "flush", "ruleset"]).unwrap();
    let links = two.check(&["ip", "-br", "link"]).unwrap();
    let outside = links.lines().find(|line| line.starts_with("sko-")).unwrap();
    let outside = outside.split('@').next().unwrap();
    two.check(&["ip", "link", "del", outside]).unwrap();
    eventually_blocking(SOON, || fetch(&one, &url));
    let told = eventually_blocking(SOON, || {
        let told = skep(&one, &["network", "doctor"])?;
        let mended = |what: &str| told.lines().any(|it| it.contains("mended") && it.contains(what));
        ensure!(mended("this host: the rules for published ports are missing"), "{told}");
        ensure!(mended(": its way to the host is missing (eth"), "{told}");
        Ok(told)
    });
    let standing: Vec<&str> = told.lines().filter(|line| line.starts_with("host")).collect();
    assert_eq!(standing.len(), 2, "{told}");
    assert!(standing.iter().all(|line| line.contains(": as it should be, ")), "{told}");
    assert!(told.contains("network front, 10.77.0.0/29: 3 of 5 addresses used"), "{told}");
    assert!(told.contains("pool 10.0.0.0/8: 2 of 65536 subnets used"), "{told}");

    // Two more addresses, and there is none left.
    skep(
        &one,
        &[
            "service",
            "create",
            "--detach",
            "--no-resolve-image",
            "--name=more",
            "--replicas=2",
            "--network=front",
            "busybox",
            "sleep",
            "3600",
        ],
    )
    .unwrap();
    eventually_blocking(SOON, || {
        let said = one.check(&["sh", "-c", "skep network doctor 2>&1; echo exit $?"])?;
        let expected = [
            "network front, 10.77.0.0/29: 5 of 5 addresses used: full",
            "1 thing is not as it should be",
            "exit 1",
        ];
        ensure!(expected.iter().all(|line| said.contains(line)), "{said}");
        Ok(())
    });
}

const CLIENT: &str = "sleep 86000";

#[test]
fn a_node_that_was_cut_off_is_right_again_by_itself() {
    let Some(fleet) = swarm(3, 1) else { return };
    let (one, three) = (fleet.host(1), fleet.host(3));
    skep(&one, &["network", "create", "-d", "overlay", "front"]).unwrap();
    let of_network = "--network=front";
    let one_each = ["--name=client", "--mode=global", of_network, "--label", "skep.down-grace=10m"];
    create(&one, &one_each, &format!("exec {CLIENT}"));
    let on_one = "--constraint=node.hostname==host1";
    create(&one, &["--name=web", on_one, of_network, "-p", "8080:80"], WEB);
    create(&one, &["--name=rr", on_one, of_network, "--endpoint-mode=dnsrr"], WEB);
    for (service, count) in [("client", 3), ("web", 1), ("rr", 1)] {
        wait_running(&one, service, count);
    }
    let before = eventually_blocking(SOON, || {
        let said = inside(&three, CLIENT, &["/bin/busybox", "wget", "-q", "-O-", "http://web/"])?;
        let rr = resolve(&three, CLIENT, "rr")?;
        ensure!(rr.len() == 1, "{rr:?}");
        Ok((said, rr))
    });

    fleet.cut(&["host3"]).unwrap();
    eventually_blocking(SOON, || {
        let said = skep(&one, &["node", "ls", "--format", "{{.Hostname}} {{.Status}}"])?;
        ensure!(said.lines().any(|line| line == "host3 Down"), "{said}");
        Ok(())
    });
    // All that the node knew of them is wrong then.
    for service in ["web", "rr"] {
        skep(&one, &["service", "update", "--detach", "--force", service]).unwrap();
    }
    skep(
        &one,
        &[
            "service",
            "update",
            "--detach",
            "--publish-rm",
            "8080:80",
            "--publish-add",
            "8081:80",
            "web",
        ],
    )
    .unwrap();
    create(&one, &["--name=new", on_one, of_network], WEB);
    wait_running(&one, "new", 1);
    let rr = eventually_blocking(SOON, || {
        let rr = resolve(&one, CLIENT, "rr")?;
        ensure!(rr.len() == 1 && rr != before.1, "{rr:?}");
        Ok(rr)
    });
    let healed = Instant::now();
    fleet.heal().unwrap();
    let web = || inside(&three, CLIENT, &["/bin/busybox", "wget", "-q", "-O-", "http://web/"]);
    let new = || inside(&three, CLIENT, &["/bin/busybox", "wget", "-q", "-O-", "http://new/"]);
    eventually_blocking(SOON, || {
        ensure!(resolve(&three, CLIENT, "rr")? == rr, "rr");
        ensure!(web()? != before.0, "web");
        new()?;
        fetch(&three, "http://127.0.0.1:8081/")?;
        ensure!(fetch(&three, "http://127.0.0.1:8080/").is_err(), "the old port");
        Ok(())
    });
    eprintln!("right {:?} after the heal", healed.elapsed());
}

/// What a host's kernel holds that could be of a network.
fn kernel(host: &Host) -> Vec<String> {
    let mut held = Vec::new();
    for words in [
        &["ip", "-br", "link"][..],
        &["ip", "-br", "address"],
        &["ip", "route", "show", "table", "all"],
        &["ip", "-6", "route", "show", "table", "all"],
        &["ip", "rule"],
        &["ip", "-6", "rule"],
        &["ip", "neigh", "show", "nud", "permanent"],
        &["bridge", "fdb"],
        &["nft", "list", "ruleset"],
    ] {
        let said = host.check(words).unwrap();
        // The order of links is that of their making.
        // Link-local addresses and the groups of the kernel's own come by themselves, some time after
        // their links.
        let by_kernel = |line: &str| {
            let groups = ["33:33:", "01:00:5e:"];
            line.contains("fe80::") || groups.iter().any(|group| line.starts_with(group))
        };
        let lines = said.lines().filter(|line| !by_kernel(line));
        let lines: BTreeSet<String> = lines.map(|line| line.trim().to_owned()).collect();
        held.extend(lines.into_iter().map(|line| format!("{}: {line}", words.join(" "))));
    }
    let mounts = host.check(&["cat", "/proc/mounts"]).unwrap();
    let names = mounts.lines().filter(|line| line.starts_with("nsfs "));
    held.extend(names.map(str::to_owned));
    held
}

fn same_as(before: &[String], host: &Host) -> Result<()> {
    let now = kernel(host);
    let more: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    let less: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
    ensure!(more.is_empty() && less.is_empty(), "more: {more:#?}\nless: {less:#?}");
    Ok(())
}

#[test]
fn nothing_is_left_in_the_kernel_when_networks_go() {
    let Some(fleet) = swarm(2, 0) else { return };
    let (one, two) = (fleet.host(1), fleet.host(2));
    let bare = [kernel(&one), kernel(&two)];
    let address = one.address().to_string();
    skep(&one, &["swarm", "init", "--advertise-addr", &address]).unwrap();
    let token = skep(&one, &["swarm", "join-token", "-q", "worker"]).unwrap();
    skep(&two, &["swarm", "join", "--token", token.trim(), &format!("{address}:2377")]).unwrap();
    // The ingress network is there as soon as the leader has told of it.
    let in_swarm = [&one, &two].map(|host| {
        wait_ingress(host);
        kernel(host)
    });
    for name in ["front", "back"] {
        skep(&one, &["network", "create", "-d", "overlay", "--ipv6", name]).unwrap();
    }
    let networks = ["--network=front", "--network=back"];
    create(&one, &["--name=web", "--mode=global", networks[0], networks[1], "-p", "8080:80"], WEB);
    wait_running(&one, "web", 2);
    let url = format!("http://{}:8080/", two.address());
    eventually_blocking(SOON, || fetch(&one, &url));
    // Found again by a daemon that was killed meanwhile.
    two.kill(Signal::SIGKILL).unwrap();
    two.start().unwrap();
    eventually_blocking(SOON, || skep(&two, &["info"]));

    skep(&one, &["service", "rm", "web"]).unwrap();
    for name in ["front", "back"] {
        eventually_blocking(SOON, || skep(&one, &["network", "rm", name]));
    }
    for (host, before) in [&one, &two].into_iter().zip(&in_swarm) {
        eventually_blocking(SOON, || same_as(before, host));
    }
    skep(&two, &["swarm", "leave"]).unwrap();
    skep(&one, &["swarm", "leave", "--force"]).unwrap();
    for (host, before) in [&one, &two].into_iter().zip(&bare) {
        eventually_blocking(SOON, || same_as(before, host));
    }
}

/// The one link of a published port's way, and rules that lead somewhere: a node has what the leader told.
fn wait_ingress(host: &Host) {
    eventually_blocking(SOON, || {
        let links = host.check(&["ip", "-br", "link"])?;
        ensure!(links.contains("ski-"), "{links}");
        let rules = host.check(&["nft", "list", "table", "inet", "skep"])?;
        ensure!(rules.contains("chain published"), "{rules}");
        Ok(())
    });
}

#[test]
fn a_node_that_has_no_manager_any_more_leaves_nothing_in_the_kernel() {
    let Some(fleet) = swarm(3, 0) else { return };
    let (one, two, three) = (fleet.host(1), fleet.host(2), fleet.host(3));
    let bare: Vec<_> = fleet.hosts().map(|host| kernel(&host)).collect();
    let address = one.address().to_string();
    skep(&one, &["swarm", "init", "--advertise-addr", &address]).unwrap();
    let token = skep(&one, &["swarm", "join-token", "-q", "worker"]).unwrap();
    for host in [&two, &three] {
        skep(host, &["swarm", "join", "--token", token.trim(), &format!("{address}:2377")])
            .unwrap();
    }
    skep(&one, &["network", "create", "-d", "overlay", "--attachable", "front"]).unwrap();
    create(&one, &["--name=web", "--mode=global", "--network=front", "-p", "8080:80"], WEB);
    wait_running(&one, "web", 3);
    fleet.hosts().for_each(|host| wait_ingress(&host));

    // One that is told that it was removed does not wait to be told to leave.
    skep(&one, &["node", "rm", "--force", "host3"]).unwrap();
    eventually_blocking(SOON, || same_as(&bare[2], &three));
    let tasks = ["ps", "-a", "--quiet", "--filter", "label=com.docker.swarm.task.id"];
    assert_eq!(skep(&three, &tasks).unwrap(), "");
    let info = ["info", "--format", "{{.Swarm.LocalNodeState}}"];
    assert_eq!(skep(&three, &info).unwrap().trim(), "error");
    skep(&three, &["swarm", "leave"]).unwrap();
    same_as(&bare[2], &three).unwrap();

    // One that was started again and has heard of nobody since does not know its networks.
    one.kill(Signal::SIGKILL).unwrap();
    two.kill(Signal::SIGKILL).unwrap();
    two.start().unwrap();
    eventually_blocking(SOON, || skep(&two, &["info"]));
    wait_ingress(&two);
    skep(&two, &["swarm", "leave"]).unwrap();
    same_as(&bare[1], &two).unwrap();
}
