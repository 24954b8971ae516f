//! The leader's reconcilers: from what users asked for to tasks, addresses and ports.
//!
//! Each looks at a view of the state and at the time it is given, and adds actions to a [`Plan`].
//! None remembers anything: what a new leader needs to know stands in the state. [`Reconcilers`]
//! look at what events changed; a full pass ([`reconcile`]) reaches the same end.
//!
//! What is here: replicated and global services, jobs, restarts, constraints that no longer hold,
//! rolling updates and rollback, the beginning of a rebalance, allocation, history.
//!
//! **Invariant:** no clock, no entropy: `now` and the source of ids come in as arguments.

pub mod absence;
pub mod allocator;
pub mod constraint_enforcer;
pub mod dependency;
pub mod dirty;
pub mod global;
pub mod job;
pub mod plan;
pub mod progress;
pub mod reaper;
pub mod rebalance;
pub mod reconcilers;
pub mod replicated;
pub mod restart;
pub mod slot;
pub mod update;
pub mod update_status;
pub mod wakes;

pub use plan::{Mint, Plan, taken_back};
pub use reconcilers::Reconcilers;

use skep_types::{Service, ServiceMode, Timestamp};

/// Passes over everything and gives the moment at which to look again, if time alone will
/// change something.
pub fn reconcile(plan: &mut Plan<'_>) -> Option<Timestamp> {
    Reconcilers::of(plan.view()).pass(plan)
}

/// Looks at one service, and gives the moment at which to look again.
fn look(plan: &mut Plan<'_>, service: &Service) -> Option<Timestamp> {
    let mut outcome = reconcile_service(plan, service);
    // Once more at most: a rollback is never rolled back.
    if let (_, update::Outcome::RolledBack) = outcome
        && let Some(back) = plan.view().services().get(service.id).cloned()
    {
        outcome = reconcile_service(plan, &back);
    }
    match outcome {
        (wake, update::Outcome::Settled(next)) => earliest(wake, next),
        (wake, update::Outcome::RolledBack) => wake,
    }
}

fn reconcile_service(
    plan: &mut Plan<'_>,
    service: &Service,
) -> (Option<Timestamp>, update::Outcome) {
    let wake = match service.spec.mode {
        ServiceMode::Replicated { replicas } => replicated::reconcile(plan, service, replicas),
        ServiceMode::Global => global::reconcile(plan, service),
        ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
            job::reconcile_replicated(plan, service, max_concurrent, total_completions)
        }
        ServiceMode::GlobalJob => job::reconcile_global(plan, service),
    };
    (wake, update::reconcile(plan, service))
}

/// The earlier of two moments, either of which may be none.
pub(crate) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
