//! Users' requests and fresh reads, here on the leader or through it.

use std::time::Instant;

use skep_proto::v1 as pb;
use skep_state::State;
use tonic::Code as GrpcCode;

use crate::control::{self, Code, ControlError, Request, wire};
use crate::core::Core;
use crate::defaults::{CALL_TIMEOUT, ELECTION_PATIENCE, RETRY_INTERVAL};
use crate::proposer::ProposalError;
use crate::{NO_LEADER, clock};

/// A request was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The object that was made or changed, as users see it.
    pub id: String,
    /// In every view at or after this log index.
    pub index: u64,
}

impl From<ProposalError> for ControlError {
    fn from(error: ProposalError) -> Self {
        match error {
            ProposalError::Rejected(rejection) => rejection.into(),
            ProposalError::TooLarge { .. } => {
                Self { code: Code::InvalidArgument, message: error.to_string() }
            }
            ProposalError::Outrun(message) => Self { code: Code::OutOfSequence, message },
            other => Self { code: Code::Unavailable, message: other.to_string() },
        }
    }
}

pub(crate) fn unavailable(message: impl Into<String>) -> ControlError {
    ControlError { code: Code::Unavailable, message: message.into() }
}

impl Core {
    /// Has a request decided and applied by this leader.
    pub(crate) async fn execute_here(&self, request: Request) -> Result<Done, ControlError> {
        let mut id = String::new();
        let pending = self.proposer.submit::<ControlError>(|view| {
            let plan = control::decide(view, request, clock::now(), clock::mint())?;
            id = plan.id;
            Ok(plan.actions)
        })?;
        let index = pending.applied().await?;
        Ok(Done { id, index })
    }

    /// Has a request decided and applied by whoever leads; this manager's view has it then.
    pub async fn execute(&self, request: Request) -> Result<Done, ControlError> {
        let deadline = Instant::now() + ELECTION_PATIENCE;
        loop {
            if self.is_leader() {
                match self.execute_here(request.clone()).await {
                    // Nothing was queued: whoever leads next may take it.
                    Err(error) if error.message == ProposalError::NotLeader.to_string() => {}
                    outcome => return outcome,
                }
            } else if let Some(leader) = self.other_leader() {
                match self.execute_there(&leader, request.clone()).await {
                    Err(Attempt::NotSent(reason)) => {
                        tracing::debug!(reason, "the leader could not be asked");
                    }
                    Err(Attempt::Failed(error)) => return Err(error),
                    Ok(done) => {
                        self.wait_applied(done.index, deadline).await?;
                        return Ok(done);
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(unavailable(NO_LEADER));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// A view that holds everything that was acknowledged before the call.
    pub async fn fresh_view(&self) -> Result<State, ControlError> {
        let deadline = Instant::now() + ELECTION_PATIENCE;
        loop {
            if self.is_leader() {
                if self.raft.read_index().await.is_ok() {
                    return Ok(self.observer.view());
                }
            } else if let Some(leader) = self.other_leader()
                && let Ok(channel) = self.peers.leader(&leader).await
            {
                let mut client = pb::control_client::ControlClient::new(channel);
                let ask = client.read_index(pb::ReadIndexRequest {});
                match tokio::time::timeout(CALL_TIMEOUT, ask).await {
                    Ok(Ok(answer)) => {
                        self.wait_applied(answer.into_inner().applied_index, deadline).await?;
                        return Ok(self.observer.view());
                    }
                    _ => self.peers.forget_leader(),
                }
            }
            if Instant::now() >= deadline {
                return Err(unavailable(NO_LEADER));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// What the nodes last said of their networks.
    pub async fn upkeep(&self) -> Result<Vec<pb::NodeUpkeep>, ControlError> {
        let deadline = Instant::now() + ELECTION_PATIENCE;
        loop {
            if self.is_leader() {
                return Ok(self.upkeep.told(&self.observer.view()));
            }
            if let Some(leader) = self.other_leader()
                && let Ok(channel) = self.peers.leader(&leader).await
            {
                let mut client = pb::control_client::ControlClient::new(channel);
                match tokio::time::timeout(CALL_TIMEOUT, client.upkeep(pb::UpkeepRequest {})).await
                {
                    Ok(Ok(answer)) => return Ok(answer.into_inner().nodes),
                    _ => self.peers.forget_leader(),
                }
            }
            if Instant::now() >= deadline {
                return Err(unavailable(NO_LEADER));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    pub(crate) fn other_leader(&self) -> Option<String> {
        let leader = self.raft.leader()?;
        (leader.id != self.raft_id).then_some(leader.peer.addr)
    }

    async fn execute_there(&self, leader: &str, request: Request) -> Result<Done, Attempt> {
        let channel = self.peers.leader(leader).await.map_err(Attempt::NotSent)?;
        let mut client = pb::control_client::ControlClient::new(channel);
        let message = wire::encode(request);
        let call = client.execute(message);
        let answer = match tokio::time::timeout(2 * CALL_TIMEOUT, call).await {
            Ok(Ok(answer)) => answer.into_inner(),
            // Said by the gate before anything was decided.
            Ok(Err(status)) if status.message() == ProposalError::NotLeader.to_string() => {
                return Err(Attempt::NotSent(status.message().to_owned()));
            }
            Ok(Err(status)) => {
                self.peers.forget_leader();
                let lost = status.code() == GrpcCode::Unavailable;
                let message = if lost { NO_LEADER.to_owned() } else { status.message().to_owned() };
                return Err(Attempt::Failed(unavailable(message)));
            }
            Err(_) => {
                self.peers.forget_leader();
                return Err(Attempt::Failed(unavailable("the leader did not answer in time")));
            }
        };
        wire::decode_reply(answer).map_err(Attempt::Failed)
    }

    /// Waits until this manager has applied the log up to an index.
    async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), ControlError> {
        let mut applied = self.observer.applied();
        let reached = applied.wait_for(|at| *at >= index);
        match tokio::time::timeout_at(deadline.into(), reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(unavailable("this manager is behind the leader: try again")),
        }
    }
}

enum Attempt {
    /// Nothing was decided; it may be asked again.
    NotSent(String),
    Failed(ControlError),
}
