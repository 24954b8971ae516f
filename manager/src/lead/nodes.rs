//! Nodes that miss their heartbeats are down, and stay so in the state until it says so.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_state::Change;
use skep_types::{Node, NodeId, NodeState};

use crate::clock;
use crate::core::Core;
use crate::defaults::RETRY_INTERVAL;
use crate::proposer::ProposalError;

pub async fn run(core: &Arc<Core>) {
    // Bounded by the number of nodes.
    let mut silent: BTreeSet<NodeId> = BTreeSet::new();
    loop {
        // The period is a setting of the swarm's: sessions follow it.
        if let Some(cluster) = core.observer.view().cluster() {
            core.dispatch.set_period(cluster.spec.heartbeat_period);
        }
        let (expired, next) = core.dispatch.expire(clock::steady());
        silent.extend(expired);
        for node in silent.clone() {
            if core.dispatch.in_session(node) || down(core, node).await {
                silent.remove(&node);
            }
        }
        let wait = match next {
            _ if !silent.is_empty() => RETRY_INTERVAL,
            // Sessions that begin meanwhile end later than this: a heartbeat period is longer.
            Some(at) => {
                at.saturating_since(clock::steady()).clamp(RETRY_INTERVAL, 4 * RETRY_INTERVAL)
            }
            None => 4 * RETRY_INTERVAL,
        };
        tokio::time::sleep(wait).await;
    }
}

/// Says that a node is down; whether that holds now.
async fn down(core: &Core, id: NodeId) -> bool {
    let now = core.proposer.now();
    let submitted = core.proposer.submit::<ProposalError>(|view| {
        let Some(node) = view.nodes().get(id) else { return Ok(Vec::new()) };
        if node.status.state == NodeState::Down {
            return Ok(Vec::new());
        }
        let mut changed = Node::clone(node);
        changed.status.state = NodeState::Down;
        changed.status.message = "heartbeat failure".to_owned();
        changed.status.since = now;
        Ok(vec![Change::Update(Arc::new(changed)).into()])
    });
    match submitted {
        Ok(pending) => pending.applied().await.is_ok(),
        Err(_) => false,
    }
}
