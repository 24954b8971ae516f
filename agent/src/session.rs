//! The node's session with a manager: registered, alive, told what to run, telling what became of
//! it. When it breaks, another begins with whichever manager answers.
//!
//! **Invariant:** a broken session stops no container and loses no report.

use skep_types::error_chain;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rand::seq::IndexedRandom;
use skep_overlay_net::NetworkUpdate;
use skep_overlay_net::network::StaleDelta;
use skep_proto::convert::status_update;
use skep_proto::swarmkit as pb;
use skep_proto::swarmkit::dispatcher_client::DispatcherClient;
use skep_proto::v1::overlay_client::OverlayClient;
use skep_types::node::NodeDescription;
use skep_types::{NetworkId, NodeRole};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::defaults::{
    BACKOFF_MAX, BACKOFF_MIN, CALL_TIMEOUT, DESCRIBE_INTERVAL, HEARTBEAT_FIRST, MESSAGE_BYTES_MAX,
    NETWORK_MESSAGES_MAX, NETWORK_RETRY_MAX, NETWORK_RETRY_MIN, REPORT_INTERVAL,
};
use crate::dial::{DialError, dial};
use crate::executor::{Executor, ExecutorError};
use crate::logs::{self, Publisher};
use crate::overlay;
use crate::reporter::Reporter;
use crate::upkeep::{self, Upkeep};
use crate::worker::{AssignmentError, Worker};
use crate::{AgentConfig, News};

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no manager is known")]
    NoManager,
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{}", .0.message())]
    Call(#[from] Status),
    #[error("the manager did not answer within {CALL_TIMEOUT:?}")]
    Late,
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    #[error(transparent)]
    Network(#[from] overlay::MalformedNetwork),
    #[error(transparent)]
    StaleNetwork(#[from] StaleDelta),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// Not an error: the host changed and registers as it is now.
    #[error("the node's description changed")]
    Described,
    #[error("the manager ended the session")]
    Closed,
}

impl Ended {
    /// A manager says that the node was removed from the swarm.
    fn says_removed(&self) -> bool {
        matches!(self, Self::Call(status)
            if status.code() == Code::PermissionDenied
                && status.message().contains("not part of the swarm any more"))
    }
}

pub async fn run(config: AgentConfig, news: watch::Sender<News>, stop: CancellationToken) {
    let mut worker = Worker::new(Arc::clone(&config.executor));
    let upkeep = watch::Sender::default();
    tokio::select! {
        () = sessions(&config, &news, &mut worker, &stop, &upkeep) => {}
        () = upkeep::keep(&config.executor, &upkeep) => {}
    }
    if let Some(attachments) = config.executor.attachments() {
        attachments.session(None);
        attachments.membership(false);
    }
    worker.shutdown().await;
}

/// One session after the other, until it is to stop.
async fn sessions(
    config: &AgentConfig,
    news: &watch::Sender<News>,
    worker: &mut Worker,
    stop: &CancellationToken,
    upkeep: &watch::Sender<Upkeep>,
) {
    let attachments = config.executor.attachments();
    let mut backoff = BACKOFF_MIN;
    let mut gave_up = false;
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = session(config, news, worker, upkeep) => ended,
        };
        if let Some(attachments) = &attachments {
            attachments.session(None);
        }
        let described = matches!(ended, Ended::Described);
        let removed = ended.says_removed();
        news.send_modify(|news| {
            news.in_session = false;
            news.removed |= removed;
            news.error = if described { String::new() } else { error_chain(&ended) };
        });
        tracing::debug!(error = error_chain(&ended), "session ended");
        if removed && !gave_up {
            gave_up = tokio::select! {
                () = stop.cancelled() => return,
                gave_up = give_up(config, worker) => gave_up,
            };
        }
        // A session that stood says that the managers were well: try again at once.
        backoff = if described || began.elapsed() > BACKOFF_MAX { BACKOFF_MIN } else { backoff };
        let spread = Duration::from_secs_f64(backoff.as_secs_f64() * rand::random_range(0.5..1.0));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(spread) => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Nobody will ask for what runs here any more, nor tell where others are: tasks and networks go.
/// Whether all of it is gone.
async fn give_up(config: &AgentConfig, worker: &mut Worker) -> bool {
    tracing::warn!("this node was removed from the swarm: its tasks and networks end");
    worker.give_up().await;
    match config.executor.end_networks().await {
        Ok(()) => true,
        Err(error) => {
            let error = error_chain(&error);
            tracing::warn!(error, "failed to take this node's networks down");
            false
        }
    }
}

async fn session(
    config: &AgentConfig,
    news: &watch::Sender<News>,
    worker: &mut Worker,
    upkeep: &watch::Sender<Upkeep>,
) -> Ended {
    match session_with_any(config, news, worker, upkeep).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

enum Never {}

async fn session_with_any(
    config: &AgentConfig,
    news: &watch::Sender<News>,
    worker: &mut Worker,
    upkeep: &watch::Sender<Upkeep>,
) -> Result<Never, Ended> {
    let managers = news.borrow().managers.clone();
    let address = managers.choose(&mut rand::rng()).ok_or(Ended::NoManager)?;
    let credentials = Arc::clone(&config.credentials.borrow());
    let channel = dial(address, &credentials).await?;
    let max = MESSAGE_BYTES_MAX;
    let mut overlay = OverlayClient::new(channel.clone()).max_decoding_message_size(max);
    let client = DispatcherClient::new(channel.clone()).max_decoding_message_size(max);
    let describe = Arc::clone(&config.describe);
    let look = move || {
        let describe = Arc::clone(&describe);
        async move { tokio::task::spawn_blocking(move || describe()).await }
    };
    let description = look().await.map_err(|error| Status::internal(error.to_string()))?;

    let mut request = Request::new(pb::SessionRequest {
        description: Some((&description).into()),
        session_id: String::new(),
    });
    let addr = config.node_addr.to_string();
    let addr = addr.parse().expect("an address is ASCII");
    request.metadata_mut().insert("x-skep-node-address", addr);
    let mut messages = within(client.clone().session(request)).await?;
    let first = match timeout(CALL_TIMEOUT, messages.message()).await {
        Ok(message) => message?.ok_or(Ended::Closed)?,
        Err(_) => return Err(Ended::Late),
    };
    let session_id = first.session_id.clone();
    take_news(news, &first);
    news.send_modify(|news| {
        news.in_session = true;
        news.error.clear();
    });
    tracing::info!(manager = address, "in session");

    let port = first.node.as_ref().and_then(|node| u16::try_from(node.vxlanudp_port).ok());
    let port = port.filter(|port| *port != 0).unwrap_or(skep_types::defaults::DATA_PATH_PORT);
    config.executor.begin_networks(config.node_addr, port).await?;
    let request = pb::AssignmentsRequest { session_id: session_id.clone() };
    let mut assignments = within(client.clone().assignments(request)).await?;
    worker.begin_session();
    // The tasks first: those that run already keep what they have.
    let first = match timeout(CALL_TIMEOUT, assignments.message()).await {
        Ok(message) => message?.ok_or(Ended::Closed)?,
        Err(_) => return Err(Ended::Late),
    };
    if let Some(attachments) = config.executor.attachments() {
        attachments.session(Some(channel.clone()));
    }
    worker.take(first).await?;
    let request = skep_proto::v1::EndpointsRequest { session_id: session_id.clone() };
    let networks = match within(overlay.endpoints(request)).await {
        Ok(networks) => Some(networks),
        // A Docker manager has no such service: its overlays are not for us.
        Err(Ended::Call(status)) if status.code() == Code::Unimplemented => None,
        Err(ended) => return Err(ended),
    };
    let shared = Arc::clone(&worker.shared);
    let node = credentials.identity().ok().and_then(|identity| identity.node_id.parse().ok());
    let node = node.ok_or_else(|| Status::internal("the certificate's subject holds no ids"))?;
    let executor = Arc::clone(&config.executor);
    let publisher = Publisher { executor, tasks: worker.known(), node };
    let reached = watch::Sender::new(None);
    let told = async {
        loop {
            let message = messages.message().await?.ok_or(Ended::Closed)?;
            take_news(news, &message);
        }
    };
    let assigned = async {
        loop {
            let message = assignments.message().await?.ok_or(Ended::Closed)?;
            worker.take(message).await?;
        }
    };
    tokio::select! {
        ended = told => ended,
        ended = assigned => ended,
        ended = heartbeats(client.clone(), &session_id) => ended,
        ended = reports(client.clone(), &session_id, &shared.reporter) => ended,
        ended = described(look, description) => ended,
        ended = networks_told(networks, &config.executor, &reached) => ended,
        ended = confirmed(overlay.clone(), &session_id, reached.subscribe()) => ended,
        ended = upkeep_told(overlay, &session_id, upkeep.subscribe()) => ended,
        () = logs::serve(&publisher, channel, address, &credentials) => Err(Ended::Closed),
    }
}

/// The newest message of networks that has reached the kernel, with all before it: (network,
/// generation).
type Reached = Option<(String, u64)>;

/// Hands on what the leader tells of networks, and notes how far the kernel has come with it. What
/// the kernel would not do is said and tried again: a node without networks still runs and reports
/// what needs none.
async fn networks_told(
    networks: Option<tonic::Streaming<skep_proto::v1::EndpointsMessage>>,
    executor: &Arc<dyn Executor>,
    reached: &watch::Sender<Reached>,
) -> Result<Never, Ended> {
    let Some(mut networks) = networks else { return std::future::pending().await };
    let mut newest: Reached = None;
    let mut unfinished = None;
    let mut retry: Option<Duration> = None;
    loop {
        let again = async {
            match retry {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            message = networks.message() => {
                let first = message?.ok_or(Ended::Closed)?;
                let (updates, settled) = waiting(first, &mut networks, &mut newest, &mut unfinished)?;
                let mut done = Ok(());
                for update in updates.into_values() {
                    match executor.update_network(update).await {
                        Err(error @ ExecutorError::Unfit(_)) => return Err(error.into()),
                        updated => done = done.and(updated),
                    }
                }
                // After a failure only a look at the whole says that all of it is done.
                match settled || retry.is_some() {
                    true => done.and(executor.settle_networks().await),
                    false => done,
                }
            }
            () = again => executor.settle_networks().await,
        };
        match done {
            Ok(()) => {
                retry = None;
                reached.send_replace(newest.clone());
            }
            Err(error) => {
                tracing::error!(%error, "failed to change this node's networks");
                let longer = retry.map_or(NETWORK_RETRY_MIN, |before| before * 2);
                retry = Some(longer.min(NETWORK_RETRY_MAX));
            }
        }
    }
}

/// What has come by now as one word on each network, and whether everything was told once.
/// A kernel that is slower than the leader skips what was outrun, and so never falls far behind.
fn waiting(
    first: skep_proto::v1::EndpointsMessage,
    networks: &mut tonic::Streaming<skep_proto::v1::EndpointsMessage>,
    newest: &mut Reached,
    unfinished: &mut Option<NetworkUpdate>,
) -> Result<(BTreeMap<NetworkId, NetworkUpdate>, bool), Ended> {
    let (mut updates, mut settled) = (BTreeMap::<NetworkId, NetworkUpdate>::new(), false);
    let mut next = Some(first);
    let mut taken = 0;
    while let Some(message) = next.take() {
        taken += 1;
        *newest = overlay::confirmable(&message).or(newest.take());
        let goes_on = message.goes_on;
        match overlay::read(message)? {
            overlay::Told::Network(update) => {
                let begun = unfinished.take();
                if begun.as_ref().is_some_and(|begun| begun.network() != update.network()) {
                    return Err(overlay::MalformedNetwork::broken_off(update.network()).into());
                }
                let update = follow(begun, update)?;
                if goes_on {
                    *unfinished = Some(update);
                } else {
                    let id = update.network();
                    let update = follow(updates.remove(&id), update)?;
                    updates.insert(id, update);
                }
            }
            overlay::Told::Settled => settled = true,
        }
        if taken < NETWORK_MESSAGES_MAX {
            next = match networks.message().now_or_never() {
                Some(message) => Some(message?.ok_or(Ended::Closed)?),
                None => None,
            };
        }
    }
    Ok((updates, settled))
}

/// A word on a network, with what came of the same before it.
fn follow(
    before: Option<NetworkUpdate>,
    update: NetworkUpdate,
) -> Result<NetworkUpdate, StaleDelta> {
    match before {
        Some(before) => before.then(update),
        None => Ok(update),
    }
}

/// Tells the leader how far the kernel has come: the stop of a task waits for it. Only the newest
/// is told, for it covers what came before.
async fn confirmed(
    mut client: OverlayClient<Channel>,
    session_id: &str,
    mut reached: watch::Receiver<Reached>,
) -> Result<Never, Ended> {
    loop {
        // The sender lives as long as this.
        if reached.changed().await.is_err() {
            return std::future::pending().await;
        }
        let Some((network_id, generation)) = reached.borrow_and_update().clone() else { continue };
        let session_id = session_id.to_owned();
        let request = skep_proto::v1::AcknowledgeRequest { session_id, network_id, generation };
        match within(client.acknowledge(request)).await {
            Ok(_) => {}
            // A manager of an older version does not wait for it.
            Err(Ended::Call(status)) if status.code() == Code::Unimplemented => {
                return std::future::pending().await;
            }
            Err(ended) => return Err(ended),
        }
    }
}

/// Tells the leader what was found at each look at the networks, and at once what the last one found.
async fn upkeep_told(
    mut client: OverlayClient<Channel>,
    session_id: &str,
    mut upkeep: watch::Receiver<Upkeep>,
) -> Result<Never, Ended> {
    upkeep.mark_changed();
    loop {
        if upkeep.changed().await.is_err() {
            return std::future::pending().await;
        }
        let Some(report) = upkeep.borrow_and_update().report(session_id) else { continue };
        match within(client.upkeep(report)).await {
            Ok(_) => {}
            // A manager of an older version, or Docker's, does not ask for it.
            Err(Ended::Call(status)) if status.code() == Code::Unimplemented => {
                return std::future::pending().await;
            }
            Err(ended) => return Err(ended),
        }
    }
}

async fn within<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Ended> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Ended::Late),
    }
}

fn take_news(news: &watch::Sender<News>, message: &pb::SessionMessage) {
    let managers: Vec<String> = message
        .managers
        .iter()
        .filter_map(|weighted| weighted.peer.as_ref())
        .map(|peer| peer.addr.clone())
        .collect();
    let role = message.node.as_ref().and_then(|node| node.spec.as_ref()).map(|spec| {
        match spec.desired_role() {
            pb::NodeRole::Manager => NodeRole::Manager,
            pb::NodeRole::Worker => NodeRole::Worker,
        }
    });
    let raft_id = message.node.as_ref().and_then(|node| node.manager_status.as_ref());
    let raft_id = raft_id.map(|status| status.raft_id);
    news.send_if_modified(|news| {
        let before = news.clone();
        news.raft_id = raft_id;
        if !managers.is_empty() {
            news.managers = managers;
        }
        news.role = role.or(news.role);
        *news != before
    });
}

async fn heartbeats(
    mut client: DispatcherClient<Channel>,
    session_id: &str,
) -> Result<Never, Ended> {
    let mut period = HEARTBEAT_FIRST;
    loop {
        let request = pb::HeartbeatRequest { session_id: session_id.to_owned() };
        let answer = within(client.heartbeat(request)).await?;
        if let Some(asked) = answer.period.and_then(|period| Duration::try_from(period).ok()) {
            period = asked;
        }
        tokio::time::sleep(period).await;
    }
}

async fn reports(
    mut client: DispatcherClient<Channel>,
    session_id: &str,
    reporter: &Reporter,
) -> Result<Never, Ended> {
    loop {
        let batch = reporter.next_batch().await;
        let updates = batch.iter().map(|(id, status)| status_update(*id, status)).collect();
        let request = pb::UpdateTaskStatusRequest { session_id: session_id.to_owned(), updates };
        within(client.update_task_status(request)).await?;
        reporter.told(&batch);
        tokio::time::sleep(REPORT_INTERVAL).await;
    }
}

/// Ends the session when the host is not what it registered as.
async fn described<F, L>(look: L, registered: NodeDescription) -> Result<Never, Ended>
where
    L: Fn() -> F,
    F: Future<Output = Result<NodeDescription, tokio::task::JoinError>>,
{
    loop {
        tokio::time::sleep(DESCRIBE_INTERVAL).await;
        let now = look().await.map_err(|error| Status::internal(error.to_string()))?;
        if now != registered {
            return Err(Ended::Described);
        }
    }
}
