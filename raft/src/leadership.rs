//! Who leads, as a value to watch.
//!
//! **Invariant:** the pair of term and leader names one leadership; the term alone does not.

use openraft::async_runtime::watch::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::sync::watch;

use crate::types::{Metrics, Peer, TypeConfig};

type MetricsReceiver = WatchReceiverOf<TypeConfig, Metrics>;

/// What this node knows of the leader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    pub term: u64,
    pub leader: Option<u64>,
    /// Where the leader is reached, when the membership names it.
    pub peer: Option<Peer>,
    /// This node is the leader. It may not have applied all its predecessor committed yet: a
    /// leader's loop begins with `read_index`.
    pub is_leader: bool,
}

impl Leadership {
    pub(crate) fn of(m: &Metrics) -> Self {
        let running = m.running_state.is_ok();
        let leader = m.current_leader.filter(|_| running);
        Self {
            term: m.current_term,
            leader,
            peer: leader.and_then(|l| m.membership_config.get_node(&l).cloned()),
            is_leader: running && m.state.is_leader() && leader == Some(m.id),
        }
    }
}

/// Keeps `tx` in step with the metrics until the node stops.
pub(crate) async fn follow(mut metrics: MetricsReceiver, tx: watch::Sender<Leadership>) {
    loop {
        let now = Leadership::of(&metrics.borrow_and_update());
        tx.send_if_modified(|old| {
            let changed = *old != now;
            if changed {
                *old = now;
            }
            changed
        });
        if metrics.changed().await.is_err() {
            // The core is gone: nobody leads as far as this node can say.
            tx.send_modify(|l| *l = Leadership { term: l.term, ..Leadership::default() });
            return;
        }
    }
}
