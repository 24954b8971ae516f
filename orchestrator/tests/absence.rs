//! A node that is away for a short while keeps its tasks.

mod support;

use std::sync::Arc;
use std::time::Duration;

use skep_state::Change;
use skep_types::*;

use support::{Swarm, WEB, replicas};

const ONE: Option<NodeId> = Some(NodeId::new(1));
const GRACE: Duration = defaults::DOWN_GRACE;
const MOMENT: Duration = Duration::from_nanos(1);

/// A service whose tasks run on two nodes, one of which is down by now.
fn with_a_node_down(mode: ServiceMode, change: impl FnOnce(&mut ServiceSpec)) -> Swarm {
    let mut swarm = Swarm::new(2);
    swarm.service(mode, change);
    swarm.pass();
    swarm.run();
    swarm.pass();
    swarm.wait(Duration::from_secs(100));
    swarm.lose(1);
    swarm.pass();
    swarm
}

fn on_one(swarm: &Swarm) -> Vec<Arc<Task>> {
    swarm.wanted().into_iter().filter(|task| task.node_id == ONE).collect()
}

#[test]
fn nothing_moves_within_the_grace_and_all_at_once_after_it() {
    let mut swarm = with_a_node_down(replicas(4), |_| {});
    let before = swarm.all();
    assert!(!on_one(&swarm).is_empty());
    let due = swarm.now.saturating_add(GRACE);
    assert_eq!(swarm.wake, Some(due), "it looks again when the grace is over");
    swarm.now = Timestamp(due.0 - 1);
    swarm.pass();
    assert_eq!(swarm.all(), before);
    swarm.now = due;
    swarm.pass();
    assert_eq!(on_one(&swarm), []);
    let wanted = swarm.wanted();
    assert_eq!(wanted.len(), 4);
    assert!(wanted.iter().all(|task| task.desired_state == DesiredState::Running), "no delay");
}

#[test]
fn a_node_that_is_back_in_time_goes_on_with_its_tasks() {
    let mut swarm = with_a_node_down(replicas(4), |_| {});
    let before = swarm.all();
    swarm.wait(GRACE - MOMENT);
    swarm.regain(1);
    swarm.pass();
    swarm.wait(GRACE);
    swarm.pass();
    assert_eq!(swarm.all(), before);
    // The next absence has a grace of its own.
    swarm.lose(1);
    swarm.pass();
    assert_eq!(swarm.wake, Some(swarm.now.saturating_add(GRACE)));
    assert_eq!(swarm.all(), before);
}

#[test]
fn a_node_that_is_drained_or_removed_is_left_at_once() {
    let mut swarm = with_a_node_down(replicas(4), |_| {});
    swarm.node(1, |node| node.spec.availability = Availability::Drain);
    swarm.pass();
    assert_eq!(on_one(&swarm), []);
    assert_eq!(swarm.wanted().len(), 4);

    let mut swarm = with_a_node_down(replicas(4), |_| {});
    swarm.act(Change::<Node>::Remove(NodeId::new(1), None));
    swarm.pass();
    assert_eq!(on_one(&swarm), []);
    assert_eq!(swarm.wanted().len(), 4);
}

#[test]
fn a_label_of_the_service_or_else_of_the_swarm_says_how_long() {
    let moves_after = |swarms: Option<&str>, own: Option<&str>| {
        let label = |text| (down_grace::LABEL, text);
        let mut swarm = Swarm::new(2);
        swarm.found(swarms.map(label).as_slice());
        swarm.service(replicas(4), |spec| {
            let label = own.map(|text| (down_grace::LABEL.to_owned(), text.to_owned()));
            spec.annotations.labels = label.into_iter().collect();
        });
        swarm.pass();
        swarm.run();
        swarm.lose(1);
        swarm.pass();
        match on_one(&swarm)[..] {
            [] => Duration::ZERO,
            _ => swarm.wake.unwrap().saturating_since(swarm.now),
        }
    };
    let seconds = Duration::from_secs;
    assert_eq!(moves_after(None, None), GRACE);
    assert_eq!(moves_after(Some("1m"), None), seconds(60));
    assert_eq!(moves_after(Some("1m"), Some("2m")), seconds(120));
    assert_eq!(moves_after(None, Some("0s")), Duration::ZERO, "as Swarm does");
}

#[test]
fn a_task_that_ended_before_is_replaced_as_its_policy_says() {
    let mut swarm = with_a_node_down(replicas(4), |_| {});
    let ended = on_one(&swarm)[0].clone();
    swarm.end(ended.id, TaskState::Failed);
    swarm.pass();
    let successor = swarm.wanted().into_iter().find(|task| task.slot == ended.slot).unwrap();
    assert_ne!(successor.id, ended.id);
    assert_eq!(successor.desired_state, DesiredState::Ready, "after the policy's delay");
}

#[test]
fn a_service_that_is_scaled_down_loses_what_is_away_first() {
    let mut swarm = with_a_node_down(replicas(4), |_| {});
    let away = on_one(&swarm).len() as u64;
    assert!(away > 0 && away < 4);
    swarm.respec(|spec| spec.mode = replicas(4 - away));
    swarm.pass();
    assert_eq!(on_one(&swarm), []);
    assert_eq!(swarm.wanted().len() as u64, 4 - away);
}

#[test]
fn an_update_begins_with_what_is_away() {
    let mut swarm = with_a_node_down(replicas(4), |_| {});
    let away: Vec<_> = on_one(&swarm).iter().map(|task| task.slot).collect();
    swarm.respec(|spec| spec.task.force_update += 1);
    swarm.pass();
    let version = swarm.state.services().get(WEB).unwrap().spec_version;
    let moved: Vec<_> =
        swarm.wanted().iter().filter(|it| it.spec_version == version).map(|it| it.slot).collect();
    assert_eq!(moved.len(), 1);
    assert!(away.contains(&moved[0]));
}

#[test]
fn a_global_task_is_told_to_stop_when_the_grace_is_over() {
    let mut swarm = with_a_node_down(ServiceMode::Global, |_| {});
    let before = swarm.all();
    assert_eq!(swarm.wake, Some(swarm.now.saturating_add(GRACE)));
    assert_eq!(swarm.wanted().len(), 2);
    swarm.wait(GRACE);
    swarm.pass();
    assert_eq!(on_one(&swarm), []);
    assert_eq!(swarm.all().len(), before.len(), "nobody takes its place");
}
