//! A leadership: from the first linearizable read to the moment another manager leads.
//!
//! **Invariant:** every task that a leadership started has ended before the next one begins.

mod members;
mod nodes;
mod pass;
mod pools;

use std::sync::Arc;

use skep_dispatch::{Sessions, Watermarks};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::Core;
use crate::defaults::RETRY_INTERVAL;
use crate::router;

/// Names a leadership: terms ascend, and of two leaders of one term the one with the larger Raft id
/// comes later. Raft ids fit 32 bits (`service::membership` gives no larger ones).
fn epoch(term: u64, raft_id: u64) -> u64 {
    term << 32 | (raft_id & u64::from(u32::MAX))
}

/// Leads whenever the Raft node does, until it is told to stop.
pub async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut leadership = core.raft.leadership();
    loop {
        let now = tokio::select! {
            () = stop.cancelled() => return,
            now = leadership.wait_for(|now| now.is_leader) => match now {
                Ok(now) => now.clone(),
                Err(_) => return,
            },
        };
        let over = async {
            let mut watched = core.raft.leadership();
            // An error says that the Raft node stopped: over, too.
            let _ = watched.wait_for(|next| !next.is_leader || next.term != now.term).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = over => {}
            () = lead(&core, now.term) => {}
        }
        core.proposer.end();
        core.dispatch.end();
        core.upkeep.clear();
        core.router.end();
        core.logs.end();
        tracing::info!(term = now.term, "leadership ended");
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Never returns by itself: it is dropped when the leadership is over, and what it runs with it.
async fn lead(core: &Arc<Core>, term: u64) {
    while let Err(error) = core.raft.read_index().await {
        tracing::debug!(%error, "the new leader waits for its quorum");
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    let (begin, follower) = core.observer.follow();
    let view = begin.view.clone();
    core.router.begin(&begin);
    let epoch = epoch(term, core.raft_id);
    core.proposer.begin(term, epoch);
    let period = view.cluster().map(|cluster| cluster.spec.heartbeat_period);
    let period = period.unwrap_or(skep_types::defaults::HEARTBEAT_PERIOD);
    let now = clock::steady();
    let marks = Watermarks::begin(&view, begin.index, now);
    core.dispatch.begin(Sessions::begin(&view, period, now), marks);
    tracing::info!(epoch, "leading");
    let mut tasks = JoinSet::new();
    let of = |core: &Arc<Core>| Arc::clone(core);
    let (one, two, three, four) = (of(core), of(core), of(core), of(core));
    let (five, six) = (of(core), of(core));
    tasks.spawn(async move { one.proposer.run().await });
    tasks.spawn(async move { pass::run(&two).await });
    tasks.spawn(async move { nodes::run(&three).await });
    tasks.spawn(async move { members::run(&four).await });
    tasks.spawn(async move { router::run(&five, follower).await });
    tasks.spawn(async move { pools::run(&six).await });
    drop((begin, view));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            // A bug of ours. Leading on without a reconciler would look healthy and do nothing.
            core.fail(&format!("a part of the leader's loop panicked: {error}"));
        }
    }
}
