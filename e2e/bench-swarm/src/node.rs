//! One simulated node: it registers, stays alive, takes its assignments, reports what it is to run
//! as running, in batches as an agent does, and follows its networks, confirming what it is told at
//! once. It reads no more of networks than it must for that, and publishes no logs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use skep_proto::swarmkit as pb;
use skep_proto::swarmkit::dispatcher_client::DispatcherClient;
use skep_proto::v1 as ours;
use skep_proto::v1::overlay_client::OverlayClient;
use skep_types::NodeId;
use skep_types::node::NodeDescription;
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::{Request, Status};
use tower::util::BoxCloneSyncService;

use crate::crowd::Counts;

/// What carries a node's calls to a manager.
pub type Wire = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, WireError>;

/// A call did not come through.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WireError(pub String);

/// The agent's own bounds: statuses in one report, and between two reports.
const REPORT_MAX: usize = 1000;
const REPORT_INTERVAL: Duration = Duration::from_millis(10);
/// What it takes of one message: as an agent.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Before the manager has said the period.
const HEARTBEAT_FIRST: Duration = Duration::from_secs(5);

/// A node across its sessions.
pub struct SimNode {
    pub id: NodeId,
    /// Tells its host name and its address from others'.
    pub place: usize,
    /// What is yet to be told, the newest of each task.
    waiting: Mutex<BTreeMap<String, pb::TaskState>>,
    added: Notify,
}

enum Never {}

impl SimNode {
    pub fn new(id: NodeId, place: usize) -> Self {
        Self { id, place, waiting: Mutex::default(), added: Notify::new() }
    }

    /// Holds a session until it breaks, and says why. `begun` is called once assignments come.
    pub async fn session(&self, wire: Wire, counts: &Counts, begun: impl FnOnce()) -> Status {
        match self.hold(wire, counts, begun).await {
            Ok(never) => match never {},
            Err(status) => status,
        }
    }

    async fn hold(
        &self,
        wire: Wire,
        counts: &Counts,
        begun: impl FnOnce(),
    ) -> Result<Never, Status> {
        let overlay = OverlayClient::new(wire.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut client = DispatcherClient::new(wire);
        let mut request = Request::new(pb::SessionRequest {
            description: Some((&self.description()).into()),
            session_id: String::new(),
        });
        let [_, high, middle, low] = (self.place as u32).to_be_bytes();
        let addr = format!("10.{high}.{middle}.{low}").parse().expect("an address is ASCII");
        request.metadata_mut().insert("x-skep-node-address", addr);
        let mut messages = client.session(request).await?.into_inner();
        let closed = || Status::unavailable("the manager ended the stream");
        let id = messages.message().await?.ok_or_else(closed)?.session_id;
        let request = pb::AssignmentsRequest { session_id: id.clone() };
        let mut assignments = client.assignments(request).await?.into_inner();
        self.take(assignments.message().await?.ok_or_else(closed)?, counts);
        begun();
        let told = async {
            loop {
                messages.message().await?.ok_or_else(closed)?;
            }
        };
        let assigned = async {
            loop {
                self.take(assignments.message().await?.ok_or_else(closed)?, counts);
            }
        };
        tokio::select! {
            ended = told => ended,
            ended = assigned => ended,
            ended = networks(overlay, id.clone(), counts) => ended,
            ended = heartbeats(client.clone(), id.clone()) => ended,
            ended = self.reports(client.clone(), id.clone(), counts) => ended,
        }
    }

    fn description(&self) -> NodeDescription {
        let mut description = NodeDescription {
            hostname: format!("host{}", self.place),
            os: "linux".to_owned(),
            architecture: "x86_64".to_owned(),
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            plugins: vec![("Network".to_owned(), skep_types::defaults::NETWORK_DRIVER.to_owned())],
            ..NodeDescription::default()
        };
        description.resources.nano_cpus = 8_000_000_000;
        description.resources.memory_bytes = 64 << 30;
        description
    }

    fn take(&self, message: pb::AssignmentsMessage, counts: &Counts) {
        use pb::assignment::Item;
        let mut waiting = self.waiting.lock().expect("no holder panics");
        counts.messages.fetch_add(1, Ordering::Relaxed);
        for change in message.changes {
            let action = change.action();
            let Some(Item::Task(task)) = change.assignment.and_then(|it| it.item) else { continue };
            if action == pb::assignment_change::AssignmentAction::Remove {
                waiting.remove(&task.id);
                continue;
            }
            counts.assigned.fetch_add(1, Ordering::Relaxed);
            let known = task.status.as_ref().map_or(pb::TaskState::New, |it| it.state());
            let reached = match task.desired_state() {
                wanted if wanted <= pb::TaskState::Running => wanted,
                _ => pb::TaskState::Shutdown,
            };
            if known < reached {
                waiting.insert(task.id, reached);
            }
        }
        drop(waiting);
        self.added.notify_one();
    }

    async fn reports(
        &self,
        mut client: DispatcherClient<Wire>,
        session_id: String,
        counts: &Counts,
    ) -> Result<Never, Status> {
        loop {
            let batch: Vec<(String, pb::TaskState)> = {
                let waiting = self.waiting.lock().expect("no holder panics");
                waiting.iter().take(REPORT_MAX).map(|(id, state)| (id.clone(), *state)).collect()
            };
            if batch.is_empty() {
                self.added.notified().await;
                continue;
            }
            let updates = batch.iter().map(|(id, state)| update(id, *state)).collect();
            let session_id = session_id.clone();
            client.update_task_status(pb::UpdateTaskStatusRequest { session_id, updates }).await?;
            counts.reported.fetch_add(batch.len() as u64, Ordering::Relaxed);
            counts.reports.fetch_add(1, Ordering::Relaxed);
            self.told(&batch);
            tokio::time::sleep(REPORT_INTERVAL).await;
        }
    }
}

impl SimNode {
    /// The leader has these; what is newer still waits.
    fn told(&self, batch: &[(String, pb::TaskState)]) {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        for (id, state) in batch {
            if waiting.get(id) == Some(state) {
                waiting.remove(id);
            }
        }
    }
}

/// As large as an agent's: a running task has a container.
fn update(id: &str, state: pb::TaskState) -> pb::update_task_status_request::TaskStatusUpdate {
    let container = pb::ContainerStatus {
        container_id: format!("{id:0>64}"),
        pid: 4242,
        ..pb::ContainerStatus::default()
    };
    let status = pb::TaskStatus {
        timestamp: Some(std::time::SystemTime::now().into()),
        state: state.into(),
        message: "started".to_owned(),
        runtime_status: Some(pb::task_status::RuntimeStatus::Container(container)),
        ..pb::TaskStatus::default()
    };
    pb::update_task_status_request::TaskStatusUpdate {
        task_id: id.to_owned(),
        status: Some(status),
    }
}

/// Follows the node's networks, and confirms the newest of what has come.
async fn networks(
    mut client: OverlayClient<Wire>,
    session_id: String,
    counts: &Counts,
) -> Result<Never, Status> {
    let request = ours::EndpointsRequest { session_id: session_id.clone() };
    let mut messages = client.endpoints(request).await?.into_inner();
    let closed = || Status::unavailable("the manager ended the stream");
    loop {
        let mut newest = None;
        let mut next = Some(messages.message().await?.ok_or_else(closed)?);
        while let Some(message) = next.take() {
            counts.network_messages.fetch_add(1, Ordering::Relaxed);
            let told: usize = message.answers.iter().map(|it| it.len()).sum();
            counts.network_bytes.fetch_add(told as u64, Ordering::Relaxed);
            let settled = message.kind() == ours::endpoints_message::Kind::Settled;
            if !settled && !message.goes_on {
                newest = Some((message.network_id, message.generation));
            }
            if let Some(message) = messages.message().now_or_never() {
                next = Some(message?.ok_or_else(closed)?);
            }
        }
        if let Some((network_id, generation)) = newest {
            let session_id = session_id.clone();
            let request = ours::AcknowledgeRequest { session_id, network_id, generation };
            client.acknowledge(request).await?;
        }
    }
}

async fn heartbeats(
    mut client: DispatcherClient<Wire>,
    session_id: String,
) -> Result<Never, Status> {
    let mut period = HEARTBEAT_FIRST;
    loop {
        let request = pb::HeartbeatRequest { session_id: session_id.clone() };
        let answer = client.heartbeat(request).await?.into_inner();
        let asked = answer.period.and_then(|period| Duration::try_from(period).ok());
        period = asked.unwrap_or(period);
        tokio::time::sleep(period).await;
    }
}
