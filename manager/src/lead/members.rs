//! The Raft group follows the nodes' roles: managers that joined become voters, and members whose
//! node is no manager any more are taken out, one change at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_raft::{MembershipError, Peer, Removal};
use skep_state::{Change, State};
use skep_types::{Node, NodeRole};

use crate::core::Core;
use crate::defaults::RETRY_INTERVAL;
use crate::proposer::ProposalError;

/// The one next change of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Add {
        id: u64,
        peer: Peer,
    },
    Promote {
        id: u64,
    },
    Remove {
        id: u64,
    },
    /// The node left the group: its object shall say so.
    Forget {
        id: u64,
    },
}

pub async fn run(core: &Arc<Core>) {
    let mut applied = core.observer.applied();
    loop {
        applied.mark_unchanged();
        let step = next_step(&core.observer.view(), &core.members(), core.raft_id);
        let Some(step) = step else {
            if applied.changed().await.is_err() {
                return;
            }
            continue;
        };
        if let Err(reason) = take(core, &step).await {
            tracing::debug!(?step, reason, "the managers' group could not be changed yet");
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

/// Additions before removals, so that replacing a manager never leaves fewer; this leader last.
fn next_step(view: &State, members: &BTreeMap<u64, (Peer, bool)>, own: u64) -> Option<Step> {
    // A group that has just been made knows of no nodes yet, its own first one included.
    view.cluster()?;
    let wanted: BTreeMap<u64, (Peer, bool)> = view
        .nodes()
        .iter()
        .filter_map(|node| {
            let manager = node.manager.as_ref()?;
            let peer = Peer { addr: manager.addr.clone(), node: node.id.to_string() };
            Some((manager.raft_id, (peer, node.spec.role == NodeRole::Manager)))
        })
        .collect();
    for (&id, (peer, stays)) in &wanted {
        match members.get(&id) {
            None if *stays => return Some(Step::Add { id, peer: peer.clone() }),
            Some((_, false)) if *stays => return Some(Step::Promote { id }),
            None => return Some(Step::Forget { id }),
            Some(_) => {}
        }
    }
    let leaves = |id: &&u64| !wanted.get(id).is_some_and(|(_, stays)| *stays);
    let mut leaving: Vec<u64> = members.keys().filter(leaves).copied().collect();
    leaving.sort_by_key(|id| *id == own);
    leaving.first().map(|&id| Step::Remove { id })
}

async fn take(core: &Core, step: &Step) -> Result<(), String> {
    let text = |error: MembershipError| error.to_string();
    match step {
        // A manager that has just joined may not serve yet; it is asked again then.
        Step::Add { id, peer } => core.raft.add_learner(*id, peer.clone()).await.map_err(text),
        Step::Promote { id } => core.raft.promote(*id).await.map_err(text),
        Step::Remove { id } => match core.raft.remove(*id).await.map_err(text)? {
            Removal::Done => Ok(()),
            Removal::HandedOver(to) => Err(format!("leadership was handed over to {}", to.id)),
        },
        Step::Forget { id } => forget(core, *id).await,
    }
}

async fn forget(core: &Core, id: u64) -> Result<(), String> {
    let submitted = core.proposer.submit::<ProposalError>(|view| {
        let is_it = |node: &&Arc<Node>| node.manager.as_ref().is_some_and(|m| m.raft_id == id);
        let Some(node) = view.nodes().iter().find(is_it) else { return Ok(Vec::new()) };
        let mut changed = Node::clone(node);
        changed.manager = None;
        Ok(vec![Change::Update(Arc::new(changed)).into()])
    });
    let pending = submitted.map_err(|error| error.to_string())?;
    pending.applied().await.map(drop).map_err(|error| error.to_string())
}
