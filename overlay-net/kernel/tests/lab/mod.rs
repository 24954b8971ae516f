//! Hosts to try things on: namespaces on one bridge, gone when dropped.

#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect as connect_to, setsockopt,
    socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use skep_overlay_kernel::{Executor, Namespace};
use skep_overlay_plan::{Desired, NodeConfig, plan};
use tempfile::TempDir;

/// How long a condition may take to come true, and a connection to stand.
pub const DEADLINE: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(3);

/// Whether this machine lets us make namespaces; says so loudly when not.
pub fn can_run(test: &str) -> bool {
    let able = nix::unistd::geteuid().is_root()
        && Command::new("unshare")
            .args(["--net", "nft", "list", "tables"])
            .output()
            .is_ok_and(|it| it.status.success());
    if !able {
        eprintln!("SKIP {test}: needs root, network namespaces and nftables");
    }
    able
}

/// The table for the operator's rules, as it is made.
pub const USER_TABLE_AS_MADE: &str = "table inet skep-user {\n\tchain forward {\n\
     \t\ttype filter hook forward priority filter - 10; policy accept;\n\t}\n}\n";

/// One bridge with hosts on it: host N is 192.168.77.N.
pub struct Lab {
    directory: TempDir,
    names: Vec<String>,
}

impl Lab {
    pub async fn new(hosts: u8) -> Self {
        let mut lab = Self { directory: tempfile::tempdir().unwrap(), names: Vec::new() };
        lab.add("bridge").await;
        lab.inside("bridge", "ip link add br0 type bridge");
        lab.inside("bridge", "ip link set br0 up");
        for number in 1..=hosts {
            let name = format!("host{number}");
            lab.add(&name).await;
            let target = lab.path(&name);
            lab.inside(
                "bridge",
                &format!("ip link add {name} type veth peer name eth0 netns {}", target.display()),
            );
            lab.inside("bridge", &format!("ip link set {name} master br0 up"));
            lab.inside(&name, "ip link set lo up");
            lab.inside(&name, "ip link set eth0 up");
            lab.inside(&name, &format!("ip addr add {}/24 dev eth0", Self::address(number)));
        }
        lab
    }

    pub fn address(number: u8) -> IpAddr {
        IpAddr::from([192, 168, 77, number])
    }

    async fn add(&mut self, name: &str) {
        self.names.push(name.to_owned());
        Namespace::create(&self.path(name)).await.unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn run_directory(&self, number: u8) -> PathBuf {
        self.directory.path().join(format!("run{number}"))
    }

    pub fn host(&self, number: u8) -> Namespace {
        Namespace::open(&self.path(&format!("host{number}"))).unwrap()
    }

    pub fn executor(&self, number: u8) -> Executor {
        Executor::new(self.host(number), &self.run_directory(number))
    }

    pub fn node(&self, number: u8) -> NodeConfig {
        NodeConfig {
            underlay: Self::address(number),
            vxlan_port: 4789,
            underlay_mtu: 1500,
            ipv6: true,
            sctp: true,
            outside_pool: "172.18.0.0/16".parse().unwrap(),
            repeated_sources: Vec::new(),
        }
    }

    /// The output of a command in a host, or in the namespace at a path.
    pub fn inside(&self, name: &str, command: &str) -> String {
        inside(&self.path(name), command)
    }

    pub fn on_host(&self, number: u8, command: &str) -> String {
        self.inside(&format!("host{number}"), command)
    }

    /// All packet rules of a host but for our own table's, as `nft` writes them.
    pub fn rules_of_others(&self, number: u8) -> String {
        let tables = self.on_host(number, "nft list tables");
        let others = tables.lines().filter(|it| !it.ends_with(" skep"));
        others.map(|table| self.on_host(number, &format!("nft -s list {table}"))).collect()
    }

    /// What the overlay could have left on a host: links but for its own two, rules, names. The table
    /// for the operator's rules stays, empty as it was made.
    pub fn remains(&self, number: u8) -> String {
        let links = self.on_host(number, "ip -br link");
        let links: Vec<_> =
            links.lines().filter(|it| !it.starts_with("lo") && !it.starts_with("eth0")).collect();
        let mut rules = self.on_host(number, "nft list ruleset");
        if rules == USER_TABLE_AS_MADE {
            rules.clear();
        }
        let mut names = Vec::new();
        for kind in ["networks", "tasks", "lent"] {
            let entries = std::fs::read_dir(self.run_directory(number).join(kind));
            names.extend(entries.into_iter().flatten().map(|it| it.unwrap().path()));
        }
        if links.is_empty() && rules.is_empty() && names.is_empty() {
            String::new()
        } else {
            format!("{links:?} {rules} {names:?}")
        }
    }
}

/// The processes that were started with this among their arguments.
pub fn processes(argument: &Path) -> Vec<i32> {
    let argument = argument.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    };
    pids.filter(has).collect()
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Only after a test that failed is there any.
        for number in 1..=self.names.len() as u8 {
            for pid in processes(&self.run_directory(number)) {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).output();
            }
        }
        let mut paths: Vec<PathBuf> = self.names.iter().map(|name| self.path(name)).collect();
        for number in 1..=self.names.len() as u8 {
            for kind in ["networks", "tasks", "lent"] {
                let entries = std::fs::read_dir(self.run_directory(number).join(kind));
                paths.extend(entries.into_iter().flatten().flatten().map(|it| it.path()));
            }
        }
        for path in paths {
            let _ = Namespace::remove(&path);
        }
    }
}

pub fn inside(path: &Path, command: &str) -> String {
    let output = Command::new("nsenter")
        .arg(format!("--net={}", path.display()))
        .args(command.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes a host as desired, and demands that nothing is left to do then.
pub async fn reconcile(executor: &Executor, desired: &Desired) {
    let observed = executor.observe().await.unwrap();
    for operation in plan(desired, &observed) {
        if let Err(error) = executor.execute(&operation).await {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            panic!("{operation:?}: {error}: {cause:?}");
        }
    }
    let observed = executor.observe().await.unwrap();
    assert_eq!(
        plan(desired, &observed),
        Vec::new(),
        "what was done is not planned again: {observed:#?}"
    );
}

/// A TCP server in a namespace that tells each client its own name and the client's address, and
/// then echoes. It ends with the test's process.
pub async fn serve(place: &Namespace, port: u16, name: &'static str) {
    serve_at(place, &format!("0.0.0.0:{port}"), name).await;
}

pub async fn serve_at(place: &Namespace, at: &str, name: &'static str) {
    let at: SocketAddr = at.parse().unwrap();
    let listener = place.run(move || TcpListener::bind(at).unwrap()).await.unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let peer = stream.peer_addr().unwrap().ip();
                let _ = stream.write_all(format!("{name} {peer}\n").as_bytes());
                let mut byte = [0];
                while let Ok(1) = stream.read(&mut byte) {
                    let _ = stream.write_all(&byte);
                }
            });
        }
    });
}

/// A UDP server on the wildcard address that answers as `serve` does.
pub async fn serve_udp(place: &Namespace, port: u16, name: &'static str) {
    serve_udp_at(place, &format!("0.0.0.0:{port}"), name).await;
}

pub async fn serve_udp_at(place: &Namespace, at: &str, name: &'static str) {
    let at: SocketAddr = at.parse().unwrap();
    let socket = place.run(move || UdpSocket::bind(at).unwrap()).await.unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

/// A connection with what the server said first.
pub async fn connect(place: &Namespace, to: &str) -> Result<(TcpStream, String), ErrorKind> {
    connect_within(place, to, CONNECT).await
}

async fn connect_within(
    place: &Namespace,
    to: &str,
    patience: Duration,
) -> Result<(TcpStream, String), ErrorKind> {
    let to: SocketAddr = to.parse().unwrap();
    let connected = place.run(move || TcpStream::connect_timeout(&to, patience)).await.unwrap();
    let mut stream = connected.map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(patience)).unwrap();
    let said = said(&mut stream)?;
    Ok((stream, said))
}

/// The first line.
fn said(stream: &mut TcpStream) -> Result<String, ErrorKind> {
    let mut said = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).map_err(|error| error.kind())? == 1 && byte[0] != b'\n' {
        said.push(byte[0]);
    }
    Ok(String::from_utf8(said).unwrap())
}

/// What the server behind an address says.
pub async fn ask(place: &Namespace, to: &str) -> Result<String, ErrorKind> {
    connect(place, to).await.map(|(_, said)| said)
}

/// As [`ask`], from one of the namespace's addresses.
pub async fn ask_from(place: &Namespace, from: &str, to: &str) -> Result<String, ErrorKind> {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let socket = place.run(move || {
        let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
        setsockopt(&socket, SendTimeout, &TimeVal::seconds(CONNECT.as_secs() as i64))?;
        connect_to(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok::<_, nix::Error>(TcpStream::from(socket))
    });
    let mut stream = socket.await.unwrap().map_err(|errno| match errno {
        // What a connection says that did not stand in time.
        Errno::EINPROGRESS => ErrorKind::TimedOut,
        other => std::io::Error::from(other).kind(),
    })?;
    stream.set_read_timeout(Some(CONNECT)).unwrap();
    said(&mut stream)
}

/// As [`ask`], of a server that may be long in answering.
pub async fn ask_within(
    place: &Namespace,
    to: &str,
    patience: Duration,
) -> Result<String, ErrorKind> {
    connect_within(place, to, patience).await.map(|(_, said)| said)
}

/// Looks again and again, within the deadline.
pub async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not so: {what}");
        tokio::task::yield_now().await;
    }
}

pub fn still_echoes(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && matches!(stream.read(&mut byte), Ok(1)) && byte == *b"x"
}

/// A UDP socket in a namespace that asks one address.
pub async fn udp_client(place: &Namespace, to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = place.run(move || UdpSocket::bind(any).unwrap()).await.unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(CONNECT)).unwrap();
    socket
}

pub fn ask_udp(socket: &UdpSocket) -> Result<String, ErrorKind> {
    let mut buffer = [0; 64];
    socket.send(b"?").map_err(|error| error.kind())?;
    let length = socket.recv(&mut buffer).map_err(|error| error.kind())?;
    Ok(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

/// Asks until each of the names has answered.
pub async fn ask_until_all(place: &Namespace, to: &str, names: &[&str]) {
    let deadline = Instant::now() + DEADLINE;
    let mut missing: Vec<&str> = names.to_vec();
    while !missing.is_empty() {
        let said = ask(place, to).await.unwrap_or_else(|kind| panic!("{to}: {kind}"));
        missing.retain(|name| !said.starts_with(name));
        assert!(Instant::now() < deadline, "{missing:?} never answered at {to}");
    }
}
