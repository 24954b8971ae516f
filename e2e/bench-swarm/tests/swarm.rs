//! The harness itself: what it brings up is a swarm that works.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use skep_bench_swarm::{Crowd, Progress, Swarm, Way};
use skep_manager::control::Request;
use skep_types::{Annotations, ServiceMode, ServiceSpec, TaskSpec, TaskState};

const DEADLINE: Duration = Duration::from_secs(120);

fn spec(replicas: u64) -> ServiceSpec {
    let mut task = TaskSpec::default();
    task.container.image = "web:latest".to_owned();
    ServiceSpec {
        task,
        ..ServiceSpec::new(
            Annotations { name: "web".to_owned(), ..Annotations::default() },
            ServiceMode::Replicated { replicas },
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_runs_on_simulated_nodes_of_both_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let swarm = Arc::new(Swarm::up(dir.path(), 3).await.unwrap());
    let nodes = swarm.add_workers(20).await.unwrap();
    let near = Crowd::connect(&swarm, &nodes[..10], Way::InProcess).await.unwrap();
    let far = Crowd::connect(&swarm, &nodes[10..], Way::Tls).await.unwrap();
    let leader = swarm.leader().await.unwrap();
    assert_eq!(leader.manager.standing().sessions, 20);

    let progress = Progress::begin(&leader.manager, 200);
    let created = leader.manager.execute(Request::CreateService(spec(200))).await.unwrap();
    let reached = progress.reached(DEADLINE).await.unwrap();
    assert!(reached.assigned <= reached.running, "{reached:?}");
    // The last reports may be applied a moment before their nodes are answered.
    let reported = || {
        let of = |crowd: &Crowd| crowd.counts().reported.load(Ordering::Relaxed);
        of(&near) + of(&far)
    };
    let acknowledged = async {
        while reported() < 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, acknowledged).await.expect("every report is acknowledged");
    // Every manager has the same.
    for host in swarm.hosts() {
        let mut applied = host.manager.applied();
        tokio::time::timeout(DEADLINE, applied.wait_for(|it| *it >= created.index))
            .await
            .expect("in time")
            .unwrap();
        let view = host.manager.fresh_view().await.unwrap();
        let run = |node| {
            let tasks = view.tasks_on_node(node);
            tasks.filter(|it| it.status.state == TaskState::Running).count()
        };
        assert_eq!(nodes.iter().map(|node| run(*node)).collect::<Vec<_>>(), [10; 20]);
    }
    near.leave().await;
    far.leave().await;
    Arc::into_inner(swarm).expect("nobody else has it").down().await;
}
