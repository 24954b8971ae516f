//! The broker with publishers that the test plays, on a table without a leader.

use std::time::Duration;

use skep_state::State;
use skep_types::TaskId;
use tokio::task::JoinHandle;

use super::*;

const NODE: NodeId = NodeId::new(1);
const PATIENCE: Duration = Duration::from_secs(20);

type Message = Result<pb::PublishLogsMessage, Status>;

/// A table with the subscription `s` to all of one node, and the reader's end.
fn bench(follow: bool, queue: usize) -> (Arc<LogTable>, mpsc::Receiver<pb::SubscribeLogsMessage>) {
    let table = Arc::new(LogTable::default());
    let (reader, messages) = mpsc::channel(queue);
    let selector = Some(pb::LogSelector { node_ids: vec![NODE.to_string()], ..Default::default() });
    let options = Some(pb::LogSubscriptionOptions { follow, ..Default::default() });
    let request = pb::SubscribeLogsRequest { selector, options };
    table.open(&view(), request, "s".to_owned(), reader).unwrap();
    (table, messages)
}

/// A state with the node, which is in session.
fn view() -> State {
    let mut state = State::default();
    let node = skep_types::Node {
        status: skep_types::node::NodeStatus {
            state: skep_types::NodeState::Ready,
            ..Default::default()
        },
        ..skep_types::Node::new(NODE, skep_types::NodeSpec::default())
    };
    let actions = vec![skep_state::Change::Create(Arc::new(node)).into()];
    let now = skep_types::Timestamp(1);
    state.apply(&skep_state::Transaction { epoch: 1, now, actions }).unwrap();
    state
}

/// A node that publishes what the test sends it.
fn publisher(
    table: &Arc<LogTable>,
    node: NodeId,
) -> (mpsc::Sender<Message>, JoinHandle<Result<(), Status>>) {
    let (sender, messages) = mpsc::channel(1);
    let table = Arc::clone(table);
    let running =
        tokio::spawn(async move { publish(&table, node, ReceiverStream::new(messages)).await });
    (sender, running)
}

fn said(node: NodeId, text: &str) -> pb::PublishLogsMessage {
    let context = Some(pb::LogContext {
        service_id: String::new(),
        node_id: node.to_string(),
        task_id: TaskId::new(1).to_string(),
    });
    let message = pb::LogMessage { context, data: text.into(), ..Default::default() };
    pb::PublishLogsMessage {
        subscription_id: "s".to_owned(),
        messages: vec![message],
        close: false,
    }
}

fn closing() -> pb::PublishLogsMessage {
    pb::PublishLogsMessage { messages: Vec::new(), close: true, ..said(NODE, "") }
}

async fn ended(running: JoinHandle<Result<(), Status>>) -> Result<(), Status> {
    tokio::time::timeout(PATIENCE, running).await.expect("in time").expect("no panic")
}

fn stand(table: &LogTable) -> Stand {
    table.look("s", &view(), Patience::Lasts)
}

#[tokio::test]
async fn what_nodes_publish_reaches_the_reader_and_closing_ends_it() {
    let (table, mut messages) = bench(false, 4);
    let call = table.listen(NODE);
    let asked = table.asked_of(NODE, call).unwrap();
    assert_eq!(asked.keys().collect::<Vec<_>>(), ["s"]);
    let (node, running) = publisher(&table, NODE);
    node.send(Ok(said(NODE, "hello\n"))).await.unwrap();
    assert_eq!(messages.recv().await.unwrap().messages[0].data, b"hello\n");
    assert_eq!(stand(&table), Stand::Going);
    node.send(Ok(closing())).await.unwrap();
    assert!(ended(running).await.is_ok());
    assert_eq!(stand(&table), Stand::Done(None));
    assert!(table.asked_of(NODE, call).unwrap().is_empty());
}

#[tokio::test]
async fn a_publisher_that_vanishes_is_named() {
    let (table, _messages) = bench(false, 4);
    let (node, running) = publisher(&table, NODE);
    node.send(Ok(said(NODE, "a"))).await.unwrap();
    node.send(Err(Status::cancelled("gone"))).await.unwrap();
    assert!(ended(running).await.is_err());
    let Stand::Done(Some(warning)) = stand(&table) else { panic!("over with a warning") };
    assert!(warning.ends_with(&format!("node {NODE} disconnected unexpectedly")), "{warning}");
}

#[tokio::test]
async fn a_node_that_stops_listening_is_not_waited_for_unless_it_came_back() {
    let (table, _messages) = bench(false, 4);
    let (first, second) = (table.listen(NODE), table.listen(NODE));
    assert_eq!(table.asked_of(NODE, first), None);
    table.stop_listening(NODE, first);
    assert_eq!(stand(&table), Stand::Going);
    table.stop_listening(NODE, second);
    assert!(matches!(stand(&table), Stand::Done(Some(_))));
    let (table, _messages) = bench(false, 4);
    let Stand::Done(Some(warning)) = table.look("s", &view(), Patience::Over) else {
        panic!("given up")
    };
    assert!(warning.ends_with(&format!("node {NODE} is not available")), "{warning}");
}

#[tokio::test]
async fn nodes_speak_only_where_asked_and_of_their_own() {
    let (table, _messages) = bench(true, 4);
    let stranger = NodeId::new(2);
    for (who, message, code) in [
        (stranger, said(stranger, "x"), tonic::Code::PermissionDenied),
        (NODE, said(stranger, "x"), tonic::Code::PermissionDenied),
        (
            NODE,
            pb::PublishLogsMessage { subscription_id: "t".into(), ..said(NODE, "x") },
            tonic::Code::NotFound,
        ),
        (NODE, pb::PublishLogsMessage::default(), tonic::Code::InvalidArgument),
    ] {
        let (node, running) = publisher(&table, who);
        node.send(Ok(message)).await.unwrap();
        assert_eq!(ended(running).await.unwrap_err().code(), code);
    }
    assert_eq!(stand(&table), Stand::Going);
}

/// Takes the reader's patience: the clock is real.
#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_stream() {
    let (table, messages) = bench(true, 1);
    let (node, running) = publisher(&table, NODE);
    node.send(Ok(said(NODE, "fits"))).await.unwrap();
    node.send(Ok(said(NODE, "does not"))).await.unwrap();
    assert_eq!(ended(running).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    assert_eq!(stand(&table), Stand::TooSlow);
    assert_eq!(messages.len(), 1);
}

#[tokio::test]
async fn a_subscription_that_is_over_stops_silent_publishers() {
    let (table, mut messages) = bench(true, 4);
    let (node, running) = publisher(&table, NODE);
    node.send(Ok(said(NODE, "a"))).await.unwrap();
    assert!(messages.recv().await.is_some());
    table.close("s");
    assert_eq!(ended(running).await.unwrap_err().code(), tonic::Code::NotFound);
    assert!(messages.recv().await.is_none());
    assert_eq!(stand(&table), Stand::Gone);
}

#[tokio::test]
async fn a_listener_is_told_what_begins_and_what_is_over() {
    let (table, _messages) = bench(true, 4);
    let call = table.listen(NODE);
    let (out, mut told) = mpsc::channel(4);
    let of_node = Arc::clone(&table);
    let telling = tokio::spawn(async move { tell_listener(&of_node, NODE, call, &out).await });
    let first = told.recv().await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.close), ("s", false));
    table.close("s");
    let last = told.recv().await.unwrap().unwrap();
    assert_eq!((last.id.as_str(), last.close), ("s", true));
    table.end();
    let status = tokio::time::timeout(PATIENCE, telling).await.unwrap().unwrap();
    assert_eq!(status.code(), tonic::Code::Unavailable);
}
