//! Many commands in flight at once: their order, their term, and crashes in the middle.

mod common;

use bytes::Bytes;
use common::{Cluster, until};
use skep_raft::*;

const MANY: usize = 200;

fn numbered(round: usize, number: usize) -> Bytes {
    Bytes::from(format!("{round}-{number}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_flight_are_applied_in_the_order_of_submitting() {
    let c = Cluster::with(3).await;
    let leader = c.leader().await;
    let node = c.hosts[&leader].node.clone();
    let term = node.leadership().borrow().term;
    let mut flying = Vec::new();
    for number in 0..MANY {
        flying.push(node.submit(term, numbered(0, number)).await.unwrap());
    }
    let mut last = 0;
    for submitted in flying {
        let proposed = submitted.applied().await.unwrap();
        assert!(proposed.index > last, "answers come in order");
        last = proposed.index;
    }
    let expected: Vec<String> = (0..MANY).map(|number| format!("0-{number}")).collect();
    assert_eq!(c.hosts[&leader].journal.commands(), expected);
    c.applied_everywhere(expected.last().unwrap()).await;
    for host in c.hosts.values() {
        assert_eq!(host.journal.commands(), expected);
    }
    drop(node);
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_another_term_is_not_written() {
    let c = Cluster::with(1).await;
    let node = c.hosts[&1].node.clone();
    let term = node.leadership().borrow().term;
    for other in [term - 1, term + 1] {
        let answer = node.submit(other, numbered(0, 0)).await.unwrap().applied().await;
        assert!(matches!(answer, Err(ProposeError::NotLeader { .. })), "{answer:?}");
    }
    node.submit(term, numbered(0, 1)).await.unwrap().applied().await.unwrap();
    assert_eq!(c.hosts[&1].journal.commands(), ["0-1"]);
    drop(node);
    c.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_its_way_when_nobody_waits_for_it() {
    let c = Cluster::with(1).await;
    let node = c.hosts[&1].node.clone();
    let term = node.leadership().borrow().term;
    drop(node.submit(term, numbered(0, 0)).await.unwrap());
    node.submit(term, numbered(0, 1)).await.unwrap().applied().await.unwrap();
    assert_eq!(c.hosts[&1].journal.commands(), ["0-0", "0-1"]);
    drop(node);
    c.stop_all().await;
}

/// The leader dies with many commands in flight: what it acknowledged stands, and what stands of a
/// round is its beginning, without a hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_overtakes() {
    let mut c = Cluster::with(3).await;
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let leader = c.leader().await;
        let node = c.hosts[&leader].node.clone();
        let term = node.leadership().borrow().term;
        let mut flying = Vec::new();
        for number in 0..MANY {
            match node.submit(term, numbered(round, number)).await {
                Ok(submitted) => flying.push(submitted),
                Err(error) => panic!("the leader runs: {error}"),
            }
        }
        let (middle, mut node) = (round * MANY / 5, Some(node));
        for (place, submitted) in flying.into_iter().enumerate() {
            if place == middle {
                node = None;
                c.crash(leader);
            }
            if submitted.applied().await.is_ok() {
                acknowledged.push((round, place));
            }
        }
        assert!(node.is_none(), "it died in the middle");
        c.start(leader).await;
        until("a leader", async || Some(c.leader().await)).await;
    }
    c.write("end").await;
    c.applied_everywhere("end").await;
    let stands = c.hosts[&1].journal.commands();
    for host in c.hosts.values() {
        assert_eq!(host.journal.commands(), stands, "the nodes differ");
    }
    for (round, number) in acknowledged {
        let command = format!("{round}-{number}");
        assert!(stands.contains(&command), "acknowledged {command} is lost");
    }
    for round in 0..5 {
        let of_round = stands.iter().filter_map(|it| it.strip_prefix(&format!("{round}-")));
        for (place, number) in of_round.enumerate() {
            assert_eq!(number, place.to_string(), "round {round}");
        }
    }
    c.stop_all().await;
}
