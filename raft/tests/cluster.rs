//! Several nodes in memory: elections, replication, catching up, membership, crashes.

mod common;

use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::*;
use skep_raft::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elects_and_replicates() {
    let c = Cluster::with(3).await;
    c.write("one").await;
    c.write("two").await;
    c.applied_everywhere("two").await;
    for host in c.hosts.values() {
        assert_eq!(host.journal.commands(), ["one", "two"]);
    }
    let leader = c.leader().await;
    let follower = c.hosts.iter().find(|(id, _)| **id != leader).unwrap().1;
    let refused = follower.node.propose(Bytes::from("x")).await;
    let known = Some(Member { id: leader, peer: peer(leader) });
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: known }));
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_after_the_old_is_cut_off() {
    let c = Cluster::with(3).await;
    let old = c.leader().await;
    c.cut(old);
    let new = c.leader().await;
    assert_ne!(old, new);
    c.write("after").await;
    // The old leader cannot confirm itself, so it serves no stale read.
    assert!(c.hosts[&old].node.read_index().await.is_err());
    c.heal();
    c.applied_everywhere("after").await;
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_node_does_not_disturb_the_leader() {
    let c = Cluster::with(3).await;
    let leader = c.leader().await;
    let term = c.hosts[&leader].node.metrics().current_term;
    let away = *c.hosts.keys().find(|id| **id != leader).unwrap();
    c.cut(away);
    // Long enough for several elections of the one that is away, were it not for the pre-vote.
    let gone = std::time::Instant::now();
    until("time to pass", async || (gone.elapsed() > defaults::ELECTION_MAX * 8).then_some(()))
        .await;
    assert_eq!(c.hosts[&away].node.metrics().current_term, term);
    c.heal();
    c.write("still").await;
    c.applied_everywhere("still").await;
    assert_eq!(c.leader().await, leader);
    assert_eq!(c.hosts[&leader].node.metrics().current_term, term);
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_catches_up_by_log() {
    let c = Cluster::with(3).await;
    let leader = c.leader().await;
    let away = *c.hosts.keys().find(|id| **id != leader).unwrap();
    c.cut(away);
    for i in 0..200 {
        c.write(&format!("c{i}")).await;
    }
    // More bytes than one call may carry.
    let node = &c.hosts[&leader].node;
    for _ in 0..5 {
        node.propose(Bytes::from(vec![b'x'; 700 << 10])).await.unwrap();
    }
    c.write("end").await;
    c.heal();
    c.applied_everywhere("end").await;
    assert_eq!(c.net.snapshots.load(Ordering::SeqCst), 0);
    assert_eq!(c.hosts[&away].journal.commands(), c.hosts[&leader].journal.commands());
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_catches_up_by_snapshot() {
    let mut c = Cluster::new();
    c.tune = |config| {
        config.snapshot_entries = 50;
        config.snapshot_keep = 5;
    };
    c.grow(3).await;
    let leader = c.leader().await;
    let away = *c.hosts.keys().find(|id| **id != leader).unwrap();
    c.crash(away);
    for i in 0..200 {
        c.write(&format!("c{i}")).await;
    }
    let node = &c.hosts[&leader].node;
    until("purge", async || node.metrics().purged.filter(|p| p.index > 100)).await;
    c.start(away).await;
    c.applied_everywhere("c199").await;
    assert!(c.net.snapshots.load(Ordering::SeqCst) > 0);
    assert_eq!(c.hosts[&away].journal.commands(), c.hosts[&leader].journal.commands());
    // What was installed is what it starts from.
    c.stop(away).await;
    c.start(away).await;
    c.applied_everywhere("c199").await;
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over() {
    let c = Cluster::with(3).await;
    c.write("before").await;
    let old = c.leader().await;
    let to = *c.hosts.keys().find(|id| **id != old).unwrap();
    c.hosts[&old].node.transfer_leader(to).await.unwrap();
    assert_eq!(c.leader().await, to);
    c.write("after").await;
    c.applied_everywhere("after").await;
    assert_eq!(c.hosts[&to].node.transfer_leader(9).await, Err(MembershipError::NotVoter(9)));
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_leave_one_by_one_but_not_the_last() {
    let mut c = Cluster::with(3).await;
    c.write("three").await;
    let first = c.leader().await;
    let Removal::HandedOver(next) = c.hosts[&first].node.remove(first).await.unwrap() else {
        panic!("a leader removed itself");
    };
    assert_ne!(next.id, first);
    let leader = c.leader().await;
    assert_eq!(c.hosts[&leader].node.remove(first).await, Ok(Removal::Done));
    c.stop(first).await;
    c.write("two").await;
    let other = *c.hosts.keys().find(|id| **id != leader).unwrap();
    assert_eq!(c.hosts[&leader].node.remove(other).await, Ok(Removal::Done));
    c.stop(other).await;
    c.write("one").await;
    assert_eq!(
        c.hosts[&leader].node.remove(leader).await,
        Err(MembershipError::LastManager(leader))
    );
    assert_eq!(c.hosts[&leader].node.remove(77).await, Err(MembershipError::NotFound(77)));
    // An id is not used again, a manager joins with a new one.
    c.join(4).await;
    c.write("again").await;
    c.applied_everywhere("again").await;
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_that_would_lose_the_quorum_is_refused() {
    let mut c = Cluster::with(3).await;
    let leader = c.leader().await;
    let others: Vec<u64> = c.hosts.keys().copied().filter(|id| *id != leader).collect();
    c.crash(others[0]);
    let node = c.hosts[&leader].node.clone();
    // Three with one down: without the other that runs, one of two would be left.
    let refused = until("refusal", async || node.remove(others[1]).await.err()).await;
    assert_eq!(refused, MembershipError::LosesQuorum { id: others[1], reachable: 1, quorum: 2 });
    assert_eq!(node.remove(others[0]).await, Ok(Removal::Done));
    c.write("fine").await;
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_leader_crashes() {
    let mut c = Cluster::with(3).await;
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        for i in 0..20 {
            let command = format!("r{round}-{i}");
            c.write(&command).await;
            acknowledged.push(command);
        }
        let leader = c.leader().await;
        // Some in flight while it dies: those may be lost or kept, but nothing else.
        let node = c.hosts[&leader].node.clone();
        let flying: Vec<_> = (0..8)
            .map(|i| {
                let node = node.clone();
                tokio::spawn(async move {
                    let command = format!("f{round}-{i}");
                    let outcome = tokio::time::timeout(
                        std::time::Duration::from_millis(200),
                        node.propose(Bytes::from(command.clone())),
                    );
                    matches!(outcome.await, Ok(Ok(_))).then_some(command)
                })
            })
            .collect();
        drop(node);
        c.crash(leader);
        for task in flying {
            acknowledged.extend(task.await.unwrap());
        }
        c.leader().await;
        c.start(leader).await;
    }
    c.write("end").await;
    c.applied_everywhere("end").await;
    let expected = c.hosts[&1].journal.commands();
    for host in c.hosts.values() {
        let have = host.journal.commands();
        assert_eq!(have, expected, "the nodes differ");
        for command in &acknowledged {
            assert!(have.contains(command), "acknowledged {command} is lost");
        }
    }
    c.stop_all().await;
}
