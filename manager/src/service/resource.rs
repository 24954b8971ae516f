//! Containers that were started by hand come onto networks and leave them. What comes of it is decided
//! in [`crate::attaching`]; the node hears of it with its assignments, as a dockerd does.

use std::sync::Arc;

use async_trait::async_trait;
use skep_orchestrator::allocator::NoAddress;
use skep_proto::swarmkit as pb;
use skep_types::AttachmentId;
use tonic::{Request, Response, Status};

use crate::attaching::{Refusal, Wish, attach, detach};
use crate::clock;
use crate::core::Core;
use crate::defaults::{RETRY_INTERVAL, SUBNET_WITHIN};
use crate::gate::Caller;
use crate::proposer::ProposalError;
use crate::service::refused;

pub struct ResourceService(pub Arc<Core>);

enum Issue {
    Refusal(Refusal),
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
            Issue::Refusal(refusal) => refusal.into(),
            Issue::Proposal(error) => refused(error),
        }
    }
}

#[async_trait]
impl pb::resource_allocator_server::ResourceAllocator for ResourceService {
    async fn attach_network(
        &self,
        request: Request<pb::AttachNetworkRequest>,
    ) -> Result<Response<pb::AttachNetworkResponse>, Status> {
        let node = Caller::node(&request)?;
        let wish = Wish::try_from(request.into_inner())?;
        let deadline = tokio::time::Instant::now() + SUBNET_WITHIN;
        loop {
            let mut id = AttachmentId::new(clock::mint());
            let submitted = self.0.proposer.submit::<Issue>(|view| {
                let (found, actions) = attach(view, node, &wish, id).map_err(Issue::Refusal)?;
                id = found;
                Ok(actions)
            });
            match submitted {
                Err(Issue::Refusal(Refusal::Exhausted(NoAddress::NoSubnet(_))))
                    if tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(RETRY_INTERVAL / 10).await;
                }
                Err(issue) => return Err(issue.into()),
                Ok(pending) => {
                    pending.applied().await.map_err(refused)?;
                    let attachment_id = id.to_string();
                    return Ok(Response::new(pb::AttachNetworkResponse { attachment_id }));
                }
            }
        }
    }

    async fn detach_network(
        &self,
        request: Request<pb::DetachNetworkRequest>,
    ) -> Result<Response<pb::DetachNetworkResponse>, Status> {
        let node = Caller::node(&request)?;
        let given = request.into_inner().attachment_id;
        let submitted = self
            .0
            .proposer
            .submit::<Issue>(|view| detach(view, node, &given).map_err(Issue::Refusal));
        submitted?.applied().await.map_err(refused)?;
        Ok(Response::new(pb::DetachNetworkResponse {}))
    }
}
