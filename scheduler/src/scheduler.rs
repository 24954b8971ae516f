//! The pass over all tasks that wait: groups of the same service and spec are placed together.

use std::collections::HashMap;

use skep_state::{Event, State};
use skep_types::{NodeId, Revision, ServiceId, TaskId, Timestamp};

use crate::cluster::Cluster;
use crate::defaults::Tuning;
use crate::kinds::Kind;
use crate::placement::{Kept, with_group};
use crate::why::Pending;

/// Where a task goes, or why it goes nowhere now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub task: TaskId,
    pub node: Result<NodeId, Pending>,
}

/// What came of a pass.
#[derive(Debug, Default)]
pub struct Round {
    pub decisions: Vec<Decision>,
    /// When to look again even if nothing changes: reasons that are out of date are told then.
    pub wake: Option<Timestamp>,
}

/// Decides where tasks go, for as long as a leadership lasts.
#[derive(Debug)]
pub struct Scheduler {
    cluster: Cluster,
    kept: Kept,
}

impl Scheduler {
    /// Begins with a view of the state.
    pub fn of(state: &State) -> Self {
        Self::with(state, Tuning::default())
    }

    /// The same with another tuning.
    pub fn with(state: &State, tuning: Tuning) -> Self {
        Self { cluster: Cluster::of(state), kept: Kept::new(tuning) }
    }

    /// Takes in one change; all of them, in their order.
    pub fn observe(&mut self, event: &Event) {
        self.cluster.observe(event);
    }

    /// Places every pending task that has no node, and confirms those of global services, whose
    /// node is given. Only what is not said yet is said again: of a task that stays pending there
    /// is a decision if its status does not tell the reason.
    ///
    /// Decisions are the caller's to carry out; what of them does not come back as an event before
    /// the next pass is decided anew.
    pub fn schedule(&mut self, now: Timestamp) -> Round {
        self.settle(now);
        let mut round = Round::default();
        let groups = self.groups();
        let Self { cluster, kept } = self;
        // Where a task must go is not for others to take: as in SwarmKit, given nodes first.
        for group in &groups {
            with_group(cluster, *group, |group| group.confirm(&mut round));
        }
        for group in &groups {
            with_group(cluster, *group, |group| group.place(kept, now, &mut round));
        }
        round
    }

    /// Takes back what was decided and did not come back as an event, and forgets what is long ago.
    pub fn settle(&mut self, now: Timestamp) {
        self.cluster.undo_decisions();
        self.cluster.pass_time(now);
    }

    /// What waits; groups with the same needs after each other, so that what is known of nodes for
    /// them is brought up to date once.
    fn groups(&self) -> Vec<(ServiceId, Revision)> {
        let Cluster { waiting, services, kinds, .. } = &self.cluster;
        let kind = |(service, revision): &(ServiceId, Revision)| {
            Some(services.get(service)?.version(*revision)?.kind)
        };
        let mut groups: Vec<(Kind, (ServiceId, Revision))> =
            waiting.iter().filter_map(|group| Some((kind(group)?, *group))).collect();
        // By what is needed and not by its number, which tells of what was before.
        let mut ranks: Vec<Kind> = groups.iter().map(|(kind, _)| *kind).collect();
        ranks.sort_unstable();
        ranks.dedup();
        ranks.sort_by_key(|kind| kinds.needs(*kind));
        let ranks: HashMap<Kind, usize> =
            ranks.into_iter().enumerate().map(|(rank, kind)| (kind, rank)).collect();
        groups.sort_by_key(|(kind, _)| ranks[kind]);
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// What it knows, for tests.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}
