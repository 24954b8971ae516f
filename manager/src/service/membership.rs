//! How a manager enters and leaves the Raft group, and what the group looks like from here.
//!
//! Joining only gives the node its Raft id and writes down where it is reached; the leader's loop
//! takes it into the group once it serves (see `lead::members`).

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use skep_proto::v1 as pb;
use skep_state::{Change, State};
use skep_types::node::ManagerStatus;
use skep_types::{Node, NodeId, NodeRole};
use tonic::{Request, Response, Status};

use crate::clock;
use crate::core::Core;
use crate::gate::Caller;
use crate::proposer::ProposalError;
use crate::service::refused;

pub struct MembershipService(pub Arc<Core>);

enum Issue {
    Status(Status),
    Proposal(ProposalError),
}

impl From<ProposalError> for Issue {
    fn from(error: ProposalError) -> Self {
        Self::Proposal(error)
    }
}

impl From<Issue> for Status {
    fn from(issue: Issue) -> Self {
        match issue {
            Issue::Status(status) => status,
            Issue::Proposal(error) => refused(error),
        }
    }
}

/// A Raft id that no manager has or is likely to have had: 32 random bits, not zero, for the
/// epoch of a leadership holds both term and id.
fn raft_id(view: &State) -> u64 {
    loop {
        let id = u64::from(clock::mint() as u32);
        let taken = |node: &Arc<Node>| node.manager.as_ref().is_some_and(|m| m.raft_id == id);
        if id != 0 && !view.nodes().iter().any(taken) {
            return id;
        }
    }
}

fn admit(view: &State, id: NodeId, addr: &str) -> Result<Option<Node>, Status> {
    let node = view.nodes().get(id);
    let node = node.ok_or_else(|| Status::not_found(format!("node {id} not found")))?;
    if node.spec.role != NodeRole::Manager {
        return Err(Status::permission_denied(format!("node {id} is not a manager")));
    }
    match &node.manager {
        Some(manager) if manager.addr == addr => Ok(None),
        // The group knows it at its old address; moving is not offered yet.
        Some(manager) => Err(Status::failed_precondition(format!(
            "node {id} is a manager at {} already: demote it before it joins at {addr}",
            manager.addr
        ))),
        None => {
            let mut changed = Node::clone(node);
            changed.manager = Some(ManagerStatus { raft_id: raft_id(view), addr: addr.to_owned() });
            Ok(Some(changed))
        }
    }
}

#[async_trait]
impl pb::membership_server::Membership for MembershipService {
    async fn join(
        &self,
        request: Request<pb::JoinRequest>,
    ) -> Result<Response<pb::JoinResponse>, Status> {
        let core = &self.0;
        let id = Caller::node(&request)?;
        let from = Caller::of(&request)?.addr;
        let addr: SocketAddr = request.get_ref().addr.parse().map_err(|_| {
            Status::invalid_argument(format!("malformed address {:?}", request.get_ref().addr))
        })?;
        let ip = if addr.ip().is_unspecified() { from } else { addr.ip() };
        let addr = SocketAddr::new(ip, addr.port()).to_string();
        let submitted = core.proposer.submit::<Issue>(|view| {
            let changed = admit(view, id, &addr).map_err(Issue::Status)?;
            Ok(changed.map(|node| Change::Update(Arc::new(node)).into()).into_iter().collect())
        })?;
        submitted.applied().await.map_err(refused)?;
        let view = core.observer.view();
        let node = view.nodes().get(id).and_then(|node| node.manager.as_ref());
        let raft_id = node.ok_or_else(|| Status::aborted("the node left meanwhile"))?.raft_id;
        let members = core.members().into_iter().map(|(raft_id, (peer, _))| pb::RaftMember {
            raft_id,
            node_id: peer.node,
            addr: peer.addr,
        });
        Ok(Response::new(pb::JoinResponse { raft_id, members: members.collect() }))
    }

    /// A manager that leaves becomes a worker that is gone; the group follows.
    async fn leave(
        &self,
        request: Request<pb::LeaveRequest>,
    ) -> Result<Response<pb::LeaveResponse>, Status> {
        let id = Caller::node(&request)?;
        if request.get_ref().raft_id != 0 {
            return Err(Status::invalid_argument("a manager can only leave by itself"));
        }
        let submitted = self.0.proposer.submit::<Issue>(|view| {
            let Some(node) = view.nodes().get(id) else { return Ok(Vec::new()) };
            let mut changed = Node::clone(node);
            changed.spec.role = NodeRole::Worker;
            Ok(vec![Change::Update(Arc::new(changed)).into()])
        })?;
        submitted.applied().await.map_err(refused)?;
        Ok(Response::new(pb::LeaveResponse {}))
    }

    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let core = &self.0;
        let metrics = core.raft.metrics();
        let leader = metrics.current_leader;
        let log_id = |id: &skep_raft::LogId| pb::LogId {
            term: id.leader_id.term,
            node_id: id.leader_id.node_id,
            index: id.index,
        };
        let reachable = core.raft.reachable();
        let members = core.members().into_iter().map(|(raft_id, (peer, voter))| {
            let matched = metrics.replication.as_ref().and_then(|known| known.get(&raft_id));
            pb::MemberStatus {
                member: Some(pb::RaftMember { raft_id, node_id: peer.node, addr: peer.addr }),
                voter,
                leader: leader == Some(raft_id),
                reachable: reachable.contains(&raft_id),
                matched: matched.and_then(|id| id.as_ref()).map(log_id),
            }
        });
        Ok(Response::new(pb::StatusResponse {
            term: metrics.current_term,
            leader_raft_id: leader.unwrap_or_default(),
            last_applied: metrics.last_applied.as_ref().map(log_id),
            members: members.collect(),
            feature_level: crate::FEATURE_LEVEL,
        }))
    }
}
