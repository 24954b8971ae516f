//! Published ports in every form, and where each is reached.

use skep_e2e::{CommandLine, IMAGE, both};

const WEB: &str = "mkdir -p /w && echo hello > /w/index.html && exec httpd -f -p 80 -h /w";

fn web(cli: &CommandLine, base: &str, flags: &[&str]) -> String {
    let name = cli.name(base);
    let words = [&["run", "-d", "--name", &name], flags, &[IMAGE, "sh", "-c", WEB]].concat();
    cli.ok(&words);
    name
}

/// What the server says at an address of the host, once it is up.
fn fetched(cli: &CommandLine, at: &str) -> String {
    cli.shell(&format!("for i in $(seq 100); do curl -s http://{at}/ && exit; sleep 0.1; done"))
}

/// The lines of `port`, those of IPv6 aside.
fn lines(cli: &CommandLine, name: &str, port: &str) -> Vec<String> {
    let said = cli.ok(&["port", name, port]);
    said.lines().filter(|line| !line.contains("[::]")).map(str::to_owned).collect()
}

#[test]
fn a_port_in_every_form() {
    both(|cli| {
        let name = web(
            cli,
            "forms",
            &[
                "-p",
                "18080:80",
                "-p",
                "127.0.0.1:18081:80/tcp",
                "-p",
                "127.0.0.1::80",
                "-p",
                "81",
                "-p",
                "18082:82/udp",
                "-p",
                "18083-18085:83-85",
                "-p",
                "18090-18099:86",
                "-p",
                "[::1]:18086:80",
                "--publish",
                "published=18087,target=80,protocol=tcp",
            ],
        );
        let of_80 = cli.ok(&["port", &name, "80"]);
        for at in ["0.0.0.0:18080", "[::]:18080", "127.0.0.1:18081", "[::1]:18086", "0.0.0.0:18087"]
        {
            assert!(of_80.lines().any(|line| line == at), "{at} is not in {of_80}");
        }
        for at in
            ["127.0.0.1:18080", "127.0.0.1:18081", "[::1]:18086", "127.0.0.1:18087", "[::1]:18080"]
        {
            assert_eq!(fetched(cli, at), "hello", "{at}");
        }
        let any =
            of_80.lines().find(|line| line.starts_with("127.0.0.1:") && !line.ends_with(":18081"));
        assert_eq!(fetched(cli, any.unwrap()), "hello");
        assert_eq!(lines(cli, &name, "82/udp"), ["0.0.0.0:18082"]);
        assert_eq!(lines(cli, &name, "84"), ["0.0.0.0:18084"]);
        let chosen = lines(cli, &name, "86").remove(0);
        assert!(chosen.starts_with("0.0.0.0:1809"), "{chosen}");
        let free: u16 = lines(cli, &name, "81")[0].rsplit(':').next().unwrap().parse().unwrap();
        assert!(free > 1023);
        cli.fails(&["port", &name, "99"], "o public port '99");
        // A range moves on where its first port is taken; a single port does not.
        let second = web(cli, "second", &["-p", "18090-18099:80"]);
        assert_ne!(lines(cli, &second, "80")[0], chosen);
        cli.refuses(&["-p", "18080:80"], "port is already allocated");
        let shown = ["ps", "--filter", &format!("name={second}"), "--format", "{{.Ports}}"];
        assert!(cli.ok(&shown).contains("->80/tcp"));
        cli.ok(&["rm", "-f", &name, &second]);
        // What is given back can be had again.
        let third = web(cli, "third", &["-p", "18080:80"]);
        assert_eq!(fetched(cli, "127.0.0.1:18080"), "hello");
        cli.ok(&["rm", "-f", &third]);
        for (bad, why) in [
            ("80-81:90-92", "nvalid ranges specified for container and host Ports"),
            ("x:80", "nvalid hostPort: x"),
            ("80:x", "nvalid containerPort: x"),
            ("80/icmp", "nvalid proto: icmp"),
            ("1.2.3:80:80", "nvalid IP address: 1.2.3"),
        ] {
            cli.refuses(&["-p", bad], why);
        }
    });
}

#[test]
fn datagrams_come_in() {
    both(|cli| {
        let name = cli.idle("datagrams", &["-p", "18053:53/udp", "-p", "127.0.0.1:18054:54/udp"]);
        // Nobody listens, and the kernel counts it.
        let heard = "grep '^Udp:' /proc/net/snmp | tail -n1 | cut -d' ' -f3";
        let mut before: u64 = cli.inside(&name, heard).parse().unwrap();
        for port in [18053, 18054] {
            let say = format!("bash -c 'echo ping > /dev/udp/127.0.0.1/{port}'");
            cli.shell(&say);
            let words = ["exec", &name, "sh", "-c", heard];
            let now = cli.wait_for(&words, |text| text.parse::<u64>().is_ok_and(|it| it > before));
            before = now.parse().unwrap();
        }
        cli.ok(&["rm", "-f", &name]);
    });
}

#[test]
fn exposed_ports_are_published_at_once() {
    both(|cli| {
        let flags = ["-P", "--expose", "80", "--expose", "7000-7002/udp", "--expose", "9"];
        let name = web(cli, "exposed", &flags);
        let exposed = cli.inspect(&name, "{{range $p, $_ := .Config.ExposedPorts}}{{$p}} {{end}}");
        assert_eq!(exposed.trim(), "7000/udp 7001/udp 7002/udp 80/tcp 9/tcp");
        assert_eq!(cli.inspect(&name, "{{.HostConfig.PublishAllPorts}}"), "true");
        let at = lines(cli, &name, "80").remove(0).replace("0.0.0.0", "127.0.0.1");
        assert_eq!(fetched(cli, &at), "hello");
        assert_eq!(lines(cli, &name, "7001/udp").len(), 1);
        cli.ok(&["rm", "-f", &name]);
        let name = web(cli, "quiet", &["--expose", "80"]);
        assert_eq!(cli.ok(&["port", &name]), "");
        cli.ok(&["rm", "-f", &name]);
        cli.refuses(&["--expose", "80:80"], "invalid port format for --expose: 80:80");
        cli.refuses(&["--expose", "9-8"], "nvalid range")
    });
}
