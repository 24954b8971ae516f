//! What the nodes last said of their networks, as long as this manager leads. It is no part of the
//! state: every node says it again within seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use skep_proto::v1 as pb;
use skep_state::State;
use skep_types::NodeId;

/// One report for each node.
#[derive(Default)]
pub struct UpkeepTable {
    reports: Mutex<BTreeMap<NodeId, (Instant, pb::UpkeepReport)>>,
}

impl UpkeepTable {
    /// Another leadership begins or this one ends: what was said belongs to neither.
    pub(crate) fn clear(&self) {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn take(&self, node: NodeId, report: pb::UpkeepReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(node, (Instant::now(), report));
    }

    /// What each of the swarm's nodes said; those that left are forgotten.
    pub fn told(&self, state: &State) -> Vec<pb::NodeUpkeep> {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.retain(|node, _| state.nodes().get(*node).is_some());
        let told = reports.iter().map(|(node, (at, report))| pb::NodeUpkeep {
            node_id: node.to_string(),
            age_ms: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
            report: Some(report.clone()),
        });
        told.collect()
    }
}
