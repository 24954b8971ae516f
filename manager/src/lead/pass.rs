//! The leader's pass: reconcile, then schedule, what changed in what will be since the last one.
//!
//! What follows the speculative view lives as long as that does: a rejection or a new leadership
//! begins it anew, with a look at everything. It knows nothing that the view does not say.

use std::sync::Arc;

use skep_orchestrator::{Plan, Reconcilers, taken_back};
use skep_scheduler::{Claims, Decision, Scheduler};
use skep_state::{Action, Event, State};
use skep_types::Timestamp;

use crate::clock;
use crate::core::Core;
use crate::defaults::{ACTIONS_MAX, PASS_INTERVAL, RETRY_INTERVAL};
use crate::proposer::{Pending, ProposalError};

pub async fn run(core: &Arc<Core>) {
    let mut changes = core.proposer.changes();
    let mut led = None;
    loop {
        changes.mark_unchanged();
        let held = Arc::clone(core);
        // A pass over a large change takes long enough to hold other tasks up.
        let pass = tokio::task::spawn_blocking(move || pass(&held, led)).await;
        let outcome = pass.expect("a pass does not panic");
        led = outcome.led;
        for pending in outcome.under_way {
            // Whatever came of it, the next pass starts from what stands.
            if let Err(error) = pending.applied().await {
                tracing::debug!(%error, "a decision of the reconcilers was not taken");
            }
        }
        match outcome.next {
            Next::Now => {}
            Next::Retry => tokio::time::sleep(RETRY_INTERVAL).await,
            Next::At(wake) => {
                let timer = async {
                    match wake {
                        Some(at) => {
                            tokio::time::sleep(at.saturating_since(core.proposer.now())).await
                        }
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    // An error says that the proposer is gone; the leadership ends then, too.
                    changed = changes.changed() => if changed.is_err() { return },
                    () = timer => {}
                }
            }
        }
        tokio::time::sleep(PASS_INTERVAL).await;
    }
}

/// What follows the speculative view.
struct Led {
    reconcilers: Reconcilers,
    scheduler: Scheduler,
}

impl Led {
    fn of(view: &State) -> Self {
        Self { reconcilers: Reconcilers::of(view), scheduler: Scheduler::of(view) }
    }

    fn observe(&mut self, view: &State, event: &Event) {
        self.reconcilers.observe(view, event);
        self.scheduler.observe(event);
    }
}

/// When to pass again.
enum Next {
    /// There is more to look at already.
    Now,
    /// The plan could not be put under way.
    Retry,
    /// When something changes, or at that moment.
    At(Option<Timestamp>),
}

struct Outcome {
    led: Option<Led>,
    under_way: Vec<Pending>,
    next: Next,
}

fn pass(core: &Core, led: Option<Led>) -> Outcome {
    let Some((view, news)) = core.proposer.follow() else {
        return Outcome { led: None, under_way: Vec::new(), next: Next::At(None) };
    };
    let mut led = match (led, news) {
        (Some(mut led), Some(news)) => {
            for event in &news {
                led.observe(&view, event);
            }
            led
        }
        _ => Led::of(&view),
    };
    let now = core.proposer.now();
    let mut mint = clock::mint;
    let mut plan = Plan::new(view, now, &mut mint);
    let wake = core.metrics.reconciling(|| led.reconcilers.pass(&mut plan));
    for event in plan.events() {
        led.scheduler.observe(event);
    }
    let reconciled = plan.events().len();
    let round = core.metrics.scheduling(|| led.scheduler.schedule(now));
    let placed = round.decisions.iter().filter(|decision| decision.node.is_ok()).count();
    core.metrics.decided(placed, round.decisions.len() - placed);
    place(&mut plan, round.decisions);
    for event in &plan.events()[reconciled..] {
        led.scheduler.observe(event);
    }
    led.reconcilers.placed(&mut plan);
    let events = plan.events().to_vec();
    let (actions, impossible) = plan.finish();
    for reason in impossible {
        tracing::debug!(%reason, "the reconcilers planned what cannot be");
    }
    let (under_way, refused) = match propose(core, now, actions) {
        Ok(proposed) => proposed,
        Err((error, under_way)) => {
            tracing::debug!(%error, "a plan could not be put under way");
            return Outcome { led: None, under_way, next: Next::Retry };
        }
    };
    if !refused.is_empty() {
        // A service or a network, which plans seldom change: it is not worth telling what is left.
        let tasks_alone = refused.iter().all(|action| matches!(action, Action::Task(_)));
        let Some(view) = core.proposer.view().filter(|_| tasks_alone) else {
            return Outcome { led: None, under_way, next: Next::Now };
        };
        for event in taken_back(&events, &refused) {
            led.scheduler.observe(&event);
        }
        for action in &refused {
            led.reconcilers.refused(&view, action);
        }
    }
    let next = match led.reconcilers.is_idle() {
        true => Next::At(wake.into_iter().chain(round.wake).min()),
        false => Next::Now,
    };
    Outcome { led: Some(led), under_way, next }
}

/// The scheduler's decisions as actions.
fn place(plan: &mut Plan<'_>, decisions: Vec<Decision>) {
    let mut claims = Claims::default();
    for Decision { task: id, node } in decisions {
        let Some(task) = plan.view().tasks().get(id).cloned() else { continue };
        let placed = node.map(|node| (node, claims.claim(plan.view(), &task, node)));
        match placed {
            Ok((node, Some(generic))) => plan.assign(id, node, generic),
            Ok((_, None)) => {
                let why = "no suitable node: its generic resources are held by other tasks";
                plan.leave_pending(id, why.to_owned());
            }
            Err(pending) => plan.leave_pending(id, pending.to_string()),
        }
    }
}

type Proposed = (Vec<Pending>, Vec<Action>);

/// Puts a plan under way part by part; gives what somebody else's change was faster than. On an
/// error, what is under way already is given with it.
fn propose(
    core: &Core,
    now: Timestamp,
    actions: Vec<Action>,
) -> Result<Proposed, (ProposalError, Vec<Pending>)> {
    let (mut under_way, mut outrun) = (Vec::new(), Vec::new());
    let mut actions = actions.into_iter();
    loop {
        let part: Vec<Action> = actions.by_ref().take(ACTIONS_MAX).collect();
        if part.is_empty() {
            return Ok((under_way, outrun));
        }
        match core.proposer.submit_plan(now, part) {
            Ok((pending, refused)) => {
                under_way.extend(pending);
                outrun.extend(refused);
            }
            Err(error) => return Err((error, under_way)),
        }
    }
}
