//! Changing who the managers are: join as learner, become voter, hand over, leave.
//!
//! **Invariant:** one change at a time, and none that leaves the voters without a reachable quorum.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant};

use crate::defaults;
use crate::error::MembershipError;
use crate::node::RaftNode;
use crate::types::{Member, Metrics, Peer, TypeConfig};

/// What came of [`RaftNode::remove`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    Done,
    /// The node to remove was this leader, which has handed over: ask the new leader again.
    HandedOver(Member),
}

impl RaftNode {
    /// Adds a learner and waits until it has caught up. Adding a member that is there with the same
    /// address again is no error, so that an interrupted join can be repeated.
    pub async fn add_learner(&self, id: u64, peer: Peer) -> Result<(), MembershipError> {
        let _one = self.change.try_lock().map_err(|_| MembershipError::InProgress)?;
        let m = self.leading()?;
        match m.membership_config.get_node(&id) {
            Some(there) if *there == peer => {}
            Some(there) => {
                return Err(MembershipError::Exists { id, addr: there.addr.clone() });
            }
            None => {
                let adding = self.raft.add_learner(id, peer, false);
                self.bounded(adding).await?;
            }
        }
        let deadline = tokio::time::Instant::now() + self.config.catch_up_timeout;
        let mut metrics = self.raft.metrics();
        loop {
            let behind = {
                let m = metrics.borrow_and_update();
                if !m.state.is_leader() {
                    return Err(MembershipError::NotLeader { leader: leader(&m) });
                }
                behind(&m, id)
            };
            if behind <= defaults::CATCH_UP_LAG {
                return Ok(());
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(MembershipError::Failed("raft node stopped".into())),
                Err(_) => return Err(MembershipError::NotCaughtUp { id, behind }),
            }
        }
    }

    /// Makes a learner that has caught up a voter. A voter stays one.
    pub async fn promote(&self, id: u64) -> Result<(), MembershipError> {
        let _one = self.change.try_lock().map_err(|_| MembershipError::InProgress)?;
        let m = self.leading()?;
        if m.membership_config.get_node(&id).is_none() {
            return Err(MembershipError::NotFound(id));
        }
        if voters(&m).contains(&id) {
            return Ok(());
        }
        let behind = behind(&m, id);
        if behind > defaults::CATCH_UP_LAG {
            return Err(MembershipError::NotCaughtUp { id, behind });
        }
        let change = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        self.bounded(self.raft.change_membership(change, true)).await
    }

    /// Removes a member. A leader that is to remove itself hands over instead; the caller then asks
    /// the new leader.
    pub async fn remove(&self, id: u64) -> Result<Removal, MembershipError> {
        let one = self.change.try_lock().map_err(|_| MembershipError::InProgress)?;
        let m = self.leading()?;
        if m.membership_config.get_node(&id).is_none() {
            return Err(MembershipError::NotFound(id));
        }
        let mut remaining = voters(&m);
        if !remaining.remove(&id) {
            let change = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
            self.bounded(self.raft.change_membership(change, false)).await?;
            return Ok(Removal::Done);
        }
        if remaining.is_empty() {
            return Err(MembershipError::LastManager(id));
        }
        let quorum = remaining.len() / 2 + 1;
        let heard = self.heard(&remaining, quorum).await;
        if heard.len() < quorum {
            return Err(MembershipError::LosesQuorum { id, reachable: heard.len(), quorum });
        }
        if id == m.id {
            let m = self.leading()?;
            let to = heard.iter().min_by_key(|v| behind(&m, **v)).copied();
            let to = to.ok_or(MembershipError::LosesQuorum { id, reachable: 0, quorum })?;
            drop(one);
            self.transfer_leader(to).await?;
            return match leader(&self.metrics()) {
                Some(leader) if leader.id != id => Ok(Removal::HandedOver(leader)),
                _ => Err(MembershipError::Timeout("handing leadership over")),
            };
        }
        let change = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
        self.bounded(self.raft.change_membership(change, false)).await?;
        Ok(Removal::Done)
    }

    /// Hands leadership to a voter and waits until it leads.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), MembershipError> {
        let m = self.leading()?;
        if to == m.id {
            return Ok(());
        }
        if !voters(&m).contains(&to) {
            return Err(MembershipError::NotVoter(to));
        }
        let mut leadership = self.leadership();
        let failed =
            |e: openraft::errors::Fatal<TypeConfig>| MembershipError::Failed(e.to_string());
        self.raft.trigger().transfer_leader(to).await.map_err(failed)?;
        let wait = leadership.wait_for(|l| l.leader.is_some_and(|leader| leader != m.id));
        match tokio::time::timeout(defaults::TRANSFER_TIMEOUT, wait).await {
            Err(_) => Err(MembershipError::Timeout("handing leadership over")),
            Ok(Err(_)) => Err(MembershipError::Failed("raft node stopped".into())),
            Ok(Ok(now)) if now.leader == Some(to) => Ok(()),
            Ok(Ok(now)) => Err(MembershipError::Failed(format!(
                "leadership went elsewhere: expected {to}, got {:?}",
                now.leader
            ))),
        }
    }

    /// The members that this leader has heard of late, itself included; a follower knows nothing of
    /// the others and names only itself.
    pub fn reachable(&self) -> BTreeSet<u64> {
        let m = self.metrics();
        let all = m.membership_config.nodes().map(|(id, _)| *id);
        all.filter(|id| heard_within(&m, *id, defaults::REACHABLE_WITHIN)).collect()
    }

    /// Which of the voters have answered a heartbeat sent after this was asked; waits until they
    /// are a quorum. An older answer proves nothing: a peer may have died since.
    async fn heard(&self, voters: &BTreeSet<u64>, quorum: usize) -> BTreeSet<u64> {
        let asked = tokio::time::Instant::now();
        loop {
            let m = self.metrics();
            let since = asked.elapsed();
            let heard: BTreeSet<u64> =
                voters.iter().copied().filter(|v| heard_within(&m, *v, since)).collect();
            if heard.len() >= quorum || since > defaults::REACHABLE_WITHIN {
                return heard;
            }
            tokio::time::sleep(self.config.heartbeat / 4).await;
        }
    }

    fn leading(&self) -> Result<Metrics, MembershipError> {
        let m = self.metrics();
        if m.state.is_leader() {
            Ok(m)
        } else {
            Err(MembershipError::NotLeader { leader: leader(&m) })
        }
    }

    /// A change that finds no quorum must not hold the next one up for ever; it may yet commit.
    async fn bounded<T>(
        &self,
        change: impl Future<Output = Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>>,
    ) -> Result<(), MembershipError> {
        let timeout: Duration = self.config.propose_timeout;
        match tokio::time::timeout(timeout, change).await {
            Err(_) => Err(MembershipError::Timeout("changing the managers")),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(error(e)),
        }
    }
}

fn error(e: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    use ClientWriteError as E;
    match e {
        RaftError::APIError(E::ForwardToLeader(f)) => {
            let leader = f.leader_id.zip(f.leader_node).map(|(id, peer)| Member { id, peer });
            MembershipError::NotLeader { leader }
        }
        RaftError::APIError(E::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
            MembershipError::InProgress
        }
        other => MembershipError::Failed(other.to_string()),
    }
}

pub(crate) fn leader(m: &Metrics) -> Option<Member> {
    let id = m.current_leader?;
    Some(Member { id, peer: m.membership_config.get_node(&id)?.clone() })
}

fn voters(m: &Metrics) -> BTreeSet<u64> {
    m.membership_config.voter_ids().collect()
}

/// How many entries the member misses, as far as the leader knows.
fn behind(m: &Metrics, id: u64) -> u64 {
    let last = m.last_log_index.map_or(0, |i| i + 1);
    if id == m.id {
        return 0;
    }
    let matched = m.replication.as_ref().and_then(|r| r.get(&id)).and_then(|l| l.as_ref());
    match matched {
        Some(l) => last.saturating_sub(l.index + 1),
        // Nothing is known to be there: never caught up, however short the log.
        None => u64::MAX,
    }
}

fn heard_within(m: &Metrics, id: u64, within: Duration) -> bool {
    if id == m.id {
        return true;
    }
    let acked = m.heartbeat.as_ref().and_then(|h| h.get(&id)).and_then(|t| t.as_ref());
    acked.is_some_and(|t| t.into_inner().elapsed() < within)
}
