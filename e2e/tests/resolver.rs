//! Names on real daemons: answered while a daemon is away, and by a process that comes back.

use std::process::{Child, Stdio};

use anyhow::ensure;
use skep_e2e::stage::{SOON, inside, process_of, resolve, skep, swarm_of_one};
use skep_e2e::{Fleet, Host, Signal, eventually_blocking};

/// What the outside's name server answers to every question.
const ELSEWHERE: &str = "192.0.2.7";

/// Answers each question of an address alike.
const SERVER: &str = r#"
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    asked, client = server.recvfrom(512)
    end = asked.index(0, 12) + 5
    is_a = asked[end - 4:end] == b"\0\1\0\1"
    head = asked[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(sys.argv[2])
    server.sendto(head + asked[12:end] + (record if is_a else b""), client)
"#;

/// A name server beyond the hosts; it ends with the test.
struct Outside(Child);

impl Outside {
    fn serve(fleet: &Fleet) -> Self {
        let outside = fleet.outside();
        let address = outside.address().to_string();
        let words = ["python3", "-c", SERVER, &address, ELSEWHERE];
        let mut command = outside.command(&words).unwrap();
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn resolves(host: &Host, command: &str, name: &str, count: usize) -> Vec<String> {
    eventually_blocking(SOON, || {
        let found = resolve(host, command, name)?;
        ensure!(found.len() == count, "{name} has {found:?}, not {count}");
        Ok(found)
    })
}

/// The process that answers names.
fn process(host: &Host) -> Option<String> {
    let found = host.check(&["pgrep", "-f", "^skep-names"]).ok()?;
    Some(found.trim().to_owned())
}

/// Where a container's resolver listens.
fn port(host: &Host, command: &str) -> String {
    let pid = process_of(host, command).unwrap();
    let words = ["nsenter", "-t", &pid, "-n", "nft", "list", "ruleset"];
    let rules = host.check(&words).unwrap();
    let port = rules.split("127.0.0.11:").nth(1);
    let port = port.unwrap_or_else(|| panic!("no resolver in {rules}"));
    port.split_whitespace().next().unwrap().to_owned()
}

const CLIENT: &str = "sleep 86401";
const BUCKET: &str = "sleep 86402";

#[test]
fn names_are_answered_while_the_daemon_is_away_and_by_a_process_that_comes_back() {
    let Some((fleet, one)) = swarm_of_one() else { return };
    let _outside = Outside::serve(&fleet);
    assert_eq!(process(&one), None, "nobody asks yet");
    skep(&one, &["network", "create", "-d", "overlay", "front"]).unwrap();
    let create = ["service", "create", "--detach", "--network", "front", "--name"];
    let web = ["web", "--replicas", "2", "-p", "8080:80", "busybox:latest", "sleep", "86400"];
    skep(&one, &[&create[..], &web[..]].concat()).unwrap();
    let client = ["client", "busybox:latest", "sleep", "86401"];
    skep(&one, &[&create[..], &client[..]].concat()).unwrap();
    skep(&one, &["network", "create", "yard"]).unwrap();
    let run = ["run", "-d", "--network", "yard", "--name"];
    for (name, seconds) in [("well", "86403"), ("bucket", "86402")] {
        let what = [name, "busybox:latest", "sleep", seconds];
        skep(&one, &[&run[..], &what[..]].concat()).unwrap();
    }
    resolves(&one, CLIENT, "tasks.web", 2);
    let vip = resolves(&one, CLIENT, "web", 1);
    let well = resolves(&one, BUCKET, "well", 1);
    let all = |when: &str| {
        assert_eq!(resolves(&one, CLIENT, "web", 1), vip, "{when}");
        assert_eq!(resolves(&one, BUCKET, "well", 1), well, "{when}");
        for command in [CLIENT, BUCKET] {
            assert_eq!(resolves(&one, command, "elsewhere.test", 1), [ELSEWHERE], "{when}");
        }
    };
    all("with the daemon");
    let ports = inside(&one, CLIENT, &["/bin/nslookup", "-type=srv", "_80._tcp.web"]).unwrap();
    let targets = ports.lines().filter(|line| line.contains("= 0 0 80 web."));
    assert_eq!(targets.count(), 2, "{ports}");
    let first = process(&one).unwrap();
    let ports = [port(&one, CLIENT), port(&one, BUCKET)];
    let cgroup = one.check(&["cat", &format!("/proc/{first}/cgroup")]).unwrap();
    assert!(cgroup.contains("/_names"), "outside the daemon's: {cgroup}");

    one.kill(Signal::SIGKILL).unwrap();
    all("without a daemon");
    one.start().unwrap();
    all("with a new daemon");
    eventually_blocking(SOON, || skep(&one, &["service", "scale", "--detach", "web=3"]));
    resolves(&one, CLIENT, "tasks.web", 3);
    assert_eq!(process(&one), Some(first.clone()), "it is the same one");

    one.check(&["kill", "-9", &first]).unwrap();
    all("by another process");
    let second = process(&one).unwrap();
    assert_ne!(second, first);
    resolves(&one, CLIENT, "tasks.web", 3);
    assert_eq!([port(&one, CLIENT), port(&one, BUCKET)], ports, "where they were");

    // With the last asker and the daemon it ends.
    skep(&one, &["service", "rm", "web", "client"]).unwrap();
    skep(&one, &["rm", "-f", "well", "bucket"]).unwrap();
    eventually_blocking(SOON, || {
        let left = one.check(&["ls", "/run/skep/net/tasks", "/run/skep/bridge/sandboxes"])?;
        ensure!(left.lines().filter(|it| !it.is_empty()).count() == 2, "left are {left}");
        Ok(())
    });
    assert_eq!(process(&one), Some(second), "its daemon is there");
    one.kill(Signal::SIGTERM).unwrap();
    eventually_blocking(SOON, || {
        ensure!(process(&one).is_none(), "it goes on for nobody");
        Ok(())
    });
    fleet.down().unwrap();
}
