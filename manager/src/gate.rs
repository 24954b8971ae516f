//! The door of every gRPC call: who calls, whether they may, and whether the leader must answer.
//!
//! A follower hands the leader's calls on, whole and with the caller's identity in a header that
//! only a manager's certificate makes believable. A call is handed on once at most.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use skep_proto::transport::PeerInfo;
use skep_secrets::Role;
use skep_secrets::identity::Identity;
use skep_secrets::roles::authorize;
use skep_secrets::tls::peer_identity;
use time::OffsetDateTime;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};

use crate::core::Core;

/// `node id;OU;swarm;expiry as a Unix time;address`; the first three are empty for a caller
/// without a certificate.
const FORWARDED: &str = "x-skep-forwarded-for";

/// Services that only the leader answers. Raft and membership's status are each manager's own.
const LEADER_ONLY: &[&str] = &[
    "/docker.swarmkit.v1.CA/GetUnlockKey",
    "/docker.swarmkit.v1.NodeCA/",
    "/docker.swarmkit.v1.Dispatcher/",
    "/docker.swarmkit.v1.LogBroker/",
    "/docker.swarmkit.v1.Logs/",
    "/docker.swarmkit.v1.ResourceAllocator/",
    "/skep.v1.Control/",
    "/skep.v1.Membership/Join",
    "/skep.v1.Membership/Leave",
    "/skep.v1.Overlay/",
];

/// Streams that may stand still for as long as a reader of logs does: on the shared connection to
/// the leader they would hold up the heartbeats of other nodes.
const OWN_CONNECTION: &[&str] =
    &["/docker.swarmkit.v1.LogBroker/PublishLogs", "/docker.swarmkit.v1.Logs/"];

/// Who calls, in a request's extensions once it is through the door.
#[derive(Debug, Clone)]
pub struct Caller {
    /// None for calls that need no certificate.
    pub identity: Option<Identity>,
    /// Where the call came from, seen by the manager that was called first.
    pub addr: IpAddr,
}

impl Caller {
    /// The caller of a request that came through [`Gate`].
    pub fn of<T>(request: &tonic::Request<T>) -> Result<&Self, Status> {
        request.extensions().get::<Self>().ok_or_else(|| Status::internal("no caller"))
    }

    /// The node that calls.
    pub fn node<T>(request: &tonic::Request<T>) -> Result<skep_types::NodeId, Status> {
        let identity = Self::of(request)?.identity.as_ref();
        let identity =
            identity.ok_or_else(|| Status::unauthenticated("a node certificate is needed"))?;
        identity.node_id.parse().map_err(|error| Status::unauthenticated(format!("{error}")))
    }
}

/// Puts a [`Gate`] before the services.
#[derive(Clone)]
pub struct GateLayer(pub Arc<Core>);

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { core: Arc::clone(&self.0), inner }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Gate<S> {
    core: Arc<Core>,
    inner: S,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (core, inner) = (Arc::clone(&self.core), self.inner.clone());
        Box::pin(async move {
            match admit(&core, request).await {
                Ok(Admitted::Here(request)) => inner.oneshot(request).await,
                Ok(Admitted::Answered(response)) => Ok(response),
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

enum Admitted {
    Here(Request<Body>),
    Answered(Response<Body>),
}

async fn admit(core: &Core, mut request: Request<Body>) -> Result<Admitted, Status> {
    let peer = request.extensions().get::<PeerInfo>().cloned();
    let peer = peer.ok_or_else(|| Status::internal("a call without a connection"))?;
    let direct = peer_identity(Some(&peer.certificates))
        .map_err(|error| Status::unauthenticated(error.to_string()))?;
    let path = request.uri().path().to_owned();
    let cluster = core.cluster_id.to_string();
    let now = OffsetDateTime::now_utc();
    let forwarded = request.headers_mut().remove(FORWARDED);
    // A header of anyone but a manager says nothing, and is dropped.
    let forwarded = forwarded.filter(|_| {
        let manager = direct.as_ref().filter(|peer| peer.role == Role::Manager);
        manager.is_some_and(|peer| peer.cluster_id == cluster && peer.expires > now)
    });
    let handed_on = forwarded.is_some();
    let caller = match forwarded {
        None => Caller { identity: direct, addr: peer.addr.ip().to_canonical() },
        Some(header) => parse(&header)?,
    };
    let denied = |error: skep_secrets::roles::Denied| Status::permission_denied(error.to_string());
    let identity =
        authorize(&path, caller.identity.as_ref(), &cluster, now).map_err(denied)?.cloned();
    let caller = Caller { identity, ..caller };
    if !LEADER_ONLY.iter().any(|prefix| path.starts_with(prefix)) {
        request.extensions_mut().insert(caller);
        return Ok(Admitted::Here(request));
    }
    if core.is_leader() {
        still_a_member(core, &caller)?;
        request.extensions_mut().insert(caller);
        return Ok(Admitted::Here(request));
    }
    if handed_on {
        return Err(Status::unavailable("leadership is moving: try again"));
    }
    hand_on(core, request, &caller).await.map(Admitted::Answered)
}

/// A removed node's certificate is worthless, although it has not expired.
fn still_a_member(core: &Core, caller: &Caller) -> Result<(), Status> {
    let Some(identity) = &caller.identity else { return Ok(()) };
    let view = core.proposer.view().ok_or_else(|| Status::unavailable("not the leader"))?;
    let known = identity.node_id.parse().is_ok_and(|id| view.nodes().get(id).is_some());
    if known {
        return Ok(());
    }
    let node = &identity.node_id;
    Err(Status::permission_denied(format!("node {node} is not part of the swarm any more")))
}

async fn hand_on(
    core: &Core,
    mut request: Request<Body>,
    caller: &Caller,
) -> Result<Response<Body>, Status> {
    let leader = core.raft.leader().filter(|leader| leader.id != core.raft_id);
    let leader = leader.ok_or_else(|| Status::unavailable(crate::NO_LEADER))?;
    let path = request.uri().path();
    let own = OWN_CONNECTION.iter().any(|prefix| path.starts_with(prefix));
    let channel = match own {
        true => core.peers.dial(&leader.peer.addr).await,
        false => core.peers.leader(&leader.peer.addr).await,
    };
    let channel = channel.map_err(Status::unavailable)?;
    request.headers_mut().insert(FORWARDED, render(caller)?);
    // The connection's own; the channel sets them for its connection.
    request.headers_mut().remove(http::header::HOST);
    let answer = channel.oneshot(request).await;
    answer.map_err(|error| {
        core.peers.forget_leader();
        Status::unavailable(format!("the leader did not answer: {error}"))
    })
}

fn render(caller: &Caller) -> Result<HeaderValue, Status> {
    let text = match &caller.identity {
        None => format!(";;;;{}", caller.addr),
        Some(identity) => format!(
            "{};{};{};{};{}",
            identity.node_id,
            identity.role.ou(),
            identity.cluster_id,
            identity.expires.unix_timestamp(),
            caller.addr
        ),
    };
    HeaderValue::from_str(&text)
        .map_err(|_| Status::unauthenticated("identity cannot be handed on to the leader"))
}

fn parse(header: &HeaderValue) -> Result<Caller, Status> {
    let bad = || Status::invalid_argument("malformed identity from a manager");
    let text = header.to_str().map_err(|_| bad())?;
    let fields: Vec<&str> = text.split(';').collect();
    let [node_id, ou, cluster_id, expires, addr] = fields[..] else { return Err(bad()) };
    let addr = addr.parse().map_err(|_| bad())?;
    if node_id.is_empty() {
        return Ok(Caller { identity: None, addr });
    }
    let expires = expires.parse().map_err(|_| bad())?;
    Ok(Caller {
        identity: Some(Identity {
            node_id: node_id.to_owned(),
            role: Role::from_ou(ou).ok_or_else(bad)?,
            cluster_id: cluster_id.to_owned(),
            expires: OffsetDateTime::from_unix_timestamp(expires).map_err(|_| bad())?,
        }),
        addr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_being_handed_on() {
        let identity = Identity {
            node_id: "n1".into(),
            role: Role::Worker,
            cluster_id: "c1".into(),
            expires: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
        };
        for identity in [Some(identity), None] {
            let caller = Caller { identity, addr: "fd00::1".parse().unwrap() };
            let back = parse(&render(&caller).unwrap()).unwrap();
            assert_eq!((back.identity, back.addr), (caller.identity, caller.addr));
        }
        for bad in ["", "a;b", "n1;swarm-boss;c1;17;10.0.0.1", "n1;swarm-worker;c1;soon;::1"] {
            assert!(parse(&HeaderValue::from_static(bad)).is_err(), "{bad}");
        }
    }
}
