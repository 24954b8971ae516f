//! Networks of one host through both command lines: what their flags say, who is on them, and how
//! they go.

use skep_e2e::{IMAGE, Program, Single, both};

/// The IPv4 address of a container's own interface.
const ADDRESS: &str = "ip -4 -o addr show dev eth0 | awk '{print $4}'";

#[test]
fn addresses_come_from_where_they_are_to() {
    both(|cli| {
        let net = cli.name("ranged");
        cli.ok(&[
            "network",
            "create",
            "--driver",
            "bridge",
            "--subnet",
            "10.91.0.0/24",
            "--gateway",
            "10.91.0.254",
            "--ip-range",
            "10.91.0.128/29",
            "--aux-address",
            "router=10.91.0.129",
            "--ipam-driver",
            "default",
            "--ipam-opt",
            "tier=front",
            "--label",
            "a=b",
            "-o",
            "com.docker.network.driver.mtu=1420",
            "--scope",
            "local",
            &net,
        ]);
        // Neither the network's own address of the range nor the one that is kept for the router.
        assert_eq!(cli.said(&["--network", &net], &["sh", "-c", ADDRESS]), "10.91.0.128/24");
        let first = cli.idle("first", &["--network", &net]);
        assert_eq!(cli.said(&["--network", &net], &["sh", "-c", ADDRESS]), "10.91.0.130/24");
        let route = cli.said(&["--network", &net], &["ip", "route", "show", "default"]);
        assert!(route.starts_with("default via 10.91.0.254 "), "{route}");
        let mtu = cli.said(&["--network", &net], &["cat", "/sys/class/net/eth0/mtu"]);
        assert_eq!(mtu, "1420");
        let taken = ["run", "--rm", "--network", &net, "--ip", "10.91.0.254", IMAGE, "true"];
        cli.fails(&taken, "Address already in use");
        let shown = cli.ok(&["network", "inspect", "-f", "{{json .IPAM}}", &net]);
        cli.ok(&["rm", "-f", &first]);
        cli.ok(&["network", "rm", &net]);
        for (flags, why) in [
            (&["--subnet", "10.91.1.5/24"][..], "it should be 10.91.1.0/24"),
            (&["--subnet", "10.91.1.0/24", "--ip-range", "10.92.0.0/25"], ""),
            (&["--subnet", "10.91.1.0/24", "--gateway", "10.92.0.1"], ""),
            (&["--ipam-driver", "nobodys"], "plugin"),
            (&["--driver", "nobodys"], "plugin"),
            (&["--scope", "swarm"], ""),
        ] {
            cli.fails(&[&["network", "create"], flags, &[&net]].concat(), why);
        }
        shown
    });
}

#[test]
fn an_internal_network_leads_nowhere_and_a_closed_one_not_to_others() {
    both(|cli| {
        let (inner, closed) = (cli.name("inner"), cli.name("closed"));
        cli.ok(&["network", "create", "--internal", &inner]);
        let routes = "ip route | grep ^default || echo none";
        assert_eq!(cli.said(&["--network", &inner], &["sh", "-c", routes]), "none");
        let other = cli.idle("other", &["--network", &inner]);
        cli.said(&["--network", &inner], &["ping", "-c1", "-W5", &other]);
        cli.ok(&["rm", "-f", &other]);
        let option = "com.docker.network.bridge.enable_icc=false";
        cli.ok(&["network", "create", "-o", option, &closed]);
        let other = cli.idle("other", &["--network", &closed]);
        let ping = format!("ping -c1 -W2 {other} > /dev/null 2>&1 || echo nobody");
        assert_eq!(cli.said(&["--network", &closed], &["sh", "-c", &ping]), "nobody");
        cli.ok(&["rm", "-f", &other]);
        cli.ok(&["network", "rm", &inner, &closed]);
    });
}

#[test]
fn a_network_has_either_family_or_both() {
    both(|cli| {
        let (two, six) = (cli.name("two"), cli.name("six"));
        cli.ok(&[
            "network",
            "create",
            "--ipv6",
            "--subnet",
            "fd91::/64",
            "--gateway",
            "fd91::99",
            &two,
        ]);
        cli.ok(&["network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd92::/64", &six]);
        let families = "{{.EnableIPv4}} {{.EnableIPv6}}";
        assert_eq!(cli.ok(&["network", "inspect", "-f", families, &two]), "true true");
        assert_eq!(cli.ok(&["network", "inspect", "-f", families, &six]), "false true");
        let other = cli.idle("other", &["--network", &two, "--ip6", "fd91::7"]);
        let address =
            cli.inspect(&other, "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}");
        assert_eq!(address, "fd91::7");
        cli.said(&["--network", &two], &["ping", "-6", "-c1", "-W5", &other]);
        cli.said(&["--network", &two], &["ping", "-4", "-c1", "-W5", &other]);
        let route = cli.said(&["--network", &two], &["ip", "-6", "route", "show", "default"]);
        assert!(route.starts_with("default via fd91::99 "), "{route}");
        let v4 = cli.said(&["--network", &six], &["sh", "-c", ADDRESS]);
        assert_eq!(v4, "");
        let v6 = "ip -6 -o addr show dev eth0 scope global | awk '{print $4}'";
        let v6 = cli.said(&["--network", &six], &["sh", "-c", v6]);
        assert!(v6.starts_with("fd92::"), "{v6}");
        cli.ok(&["rm", "-f", &other]);
        cli.ok(&["network", "rm", &two, &six]);
        let none = ["network", "create", "--ipv4=false", &six];
        cli.fails(&none, "IPv4 or IPv6 must be enabled");
    });
}

#[test]
fn a_network_is_made_from_anothers_configuration() {
    both(|cli| {
        let (config, net) = (cli.name("config"), cli.name("made"));
        cli.ok(&[
            "network",
            "create",
            "--config-only",
            "--subnet",
            "10.93.0.0/24",
            "--label",
            "a=b",
            "-o",
            "com.docker.network.driver.mtu=1410",
            &config,
        ]);
        assert_eq!(cli.ok(&["network", "inspect", "-f", "{{.ConfigOnly}}", &config]), "true");
        cli.fails(&["run", "--rm", "--network", &config, IMAGE, "true"], "");
        cli.ok(&["network", "create", "--config-from", &config, &net]);
        let format = "{{.ConfigFrom.Network}} {{(index .IPAM.Config 0).Subnet}} {{.Labels.a}}";
        let shown = cli.ok(&["network", "inspect", "-f", format, &net]);
        assert_eq!(shown, format!("{config} 10.93.0.0/24 b"));
        let mtu = cli.said(&["--network", &net], &["cat", "/sys/class/net/eth0/mtu"]);
        assert_eq!(mtu, "1410");
        cli.fails(&["network", "rm", &config], "is in use");
        let twice =
            ["network", "create", "--config-from", &config, "--subnet", "10.94.0.0/24", "x"];
        cli.fails(&twice, "user specified configurations are not supported");
        let both_ways = ["network", "create", "--config-only", "--config-from", &config, "x"];
        cli.fails(&both_ways, "cannot depend on another configuration network");
        cli.fails(&["network", "create", "--config-from", "nobodys", "x"], "nobodys");
        cli.ok(&["network", "rm", &net]);
        cli.ok(&["network", "rm", &config]);
    });
}

#[test]
fn a_container_is_connected_as_flags_say() {
    both(|cli| {
        let (first, second) = (cli.name("a-first"), cli.name("b-second"));
        cli.ok(&["network", "create", "--subnet", "10.95.0.0/24", &first]);
        let six = ["--ipv6", "--subnet", "10.96.0.0/24", "--subnet", "fd96::/64"];
        cli.ok(&[&["network", "create"], &six[..], &[&second]].concat());
        let db = cli.idle("db", &["--network", &second]);
        let name = cli.idle("many", &["--network", &first]);
        let inside = |script: &str| cli.ok(&["exec", &name, "sh", "-c", script]);
        assert!(inside("ip route show default").starts_with("default via 10.95.0.1 "));
        let link = format!("{db}:store");
        cli.ok(&[
            "network",
            "connect",
            "--ip",
            "10.96.0.40",
            "--ip6",
            "fd96::40",
            "--link",
            &link,
            "--link-local-ip",
            "169.254.34.68",
            "--alias",
            "many",
            "--gw-priority",
            "7",
            "--driver-opt",
            "com.docker.network.endpoint.ifname=lan7",
            "--driver-opt",
            "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
            &second,
            &name,
        ]);
        let addresses = inside("ip -o addr show dev lan7 scope global | awk '{print $4}'");
        for address in ["10.96.0.40/24", "169.254.34.68/16", "fd96::40/64"] {
            assert!(addresses.contains(address), "{addresses}");
        }
        assert_eq!(inside("cat /proc/sys/net/ipv4/conf/lan7/log_martians"), "1");
        // The way out is where the priority is highest.
        let route = inside("ip route show default");
        assert!(route.starts_with("default via 10.96.0.1 dev lan7"), "{route}");
        inside("ping -c1 -W5 store");
        let words = ["network", "connect", "--ip", "10.99.0.1", &second, &db];
        cli.fails(&words, "");
        let format = format!("{{{{(index .NetworkSettings.Networks {second:?}).GwPriority}}}}");
        assert_eq!(cli.inspect(&name, &format), "7");
        let format = "{{range .Containers}}{{.Name}} {{end}}";
        let members = cli.ok(&["network", "inspect", "--verbose", "-f", format, &second]);
        assert!(members.contains(&db) && members.contains(&name), "{members}");
        cli.ok(&["network", "disconnect", "--force", &second, &name]);
        assert!(inside("ip route show default").starts_with("default via 10.95.0.1 "));
        cli.fails(&["network", "disconnect", "-f", &second, &name], "is not connected");
        cli.fails(&["network", "disconnect", "-f", &second, "nobody"], "");
        let bad = "com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1";
        cli.fails(&["network", "connect", "--driver-opt", bad, &second, &name], "sysctl");
        cli.ok(&["rm", "-f", &name, &db]);
        cli.ok(&["network", "rm", &first, &second]);
    });
}

#[test]
fn networks_nobody_is_on_go_together() {
    let Some(single) = Single::own() else { return };
    for program in [Program::Docker, Program::Skep] {
        if !program.installed() {
            eprintln!("SKIP: no docker command line is installed");
            continue;
        }
        let cli = single.command_line(program);
        let [kept, labelled, idle_one] = ["kept", "labelled", "idle"].map(|it| cli.name(it));
        cli.ok(&["network", "create", &kept]);
        cli.ok(&["network", "create", "--label", "stay", &labelled]);
        cli.ok(&["network", "create", &idle_one]);
        let name = cli.idle("on", &["--network", &kept]);
        let gone = cli.ok(&["network", "prune", "--force", "--filter", "label!=stay"]);
        assert_eq!(gone, format!("Deleted Networks:\n{idle_one}"));
        let gone = cli.ok(&["network", "prune", "-f", "--filter", "until=24h"]);
        assert_eq!(gone, "");
        assert!(cli.ok(&["network", "prune", "-f"]).contains(&labelled));
        // One that a stopped container is to start on stays.
        cli.ok(&["stop", "-t", "0", &name]);
        assert_eq!(cli.ok(&["network", "prune", "-f"]), "");
        cli.ok(&["rm", &name]);
        cli.fails(&["network", "rm", "nobodys"], "not found");
        cli.ok(&["network", "rm", "--force", "nobodys"]);
        cli.ok(&["network", "rm", "-f", &kept]);
        cli.fails(&["network", "rm", "bridge"], "pre-defined");
    }
    let all = single.api("GET", "/networks", "").json();
    let names: Vec<&str> =
        all.as_array().unwrap().iter().filter_map(|it| it["Name"].as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let one = single.api("GET", "/networks/host", "").json();
    assert_eq!((one["Driver"].as_str(), one["Scope"].as_str()), (Some("host"), Some("local")));
    assert_eq!(single.api("GET", "/networks/nobodys", "").status, 404);
    let gone = single.api("POST", "/networks/prune", "").json();
    assert!(gone["NetworksDeleted"].is_null(), "{gone}");
}

#[test]
fn the_routing_meshs_network_may_be_another() {
    let Some(single) = Single::own() else { return };
    let first = single.command_line(Program::Skep);
    first.ok(&["swarm", "init"]);
    for program in [Program::Docker, Program::Skep] {
        if !program.installed() {
            eprintln!("SKIP: no docker command line is installed");
            continue;
        }
        let cli = single.command_line(program);
        // Of no case's names: the one that comes next finds it.
        let own = format!("mesh-of-{program:?}").to_lowercase();
        let create =
            ["network", "create", "--ingress", "-d", "overlay", "--subnet", "10.97.0.0/24"];
        cli.fails(&[&create[..], &[&own]].concat(), "is already present");
        let filter = ["network", "ls", "-q", "--filter", "driver=overlay"];
        let id = cli.ok(&filter);
        cli.ok_with_input(&["network", "rm", &id], b"y\n");
        cli.wait_for(&filter, |text| text.is_empty());
        cli.ok(&[&create[..], &[&own]].concat());
        let format = "{{.Ingress}} {{(index .IPAM.Config 0).Subnet}}";
        cli.wait_for(&["network", "inspect", "-f", format, &own], |text| {
            text == "true 10.97.0.0/24"
        });
    }
}
