//! There is one swarm, and it stays.

use skep_types::{Cluster, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::State;

pub fn check(state: &State, delta: &Delta<Cluster>) -> Result<(), Reason> {
    let Some(cluster) = &delta.after else { return Err(Reason::ClusterRemoval) };
    if delta.before.is_none() && !state.cluster.is_empty() {
        return Err(Reason::SecondCluster);
    }
    validate::labels(&cluster.spec.annotations.labels)?;
    Ok(())
}
