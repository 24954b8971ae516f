//! The managers' port without its socket: for callers in the same process, as simulated nodes are.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use skep_proto::transport::PeerInfo;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use crate::gate::Gate;

/// Takes one caller's calls as a connection of theirs would, behind the same gate; what the
/// certificates say is believed as after a handshake.
#[derive(Clone)]
pub struct Door {
    pub(crate) gate: Gate<Routes>,
    pub(crate) peer: PeerInfo,
}

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.gate.call(request)
    }
}
