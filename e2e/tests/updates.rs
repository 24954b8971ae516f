//! Updates under load: a server that finishes its requests when it is told to stop loses none.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use anyhow::ensure;
use skep_e2e::stage::{SOON, settled, skep, swarm, wait_settled};
use skep_e2e::{Fleet, Host, eventually_blocking};

/// Answers each request after a moment, so that there are always some under way. Told to stop, it
/// takes what had connected by then, answers all of it, and ends.
const SERVER: &str = r#"
import signal, socket, threading, time
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", 80))
listener.listen(128)
threads = []
def serve(connection):
    connection.settimeout(20)
    try:
        asked = b""
        while b"\r\n\r\n" not in asked:
            part = connection.recv(4096)
            if not part:
                return
            asked += part
        time.sleep(0.05)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    except OSError:
        pass
    finally:
        connection.close()
def take():
    connection, _ = listener.accept()
    connection.setblocking(True)
    thread = threading.Thread(target=serve, args=(connection,))
    thread.start()
    threads[:] = [it for it in threads if it.is_alive()] + [thread]
listener.settimeout(0.1)
while not stopping:
    try:
        take()
    except TimeoutError:
        pass
listener.setblocking(False)
try:
    while True:
        take()
except BlockingIOError:
    pass
listener.close()
for thread in threads:
    thread.join()
"#;

/// Makes one connection after the other in a few threads and prints a line for each answer, until
/// its standard input ends. A request that takes long says where it hangs while it does.
const CLIENT: &str = r#"
import os, select, socket, sys, threading, time
address, port = sys.argv[1], int(sys.argv[2])
ending = threading.Event()
def say(what):
    # One write, for another thread writes too.
    os.write(1, (what + "\n").encode())
def wait(connection, events, deadline, where):
    poll = select.poll()
    poll.register(connection, events)
    if not poll.poll(3000):
        say("hangs: from port %d, %s, at %.3f" % (connection.getsockname()[1], where, time.time()))
        if not poll.poll(max(0, deadline - time.time()) * 1000):
            raise TimeoutError("timed out, %s" % where)
def ask():
    began = time.time()
    deadline = began + 20
    connection = socket.socket()
    try:
        connection.setblocking(False)
        connection.connect_ex((address, port))
        wait(connection, select.POLLOUT, deadline, "connecting")
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b""
        while True:
            wait(connection, select.POLLIN, deadline, "waiting for an answer")
            part = connection.recv(4096)
            if not part:
                break
            said += part
        return "ok" if said.endswith(b"\r\n\r\nok\n") else "cut: %r" % said
    except OSError as error:
        took, own = time.time() - began, connection.getsockname()[1]
        return "failed at %.3f from port %d after %.3f s: %s" % (began, own, took, error)
    finally:
        connection.close()
def run():
    while not ending.is_set():
        say(ask())
        time.sleep(0.01)
threads = [threading.Thread(target=run) for _ in range(2)]
for thread in threads:
    thread.start()
sys.stdin.read()
ending.set()
for thread in threads:
    thread.join()
"#;

/// What a host's kernel knows of its tasks' connections and of the ways to them.
const LOOK: &str = r#"
date +%s.%N
for place in /run/skep/net/*/* /proc/self/ns/net; do
    echo "== $place"
    in="nsenter --net=$place"
    $in ip -br address
    $in ip neigh
    $in bridge fdb
    $in grep -v TIME_WAIT /proc/net/nf_conntrack
    $in ss -tano state all exclude time-wait
    $in grep TcpExt /proc/net/netstat
    $in nft list table inet skep
done
true
"#;

/// What a client said of requests that were not answered at once.
#[derive(Default)]
struct Heard {
    /// What went wrong.
    bad: Vec<String>,
    /// What its host's kernel said while a request hung.
    hangs: Vec<String>,
}

/// A client that runs until it is ended.
struct Load {
    what: String,
    process: Child,
    input: Option<ChildStdin>,
    answers: Arc<AtomicUsize>,
    lines: Option<JoinHandle<Heard>>,
}

impl Load {
    /// `within`: words that come before the client's own command.
    fn on(host: &Host, within: &[&str], address: &str, port: &str) -> Self {
        let words = [within, &["python3", "-c", CLIENT, address, port]].concat();
        let mut command = host.command(&words).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = process.stdout.take().unwrap();
        let answers = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&answers);
        let looks = host.clone();
        let lines = std::thread::spawn(move || {
            let mut heard = Heard::default();
            for line in BufReader::new(output).lines() {
                match line.unwrap().as_str() {
                    "ok" => drop(counted.fetch_add(1, Ordering::Relaxed)),
                    hangs if hangs.starts_with("hangs") => heard.hangs.push(look(&looks, hangs)),
                    other => heard.bad.push(other.to_owned()),
                }
            }
            heard
        });
        let what = format!("{} to {address}:{port}", host.name());
        let input = process.stdin.take();
        Self { what, process, input, answers, lines: Some(lines) }
    }

    /// What went wrong, and how much did not.
    fn end(mut self) -> (Heard, usize) {
        drop(self.input.take());
        let mut heard = self.lines.take().unwrap().join().unwrap();
        let mut complaints = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
        assert!(self.process.wait().unwrap().success(), "{}: {complaints}", self.what);
        for line in &mut heard.bad {
            *line = format!("{}: {line}", self.what);
        }
        (heard, self.answers.load(Ordering::Relaxed))
    }
}

/// A test that fails leaves no client behind.
impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the host's kernel says now, while a request hangs.
fn look(host: &Host, hangs: &str) -> String {
    let seen = host.check(&["sh", "-c", LOOK]).unwrap_or_else(|error| format!("{error:#}"));
    format!("{}: {hangs}\n{seen}\n", host.name())
}

fn wait_answers(loads: &[Load], more: usize) {
    let counts = || loads.iter().map(|load| load.answers.load(Ordering::Relaxed));
    let before: Vec<usize> = counts().collect();
    eventually_blocking(SOON, || {
        for (load, (now, before)) in loads.iter().zip(counts().zip(&before)) {
            ensure!(now >= before + more, "{}: {} of {more} answers", load.what, now - before);
        }
        Ok(())
    });
}

/// The service's virtual address on its network, as a client's resolver has it.
fn vip(host: &Host, pid: &str) -> String {
    let words = ["nsenter", "-t", pid, "-n", "-m", "-r", "-w", "/bin/nslookup", "web"];
    let found = eventually_blocking(SOON, || host.check(&words));
    let address = found.lines().rev().find_map(|line| line.strip_prefix("Address: "));
    address.unwrap_or_else(|| panic!("no address in {found}")).trim().to_owned()
}

/// A service of four tasks under load through its virtual address and every host's port.
fn under_load() -> Option<(Fleet, Vec<Load>)> {
    let fleet = swarm(3, 1)?;
    let one = fleet.host(1);
    skep(&one, &["network", "create", "-d", "overlay", "front"]).unwrap();
    let create = ["service", "create", "--detach", "--network", "front", "--name"];
    // The hosts' own Python in busybox's root file system.
    let mounts = [("/usr", "/usr"), ("/usr/lib", "/lib"), ("/usr/lib64", "/lib64")];
    let mounts = mounts.map(|(from, to)| format!("type=bind,src={from},dst={to},ro"));
    let mounts: Vec<&str> = mounts.iter().flat_map(|mount| ["--mount", mount]).collect();
    let web = ["web", "--replicas", "4", "-p", "8080:80", "--label", "skep.drain=500ms"];
    let health = ["--health-cmd", "wget -q -O /dev/null http://127.0.0.1/"];
    let often = ["--health-interval", "1s", "--health-start-interval", "100ms"];
    let patient =
        ["--health-start-period", "1h", "--health-timeout", "20s", "--health-retries", "9"];
    let command = ["busybox:latest", "/usr/bin/python3", "-c", SERVER];
    let all = [&create[..], &web, &mounts, &health, &often, &patient, &command].concat();
    skep(&one, &all).unwrap();
    let client = ["client", "--mode", "global", "busybox:latest", "sleep", "86400"];
    skep(&one, &[&create[..], &client[..]].concat()).unwrap();
    wait_settled(&one, "web", 4);
    wait_settled(&one, "client", 3);

    let mut loads = Vec::new();
    for host in fleet.hosts() {
        // Each client address comes in through one node: the same address and port through two of
        // them to one task would be one connection to it.
        loads.push(Load::on(&host, &[], "127.0.0.1", "8080"));
        // The third host is drained, and its client with it.
        if host.name() == "host3" {
            continue;
        }
        let pid = host.check(&["pgrep", "-f", "-x", "sleep 86400"]).unwrap();
        let pid = pid.split_whitespace().next().unwrap().to_owned();
        let address = vip(&host, &pid);
        loads.push(Load::on(&host, &["nsenter", "-t", &pid, "-n"], &address, "80"));
    }
    wait_answers(&loads, 10);
    Some((fleet, loads))
}

fn none_is_lost(loads: Vec<Load>) {
    let (mut lost, mut hangs, mut answered) = (Vec::new(), Vec::new(), 0);
    for load in loads {
        let (heard, good) = load.end();
        lost.extend(heard.bad);
        hangs.extend(heard.hangs);
        answered += good;
    }
    if !lost.is_empty() {
        let seen = std::env::temp_dir().join(format!("skep-lost-{}", std::process::id()));
        std::fs::write(&seen, hangs.concat()).unwrap();
        let (count, all) = (lost.len(), lost.len() + answered);
        let (lost, seen) = (lost.join("\n"), seen.display());
        panic!("{count} of {all} requests were lost, what the kernel said is in {seen}:\n{lost}");
    }
    eprintln!("{answered} requests, none lost");
}

#[test]
fn no_request_is_lost_in_an_update() {
    let Some((fleet, loads)) = under_load() else { return };
    let one = fleet.host(1);
    for order in ["stop-first", "start-first"] {
        let update = ["service", "update", "--force", "--update-order", order];
        let fast = ["--update-parallelism", "2", "--update-monitor", "0s", "--detach", "web"];
        skep(&one, &[&update[..], &fast[..]].concat()).unwrap();
        let format = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}";
        eventually_blocking(SOON, || {
            let state = skep(&one, &["service", "inspect", "--format", format, "web"])?;
            ensure!(state.trim() == "completed", "the {order} update is {state:?}");
            Ok(())
        });
        wait_settled(&one, "web", 4);
        wait_answers(&loads, 5);
    }
    none_is_lost(loads);
    fleet.down().unwrap();
}

#[test]
fn no_request_is_lost_while_tasks_come_and_go() {
    let Some((fleet, loads)) = under_load() else { return };
    let one = fleet.host(1);
    skep(&one, &["service", "scale", "--detach", "web=2"]).unwrap();
    wait_settled(&one, "web", 2);
    wait_answers(&loads, 5);
    skep(&one, &["service", "scale", "--detach", "web=4"]).unwrap();
    wait_settled(&one, "web", 4);
    skep(&one, &["node", "update", "--availability", "drain", "host3"]).unwrap();
    eventually_blocking(SOON, || {
        let nodes = settled(&one, "web")?;
        let moved = nodes.len() == 4 && !nodes.iter().any(|node| node == "host3");
        ensure!(moved, "tasks are on {nodes:?}");
        Ok(())
    });
    wait_answers(&loads, 5);
    none_is_lost(loads);
    fleet.down().unwrap();
}
