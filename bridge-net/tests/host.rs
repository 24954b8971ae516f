//! A host as a namespace: containers on its bridges reach one another, the outside reaches what is
//! published, and nothing is left when they are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use skep_bridge::*;
use skep_docker_api::json::{
    EndpointIpamConfig, EndpointSettings, NetworkCreateRequest, PortBinding,
};
use skep_idmap::Owner;
use skep_overlay_kernel::Namespace;
use skep_overlay_net::{NameServer, NameServerConfig};
use tempfile::TempDir;

const CONNECT: Duration = Duration::from_secs(3);

fn can_run(test: &str) -> bool {
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

fn inside(path: &Path, command: &str) -> String {
    let output = Command::new("nsenter")
        .arg(format!("--net={}", path.display()))
        .args(command.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A host at 192.0.2.1 with a neighbour at 192.0.2.2.
struct Lab {
    directory: TempDir,
}

impl Lab {
    async fn new() -> Self {
        let lab = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["host", "neighbour"] {
            Namespace::create(&lab.path(name)).await.unwrap();
            inside(&lab.path(name), "ip link set lo up");
        }
        let peer = lab.path("neighbour");
        inside(
            &lab.path("host"),
            &format!("ip link add up0 type veth peer name up0 netns {}", peer.display()),
        );
        for (name, address) in [("host", "192.0.2.1/24"), ("neighbour", "192.0.2.2/24")] {
            inside(&lab.path(name), &format!("ip addr add {address} dev up0"));
            inside(&lab.path(name), "ip link set up0 up");
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn at(&self, name: &str) -> Namespace {
        Namespace::open(&self.path(name)).unwrap()
    }

    async fn networks(&self, options: NetworkOptions) -> HostNetworks {
        let resolv_conf = self.path("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 192.0.2.2\n").unwrap();
        HostNetworks::open(HostNetworksConfig {
            state_dir: self.path("state"),
            run_dir: self.path("run"),
            host: self.at("host"),
            resolv_conf: Some(resolv_conf),
            options,
            names: self.names(),
        })
        .await
        .unwrap()
    }

    /// Who answers: here a process for each test, which is this one under another name.
    fn names(&self) -> NameServer {
        NameServer::new(NameServerConfig {
            run: self.path("run"),
            program: "/proc/self/exe".into(),
            args: ["--exact", "answers_names", "--nocapture"].map(str::to_owned).to_vec(),
            leaves: Vec::new(),
            host: self.at("host"),
        })
    }

    fn shown(&self) -> String {
        let host = self.path("host");
        inside(&host, "ip -br link") + &inside(&host, "nft list ruleset")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let sandboxes = std::fs::read_dir(self.path("run/sandboxes"));
        for entry in sandboxes.into_iter().flatten().flatten() {
            let _ = Namespace::remove(&entry.path());
        }
        for name in ["host", "neighbour"] {
            let _ = Namespace::remove(&self.path(name));
        }
    }
}

fn request(number: u8, name: &str, networks: &[&str]) -> SandboxRequest {
    let networks =
        networks.iter().map(|it| (it.to_string(), EndpointSettings::default())).collect();
    SandboxRequest {
        container: format!("{number:02x}").repeat(32),
        name: name.into(),
        hostname: format!("{name}-host"),
        mode: SandboxMode::Networks(networks),
        ports: BTreeMap::new(),
        exposed: BTreeSet::new(),
        publish_all: false,
        links: Vec::new(),
        dns: DnsOptions::default(),
        owner: Owner::Host,
    }
}

fn published(port: &str, ip: &str, host: &str) -> BTreeMap<String, Vec<PortBinding>> {
    let binding = PortBinding { host_ip: ip.into(), host_port: host.into() };
    BTreeMap::from([(port.to_owned(), vec![binding])])
}

async fn serve(place: &Namespace, port: u16, name: &'static str) {
    let at = SocketAddr::from(([0, 0, 0, 0], port));
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

async fn connect(place: &Namespace, to: &str) -> Result<(TcpStream, String), String> {
    let to: SocketAddr = to.parse().unwrap();
    let connected = place.run(move || TcpStream::connect_timeout(&to, CONNECT)).await.unwrap();
    let mut stream = connected.map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(CONNECT)).unwrap();
    let mut said = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).map_err(|error| error.to_string())? == 1 && byte[0] != b'\n' {
        said.push(byte[0]);
    }
    Ok((stream, String::from_utf8(said).unwrap()))
}

async fn ask(place: &Namespace, to: &str) -> String {
    connect(place, to).await.map_or_else(|error| error, |(_, said)| said)
}

fn still_echoes(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && matches!(stream.read(&mut byte), Ok(1)) && byte == *b"x"
}

/// The first address of a name, asked as a container does.
async fn resolve(place: &Namespace, name: &str) -> Option<[u8; 4]> {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = place.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).await.unwrap();
    // The resolver answers on the test's own runtime: nothing may block it.
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    socket.send_to(&question, "127.0.0.11:53").await.unwrap();
    let mut answer = [0; 512];
    let received = tokio::time::timeout(CONNECT, socket.recv(&mut answer)).await.unwrap();
    let length = received.unwrap();
    (answer[7] > 0).then(|| answer[length - 4..length].try_into().unwrap())
}

fn place(sandbox: &Sandbox) -> Namespace {
    Namespace::open(sandbox.namespace.as_ref().unwrap()).unwrap()
}

/// Not a test: the process that answers names, which is executed under its name for those that are.
#[test]
fn answers_names() {
    let args: Vec<_> = std::env::args_os().collect();
    if args[0] == skep_overlay_net::dns::process::NAME {
        skep_overlay_net::dns::process::main(&args);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_is_reached_from_everywhere() {
    if !can_run("a_published_port_is_reached_from_everywhere") {
        return;
    }
    let lab = Lab::new().await;
    let before = lab.shown();
    let networks = lab.networks(NetworkOptions::default()).await;
    let web = SandboxRequest {
        ports: published("80/tcp", "", "8080"),
        exposed: BTreeSet::from(["80/tcp".to_owned()]),
        ..request(1, "web", &["bridge"])
    };
    let id = web.container.clone();
    let sandbox = networks.open_sandbox(web).await.unwrap();
    assert_eq!(sandbox.networks["bridge"].ip_address, "172.17.0.2");
    assert_eq!(sandbox.networks["bridge"].mac_address, "02:42:ac:11:00:02");
    assert_eq!(sandbox.hosts[0].1, ["web-host"]);
    assert_eq!(sandbox.resolv_conf, "nameserver 192.0.2.2\n");
    let bindings = sandbox.ports["80/tcp"].clone().unwrap();
    assert_eq!(bindings[0], PortBinding { host_ip: "0.0.0.0".into(), host_port: "8080".into() });
    serve(&place(&sandbox), 80, "web").await;
    let (host, neighbour) = (lab.at("host"), lab.at("neighbour"));
    assert_eq!(ask(&neighbour, "192.0.2.1:8080").await, "web 192.0.2.2");
    assert_eq!(ask(&host, "127.0.0.1:8080").await, "web 172.17.0.1");
    assert_eq!(ask(&host, "192.0.2.1:8080").await, "web 192.0.2.1");
    assert_eq!(ask(&host, "[::1]:8080").await, "web 172.17.0.1", "passed on by the daemon");
    assert_eq!(ask(&place(&sandbox), "192.0.2.1:8080").await, "web 172.17.0.1", "hairpin");
    // Outwards it has the host's address.
    serve(&neighbour, 99, "neighbour").await;
    assert_eq!(ask(&place(&sandbox), "192.0.2.2:99").await, "neighbour 192.0.2.1");
    // What is not published is not reached past the host.
    inside(&lab.path("neighbour"), "ip route add 172.17.0.0/16 via 192.0.2.1");
    assert!(ask(&neighbour, "172.17.0.2:80").await.contains("timed out"));

    // Nobody gets the port twice, nor one that a process of the host has.
    let again = SandboxRequest {
        ports: published("80/tcp", "", "8080"),
        ..request(2, "again", &["bridge"])
    };
    let error = networks.open_sandbox(again.clone()).await.unwrap_err().to_string();
    assert!(
        error.starts_with("driver failed programming external connectivity on endpoint again (")
    );
    assert!(error.ends_with("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{error}");
    let taken = host.run(|| TcpListener::bind("0.0.0.0:9090").unwrap()).await.unwrap();
    let ports = published("80/tcp", "", "9090");
    let error = networks.open_sandbox(SandboxRequest { ports, ..again.clone() }).await;
    let error = error.unwrap_err().to_string();
    assert!(error.ends_with("Bind for 0.0.0.0:9090 failed: port is already allocated"), "{error}");
    drop(taken);
    let ports = published("80/tcp", "127.0.0.1", "8080-8090");
    let other = networks.open_sandbox(SandboxRequest { ports, ..again }).await.unwrap();
    let binding = &other.ports["80/tcp"].as_ref().unwrap()[0];
    assert_eq!((binding.host_ip.as_str(), binding.host_port.as_str()), ("127.0.0.1", "8081"));
    networks.close_sandbox(&"02".repeat(32)).await.unwrap();

    // A daemon that starts again cuts nothing.
    let (mut stream, _) = connect(&neighbour, "192.0.2.1:8080").await.unwrap();
    drop(networks);
    let networks = lab.networks(NetworkOptions::default()).await;
    networks.restore(&BTreeSet::from([id.clone()])).await.unwrap();
    assert!(still_echoes(&mut stream));
    assert_eq!(ask(&neighbour, "192.0.2.1:8080").await, "web 192.0.2.2");
    assert_eq!(ask(&host, "[::1]:8080").await, "web 172.17.0.1");
    networks.close_sandbox(&id).await.unwrap();
    // What stood for one run stands for the next, until a daemon starts and nobody needs it.
    drop(networks);
    assert_ne!(lab.shown(), before);
    lab.networks(NetworkOptions::default()).await.restore(&BTreeSet::new()).await.unwrap();
    assert_eq!(lab.shown(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_of_users_have_names_and_are_apart() {
    if !can_run("networks_of_users_have_names_and_are_apart") {
        return;
    }
    let lab = Lab::new().await;
    let before = lab.shown();
    let networks = lab.networks(NetworkOptions::default()).await;
    let create =
        |text: serde_json::Value| serde_json::from_value::<NetworkCreateRequest>(text).unwrap();
    let front = create(serde_json::json!({
        "Name": "front", "EnableIPv6": true,
        "IPAM": { "Config": [{ "Subnet": "10.7.0.0/24" }, { "Subnet": "fd00:7::/64" }] },
    }));
    networks.create(&front).await.unwrap();
    let error = networks.create(&front).await.unwrap_err().to_string();
    assert_eq!(error, "network with name front already exists");
    networks
        .create(&create(serde_json::json!({ "Name": "back", "Internal": true })))
        .await
        .unwrap();
    let web = networks.open_sandbox(request(1, "web", &["front"])).await.unwrap();
    let mut db = request(2, "db", &[]);
    let settings = EndpointSettings {
        aliases: Some(vec!["store".into()]),
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: "10.7.0.9".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    db.mode = SandboxMode::Networks(BTreeMap::from([("front".to_owned(), settings)]));
    let db = networks.open_sandbox(db).await.unwrap();
    assert_eq!(db.networks["front"].global_ipv6_address, "fd00:7::3");
    let short = "02".repeat(6);
    let names = db.networks["front"].dns_names.clone().unwrap();
    assert_eq!(names, ["db", "store", short.as_str(), "db-host"]);
    for name in ["db", "store", "STORE.front", short.as_str()] {
        assert_eq!(resolve(&place(&web), name).await, Some([10, 7, 0, 9]), "{name}");
    }
    serve(&place(&db), 80, "db").await;
    assert_eq!(ask(&place(&web), "10.7.0.9:80").await, "db 10.7.0.2");
    // Another network's container neither knows the name nor reaches the address.
    let other = networks.open_sandbox(request(3, "other", &["back"])).await.unwrap();
    assert_eq!(resolve(&place(&other), "db").await, None);
    assert!(connect(&place(&other), "10.7.0.9:80").await.is_err());
    assert!(connect(&place(&other), "192.0.2.2:99").await.is_err(), "internal");
    // Until it is on the network too.
    let third = "03".repeat(32);
    let connected = networks.connect(&third, "front", EndpointSettings::default()).await.unwrap();
    assert_eq!(connected.networks.len(), 2);
    assert_eq!(resolve(&place(&other), "db").await, Some([10, 7, 0, 9]));
    assert_eq!(ask(&place(&other), "10.7.0.9:80").await, "db 10.7.0.3");
    let error = networks.connect(&third, "front", EndpointSettings::default()).await;
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "endpoint with name other already exists in network front");
    let error = networks.remove("front").await.unwrap_err().to_string();
    assert!(error.starts_with("error while removing network: network front id "), "{error}");
    assert!(error.contains(" has active endpoints (name:\"web\" id:\""), "{error}");
    assert_eq!(networks.inspect("front").await.unwrap().containers.len(), 3);
    networks.rename(&"02".repeat(32), "base").await.unwrap();
    assert_eq!(resolve(&place(&web), "base").await, Some([10, 7, 0, 9]));
    let left = networks.disconnect(&third, "front").await.unwrap();
    assert_eq!(left.networks.keys().collect::<Vec<_>>(), ["back"]);
    assert!(connect(&place(&other), "10.7.0.9:80").await.is_err());
    for number in 1..=3u8 {
        networks.close_sandbox(&format!("{number:02x}").repeat(32)).await.unwrap();
    }
    let mut pruned = networks.prune(|_| true).await;
    pruned.sort();
    assert_eq!(pruned, ["back", "front"]);
    assert_eq!(lab.shown(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_icc_links_open_what_is_exposed() {
    if !can_run("without_icc_links_open_what_is_exposed") {
        return;
    }
    let lab = Lab::new().await;
    let before = lab.shown();
    let options = NetworkOptions {
        icc: false,
        bip: Some("10.9.0.1/24".parse().unwrap()),
        ..NetworkOptions::default()
    };
    let networks = lab.networks(options).await;
    let db = SandboxRequest {
        exposed: BTreeSet::from(["80/tcp".to_owned()]),
        ..request(1, "db", &["bridge"])
    };
    let id = db.container.clone();
    let db = networks.open_sandbox(db).await.unwrap();
    assert_eq!(db.networks["bridge"].ip_address, "10.9.0.2");
    serve(&place(&db), 80, "db").await;
    serve(&place(&db), 81, "db").await;
    let stranger = networks.open_sandbox(request(2, "stranger", &["bridge"])).await.unwrap();
    let friend = SandboxRequest {
        links: vec![Link { container: id, alias: "store".into() }],
        ..request(3, "friend", &["bridge"])
    };
    let friend = networks.open_sandbox(friend).await.unwrap();
    let linked =
        ("10.9.0.2".parse().unwrap(), ["store", "db-host", "db"].map(String::from).to_vec());
    assert!(friend.hosts.contains(&linked), "{:?}", friend.hosts);
    assert_eq!(ask(&place(&friend), "10.9.0.2:80").await, "db 10.9.0.4");
    assert!(connect(&place(&friend), "10.9.0.2:81").await.is_err());
    assert!(connect(&place(&stranger), "10.9.0.2:80").await.is_err());
    for number in 1..=3u8 {
        networks.close_sandbox(&format!("{number:02x}").repeat(32)).await.unwrap();
    }
    networks.restore(&BTreeSet::new()).await.unwrap();
    assert_eq!(lab.shown(), before);
}
