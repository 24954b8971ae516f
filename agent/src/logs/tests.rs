//! Publishing with an executor that has logs and nothing else.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use skep_agent_plan::Observed;
use skep_overlay_net::{Finding, NetworkUpdate};
use skep_proto::convert::NodeTask;
use skep_types::service::PortConfig;
use skep_types::task::ContainerStatus;

use super::*;
use crate::executor::{ContainerChange, TaskFiles, TaskLogs};

type Line = Result<LogEntry, ExecutorError>;

/// Each task's log is a channel that the test writes to.
#[derive(Default)]
struct Fake {
    logs: Mutex<BTreeMap<TaskId, mpsc::Receiver<Line>>>,
    asked: Mutex<Vec<(TaskId, LogQuery)>>,
}

impl Fake {
    fn log(&self, task: u128) -> mpsc::Sender<Line> {
        let (sender, lines) = mpsc::channel(8);
        self.logs.lock().unwrap().insert(TaskId::new(task), lines);
        sender
    }
}

#[async_trait]
impl Executor for Fake {
    async fn observe(&self, _: TaskId) -> Observed {
        Observed::Absent
    }
    fn changes(&self, _: TaskId) -> ContainerChange {
        watch::channel(0).1
    }
    async fn fetch(&self, _: &NodeTask) -> Result<(), ExecutorError> {
        Ok(())
    }

    async fn create(&self, _: &NodeTask, _: &TaskFiles) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn start(&self, _: &NodeTask) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn stop(&self, _: &NodeTask, _: Duration) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn remove(&self, _: TaskId) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn status(&self, _: TaskId) -> Option<ContainerStatus> {
        None
    }
    async fn host_ports(&self, _: TaskId) -> Vec<PortConfig> {
        Vec::new()
    }
    async fn logs(&self, task: TaskId, query: LogQuery) -> Result<Option<TaskLogs>, ExecutorError> {
        let lines = self.logs.lock().unwrap().remove(&task);
        Ok(lines.map(|lines| {
            self.asked.lock().unwrap().push((task, query));
            ReceiverStream::new(lines).boxed()
        }))
    }
    async fn tasks(&self) -> Vec<TaskId> {
        Vec::new()
    }
    async fn ended(&self, _: TaskId) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn begin_networks(&self, _: IpAddr, _: u16) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn restore_networks(&self, _: &[Arc<NodeTask>]) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn update_network(&self, _: NetworkUpdate) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn settle_networks(&self) -> Result<(), ExecutorError> {
        unreachable!("only logs are read")
    }
    async fn end_networks(&self) -> Result<(), ExecutorError> {
        Ok(())
    }
    async fn mend_networks(&self) -> Result<Vec<Finding>, ExecutorError> {
        Ok(Vec::new())
    }
}

fn line(text: &'static str) -> Line {
    let time = OffsetDateTime::from_unix_timestamp(7).unwrap();
    Ok(LogEntry { time, stdio: Stdio::Stderr, line: Bytes::from_static(text.as_bytes()) })
}

struct Bench {
    fake: Arc<Fake>,
    tasks: watch::Sender<KnownTasks>,
    publisher: Publisher,
}

/// Tasks 1 and 2 of service 1, and task 3 of service 2.
fn bench() -> Bench {
    let fake = Arc::new(Fake::default());
    let known = [(1, 1), (2, 1), (3, 2)];
    let known = known.map(|(task, service)| (TaskId::new(task), ServiceId::new(service)));
    let (tasks, receiver) = watch::channel(KnownTasks::from(known));
    let executor = Arc::clone(&fake) as Arc<dyn Executor>;
    let publisher = Publisher { executor, tasks: receiver, node: NodeId::new(9) };
    Bench { fake, tasks, publisher }
}

fn subscription(follow: bool, tail: i64) -> pb::SubscriptionMessage {
    let service_ids = vec![ServiceId::new(1).to_string()];
    let options = pb::LogSubscriptionOptions { follow, tail, ..Default::default() };
    pb::SubscriptionMessage {
        id: "s".to_owned(),
        selector: Some(pb::LogSelector { service_ids, ..Default::default() }),
        options: Some(options),
        close: false,
    }
}

async fn next(messages: &mut mpsc::Receiver<pb::PublishLogsMessage>) -> pb::PublishLogsMessage {
    let next = tokio::time::timeout(Duration::from_secs(10), messages.recv()).await;
    next.expect("in time").expect("not over")
}

#[tokio::test]
async fn the_services_tasks_are_read_to_their_ends_and_closed() {
    let bench = bench();
    let (one, two, other) = (bench.fake.log(1), bench.fake.log(2), bench.fake.log(3));
    one.send(line("a\n")).await.unwrap();
    two.send(line("b\n")).await.unwrap();
    other.send(line("not asked for\n")).await.unwrap();
    drop((one, two));
    let (out, mut messages) = mpsc::channel(1);
    let publisher = bench.publisher.clone();
    let running = tokio::spawn(async move {
        publish(&publisher, subscription(false, -11), out).await;
    });
    let mut texts = Vec::new();
    loop {
        let message = next(&mut messages).await;
        assert_eq!(message.subscription_id, "s");
        if message.close {
            break;
        }
        for it in message.messages {
            let context = it.context.clone().unwrap();
            assert_eq!(context.node_id, NodeId::new(9).to_string());
            assert_eq!((it.stream(), it.timestamp.unwrap().seconds), (pb::LogStream::Stderr, 7));
            texts.push((context.task_id, String::from_utf8(it.data).unwrap()));
        }
    }
    texts.sort();
    let expected = [(1, "a\n"), (2, "b\n")];
    assert_eq!(texts, expected.map(|(id, text)| (TaskId::new(id).to_string(), text.to_owned())));
    running.await.unwrap();
    let asked = bench.fake.asked.lock().unwrap();
    assert!(asked.iter().all(|(_, query)| query.tail == Some(10) && query.stdout && !query.follow));
    drop(other);
}

#[tokio::test]
async fn a_follower_takes_new_tasks_up_and_leaves_no_reader_behind() {
    let bench = bench();
    let (out, mut messages) = mpsc::channel(1);
    let publisher = bench.publisher.clone();
    let running = tokio::spawn(async move {
        publish(&publisher, subscription(true, 0), out).await;
    });
    bench.tasks.send_modify(|known| {
        known.insert(TaskId::new(4), ServiceId::new(1));
    });
    let four = bench.fake.log(4);
    four.send(line("late\n")).await.unwrap();
    let message = next(&mut messages).await;
    assert_eq!(message.messages[0].data, b"late\n");
    // The call is over: so are the readers, of a task that says nothing too.
    drop(messages);
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline, four.closed()).await.expect("the reader went");
    tokio::time::timeout(deadline, running).await.expect("in time").unwrap();
}

#[test]
fn tails_are_swarmkits() {
    let tail =
        |tail| query(&pb::LogSubscriptionOptions { tail, ..Default::default() }).map(|it| it.tail);
    assert_eq!(tail(0), Ok(None));
    assert_eq!(tail(-1), Ok(Some(0)));
    assert_eq!(tail(-11), Ok(Some(10)));
    assert_eq!(tail(i64::MIN), Ok(Some(i64::MAX as usize)));
    assert!(tail(1).is_err());
}
