//! Requests that followers hand on, and where the log stands for fresh reads.

use std::sync::Arc;

use async_trait::async_trait;
use skep_proto::v1 as pb;
use skep_secrets::join_token::JoinToken;
use skep_secrets::root_ca;
use tonic::{Request, Response, Status};

use crate::control::wire;
use crate::core::Core;

pub struct ControlService(pub Arc<Core>);

#[async_trait]
impl pb::control_server::Control for ControlService {
    async fn execute(
        &self,
        request: Request<pb::ControlRequest>,
    ) -> Result<Response<pb::ControlReply>, Status> {
        let view = self.0.observer.view();
        let root = view.cluster().map(|cluster| root_ca::digest(&cluster.root_ca.certificate));
        let root = root.ok_or_else(|| Status::unavailable("the swarm is not made yet"))?;
        let outcome = match wire::decode(request.into_inner(), || JoinToken::generate(root)) {
            Ok(request) => self.0.execute_here(request).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(wire::encode_reply(outcome)))
    }

    async fn upkeep(
        &self,
        _: Request<pb::UpkeepRequest>,
    ) -> Result<Response<pb::UpkeepAnswer>, Status> {
        let nodes = self.0.upkeep.told(&self.0.observer.view());
        Ok(Response::new(pb::UpkeepAnswer { nodes }))
    }

    async fn read_index(
        &self,
        _: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexResponse>, Status> {
        let applied_index = self.0.raft.read_index().await;
        let applied_index =
            applied_index.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(pb::ReadIndexResponse { applied_index }))
    }
}
