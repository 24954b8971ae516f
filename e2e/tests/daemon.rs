//! The daemon itself through the docker command line and skep's own: what it tells of itself and of
//! what happens, what it counts and prunes, and where and to whom it listens.

use skep_e2e::{CommandLine, IMAGE, Program, Session, Single, both};

/// Both command lines, or skep's own where no other is installed.
fn each(single: &Single, case: impl Fn(&CommandLine)) {
    for program in [Program::Docker, Program::Skep] {
        match program.installed() {
            true => case(&single.command_line(program)),
            false => eprintln!("SKIP: no docker command line is installed"),
        }
    }
}

#[test]
fn tells_what_happened_and_what_happens() {
    both(|cli| {
        let name = cli.name("told");
        let tag = format!("{name}:one");
        let format = "{{.Type}} {{.Action}}";
        let about = |kind: &str, name: &str| {
            let (kind, until) = (format!("{kind}={name}"), cli.shell("date +%s.%N"));
            // A name is looked for among the names of every kind, as in Docker.
            let of = format!("type={}", kind.split('=').next().unwrap_or_default());
            let words = ["events", "--since", "10m", "--until", &until, "--filter", &kind];
            let more = ["--filter", &of, "--filter", "scope=local", "--format", format];
            cli.ok(&[&words[..], &more[..]].concat())
        };
        // The same names were another command line's, whose events are kept as well.
        let last = |text: String, count: usize| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(count)..].join(", ")
        };
        cli.ok(&["volume", "create", &name]);
        cli.ok(&["volume", "rm", &name]);
        cli.ok(&["network", "create", &name]);
        cli.ok(&["network", "rm", &name]);
        cli.ok(&["tag", IMAGE, &tag]);
        let volume = last(about("volume", &name), 2);
        assert_eq!(volume, "volume create, volume destroy");
        let network = last(about("network", &name), 2);
        assert_eq!(network, "network create, network destroy");
        assert_eq!(last(about("image", &tag), 1), "image tag");
        cli.fails(&["events", "--filter", "colour=red"], "invalid filter 'colour'");

        let filter = format!("volume={name}-live");
        let session = cli.on_pipes(&["events", "--filter", &filter, "--format", "{{.Action}}"]);
        // Made again and again until the other side listens.
        skep_e2e::eventually_blocking(std::time::Duration::from_secs(30), || {
            cli.ok(&["volume", "create", &format!("{name}-live")]);
            cli.ok(&["volume", "rm", &format!("{name}-live")]);
            match session.text().contains("create\ndestroy\n") {
                true => Ok(()),
                false => Err(format!("{:?}", session.text())),
            }
        });
    });
}

#[test]
fn tells_what_changes_in_the_swarm() {
    let Some(single) = Single::own() else { return };
    let first = single.command_line(Program::Skep);
    first.ok(&["swarm", "init"]);
    each(&single, |cli| {
        let name = cli.name("swarm");
        let listing = |kind: &str| {
            let words = ["events", "--since", "10m", "--until", &cli.shell("date +%s.%N")];
            let (of, kind) = (format!("type={kind}"), format!("{kind}={name}"));
            let filters = ["--filter", &kind, "--filter", &of, "--filter", "scope=swarm"];
            let format = ["--format", "{{.Action}}"];
            cli.ok(&[&words[..], &filters[..], &format[..]].concat()).replace('\n', ", ")
        };
        cli.ok_with_input(&["secret", "create", &name, "-"], b"bees");
        cli.ok(&["secret", "rm", &name]);
        assert_eq!(listing("secret"), "create, remove");
        cli.ok_with_input(&["config", "create", &name, "-"], b"bees");
        cli.ok(&["config", "rm", &name]);
        assert_eq!(listing("config"), "create, remove");
        cli.ok(&["service", "create", "-d", "--replicas", "0", "--name", &name, IMAGE, "true"]);
        // The leader changes a new service too; who comes between its reading and writing is refused
        // as out of sequence, as in Docker, and asks again.
        let wanted = format!("{name}=0");
        cli.wait_for(&["service", "scale", "-d", &wanted], |_| true);
        cli.wait_for(&["service", "update", "-d", "--label-add", "a=b", &name], |_| true);
        cli.ok(&["service", "rm", &name]);
        let service = listing("service");
        assert!(service.starts_with("create, update"), "{service}");
        assert!(service.ends_with("remove"), "{service}");
        cli.ok(&["network", "create", "-d", "overlay", &name]);
        let pruned = cli.ok(&["network", "prune", "-f"]);
        assert!(pruned.contains(&name), "{pruned}");
        let network = listing("network");
        assert!(network.starts_with("create") && network.ends_with("remove"), "{network}");
    });
    let node = first.ok(&[
        "events",
        "--since",
        "10m",
        "--until",
        &first.shell("date +%s.%N"),
        "--filter",
        "type=node",
        "--format",
        "{{json .Actor.Attributes}}",
    ]);
    assert!(node.contains(r#""state.new":"ready""#), "{node}");
}

#[test]
fn counts_and_prunes_what_nobody_uses() {
    let Some(single) = Single::own() else { return };
    each(&single, |cli| {
        let (named, tag) = (cli.name("kept"), format!("{}:one", cli.name("dangling")));
        let unnamed = cli.ok(&["volume", "create"]);
        cli.ok(&["volume", "create", "--label", "tier=db", &named]);
        let file = cli.file("root/motd", "welcome\n");
        let root = file.strip_suffix("/motd").unwrap();
        for _ in 0..2 {
            // Another time makes another image, and the first has no name then.
            cli.shell(&format!("tar -C {root} -c . | skep import - {tag}"));
        }
        let types = cli.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
        assert_eq!(types, "Images 3 0\nContainers 0 0\nLocal Volumes 2 0\nBuild Cache 0 0");
        let whole = cli.ok(&["system", "df", "-v"]);
        assert!(whole.contains(&named) && whole.contains("busybox"), "{whole}");

        let history = cli.ok(&["history", "--format", "{{.Size}} {{.Comment}}", "-H=false", &tag]);
        assert!(history.starts_with("8 "), "{history}");
        let gone = cli.ok(&["image", "prune", "-f"]);
        assert!(gone.contains("deleted: sha256:") && gone.contains("reclaimed"), "{gone}");
        assert_eq!(cli.ok(&["images", "-q", "--filter", "dangling=true"]), "");
        let gone = cli.ok(&["volume", "prune", "-f"]);
        assert!(gone.contains(&unnamed) && !gone.contains(&named), "{gone}");
        let filter = ["volume", "prune", "-f", "--all", "--filter", "label!=tier"];
        assert!(!cli.ok(&filter).contains(&named));
        assert!(cli.ok(&["volume", "prune", "-f", "--all"]).contains(&named));
        let network = cli.name("idle");
        cli.ok(&["network", "create", &network]);
        cli.ok(&["network", "prune", "-f", "--filter", "until=1h"]);
        assert!(cli.ok(&["network", "ls", "--format", "{{.Name}}"]).contains(&network));
        assert!(cli.ok(&["network", "prune", "-f"]).contains(&network));
        let gone = cli.ok(&["image", "prune", "-a", "-f", "--filter", "until=1h"]);
        assert!(!gone.contains("deleted"), "{gone}");
        cli.ok(&["rmi", &tag]);
    });
}

/// An authority, and certificates of it for the daemon and for a client.
const CERTIFICATES: &str = r#"set -e
    mkdir -p /tmp/tls && cd /tmp/tls
    key() { openssl ecparam -name prime256v1 -genkey -noout -out $1-key.pem; }
    key ca; key server; key client; key stranger
    openssl req -x509 -new -key ca-key.pem -subj /CN=authority -days 2 -out ca.pem \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    signed() {
        openssl req -new -key $1-key.pem -subj /CN=$1 -out $1.csr
        printf "$2" > $1.ext
        openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
            -extfile $1.ext -out $1.pem
    }
    signed server 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n'
    signed client 'extendedKeyUsage=clientAuth\n'
    openssl req -x509 -new -key stranger-key.pem -subj /CN=stranger -days 2 -out stranger.pem"#;

/// A second daemon on the host, with its own state and in its own places.
const SECOND: &str = "echo $$ > /tmp/second.pid; exec skep daemon --data-root /tmp/second \
    --exec-root /tmp/second-run --cgroup-parent /skep-second -b none";

#[test]
fn listens_in_several_places_and_to_known_clients_alone() {
    let Some(single) = Single::shared() else { return };
    let cli = single.command_line(Program::Skep);
    cli.shell(CERTIFICATES);
    let file = r#"{"hosts": ["unix:///tmp/second.sock", "tcp://127.0.0.1:2376"], "group": "",
        "tlsverify": true, "tlscacert": "/tmp/tls/ca.pem", "tlscert": "/tmp/tls/server.pem",
        "tlskey": "/tmp/tls/server-key.pem"}"#;
    let file = cli.file("daemon.json", file);
    let start = |more: &str| {
        let script = format!("{SECOND} --config-file {file} {more}");
        let command = single.host().command(&["sh", "-c", &script]).unwrap();
        Session::on_pipes(command).unwrap()
    };
    let mut refused = start("-H unix:///tmp/other.sock --tlsverify");
    assert_ne!(refused.wait().unwrap(), 0);
    let text = refused.text();
    assert!(text.contains("specified both as a flag and in the configuration file"), "{text}");
    assert!(text.contains("hosts: (from flag: [unix:///tmp/other.sock], from file:"), "{text}");

    let mut daemon = start("");
    let listening = daemon.expect("tcp://127.0.0.1:2376", 0);
    listening.unwrap_or_else(|error| panic!("{error:#}"));
    let (tls, ca) = ("tcp://127.0.0.1:2376", "--tlscacert=/tmp/tls/ca.pem");
    for program in [Program::Docker, Program::Skep].into_iter().filter(|it| it.installed()) {
        let cli = single.command_line(program);
        let ask = ["info", "--format", "{{.DockerRootDir}}"];
        let with = |name: &str| -> Vec<String> {
            let flags = ["-H", tls, "--tlsverify", ca].map(str::to_owned);
            let own = ["cert", "key"].into_iter().map(|what| {
                let end = if what == "key" { "-key" } else { "" };
                format!("--tls{what}=/tmp/tls/{name}{end}.pem")
            });
            flags.into_iter().chain(own).chain(ask.map(str::to_owned)).collect()
        };
        let words = |words: &[String]| -> Vec<&'static str> {
            words.iter().map(|word| &*word.clone().leak()).collect()
        };
        assert_eq!(cli.ok(&words(&with("client"))), "/tmp/second");
        let unix = ["-H", "unix:///tmp/second.sock"];
        assert_eq!(cli.ok(&[&unix[..], &ask[..]].concat()), "/tmp/second");
        cli.fails(&words(&with("stranger")), "");
        cli.fails(&[&["-H", tls][..], &ask[..]].concat(), "");
        let nobody = ["-H", tls, "--tlsverify", ca, "--tlscert=", "--tlskey="];
        cli.fails(&[&nobody[..], &ask[..]].concat(), "");
        // A folder and variables stand for the flags; without verification any authority will do.
        cli.shell("cd /tmp/tls && cp client.pem cert.pem && cp client-key.pem key.pem");
        let word = if cli.is_docker() { "docker" } else { "skep" };
        let stranger = "--tlscacert=/tmp/tls/stranger.pem";
        for (variables, flags, served) in [
            ("DOCKER_TLS_VERIFY=1", "", true),
            ("DOCKER_TLS_VERIFY=1", stranger, false),
            ("DOCKER_TLS=1", stranger, true),
            ("", "--tls", true),
            ("", &format!("--tls {stranger}"), true),
            ("", "--tlsverify", true),
            ("", "--tlsverify=false", true),
            ("", &format!("--tlsverify {stranger}"), false),
        ] {
            let script = format!(
                "DOCKER_CERT_PATH=/tmp/tls {variables} {word} -H {tls} {flags} ps -q >&2 && echo yes || echo no"
            );
            let said = cli.shell(&script);
            assert_eq!(said, if served { "yes" } else { "no" }, "{script}");
        }
    }
    cli.shell("kill -TERM $(cat /tmp/second.pid)");
    assert_eq!(daemon.wait().unwrap(), 0);
    assert_eq!(cli.shell("test -e /tmp/second.sock || echo gone"), "gone");

    // Without verification it serves, and says what that means.
    cli.file("daemon.json", r#"{"hosts": ["tcp://127.0.0.1:2375"]}"#);
    let mut daemon = start("");
    let at = daemon.expect("Binding to IP address without --tlsverify is insecure", 0).unwrap();
    daemon.expect("API listens", at).unwrap();
    let plain = single.command_line(Program::Docker);
    if Program::Docker.installed() {
        let warned = plain.run(&["-H", "tcp://127.0.0.1:2375", "info"]);
        let text = format!("{}{}", warned.stdout, warned.stderr);
        assert!(text.contains("API is accessible on http://127.0.0.1:2375"), "{text}");
    }
    cli.shell("kill -TERM $(cat /tmp/second.pid)");
    assert_eq!(daemon.wait().unwrap(), 0);
}

#[test]
fn says_what_is_true_of_its_host() {
    both(|cli| {
        let one = |format: &str| cli.ok(&["info", "--format", format]);
        let id = one("{{.ID}}");
        assert_eq!((id.len(), one("{{.ID}}")), (36, id.clone()));
        let version = cli.shell("test -e /sys/fs/cgroup/cgroup.controllers && echo 2 || echo 1");
        assert_eq!(one("{{.CgroupVersion}}"), version);
        assert_eq!(one("{{.CgroupDriver}} {{.Driver}}"), "cgroupfs overlay2");
        let forwarding = cli.shell("cat /proc/sys/net/ipv4/ip_forward") == "1";
        assert_eq!(one("{{.IPv4Forwarding}}"), forwarding.to_string());
        assert!(one("{{.SecurityOptions}}").contains("name=seccomp,profile=builtin"));
        assert!(one("{{.Plugins.Network}}").contains("bridge"));
        id
    });
}
