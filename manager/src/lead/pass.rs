//! The leader's pass: reconcile, then schedule, what changed in what will be since the last one.
//!
//! What follows the speculative view lives as long as that does: a rejection or a new leadership
//! begins it anew, with a look at everything. It knows nothing that the view does not say.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use skep_orchestrator::{Plan, Reconcilers, taken_back};
use skep_scheduler::{Claims, Decision, Scheduler};
use skep_state::{Action, Change, Event, Object, State};
use skep_types::Timestamp;

use crate::clock;
use crate::core::Core;
use crate::defaults::{
    ACTIONS_MAX, OVERSIZED_TOLD_MAX, PARTS_UNDER_WAY, PASS_INTERVAL, RETRY_INTERVAL,
    TRANSACTION_BYTES_MAX,
};
use crate::metrics::ManagerMetrics;
use crate::proposer::{Pending, ProposalError, Proposer};

pub async fn run(core: &Arc<Core>) {
    let mut changes = core.proposer.changes();
    let mut led = None;
    let mut under_way = VecDeque::new();
    // Each is told once in a leadership.
    let mut told = BTreeSet::new();
    loop {
        changes.mark_unchanged();
        let held = Arc::clone(core);
        // A pass over a large change takes long enough to hold other tasks up.
        let pass = tokio::task::spawn_blocking(move || pass(&held.proposer, &held.metrics, led));
        let outcome = pass.await.expect("a pass does not panic");
        led = outcome.led;
        for object in outcome.oversized {
            if told.len() < OVERSIZED_TOLD_MAX && told.insert(object.clone()) {
                tracing::error!(
                    object,
                    "a change that the swarm needs is too large for the managers' log and is left \
                     out: at most {TRANSACTION_BYTES_MAX} bytes"
                );
            }
        }
        under_way.extend(outcome.under_way);
        // The next pass follows what will be: it has no need of the log, which only bounds it here.
        while under_way.len() > PARTS_UNDER_WAY
            && let Some(pending) = under_way.pop_front()
        {
            // Whatever came of it, the next pass starts from what stands.
            if let Err(error) = Pending::applied(pending).await {
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
    /// Objects whose change is larger than a transaction may be.
    oversized: Vec<String>,
}

impl Outcome {
    /// Nothing is known of the view any more.
    fn lost(under_way: Vec<Pending>, next: Next) -> Self {
        Self { led: None, under_way, next, oversized: Vec::new() }
    }
}

fn pass(proposer: &Proposer, metrics: &ManagerMetrics, led: Option<Led>) -> Outcome {
    let Some((view, news)) = proposer.follow() else {
        return Outcome::lost(Vec::new(), Next::At(None));
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
    let now = proposer.now();
    let mut mint = clock::mint;
    let mut plan = Plan::new(view, now, &mut mint);
    let wake = metrics.reconciling(|| led.reconcilers.pass(&mut plan));
    for event in plan.events() {
        led.scheduler.observe(event);
    }
    let reconciled = plan.events().len();
    let round = metrics.scheduling(|| led.scheduler.schedule(now));
    let placed = round.decisions.iter().filter(|decision| decision.node.is_ok()).count();
    metrics.decided(placed, round.decisions.len() - placed);
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
    let Proposed { under_way, refused, too_large, error } = propose(proposer, now, &actions);
    if let Some(error) = error {
        tracing::debug!(%error, "a plan could not be put under way");
        return Outcome::lost(under_way, Next::Retry);
    }
    let oversized: Vec<String> = too_large.iter().map(name).collect();
    // What cannot be put under way is decided anew, and alike: not at once, then.
    let again = |next| if oversized.is_empty() { next } else { Next::Retry };
    let lost: Vec<Action> = refused.into_iter().chain(too_large).collect();
    if !lost.is_empty() {
        // A service or a network, which plans seldom change: it is not worth telling what is left.
        let tasks_alone = lost.iter().all(|action| matches!(action, Action::Task(_)));
        let Some(view) = proposer.view().filter(|_| tasks_alone) else {
            return Outcome { led: None, under_way, next: again(Next::Now), oversized };
        };
        for event in taken_back(&events, &lost) {
            led.scheduler.observe(&event);
        }
        for action in &lost {
            led.reconcilers.refused(&view, action);
        }
    }
    let next = match led.reconcilers.is_idle() {
        true => Next::At(wake.into_iter().chain(round.wake).min()),
        false => again(Next::Now),
    };
    Outcome { led: Some(led), under_way, next, oversized }
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

/// What became of a plan.
#[derive(Default)]
struct Proposed {
    under_way: Vec<Pending>,
    /// Somebody else's change was faster than these.
    refused: Vec<Action>,
    /// Each is larger than a transaction may be.
    too_large: Vec<Action>,
    /// Why the rest was not put under way.
    error: Option<ProposalError>,
}

/// Puts a plan under way part by part, in order; a part that is too large is halved.
fn propose(proposer: &Proposer, now: Timestamp, actions: &[Action]) -> Proposed {
    let mut proposed = Proposed::default();
    let (mut rest, mut size) = (actions, ACTIONS_MAX);
    while !rest.is_empty() {
        let (part, after) = rest.split_at(size.min(rest.len()));
        match proposer.submit_plan(now, part) {
            Ok((pending, refused)) => {
                proposed.under_way.extend(pending);
                proposed.refused.extend(refused);
                size = (size * 2).min(ACTIONS_MAX);
            }
            Err(ProposalError::TooLarge { .. }) if part.len() > 1 => {
                size = part.len() / 2;
                continue;
            }
            Err(ProposalError::TooLarge { .. }) => proposed.too_large.extend(part.iter().cloned()),
            Err(error) => {
                proposed.error = Some(error);
                return proposed;
            }
        }
        rest = after;
    }
    proposed
}

/// Which object an action changes, for the log.
fn name(action: &Action) -> String {
    fn of<T: Object>(change: &Change<T>) -> String {
        match change {
            Change::Create(object) | Change::Update(object) => object.id().to_string(),
            Change::Remove(id, _) => id.to_string(),
        }
    }
    match action {
        Action::Cluster(change) => format!("cluster {}", of(change)),
        Action::Node(change) => format!("node {}", of(change)),
        Action::Service(change) => format!("service {}", of(change)),
        Action::Task(change) => format!("task {}", of(change)),
        Action::Network(change) => format!("network {}", of(change)),
        Action::Secret(change) => format!("secret {}", of(change)),
        Action::Config(change) => format!("config {}", of(change)),
        Action::Attachment(change) => format!("attachment {}", of(change)),
    }
}
