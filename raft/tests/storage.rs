//! The log and the snapshots on disk: openraft's own suite, and damage.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::*;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use skep_raft::*;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(dir.path(), Arc::new(TestSeal), 0).unwrap();
        let machine = Box::new(Journal::default());
        let machine = StateMachine::open(dir.path(), Arc::new(TestSeal), machine).unwrap();
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_suite() {
    Suite::test_all(Builder).await.unwrap();
}

/// A stopped single manager with a log of `n` commands that say where they are.
async fn written(n: u64, snapshot: bool) -> Cluster {
    let mut c = Cluster::with(1).await;
    for i in 0..n {
        c.write(&format!("command-{i:04}")).await;
    }
    if snapshot {
        c.hosts[&1].node.trigger_snapshot().await.unwrap();
        let node = &c.hosts[&1].node;
        until("snapshot", async || node.metrics().snapshot.map(|_| ())).await;
    }
    c.stop(1).await;
    c
}

/// Flips a bit in every place of the file where `needle` stands.
fn flip(path: &std::path::Path, needle: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at: Vec<usize> = bytes
        .windows(needle.len())
        .enumerate()
        .filter_map(|(i, w)| (w == needle).then_some(i))
        .collect();
    assert!(!at.is_empty(), "the needle is not in {}", path.display());
    at.into_iter().for_each(|i| bytes[i] ^= 1);
    std::fs::write(path, bytes).unwrap();
}

async fn refusal(c: &Cluster, id: u64) -> String {
    let opened = open(&c.dir(1), Config::new(id), &Journal::default(), c.wire(1)).await;
    match opened {
        Ok(_) => panic!("opened"),
        Err(e) => e.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_byte_in_the_log_is_named() {
    let c = written(20, false).await;
    flip(&c.dir(1).join("raft.redb"), b"command-0007");
    let e = refusal(&c, 1).await;
    assert!(e.contains("raft.redb is corrupt at log entry "), "{e}");
    assert!(e.contains("authentication failed"), "{e}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_byte_in_a_snapshot_is_named() {
    let c = written(20, true).await;
    let dir = c.dir(1).join("snapshots");
    let path = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    flip(&path, b"command-0007");
    let e = refusal(&c, 1).await;
    assert!(e.contains(".snap is corrupt at chunk 0: authentication failed"), "{e}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_snapshot_is_named() {
    let c = written(20, true).await;
    let dir = c.dir(1).join("snapshots");
    let path = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(len - 5).unwrap();
    let e = refusal(&c, 1).await;
    assert!(e.contains("corrupt at chunk 0: the file ends too early"), "{e}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_of_another_manager_is_refused() {
    let c = written(1, false).await;
    let e = refusal(&c, 2).await;
    assert!(e.contains("expected raft id 2, got 1"), "{e}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_brings_everything_back() {
    let mut c = Cluster::with(1).await;
    for i in 0..50 {
        c.write(&format!("a{i}")).await;
        if i == 20 {
            c.hosts[&1].node.trigger_snapshot().await.unwrap();
            let node = &c.hosts[&1].node;
            until("snapshot", async || node.metrics().snapshot.map(|_| ())).await;
        }
    }
    let before = c.hosts[&1].journal.commands();
    assert_eq!(before.len(), 50);
    c.stop(1).await;
    c.start(1).await;
    c.leader().await;
    assert_eq!(c.hosts[&1].journal.commands(), before);
    c.crash(1);
    c.start(1).await;
    c.leader().await;
    assert_eq!(c.hosts[&1].journal.commands(), before);
    assert_eq!(c.hosts[&1].node.bootstrap(peer(1)).await, Err(MembershipError::AlreadyInitialized));
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_a_command_is_refused() {
    let c = Cluster::with(1).await;
    let big = Bytes::from(vec![0; defaults::COMMAND_BYTES_MAX + 1]);
    let refused = c.hosts[&1].node.propose(big).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    let fits = Bytes::from(vec![0; defaults::COMMAND_BYTES_MAX]);
    c.hosts[&1].node.propose(fits).await.unwrap();
    c.stop_all().await;
}
