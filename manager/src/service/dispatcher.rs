//! Sessions, assignments and reports of nodes, over gRPC. What they come to is decided in
//! `skep_dispatch`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::Stream;
use skep_dispatch::{
    Difference, Look, Report, ReportError, SessionId, StreamKind, ToldAssignments, Withdrawals,
    reported,
};
use skep_proto::convert::{reported_status, wire_attachment, wire_node, wire_task};
use skep_proto::swarmkit as pb;
use skep_state::{Change, State};
use skep_types::node::NodeDescription;
use skep_types::{Node, NodeId, NodeState, TaskId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::clock;
use crate::core::Core;
use crate::defaults::{ASSIGNMENT_INTERVAL, STREAM_QUEUE};
use crate::gate::Caller;
use crate::proposer::ProposalError;
use crate::service::{no_session, refused};

/// Where a node says that the others reach it; without it, where its call came from.
const NODE_ADDRESS: &str = "x-skep-node-address";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub struct DispatcherService(pub Arc<Core>);

fn render(id: SessionId) -> String {
    format!("{:032x}", id.0)
}

pub(super) fn parse(text: &str) -> Result<SessionId, Status> {
    let id = u128::from_str_radix(text, 16).map(SessionId);
    id.map_err(|_| Status::invalid_argument("session invalid"))
}

enum Registration {
    Gone,
    Proposal(ProposalError),
}

impl From<ProposalError> for Registration {
    fn from(error: ProposalError) -> Self {
        Self::Proposal(error)
    }
}

impl DispatcherService {
    /// The node of a call in a session that stands.
    fn in_session<T>(&self, request: &Request<T>, id: &str) -> Result<(NodeId, SessionId), Status> {
        let (node, id) = (Caller::node(request)?, parse(id)?);
        self.0.dispatch.check(node, id).map_err(no_session)?;
        Ok((node, id))
    }

    /// Writes down that the node is there, and as what.
    async fn register(
        &self,
        id: NodeId,
        description: Option<NodeDescription>,
        addr: IpAddr,
    ) -> Result<(), Status> {
        let now = self.0.proposer.now();
        let submitted = self.0.proposer.submit::<Registration>(|view| {
            let node = view.nodes().get(id).ok_or(Registration::Gone)?;
            let mut changed = Node::clone(node);
            changed.description = description.or(changed.description);
            changed.status.addr = addr.to_string();
            changed.status.message.clear();
            if changed.status.state != NodeState::Ready {
                changed.status.state = NodeState::Ready;
                changed.status.since = now;
            }
            let news = (changed != **node).then(|| Change::Update(Arc::new(changed)).into());
            Ok(news.into_iter().collect())
        });
        let pending = submitted.map_err(|error| match error {
            Registration::Gone => Status::not_found(format!("node {id} not found")),
            Registration::Proposal(error) => refused(error),
        })?;
        pending.applied().await.map(drop).map_err(refused)
    }
}

/// What a stream ends with that outlives its session, or this leadership.
pub(super) fn over() -> Status {
    Status::unavailable("the session is over")
}

/// What a node is told of itself and of the managers.
fn session_message(view: &State, node: &Node, id: SessionId) -> pb::SessionMessage {
    let manager = |node: &Arc<Node>| {
        let manager = node.manager.as_ref()?;
        let peer = pb::Peer { node_id: node.id.to_string(), addr: manager.addr.clone() };
        Some(pb::WeightedPeer { peer: Some(peer), weight: 1 })
    };
    let cluster = view.cluster();
    let root = cluster.map(|cluster| cluster.root_ca.certificate.clone());
    let port = cluster.map_or(skep_types::defaults::DATA_PATH_PORT, |it| it.data_path_port);
    pb::SessionMessage {
        session_id: render(id),
        node: Some(wire_node(node, port)),
        managers: view.managers().filter_map(manager).collect(),
        network_bootstrap_keys: Vec::new(),
        root_ca: root.unwrap_or_default(),
    }
}

/// Follows the state and tells the node when what concerns it changed, until the session ends.
async fn tell_session(
    core: Arc<Core>,
    id: NodeId,
    session: SessionId,
    out: mpsc::Sender<Result<pb::SessionMessage, Status>>,
) {
    let mut told: Option<pb::SessionMessage> = None;
    let follow = async {
        let Some(changes) = core.router.open(StreamKind::Session, id) else { return over() };
        loop {
            let (_, view, _) = changes.look();
            let Some(node) = view.nodes().get(id) else {
                // Applied already, and only not routed yet: it wakes this stream when it is.
                if core.observer.view().nodes().get(id).is_some() {
                    changes.woken().await;
                    continue;
                }
                return Status::permission_denied(format!(
                    "node {id} is not part of the swarm any more"
                ));
            };
            let mut news = session_message(&view, node, session);
            // Its own status and description come from the node itself: no news to it.
            if let Some(node) = &mut news.node {
                node.status = None;
                node.description = None;
                node.meta = None;
            }
            if told.as_ref() != Some(&news) {
                if out.send(Ok(news.clone())).await.is_err() {
                    return Status::cancelled("the node hung up");
                }
                told = Some(news);
            }
            drop(view);
            changes.woken().await;
        }
    };
    let end = tokio::select! {
        status = follow => status,
        () = core.dispatch.over(id, session) => over(),
        () = out.closed() => return,
    };
    let _ = out.send(Err(end)).await;
}

/// Follows the state and sends differences of what the node is assigned, until the session ends.
/// That a task which serves is to stop is told when it has left the balancers.
async fn tell_assignments(
    core: Arc<Core>,
    node: NodeId,
    session: SessionId,
    out: mpsc::Sender<Result<pb::AssignmentsMessage, Status>>,
) {
    let mut confirmations = core.dispatch.confirmations();
    let follow = async {
        let opened = core.router.open(StreamKind::Assignments, node);
        let Some(changes) = opened else { return over() };
        let (mut told, mut count) = (ToldAssignments::default(), 0u64);
        let mut withdrawals = Withdrawals::default();
        let mut held_since = BTreeMap::<TaskId, Instant>::new();
        loop {
            confirmations.mark_unchanged();
            let (index, view, Look { tasks: touched, .. }) = changes.look();
            let held = core.dispatch.marks(|marks| {
                withdrawals.observe(&view, node, &touched, index, marks, clock::steady())
            });
            // Without a leadership the session is over.
            let held = held.unwrap_or_default();
            let news = told.renew(&view, node, &touched, &held.tasks);
            held_since.retain(|task, since| {
                let waits = held.tasks.contains(task);
                if !waits {
                    core.metrics.withdrew(since.elapsed());
                }
                waits
            });
            for (task, nodes) in &held.unconfirmed {
                let nodes = nodes.iter().map(|id| hostname(&view, *id)).collect::<Vec<_>>();
                tracing::warn!(
                    %task,
                    nodes = nodes.join(", "),
                    waited = ?skep_dispatch::defaults::WITHDRAWAL_MAX,
                    "these nodes have not confirmed that they balance to a task no more: it is \
                     told to stop all the same, and connections they make to it may be lost"
                );
            }
            for task in &held.tasks {
                held_since.entry(*task).or_insert_with(Instant::now);
            }
            if count == 0 || !news.is_empty() {
                let message = assignments_message(&news, count);
                count += 1;
                core.metrics.assigned();
                if out.send(Ok(message)).await.is_err() {
                    return Status::cancelled("the node hung up");
                }
            }
            drop(view);
            tokio::time::sleep(ASSIGNMENT_INTERVAL).await;
            tokio::select! {
                () = changes.woken() => {}
                // The table lives as long as the core.
                _ = confirmations.changed(), if !held.tasks.is_empty() => {}
                () = clock::until(held.look_at) => {}
            }
        }
    };
    let end = tokio::select! {
        status = follow => status,
        () = core.dispatch.over(node, session) => over(),
        () = out.closed() => return,
    };
    let _ = out.send(Err(end)).await;
}

/// As the operator knows the node.
fn hostname(view: &State, id: NodeId) -> String {
    let described = view.nodes().get(id).and_then(|node| node.description.as_ref());
    described.map_or_else(|| id.to_string(), |it| it.hostname.clone())
}

/// All of it at first, then what changed.
fn assignments_message(difference: &Difference, count: u64) -> pb::AssignmentsMessage {
    use pb::assignment::Item;
    use pb::assignment_change::AssignmentAction as Action;
    use pb::assignments_message::Type;
    let change = |item: Item, action: Action| pb::AssignmentChange {
        assignment: Some(pb::Assignment { item: Some(item) }),
        action: action.into(),
    };
    // Payloads before the tasks that read them, and after them when they go.
    let mut changes = Vec::new();
    for secret in &difference.secrets {
        changes.push(change(Item::Secret((&**secret).into()), Action::Update));
    }
    for config in &difference.configs {
        changes.push(change(Item::Config((&**config).into()), Action::Update));
    }
    for it in &difference.tasks {
        let task = wire_task(&it.task, &it.spec, it.endpoint.as_ref(), &it.networks);
        changes.push(change(Item::Task(task), Action::Update));
    }
    for it in &difference.attachments {
        let task = wire_attachment(&it.attachment, &it.network);
        changes.push(change(Item::Task(task), Action::Update));
    }
    let removed = difference.removed_attachments.iter().map(|it| it.as_task());
    for id in difference.removed_tasks.iter().copied().chain(removed) {
        let task = pb::Task { id: id.to_string(), ..pb::Task::default() };
        changes.push(change(Item::Task(task), Action::Remove));
    }
    for id in &difference.removed_secrets {
        let secret = pb::Secret { id: id.to_string(), ..pb::Secret::default() };
        changes.push(change(Item::Secret(secret), Action::Remove));
    }
    for id in &difference.removed_configs {
        let config = pb::Config { id: id.to_string(), ..pb::Config::default() };
        changes.push(change(Item::Config(config), Action::Remove));
    }
    pb::AssignmentsMessage {
        r#type: if count == 0 { Type::Complete } else { Type::Incremental }.into(),
        applies_to: if count == 0 { String::new() } else { count.to_string() },
        results_in: (count + 1).to_string(),
        changes,
    }
}

#[async_trait]
impl pb::dispatcher_server::Dispatcher for DispatcherService {
    type SessionStream = Answers<pb::SessionMessage>;
    type AssignmentsStream = Answers<pb::AssignmentsMessage>;
    type TasksStream = Answers<pb::TasksMessage>;

    async fn session(
        &self,
        request: Request<pb::SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let core = &self.0;
        let node = Caller::node(&request)?;
        let said = request.metadata().get(NODE_ADDRESS).and_then(|it| it.to_str().ok());
        let said: Option<IpAddr> = said.and_then(|it| it.parse().ok());
        let addr = said.map_or(Caller::of(&request)?.addr, |said| said);
        let description = request.into_inner().description;
        let description = description.map(NodeDescription::try_from).transpose();
        let description =
            description.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let session = SessionId(clock::mint());
        core.dispatch.register(node, session, clock::steady()).map_err(no_session)?;
        self.register(node, description, addr).await?;
        core.metrics.session_began();
        let (out, messages) = mpsc::channel(STREAM_QUEUE);
        // Ends with the session, the node's connection or this leadership.
        tokio::spawn(tell_session(Arc::clone(core), node, session, out));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        let (node, id) = (Caller::node(&request)?, parse(&request.get_ref().session_id)?);
        let period = self.0.dispatch.heartbeat(node, id, clock::steady()).map_err(no_session)?;
        let period = prost_types::Duration::try_from(period).unwrap_or_default();
        Ok(Response::new(pb::HeartbeatResponse { period: Some(period) }))
    }

    async fn update_task_status(
        &self,
        request: Request<pb::UpdateTaskStatusRequest>,
    ) -> Result<Response<pb::UpdateTaskStatusResponse>, Status> {
        let (node, _) = self.in_session(&request, &request.get_ref().session_id)?;
        let mut reports = Vec::new();
        for update in request.into_inner().updates {
            let (task, status) = reported_status(update)
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            reports.push(Report { task, status });
        }
        self.0.metrics.reported(reports.len());
        let foreign = |error: ReportError| Status::permission_denied(error.to_string());
        // What stands already is answered at once. What is only under way may still come to nothing,
        // so the answer waits for the log.
        let standing = self.0.observer.view();
        if reported(&standing, node, &reports).map_err(foreign)?.is_empty() {
            return Ok(Response::new(pb::UpdateTaskStatusResponse {}));
        }
        enum Refusal {
            Foreign(ReportError),
            Proposal(ProposalError),
        }
        impl From<ProposalError> for Refusal {
            fn from(error: ProposalError) -> Self {
                Self::Proposal(error)
            }
        }
        let submitted = self
            .0
            .proposer
            .submit::<Refusal>(|view| reported(view, node, &reports).map_err(Refusal::Foreign));
        let pending = submitted.map_err(|refusal| match refusal {
            Refusal::Foreign(error) => foreign(error),
            Refusal::Proposal(error) => refused(error),
        })?;
        pending.applied().await.map_err(refused)?;
        Ok(Response::new(pb::UpdateTaskStatusResponse {}))
    }

    async fn update_volume_status(
        &self,
        _: Request<pb::UpdateVolumeStatusRequest>,
    ) -> Result<Response<pb::UpdateVolumeStatusResponse>, Status> {
        Err(Status::unimplemented("cluster volumes are not supported"))
    }

    async fn tasks(
        &self,
        _: Request<pb::TasksRequest>,
    ) -> Result<Response<Self::TasksStream>, Status> {
        Err(Status::unimplemented("use Assignments"))
    }

    async fn assignments(
        &self,
        request: Request<pb::AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let (node, session) = self.in_session(&request, &request.get_ref().session_id)?;
        let (out, messages) = mpsc::channel(STREAM_QUEUE);
        // Ends with the session, the node's connection or this leadership.
        tokio::spawn(tell_assignments(Arc::clone(&self.0), node, session, out));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}
