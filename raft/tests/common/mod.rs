//! What the tests share: a seal that detects change, a machine that remembers its commands, and a
//! network in memory with partitions.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use skep_raft::*;

pub const DEADLINE: Duration = Duration::from_secs(30);

/// Authenticated, not secret: a change of the bytes or of their place does not open.
pub struct TestSeal;

fn tag(aad: &[u8], plain: &[u8]) -> [u8; 8] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in aad.iter().chain(&[0xff]).chain(plain) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.to_be_bytes()
}

impl Seal for TestSeal {
    fn seal(&self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = tag(aad, plain).to_vec();
        sealed.extend_from_slice(plain);
        sealed
    }

    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (found, plain) = sealed.split_at_checked(8).ok_or("too short")?;
        if found != tag(aad, plain) {
            return Err("authentication failed".into());
        }
        Ok(plain.to_vec())
    }
}

/// Keeps every command in order.
#[derive(Clone, Default)]
pub struct Journal(pub Arc<Mutex<Vec<Vec<u8>>>>);

impl Journal {
    pub fn commands(&self) -> Vec<String> {
        let all = self.0.lock().unwrap();
        all.iter().map(|c| String::from_utf8_lossy(c).into_owned()).collect()
    }
}

impl Machine for Journal {
    fn apply(&mut self, _index: u64, command: &[u8]) -> Vec<u8> {
        let mut all = self.0.lock().unwrap();
        all.push(command.to_vec());
        format!("{}", all.len()).into_bytes()
    }

    fn snapshot(&self) -> Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send> {
        let all = self.0.lock().unwrap().clone();
        Box::new(move || {
            let mut out = Vec::new();
            for c in all {
                out.extend((c.len() as u32).to_be_bytes());
                out.extend(c);
            }
            Ok(out)
        })
    }

    fn pass(&mut self, _index: u64) {}

    fn restore(&mut self, _index: u64, mut bytes: &[u8]) -> Result<(), String> {
        let mut all = Vec::new();
        while let Some((len, rest)) = bytes.split_at_checked(4) {
            let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
            let (c, rest) = rest.split_at_checked(len).ok_or("too short")?;
            all.push(c.to_vec());
            bytes = rest;
        }
        *self.0.lock().unwrap() = all;
        Ok(())
    }
}

/// Which nodes are there, and which pairs cannot hear each other.
#[derive(Default)]
pub struct Net {
    nodes: RwLock<BTreeMap<u64, Arc<RaftNode>>>,
    cut: RwLock<BTreeSet<u64>>,
    /// How many snapshots have travelled.
    pub snapshots: std::sync::atomic::AtomicUsize,
}

impl Net {
    pub fn enter(&self, id: u64, node: Arc<RaftNode>) {
        self.nodes.write().unwrap().insert(id, node);
    }

    pub fn wire(self: &Arc<Self>, from: u64) -> Wire {
        Wire { net: self.clone(), from }
    }
}

pub struct Wire {
    net: Arc<Net>,
    from: u64,
}

impl Wire {
    fn to(&self, peer: &Member) -> Result<Arc<RaftNode>, TransportError> {
        let cut = self.net.cut.read().unwrap();
        if cut.contains(&self.from) || cut.contains(&peer.id) {
            return Err(TransportError::Unreachable("cut".into()));
        }
        let nodes = self.net.nodes.read().unwrap();
        nodes.get(&peer.id).cloned().ok_or(TransportError::Unreachable("down".into()))
    }
}

fn failed(e: ProposeError) -> TransportError {
    TransportError::Unreachable(e.to_string())
}

#[async_trait]
impl PeerTransport for Wire {
    async fn append_entries(
        &self,
        peer: &Member,
        request: AppendRequest,
        _: CallOption,
    ) -> Result<AppendResponse, TransportError> {
        let answer = self.to(peer)?.handle_append_entries(request).await.map_err(failed)?;
        // An answer does not pass a cut either.
        self.to(peer).map(|_| answer)
    }

    async fn vote(
        &self,
        peer: &Member,
        request: VoteRequest,
        _: CallOption,
    ) -> Result<VoteReply, TransportError> {
        let answer = self.to(peer)?.handle_vote(request).await.map_err(failed)?;
        self.to(peer).map(|_| answer)
    }

    async fn pre_vote(
        &self,
        peer: &Member,
        request: VoteRequest,
        _: CallOption,
    ) -> Result<VoteReply, TransportError> {
        let answer = self.to(peer)?.handle_pre_vote(request).await.map_err(failed)?;
        self.to(peer).map(|_| answer)
    }

    async fn install_snapshot(
        &self,
        peer: &Member,
        vote: Vote,
        snapshot: Snapshot,
        _: CallOption,
    ) -> Result<SnapshotReply, TransportError> {
        self.net.snapshots.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.to(peer)?.handle_install_snapshot(vote, snapshot).await.map_err(failed)
    }

    async fn transfer_leader(
        &self,
        peer: &Member,
        request: TransferRequest,
        _: CallOption,
    ) -> Result<TransferResponse, TransportError> {
        self.to(peer)?.handle_transfer_leader(request).await.map_err(failed)
    }
}

/// A node in a runtime of its own, so that it can be dropped in mid-flight as a crash would.
pub struct Host {
    pub node: Arc<RaftNode>,
    pub journal: Journal,
    runtime: tokio::runtime::Runtime,
}

pub struct Cluster {
    pub net: Arc<Net>,
    pub hosts: BTreeMap<u64, Host>,
    dir: tempfile::TempDir,
    pub tune: fn(&mut Config),
}

pub fn peer(id: u64) -> Peer {
    Peer { addr: format!("10.0.0.{id}:2377"), node: format!("node{id}") }
}

/// Polls until the condition holds; fails the test at the deadline.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn open(
    dir: &Path,
    config: Config,
    journal: &Journal,
    wire: Wire,
) -> Result<RaftNode, OpenError> {
    RaftNode::open(dir, config, Box::new(journal.clone()), Arc::new(TestSeal), Arc::new(wire)).await
}

impl Cluster {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { net: Arc::default(), hosts: BTreeMap::new(), dir, tune: |_| {} }
    }

    /// The first bootstrapped, the others joined as voters.
    pub async fn with(voters: u64) -> Self {
        let mut c = Self::new();
        c.grow(voters).await;
        c
    }

    pub async fn grow(&mut self, voters: u64) {
        self.start(1).await;
        self.hosts[&1].node.bootstrap(peer(1)).await.unwrap();
        self.leader().await;
        for id in 2..=voters {
            self.join(id).await;
        }
    }

    pub fn dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub fn wire(&self, from: u64) -> Wire {
        Wire { net: self.net.clone(), from }
    }

    pub async fn start(&mut self, id: u64) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut config = Config::new(id);
        (self.tune)(&mut config);
        let dir = self.dir(id);
        let start = Instant::now();
        let (node, journal) = loop {
            let journal = Journal::default();
            let (wire, j, d, config) =
                (self.wire(id), journal.clone(), dir.clone(), config.clone());
            let opened = runtime.spawn(async move { open(&d, config, &j, wire).await }).await;
            match opened.unwrap() {
                Ok(node) => break (node, journal),
                // The crashed node's tasks may still be on their way out with the file's lock.
                Err(OpenError::Database { source, .. })
                    if matches!(*source, redb::Error::DatabaseAlreadyOpen)
                        && start.elapsed() < DEADLINE =>
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(e) => panic!("{e:?}"),
            }
        };
        let node = Arc::new(node);
        self.net.nodes.write().unwrap().insert(id, node.clone());
        self.hosts.insert(id, Host { node, journal, runtime });
    }

    /// Drops the node with all its tasks where they stand.
    pub fn crash(&mut self, id: u64) {
        self.net.nodes.write().unwrap().remove(&id);
        let host = self.hosts.remove(&id).unwrap();
        host.runtime.shutdown_background();
    }

    pub async fn stop(&mut self, id: u64) {
        self.net.nodes.write().unwrap().remove(&id);
        let host = self.hosts.remove(&id).unwrap();
        host.node.shutdown().await;
        host.runtime.shutdown_background();
    }

    pub async fn stop_all(mut self) {
        for id in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.stop(id).await;
        }
    }

    pub fn cut(&self, id: u64) {
        self.net.cut.write().unwrap().insert(id);
    }

    pub fn heal(&self) {
        self.net.cut.write().unwrap().clear();
    }

    /// A leader that a quorum confirms.
    pub async fn leader(&self) -> u64 {
        until("a leader", async || {
            for (id, host) in &self.hosts {
                if host.node.leadership().borrow().is_leader
                    && !self.net.cut.read().unwrap().contains(id)
                    && host.node.read_index().await.is_ok()
                {
                    return Some(*id);
                }
            }
            None
        })
        .await
    }

    pub async fn join(&mut self, id: u64) {
        self.start(id).await;
        let leader = self.leader().await;
        let node = &self.hosts[&leader].node;
        node.add_learner(id, peer(id)).await.unwrap();
        node.promote(id).await.unwrap();
    }

    /// Proposes at whoever leads until it is acknowledged.
    pub async fn write(&self, command: &str) {
        until(command, async || {
            let leader = self.leader().await;
            self.hosts[&leader].node.propose(Bytes::from(command.to_owned())).await.ok()
        })
        .await;
    }

    /// Waits until every running node has applied a command.
    pub async fn applied_everywhere(&self, command: &str) {
        for (id, host) in &self.hosts {
            until(&format!("{command} at {id}"), async || {
                host.journal.commands().iter().any(|c| c == command).then_some(())
            })
            .await;
        }
    }
}
