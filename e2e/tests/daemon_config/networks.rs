//! What the daemon is told of the host's networks.

use skep_e2e::IMAGE;

use super::{told, told_by_file};

#[test]
fn the_default_bridge_is_as_it_is_told() {
    let flags = "--bip 10.77.0.1/24 --fixed-cidr 10.77.0.128/25 --mtu 1400 --ip 127.0.0.1 \
                 --dns 9.9.9.9 --dns-search bees.example --dns-opt ndots:3 \
                 --default-address-pool base=10.88.0.0/16,size=24 \
                 --default-network-opt bridge=com.docker.network.driver.mtu=1300";
    let Some(told) = told(flags) else { return };
    told.each(|cli| {
        let bridge = ["network", "inspect", "bridge", "--format"];
        let of = |format: &str| cli.ok(&[&bridge[..], &[format]].concat());
        assert_eq!(
            of("{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}}{{end}}"),
            "10.77.0.0/24 10.77.0.128/25 10.77.0.1"
        );
        let script = "cat /etc/resolv.conf; cat /sys/class/net/eth0/mtu";
        let said = cli.ok(&["run", "--rm", IMAGE, "sh", "-c", script]);
        for wanted in ["nameserver 9.9.9.9", "search bees.example", "options ndots:3", "\n1400"] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        let name = cli.name("web");
        cli.ok(&["run", "-d", "--name", &name, "-p", "8000", IMAGE, "top"]);
        let address = cli.inspect(&name, "{{.NetworkSettings.IPAddress}}");
        let last: u8 = address.strip_prefix("10.77.0.").unwrap().parse().unwrap();
        assert!(last >= 128, "{address}");
        let port = cli.ok(&["port", &name, "8000"]);
        assert!(port.starts_with("127.0.0.1:"), "{port}");
        let network = cli.name("net");
        cli.ok(&["network", "create", &network]);
        let subnet = "{{range .IPAM.Config}}{{.Subnet}}{{end}} {{json .Options}}";
        let made = cli.ok(&["network", "inspect", &network, "--format", subnet]);
        assert!(made.starts_with("10.88."), "{made}");
        assert!(made.contains(r#""com.docker.network.driver.mtu":"1300""#), "{made}");
        let pools = "{{range .DefaultAddressPools}}{{.Base}} {{.Size}}{{end}}";
        assert_eq!(cli.ok(&["info", "--format", pools]), "10.88.0.0/16 24");
        cli.ok(&["rm", "-f", &name]);
        cli.ok(&["network", "rm", &network]);
    });
}

#[test]
fn another_bridge_may_be_given() {
    let Some(mut told) = told("") else { return };
    told.cli.shell(
        "ip link add bees0 type bridge && ip addr add 10.66.0.1/24 dev bees0 && ip link set bees0 up",
    );
    let address = ["run", "--rm", IMAGE, "sh", "-c", "ip -4 addr show eth0"];
    for flags in ["--bridge bees0", "-b bees0"] {
        told.again(flags);
        let said = told.cli.ok(&address);
        assert!(said.contains("inet 10.66.0."), "{flags}: {said}");
    }
    told.again("--bridge none");
    assert_eq!(told.cli.ok(&["network", "ls", "-q", "--filter", "name=^bridge$"]), "");
}

#[test]
fn containers_do_not_speak_where_they_shall_not() {
    let Some(mut told) = told("--icc=false") else { return };
    let reached = |told: &super::Told| {
        let (cli, name) = (&told.cli, told.cli.name("web"));
        cli.ok(&["run", "-d", "--name", &name, IMAGE, "top"]);
        let address = cli.inspect(&name, "{{.NetworkSettings.IPAddress}}");
        let ping = format!("ping -c 1 -W 2 {address} >/dev/null && echo yes || echo no");
        let said = cli.ok(&["run", "--rm", IMAGE, "sh", "-c", &ping]);
        cli.ok(&["rm", "-f", &name]);
        said
    };
    assert_eq!(reached(&told), "no");
    told.again("--icc=true");
    assert_eq!(reached(&told), "yes");
}

#[test]
fn the_host_is_left_alone_where_it_is_told() {
    let Some(mut told) = told("--ip-forward=false --iptables=false") else { return };
    let run = ["run", "--rm", IMAGE, "true"];
    let rules = "nft list ruleset | grep -c chain || true";
    told.cli.shell("echo 0 > /proc/sys/net/ipv4/ip_forward; nft flush ruleset");
    told.cli.ok(&run);
    assert_eq!(told.cli.shell("cat /proc/sys/net/ipv4/ip_forward"), "0");
    assert_eq!(told.cli.shell(rules), "0");
    told.again("--ip-forward --iptables");
    told.cli.ok(&run);
    assert_eq!(told.cli.shell("cat /proc/sys/net/ipv4/ip_forward"), "1");
    assert_ne!(told.cli.shell(rules), "0");
}

#[test]
fn the_bridge_has_ipv6_and_no_masquerading() {
    let flags = "--ipv6 --fixed-cidr-v6 fd00:77::/64 --ip-masq=false --userland-proxy=false \
                 --ip6tables";
    let Some(mut told) = told(flags) else { return };
    let address = ["run", "--rm", IMAGE, "ip", "-6", "addr", "show", "eth0"];
    let said = told.cli.ok(&address);
    assert!(said.contains("inet6 fd00:77::"), "{said}");
    let masquerade = "nft list ruleset | grep -c masquerade || true";
    let without: u32 = told.cli.shell(masquerade).parse().unwrap();
    told.again("--ipv6 --fixed-cidr-v6 fd00:77::/64 --userland-proxy --ip-masq");
    told.cli.ok(&["run", "--rm", IMAGE, "true"]);
    let with: u32 = told.cli.shell(masquerade).parse().unwrap();
    assert!(with > without, "{with} rules, and {without} without");
}

#[test]
fn the_file_says_the_same_as_the_flags() {
    let file = r#"{"bip": "10.79.0.1/24", "mtu": 1350, "dns": ["9.9.9.9"],
        "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1250"}}}"#;
    let Some(told) = told_by_file("", file) else { return };
    let script = "cat /etc/resolv.conf; cat /sys/class/net/eth0/mtu; ip -4 addr show eth0";
    let said = told.cli.ok(&["run", "--rm", IMAGE, "sh", "-c", script]);
    for wanted in ["nameserver 9.9.9.9", "1350", "inet 10.79.0."] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
