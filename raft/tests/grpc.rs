//! Raft over gRPC on the loopback: the same messages arrive as were sent.

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use common::*;
use skep_proto::v1::raft_server::RaftServer;
use skep_raft::grpc::{Connector, GrpcTransport, RaftService};
use skep_raft::*;
use tonic::transport::{Channel, Endpoint, Server};

struct Plain;

#[async_trait]
impl Connector for Plain {
    async fn connect(&self, peer: &Member) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", peer.peer.addr));
        endpoint.map_err(|e| e.to_string())?.connect().await.map_err(|e| e.to_string())
    }
}

struct Manager {
    node: Arc<RaftNode>,
    journal: Journal,
    peer: Peer,
    server: tokio::task::JoinHandle<()>,
}

async fn manager(dir: &std::path::Path, id: u64) -> Manager {
    manager_that(dir, id, 20, 2).await
}

/// One that takes a snapshot after so many entries, and keeps so many of these.
async fn manager_that(dir: &std::path::Path, id: u64, entries: u64, keep: u64) -> Manager {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let journal = Journal::default();
    let mut config = Config::new(id);
    config.snapshot_entries = entries;
    config.snapshot_keep = keep;
    let dir = dir.join(id.to_string());
    let node = RaftNode::open(
        &dir,
        config,
        Box::new(journal.clone()),
        Arc::new(TestSeal),
        Arc::new(GrpcTransport::new(Arc::new(Plain))),
    );
    let node = Arc::new(node.await.unwrap());
    let service = RaftServer::new(RaftService(node.clone()));
    let incoming = tokio_stream(listener);
    let server = tokio::spawn(async move {
        Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    Manager { node, journal, peer: Peer { addr, node: format!("node{id}") }, server }
}

fn tokio_stream(
    listener: tokio::net::TcpListener,
) -> impl futures::Stream<Item = std::io::Result<tokio::net::TcpStream>> {
    futures::stream::unfold(listener, |l| async {
        let accepted = l.accept().await.map(|(stream, _)| stream);
        Some((accepted, l))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_forms_replicates_and_hands_over() {
    let dir = tempfile::tempdir().unwrap();
    let one = manager(dir.path(), 1).await;
    one.node.bootstrap(one.peer.clone()).await.unwrap();
    one.node.leadership().wait_for(|l| l.is_leader).await.unwrap();
    for i in 0..60 {
        one.node.propose(Bytes::from(format!("c{i}"))).await.unwrap();
    }
    until("purge", async || one.node.metrics().purged).await;
    let two = manager(dir.path(), 2).await;
    let three = manager(dir.path(), 3).await;
    for m in [&two, &three] {
        let id = m.node.metrics().id;
        // The log no longer reaches back to the beginning: this takes the snapshot.
        one.node.add_learner(id, m.peer.clone()).await.unwrap();
        one.node.promote(id).await.unwrap();
    }
    one.node.propose(Bytes::from("joined")).await.unwrap();
    one.node.transfer_leader(2).await.unwrap();
    two.node.leadership().wait_for(|l| l.is_leader).await.unwrap();
    until("write", async || two.node.propose(Bytes::from("handed")).await.ok()).await;
    for m in [&one, &two, &three] {
        until("handed", async || m.journal.commands().iter().any(|c| c == "handed").then_some(()))
            .await;
        assert_eq!(m.journal.commands(), two.journal.commands());
    }
    for m in [one, two, three] {
        m.node.shutdown().await;
        m.server.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_snapshot_reaches_a_new_member_while_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let one = manager_that(dir.path(), 1, 10_000, 0).await;
    one.node.bootstrap(one.peer.clone()).await.unwrap();
    one.node.leadership().wait_for(|l| l.is_leader).await.unwrap();
    // Many times what one gRPC message may hold.
    for i in 0..24 {
        one.node.propose(Bytes::from(format!("{i}{}", ".".repeat(1_000_000)))).await.unwrap();
    }
    one.node.trigger_snapshot().await.unwrap();
    until("purge", async || one.node.metrics().purged).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = Arc::clone(&one.node);
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while stopped.try_recv().is_err() {
            writer.propose(Bytes::from(format!("w{written}"))).await.unwrap();
            written += 1;
        }
        written
    });
    let two = manager_that(dir.path(), 2, 10_000, 0).await;
    let before = one.journal.commands().len();
    one.node.add_learner(2, two.peer.clone()).await.unwrap();
    one.node.promote(2).await.unwrap();
    let meanwhile = one.journal.commands().len() - before;
    stop.send(()).unwrap();
    let written: usize = writing.await.unwrap();
    assert!(meanwhile > 0, "no write was taken while the new member caught up");
    let all = 24 + written;
    for m in [&one, &two] {
        until("all", async || (m.journal.commands().len() == all).then_some(())).await;
    }
    assert!(one.journal.commands() == two.journal.commands());
    for m in [one, two] {
        m.node.shutdown().await;
        m.server.abort();
    }
}
