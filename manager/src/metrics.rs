//! What a manager counts of its work, in Prometheus's terms. Names begin with `skep_`, which the
//! daemon's registry puts before them.
//!
//! It outlives managers: a node that is demoted and promoted again counts on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use skep_state::State;

/// A counter for each of a few words under one label.
pub type Counters = Family<[(&'static str, &'static str); 1], Counter>;

#[derive(Debug, Clone)]
pub struct ManagerMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    proposals: Counters,
    proposal: Histogram,
    reconcile: Histogram,
    schedule: Histogram,
    withdrawal: Histogram,
    decisions: Counters,
    sessions: Counter,
    reports: Counter,
    assignments: Counter,
}

/// What became of a proposed transaction.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    Applied,
    Refused,
    /// Leadership or the quorum was lost meanwhile.
    Lost,
}

/// How a manager stands at one moment.
pub struct Standing {
    pub term: u64,
    pub last_log_index: u64,
    pub applied_index: u64,
    /// Of the newest entry in the newest snapshot; zero without one.
    pub snapshot_index: u64,
    pub leads: bool,
    pub has_leader: bool,
    /// Members of the Raft group.
    pub members: usize,
    /// Nodes in session; zero where another manager leads.
    pub sessions: usize,
    pub view: State,
}

impl Default for ManagerMetrics {
    fn default() -> Self {
        // From half a millisecond to some 16 s: a sync to disk, up to the longest wait there is.
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        Self(Arc::new(Inner {
            proposals: Counters::default(),
            proposal: seconds(),
            reconcile: seconds(),
            schedule: seconds(),
            withdrawal: seconds(),
            decisions: Counters::default(),
            sessions: Counter::default(),
            reports: Counter::default(),
            assignments: Counter::default(),
        }))
    }
}

impl ManagerMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let inner = &self.0;
        let mut counter = |name: &str, help: &str, it: &Counter| {
            registry.register(name, help, it.clone());
        };
        counter(
            "dispatcher_sessions",
            "Sessions of nodes begun with this manager",
            &inner.sessions,
        );
        counter("dispatcher_reports", "Task statuses reported by nodes", &inner.reports);
        counter("dispatcher_assignments", "Messages of assignments to nodes", &inner.assignments);
        registry.register(
            "proposals",
            "Transactions of this leader by what became of them",
            inner.proposals.clone(),
        );
        registry.register(
            "scheduler_decisions",
            "Decisions of the scheduler: a node was found, or a reason why none",
            inner.decisions.clone(),
        );
        let mut seconds = |name: &str, help: &str, it: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, it.clone());
        };
        seconds("proposal", "From proposing a transaction to its answer", &inner.proposal);
        seconds("reconcile", "A pass of the reconcilers", &inner.reconcile);
        seconds("schedule", "A pass of the scheduler", &inner.schedule);
        seconds(
            "withdrawal",
            "From a task's wanted stop until its node hears of it, drain time included",
            &inner.withdrawal,
        );
    }

    pub(crate) fn proposed(&self, fate: Fate, since: Instant) {
        let result = match fate {
            Fate::Applied => "applied",
            Fate::Refused => "refused",
            Fate::Lost => "lost",
        };
        self.0.proposals.get_or_create(&[("result", result)]).inc();
        self.0.proposal.observe(since.elapsed().as_secs_f64());
    }

    /// Runs a pass of the reconcilers.
    pub(crate) fn reconciling<T>(&self, pass: impl FnOnce() -> T) -> T {
        timed(&self.0.reconcile, pass)
    }

    /// Runs a pass of the scheduler.
    pub(crate) fn scheduling<T>(&self, pass: impl FnOnce() -> T) -> T {
        timed(&self.0.schedule, pass)
    }

    pub(crate) fn decided(&self, placed: usize, pending: usize) {
        for (result, count) in [("placed", placed), ("pending", pending)] {
            self.0.decisions.get_or_create(&[("result", result)]).inc_by(count as u64);
        }
    }

    pub(crate) fn session_began(&self) {
        self.0.sessions.inc();
    }

    pub(crate) fn reported(&self, statuses: usize) {
        self.0.reports.inc_by(statuses as u64);
    }

    pub(crate) fn assigned(&self) {
        self.0.assignments.inc();
    }

    pub(crate) fn withdrew(&self, waited: Duration) {
        self.0.withdrawal.observe(waited.as_secs_f64());
    }
}

fn timed<T>(histogram: &Histogram, what: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = what();
    histogram.observe(began.elapsed().as_secs_f64());
    done
}
