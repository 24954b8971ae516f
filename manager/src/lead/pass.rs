//! The leader's pass: reconcile, then schedule, on what will be; again whenever that changes.
//!
//! It keeps nothing between passes, so a new leader's first pass is like any other.

use std::sync::Arc;

use skep_orchestrator::{Plan, reconcile};
use skep_scheduler::{Claims, Decision, Scheduler};
use skep_state::{Action, Change, State};
use skep_types::{Task, TaskState, Timestamp};

use crate::clock;
use crate::core::Core;
use crate::defaults::{ACTIONS_MAX, PASS_INTERVAL, RETRY_INTERVAL};
use crate::proposer::{Pending, ProposalError};

pub async fn run(core: &Arc<Core>) {
    let mut applied = core.observer.applied();
    loop {
        applied.mark_unchanged();
        let held = Arc::clone(core);
        // A pass over a large state takes long enough to hold other tasks up.
        let pass = tokio::task::spawn_blocking(move || pass(&held)).await;
        let outcome = pass.expect("a pass does not panic");
        for pending in outcome.under_way {
            // Whatever came of it, the next pass starts from what stands.
            if let Err(error) = pending.applied().await {
                tracing::debug!(%error, "a decision of the reconcilers was not taken");
            }
        }
        if outcome.again {
            tokio::time::sleep(RETRY_INTERVAL).await;
            continue;
        }
        let timer = async {
            match outcome.wake {
                Some(at) => tokio::time::sleep(at.saturating_since(clock::now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // An error says that the machine is gone; the leadership ends then, too.
            changed = applied.changed() => if changed.is_err() { return },
            () = timer => {}
        }
        tokio::time::sleep(PASS_INTERVAL).await;
    }
}

#[derive(Default)]
struct Outcome {
    under_way: Vec<Pending>,
    /// When time alone will change something.
    wake: Option<Timestamp>,
    /// Something was refused: look again soon.
    again: bool,
}

fn pass(core: &Core) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(view) = core.proposer.view() else { return outcome };
    let now = clock::now();
    let mut mint = clock::mint;
    let mut plan = Plan::new(view, now, &mut mint);
    outcome.wake = reconcile(&mut plan);
    let (actions, refused) = plan.finish();
    for rejection in refused {
        tracing::debug!(%rejection, "the reconcilers planned what cannot be");
    }
    propose(core, actions, &mut outcome);
    let Some(view) = core.proposer.view() else { return outcome };
    let round = Scheduler::of(&view).schedule(now);
    outcome.wake = outcome.wake.into_iter().chain(round.wake).min();
    propose(core, placements(&view, now, round.decisions), &mut outcome);
    outcome
}

fn propose(core: &Core, actions: Vec<Action>, outcome: &mut Outcome) {
    let mut actions = actions.into_iter();
    loop {
        let part: Vec<Action> = actions.by_ref().take(ACTIONS_MAX).collect();
        if part.is_empty() || outcome.again {
            return;
        }
        match core.proposer.submit::<ProposalError>(|_| Ok(part)) {
            Ok(pending) => outcome.under_way.push(pending),
            Err(error) => {
                tracing::debug!(%error, "a decision of the reconcilers was outrun");
                outcome.again = true;
            }
        }
    }
}

/// The scheduler's decisions as actions.
fn placements(view: &State, now: Timestamp, decisions: Vec<Decision>) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut claims = Claims::default();
    for decision in decisions {
        let Some(task) = view.tasks().get(decision.task) else { continue };
        let mut changed = Task::clone(task);
        let placed = decision.node.map(|node| (node, claims.claim(view, task, node)));
        match placed {
            Ok((_, None)) => {
                changed.status.error =
                    "no suitable node: its generic resources are held by other tasks".to_owned();
            }
            Ok((node, Some(generic))) => {
                changed.generic = generic;
                changed.node_id = Some(node);
                changed.status.state = TaskState::Assigned;
                changed.status.message = "scheduler assigned task to node".to_owned();
                changed.status.error.clear();
            }
            Err(pending) => {
                changed.status.message = "pending task scheduling".to_owned();
                changed.status.error = pending.to_string();
            }
        }
        if changed != **task {
            changed.status.timestamp = now;
            actions.push(Change::Update(Arc::new(changed)).into());
        }
    }
    actions
}
