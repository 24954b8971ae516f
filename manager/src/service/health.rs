//! Whether this manager's services answer: they do when this is reached.

use async_trait::async_trait;
use skep_proto::swarmkit as pb;
use tonic::{Request, Response, Status};

pub struct HealthService;

#[async_trait]
impl pb::health_server::Health for HealthService {
    async fn check(
        &self,
        _: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        let status = pb::health_check_response::ServingStatus::Serving.into();
        Ok(Response::new(pb::HealthCheckResponse { status }))
    }
}
