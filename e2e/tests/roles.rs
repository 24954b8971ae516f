//! The table of who may call what, walked with every kind of certificate against a manager that
//! runs. What an expired one opens is told by the table's own test and the handshakes' in `secrets`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use skep_e2e::{Fleet, FleetConfig, Host, Signal, eventually_blocking, skep_binary};
use skep_secrets::identity::NodeCredentials;
use skep_secrets::roles::{Allowed, TABLE};
use skep_secrets::root_ca::{NodeSubject, RootCa};
use skep_secrets::{Role, csr};

const SOON: Duration = Duration::from_secs(60);

/// What a caller shows, as a file on the first host: certificate and key.
struct Caller {
    kind: &'static str,
    file: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// By the gate, or by TLS before it.
    Refused,
    /// It reached the service, whatever that made of an empty message.
    Admitted,
}

/// One call with an empty message. A stream that the server keeps open counts as admitted. A server
/// that answers before it has read the message may reset the stream, and then nobody knows: asked
/// again.
fn call(from: &Host, method: &str, file: Option<&str>) -> Result<Answer> {
    const TRIES: usize = 10;
    let mut said = String::new();
    for _ in 0..TRIES {
        match call_once(from, method, file)? {
            Ok(answer) => return Ok(answer),
            Err(unknown) => said = unknown,
        }
    }
    bail!("no answer in {TRIES} tries: {said}")
}

fn call_once(from: &Host, method: &str, file: Option<&str>) -> Result<Result<Answer, String>> {
    let url = format!("https://{}:2377{method}", from.address());
    let mut words =
        vec!["curl", "-sSk", "--http2", "--max-time", "2", "-D", "-", "-o", "/dev/null"];
    words.extend(["-X", "POST", "-H", "content-type: application/grpc", "-H", "te: trailers"]);
    // A frame of no bytes: not compressed, length zero.
    words.extend(["--data-binary", "@/tmp/empty-message"]);
    if let Some(file) = file {
        words.extend(["--cert", file, "--key", file]);
    }
    words.push(&url);
    let output = from.run(&words)?;
    let head = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next_back().map(|(_, value)| value.trim().to_owned())
    };
    // Unauthenticated and permission denied; services have their own reasons with other codes.
    if let Some(status) = header("grpc-status") {
        let denied = matches!(status.as_str(), "7" | "16");
        return Ok(Ok(if denied { Answer::Refused } else { Answer::Admitted }));
    }
    // Nothing came within the time, or a head and then nothing: the call is held, so it was let in.
    const HELD: i32 = 28;
    if output.status.code() == Some(HELD) {
        return Ok(Ok(Answer::Admitted));
    }
    // TLS has spoken.
    if complaint.contains("alert") {
        return Ok(Ok(Answer::Refused));
    }
    Ok(Err(format!("{}: {}{}", output.status, head.trim(), complaint.trim())))
}

fn pem(credentials: &NodeCredentials) -> String {
    format!("{}{}", *credentials.key_pem, credentials.cert_pem)
}

/// The credentials that a host's daemon works with.
fn of_host(host: &Host) -> NodeCredentials {
    fn find(dir: &Path) -> Option<PathBuf> {
        let entries = std::fs::read_dir(dir).ok()?.flatten();
        entries.into_iter().find_map(|entry| {
            let path = entry.path();
            match entry.file_type().ok()?.is_dir() {
                true => find(&path),
                false => path.ends_with("swarm/node.pem").then_some(path),
            }
        })
    }
    NodeCredentials::load(&find(&host.dir()).expect("a member has credentials")).unwrap()
}

/// A manager's certificate for this swarm's name, by a root that is not this swarm's.
fn foreign(cluster_id: &str) -> NodeCredentials {
    let now = time::OffsetDateTime::now_utc();
    let root = RootCa::generate(now).unwrap();
    let request = csr::generate().unwrap();
    let subject = NodeSubject { node_id: "n1", role: Role::Manager, cluster_id };
    let life = time::Duration::days(90);
    NodeCredentials {
        cert_pem: root.sign(request.csr_pem.as_bytes(), subject, now, life).unwrap(),
        key_pem: request.key_pem,
        root_pem: root.cert_pem().to_owned(),
    }
}

#[test]
fn every_method_holds_every_kind_of_certificate_to_the_table() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return;
    }
    let config = FleetConfig::hosts(4).daemon(skep_binary()).managers(2);
    let fleet = Fleet::up(config).unwrap();
    let (one, gone) = (fleet.host(1), fleet.host(4));
    let manager = of_host(&fleet.host(2));
    let cluster = manager.identity().unwrap().cluster_id;
    let put = |name: &str, text: &[u8]| {
        std::fs::write(one.dir().join("tmp").join(name), text).unwrap();
    };
    put("empty-message", &[0; 5]);
    put("manager.pem", pem(&manager).as_bytes());
    put("worker.pem", pem(&of_host(&fleet.host(3))).as_bytes());
    put("foreign.pem", pem(&foreign(&cluster)).as_bytes());
    put("removed.pem", pem(&of_host(&gone)).as_bytes());
    gone.kill(Signal::SIGKILL).unwrap();
    one.check(&["skep", "node", "rm", "--force", "host4"]).unwrap();

    let callers = [
        Caller { kind: "none", file: None },
        Caller { kind: "foreign", file: Some("/tmp/foreign.pem") },
        Caller { kind: "removed", file: Some("/tmp/removed.pem") },
        Caller { kind: "worker", file: Some("/tmp/worker.pem") },
        Caller { kind: "manager", file: Some("/tmp/manager.pem") },
    ];
    let mut faults = Vec::new();
    for (method, allowed) in TABLE {
        for Caller { kind, file } in &callers {
            let may = match (allowed, *kind) {
                // A node that was removed, or that holds another swarm's certificate, joins anew
                // without showing it.
                (Allowed::Anyone, "none" | "worker" | "manager") => Answer::Admitted,
                (Allowed::Anyone, _) => continue,
                (Allowed::WorkerOrManager, "worker" | "manager") => Answer::Admitted,
                (Allowed::ManagerOnly, "manager") => Answer::Admitted,
                _ => Answer::Refused,
            };
            match call(&one, method, *file) {
                Ok(answer) if answer == may => {}
                Ok(answer) => faults.push(format!("{method} by {kind}: {answer:?}")),
                Err(error) => faults.push(format!("{method} by {kind}: {error:#}")),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (kind, file) in callers.iter().map(|it| (it.kind, it.file)) {
        let unknown = call(&one, "/skep.v1.Control/Everything", file).unwrap();
        assert_eq!(unknown, Answer::Refused, "a method that is not in the table, by {kind}");
    }
    // Empty messages have moved nothing, but that host2 has left the managers: whoever calls
    // `Leave` leaves, and a message needs to say no more.
    eventually_blocking(SOON, || {
        let format = "{{.Hostname}} {{.Status}} {{.ManagerStatus}}";
        let nodes = one.check(&["skep", "node", "ls", "--format", format])?;
        let mut nodes: Vec<&str> = nodes.lines().map(str::trim).collect();
        nodes.sort_unstable();
        let expected = ["host1 Ready Leader", "host2 Ready", "host3 Ready"];
        ensure!(nodes == expected, "nodes are {nodes:?}");
        Ok(())
    });
    fleet.down().unwrap();
}
