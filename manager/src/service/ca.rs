//! Identities: the root for who asks, a certificate for who has a join token or renews its own.
//!
//! **Invariant:** a certificate's role is the token's or the node's own in the state, never what
//! the request says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use skep_proto::swarmkit as pb;
use skep_secrets::Role;
use skep_secrets::identity::Identity;
use skep_secrets::join_token::JoinToken;
use skep_secrets::root_ca::{NodeSubject, RootCa};
use skep_state::{Change, State};
use skep_types::{Availability, Cluster, Node, NodeId, NodeRole, NodeSpec};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use crate::clock;
use crate::core::Core;
use crate::defaults::REQUESTS_REMEMBERED;
use crate::gate::Caller;
use crate::proposer::ProposalError;
use crate::service::refused;

/// Docker's words.
const TOKEN_NEEDED: &str = "A valid join token is necessary to join this cluster";

pub struct CaService {
    core: Arc<Core>,
    /// Requests of late by node: SwarmKit's agents take a certificate only with their own request,
    /// byte for byte.
    requests: Mutex<VecDeque<(NodeId, Vec<u8>)>>,
}

/// Shares one service between the two gRPC services that it answers.
#[derive(Clone)]
pub struct SharedCa(pub Arc<CaService>);

enum Issue {
    Status(Status),
    Proposal(ProposalError),
}

impl From<ProposalError> for Issue {
    fn from(error: ProposalError) -> Self {
        Self::Proposal(error)
    }
}

impl From<Status> for Issue {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl CaService {
    pub fn new(core: Arc<Core>) -> Self {
        Self { core, requests: Mutex::new(VecDeque::new()) }
    }

    fn cluster(&self) -> Result<Arc<Cluster>, Status> {
        let view = self.core.observer.view();
        view.cluster().cloned().ok_or_else(|| Status::unavailable("the swarm is not made yet"))
    }

    async fn issue(
        &self,
        identity: Option<&Identity>,
        request: pb::IssueNodeCertificateRequest,
    ) -> Result<NodeId, Status> {
        let fresh = NodeId::new(clock::mint());
        let mut issued = fresh;
        let csr = request.csr.clone();
        let submitted = self.core.proposer.submit::<Issue>(|view| {
            let change = match identity {
                Some(identity) if request.token.is_empty() => renew(view, identity, &request.csr)?,
                _ => join(view, fresh, &request)?,
            };
            issued = match &change {
                Change::Create(node) | Change::Update(node) => node.id,
                Change::Remove(id, _) => *id,
            };
            Ok(vec![change.into()])
        });
        let pending = submitted.map_err(|issue| match issue {
            Issue::Status(status) => status,
            Issue::Proposal(error) => refused(error),
        })?;
        pending.applied().await.map_err(refused)?;
        let mut requests = self.requests.lock().expect("no holder panics");
        requests.retain(|(node, _)| *node != issued);
        requests.push_back((issued, csr));
        if requests.len() > REQUESTS_REMEMBERED {
            requests.pop_front();
        }
        Ok(issued)
    }
}

fn join(
    view: &State,
    id: NodeId,
    request: &pb::IssueNodeCertificateRequest,
) -> Result<Change<Node>, Status> {
    let cluster = view.cluster().ok_or_else(|| Status::unavailable("the swarm is not made yet"))?;
    let role = role_of(cluster, &request.token)?;
    let availability = match pb::node_spec::Availability::try_from(request.availability) {
        Ok(pb::node_spec::Availability::Active) => Availability::Active,
        Ok(pb::node_spec::Availability::Pause) => Availability::Pause,
        Ok(pb::node_spec::Availability::Drain) => Availability::Drain,
        Err(_) => return Err(Status::invalid_argument("unknown availability")),
    };
    let certificate = sign(cluster, &request.csr, id, role)?;
    let spec = NodeSpec { role, availability, ..NodeSpec::default() };
    Ok(Change::Create(Arc::new(Node { certificate, ..Node::new(id, spec) })))
}

fn renew(view: &State, identity: &Identity, csr: &[u8]) -> Result<Change<Node>, Status> {
    let cluster = view.cluster().ok_or_else(|| Status::unavailable("the swarm is not made yet"))?;
    let id: Option<NodeId> = identity.node_id.parse().ok();
    let node = id.and_then(|id| view.nodes().get(id));
    let node = node.ok_or_else(|| Status::not_found("node is not part of the swarm any more"))?;
    if node.spec.role == NodeRole::Worker && node.manager.is_some() {
        return Err(Status::unavailable("node is being taken out of the managers: try again"));
    }
    let mut changed = Node::clone(node);
    changed.certificate = sign(cluster, csr, node.id, node.spec.role)?;
    Ok(Change::Update(Arc::new(changed)))
}

fn role_of(cluster: &Cluster, token: &str) -> Result<NodeRole, Status> {
    let given = JoinToken::parse(token).map_err(|_| Status::invalid_argument(TOKEN_NEEDED))?;
    let tokens = &cluster.root_ca.join_tokens;
    let is = |token: &str| JoinToken::parse(token).is_ok_and(|ours| ours.matches(&given));
    match (is(&tokens.manager), is(&tokens.worker)) {
        (true, _) => Ok(NodeRole::Manager),
        (_, true) => Ok(NodeRole::Worker),
        _ => Err(Status::invalid_argument(TOKEN_NEEDED)),
    }
}

fn sign(cluster: &Cluster, csr: &[u8], id: NodeId, role: NodeRole) -> Result<Vec<u8>, Status> {
    let broken = |what: &str| Status::internal(format!("the swarm's root {what} is not PEM"));
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
    let certificate = text(&cluster.root_ca.certificate).map_err(|_| broken("certificate"))?;
    let key = std::str::from_utf8(&cluster.root_ca.key.0).map_err(|_| broken("key"))?;
    let root =
        RootCa::load(&certificate, key).map_err(|error| Status::internal(error.to_string()))?;
    let (node_id, cluster_id) = (id.to_string(), cluster.id.to_string());
    let role = match role {
        NodeRole::Worker => Role::Worker,
        NodeRole::Manager => Role::Manager,
    };
    let subject = NodeSubject { node_id: &node_id, role, cluster_id: &cluster_id };
    let life = time::Duration::try_from(cluster.spec.cert_expiry)
        .map_err(|_| Status::internal("the swarm's certificate expiry is out of range"))?;
    let signed = root.sign(csr, subject, OffsetDateTime::now_utc(), life);
    signed.map(String::into_bytes).map_err(|error| Status::invalid_argument(error.to_string()))
}

#[async_trait]
impl pb::ca_server::Ca for SharedCa {
    async fn get_root_ca_certificate(
        &self,
        _: Request<pb::GetRootCaCertificateRequest>,
    ) -> Result<Response<pb::GetRootCaCertificateResponse>, Status> {
        let certificate = self.0.cluster()?.root_ca.certificate.clone();
        Ok(Response::new(pb::GetRootCaCertificateResponse { certificate }))
    }

    async fn get_unlock_key(
        &self,
        _: Request<pb::GetUnlockKeyRequest>,
    ) -> Result<Response<pb::GetUnlockKeyResponse>, Status> {
        Err(Status::unimplemented("this swarm's managers are not locked"))
    }
}

#[async_trait]
impl pb::node_ca_server::NodeCa for SharedCa {
    async fn issue_node_certificate(
        &self,
        request: Request<pb::IssueNodeCertificateRequest>,
    ) -> Result<Response<pb::IssueNodeCertificateResponse>, Status> {
        let identity = Caller::of(&request)?.identity.clone();
        let node_id = self.0.issue(identity.as_ref(), request.into_inner()).await?.to_string();
        let node_membership = pb::node_spec::Membership::Accepted.into();
        Ok(Response::new(pb::IssueNodeCertificateResponse { node_id, node_membership }))
    }

    async fn node_certificate_status(
        &self,
        request: Request<pb::NodeCertificateStatusRequest>,
    ) -> Result<Response<pb::NodeCertificateStatusResponse>, Status> {
        let id: NodeId = request
            .into_inner()
            .node_id
            .parse()
            .map_err(|error| Status::invalid_argument(format!("{error}")))?;
        let view = self.0.core.observer.view();
        let node = view.nodes().get(id).filter(|node| !node.certificate.is_empty());
        let node = node.ok_or_else(|| Status::not_found(format!("node {id} not found")))?;
        let requests = self.0.requests.lock().expect("no holder panics");
        let csr = requests.iter().find(|(node, _)| *node == id).map(|(_, csr)| csr.clone());
        let issued = pb::issuance_status::State::Issued;
        let status = pb::IssuanceStatus { state: issued.into(), err: String::new() };
        let role = match node.spec.role {
            NodeRole::Worker => pb::NodeRole::Worker,
            NodeRole::Manager => pb::NodeRole::Manager,
        };
        Ok(Response::new(pb::NodeCertificateStatusResponse {
            status: Some(status.clone()),
            certificate: Some(pb::Certificate {
                role: role.into(),
                csr: csr.unwrap_or_default(),
                status: Some(status),
                certificate: node.certificate.clone(),
                cn: id.to_string(),
            }),
        }))
    }
}
