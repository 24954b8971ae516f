//! A container's addresses on its networks, and whose network it has.

use skep_e2e::{CommandLine, IMAGE, both};

/// The third byte of a subnet of a case, apart from those of others on the same host.
fn subnet(cli: &CommandLine) -> u32 {
    let digits = cli.name("").chars().filter(char::is_ascii_digit).collect::<String>();
    digits.parse::<u32>().unwrap() % 250
}

#[test]
fn addresses_are_those_that_were_asked_for() {
    both(|cli| {
        let (net, number) = (cli.name("net"), subnet(cli));
        let (v4, v6) = (format!("10.77.{number}"), format!("fd77:{number}:"));
        cli.ok(&[
            "network",
            "create",
            "--subnet",
            &format!("{v4}.0/24"),
            "--ipv6",
            "--subnet",
            &format!("{v6}:/64"),
            &net,
        ]);
        let (ip, ip6) = (format!("{v4}.9"), format!("{v6}:99"));
        let flags = [
            "--network",
            &net,
            "--ip",
            &ip,
            "--ip6",
            &ip6,
            "--mac-address",
            "02:42:ac:11:00:99",
            "--link-local-ip",
            "169.254.8.9",
            "--link-local-ip",
            "fe80::99",
        ];
        let name = cli.idle("placed", &flags);
        let seen = cli.inside(&name, "ip -o addr show eth0; cat /sys/class/net/eth0/address");
        let wanted = [
            format!("{ip}/24"),
            format!("{ip6}/64"),
            "169.254.8.9/16".into(),
            "fe80::99/64".into(),
        ];
        for address in &wanted {
            assert!(seen.contains(address.as_str()), "{address} is not in {seen}");
        }
        assert!(seen.ends_with("02:42:ac:11:00:99"), "{seen}");
        let of = |key: &str| {
            cli.inspect(
                &name,
                &format!("{{{{(index .NetworkSettings.Networks \"{net}\").{key}}}}}"),
            )
        };
        assert_eq!(of("IPAddress"), ip);
        assert_eq!(of("GlobalIPv6Address"), ip6);
        assert_eq!(of("MacAddress"), "02:42:ac:11:00:99");
        assert_eq!(of("IPAMConfig.LinkLocalIPs"), "[169.254.8.9 fe80::99]");
        // The same after a restart.
        cli.ok(&["restart", "-t", "0", &name]);
        assert_eq!((of("IPAddress"), of("MacAddress")), (ip.clone(), "02:42:ac:11:00:99".into()));
        cli.refuses(&["--network", &net, "--ip", &ip], "Address already in use");
        cli.refuses(&["--network", &net, "--ip", "10.1.1.1"], "no configured subnet");
        cli.refuses(
            &["--ip", "172.17.0.9"],
            "user specified IP address is supported on user defined networks only",
        );
        cli.refuses(&["--mac-address", "nonsense"], "nonsense is not a valid mac address");
        cli.refuses(&["--network", &net, "--link-local-ip", "nonsense"], "nonsense");
        let long = format!("name={net},ip={v4}.77,alias=long,mac-address=02:42:ac:11:00:77");
        let seen = cli.script(
            &["--network", &long],
            "ip -o -4 addr show eth0; cat /sys/class/net/eth0/address",
        );
        assert!(seen.contains(&format!("{v4}.77/24")) && seen.ends_with(":77"), "{seen}");
        cli.ok(&["rm", "-f", &name]);
        let mac = ["--mac-address", "02:42:ac:11:00:55"];
        assert_eq!(cli.said(&mac, &["cat", "/sys/class/net/eth0/address"]), mac[1]);
        cli.ok(&["network", "rm", &net]);
    });
}

#[test]
fn a_network_is_the_hosts_anothers_or_none() {
    both(|cli| {
        let namespace = "readlink /proc/self/ns/net";
        let of_host = cli.shell(namespace);
        assert_eq!(cli.script(&["--network", "host"], namespace), of_host);
        assert_eq!(cli.said(&["--network", "host"], &["hostname"]), cli.shell("hostname"));
        let other = cli.idle("other", &[]);
        let of_other = format!("container:{other}");
        let shared = ["--network", of_other.as_str()];
        assert_eq!(cli.script(&shared, namespace), cli.inside(&other, namespace));
        assert_eq!(cli.script(&shared, "cat /etc/hosts"), cli.inside(&other, "cat /etc/hosts"));
        let none = cli.script(&["--network", "none"], "ls /sys/class/net; ip route | wc -l");
        assert_eq!(none, "lo\n0");
        for (flags, why) in [
            (
                &["-p", "80"][..],
                "conflicting options: port publishing and the container type network mode",
            ),
            (&["-h", "x"], "conflicting options: hostname and the network mode"),
            (&["--dns", "192.0.2.1"], "conflicting options: dns and the network mode"),
            (
                &["--add-host", "a:192.0.2.1"],
                "conflicting options: custom host-to-IP mapping and the network mode",
            ),
            (
                &["--link", &other],
                "conflicting options: container type network can't be used with links",
            ),
            (
                &["--expose", "80"],
                "conflicting options: port exposing and the container type network mode",
            ),
        ] {
            cli.refuses(&[&shared[..], flags].concat(), why);
        }
        cli.ok(&["stop", "-t", "0", &other]);
        cli.refuses(&shared, "cannot join network namespace of a non running container");
        cli.refuses(&["--network", "nosuch"], "network nosuch not found");
        let several = ["--network", "host", "--network", "bridge"];
        let name = cli.name("several");
        cli.run(&[&["create", "--name", &name], &several[..], &[IMAGE]].concat()).status
    });
}
