//! How far a service has come, from its tasks. Pure: what is seen comes in, lines to show come out.

use std::collections::{BTreeMap, BTreeSet};

use skep_docker_api::json::{Service, Task};

use crate::failure::{Failure, Outcome};
use crate::output::human::{ellipsis, short_id};

/// More tasks than this are counted and not shown one by one (Docker's value).
const LINES_MAX: u64 = 20;
/// How much of an error is shown: a narrow terminal's line (Docker's value).
const ERROR_WIDTH: usize = 75;

/// States in the order tasks pass them; those after `running` are ends.
const STATES: [&str; 12] = [
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
    "running",
    "complete",
    "shutdown",
    "failed",
];
const RUNNING: usize = 8;

fn rank(state: &str) -> Option<usize> {
    match state {
        "rejected" | "remove" | "orphaned" => Some(STATES.len()),
        _ => STATES.iter().position(|known| *known == state),
    }
}

#[derive(Debug, PartialEq)]
pub struct Tally {
    /// Names and texts, in the order to show them.
    pub lines: Vec<(String, String)>,
    pub complete: bool,
    /// A job that is complete stays so.
    pub job: bool,
    /// Why a job will never be complete: nothing of it goes on, and a task failed for good.
    pub failed: Option<String>,
}

/// One task for each place: the one that is wanted most, and of those the one that has come least far.
fn by_place<K: Ord>(tasks: &[Task], place: impl Fn(&Task) -> Option<K>) -> BTreeMap<K, &Task> {
    let mut out: BTreeMap<K, &Task> = BTreeMap::new();
    for task in tasks {
        let ranks = |task: &Task| Some((rank(&task.desired_state)?, rank(&task.status.state)?));
        let (Some(place), Some(order)) = (place(task), ranks(task)) else { continue };
        match out.get(&place).and_then(|have| ranks(have)) {
            Some(have) if have <= order => {}
            _ => {
                out.insert(place, task);
            }
        }
    }
    out
}

fn text(task: &Task) -> Option<String> {
    if !task.status.err.is_empty() {
        return Some(ellipsis(&task.status.err.replace('\n', " "), ERROR_WIDTH));
    }
    let (desired, state) = (rank(&task.desired_state)?, rank(&task.status.state)?);
    if desired > RUNNING || state > RUNNING {
        return None;
    }
    let done = "=".repeat(state * 2 + 2);
    Some(format!("{:<9} [{done:.<18}>]", task.status.state).replace('.', " "))
}

fn runs(task: &Task) -> bool {
    task.status.state == "running" && rank(&task.desired_state).is_some_and(|rank| rank <= RUNNING)
}

pub fn count(
    service: &Service,
    tasks: &[Task],
    alive: &BTreeSet<String>,
    rolling_back: bool,
) -> Outcome<Tally> {
    let back = if rolling_back { "rolling back update: " } else { "" };
    let mode = &service.spec.mode;
    let here = |task: &Task| task.node_id.is_empty() || alive.contains(&task.node_id);
    if let Some(replicas) = mode.replicated.as_ref().map(|mode| mode.replicas.unwrap_or(1)) {
        let places = by_place(tasks, |task| here(task).then_some(task.slot));
        let running = places.values().filter(|task| runs(task)).count() as u64;
        let mut lines =
            vec![("overall progress".into(), format!("{back}{running} out of {replicas} tasks"))];
        if replicas <= LINES_MAX {
            let mut places = places.values();
            for place in 1..=replicas {
                let shown = places.next().and_then(|task| text(task));
                lines.push((format!("{place}/{replicas}"), shown.unwrap_or_else(|| " ".into())));
            }
        }
        return Ok(Tally { lines, complete: running == replicas, job: false, failed: None });
    }
    if mode.global.is_some() {
        let places = by_place(tasks, |task| Some(task.node_id.clone()));
        if places.is_empty() {
            let lines = vec![("overall progress".into(), "waiting for new tasks".into())];
            return Ok(Tally { lines, complete: false, job: false, failed: None });
        }
        let wanted = places.len();
        let running = places.values().filter(|task| here(task) && runs(task)).count();
        let mut lines =
            vec![("overall progress".into(), format!("{back}{running} out of {wanted} tasks"))];
        if wanted as u64 <= LINES_MAX {
            let shown = places.values().filter(|task| here(task));
            lines.extend(shown.filter_map(|task| Some((short_id(&task.node_id), text(task)?))));
        }
        return Ok(Tally { lines, complete: running == wanted, job: false, failed: None });
    }
    // Tasks of earlier runs are in the list of a daemon that goes by the spec alone.
    let iteration = service.job_status.as_ref().map(|job| job.job_iteration.clone());
    let of_run: Vec<Task> =
        tasks.iter().filter(|task| task.job_iteration == iteration).cloned().collect();
    let tasks = &of_run;
    let (places, total) = match &mode.replicated_job {
        Some(job) => {
            let places: Vec<_> = by_place(tasks, |task| Some(task.slot)).into_values().collect();
            let total = job.total_completions.or(job.max_concurrent).unwrap_or(1) as usize;
            (places, total)
        }
        None if mode.global_job.is_some() => {
            let places = by_place(tasks, |task| Some(task.node_id.clone()));
            let places: Vec<_> = places.into_values().filter(|task| here(task)).collect();
            let total = places.len();
            (places, total)
        }
        None => return Err(Failure::new("unrecognized service mode")),
    };
    if places.is_empty() && total == 0 {
        let lines = vec![("job progress".into(), "waiting for tasks".into())];
        return Ok(Tally { lines, complete: false, job: true, failed: None });
    }
    let complete = places.iter().filter(|task| task.status.state == "complete").count();
    let active = places
        .iter()
        .filter(|task| rank(&task.status.state).is_some_and(|rank| rank <= RUNNING))
        .count();
    let lines = vec![
        ("job progress".into(), format!("{complete} out of {total} complete")),
        ("active tasks".into(), format!("{active} out of {} tasks", total - complete.min(total))),
    ];
    let failed = match &mode.replicated_job {
        Some(_) => given_up(tasks, |task| Some(task.slot)),
        None => given_up(tasks, |task| here(task).then(|| task.node_id.clone())),
    };
    // What goes on may still complete; all that is left of one that does not is what failed.
    let over = failed.len() + complete >= total && !failed.is_empty();
    let failed = over.then(|| {
        let why = failed.first().map(|task| task.status.err.replace('\n', " ")).unwrap_or_default();
        format!("job failed: {} of {total} tasks failed: {why}", failed.len())
    });
    Ok(Tally { lines, complete: complete >= total, job: true, failed })
}

/// The last task of each place of a job that failed and has no other after it.
fn given_up<K: Ord>(tasks: &[Task], place: impl Fn(&Task) -> Option<K>) -> Vec<&Task> {
    let mut places: BTreeMap<K, Vec<&Task>> = BTreeMap::new();
    for task in tasks {
        if let Some(place) = place(task) {
            places.entry(place).or_default().push(task);
        }
    }
    places.into_values().filter_map(last_failed).collect()
}

/// `tasks`: those of one place.
fn last_failed(tasks: Vec<&Task>) -> Option<&Task> {
    // One that is wanted goes on, or is still to be looked at; one that completed is done.
    let goes_on = |task: &&Task| {
        task.status.state == "complete"
            || !matches!(task.desired_state.as_str(), "shutdown" | "remove")
    };
    if tasks.iter().any(goes_on) {
        return None;
    }
    let failed = |task: &&Task| matches!(task.status.state.as_str(), "failed" | "rejected");
    tasks.into_iter().filter(failed).max_by(|one, other| one.created_at.cmp(&other.created_at))
}

#[cfg(test)]
mod tests {
    use skep_docker_api::json::{GlobalService, ReplicatedJob, ReplicatedService};

    use super::*;

    fn task(slot: u64, node: &str, desired: &str, state: &str) -> Task {
        let mut task = Task { slot, node_id: node.into(), ..Default::default() };
        task.desired_state = desired.into();
        task.status.state = state.into();
        task
    }

    fn replicated(replicas: u64) -> Service {
        let mut service = Service::default();
        service.spec.mode.replicated = Some(ReplicatedService { replicas: Some(replicas) });
        service
    }

    fn alive() -> BTreeSet<String> {
        BTreeSet::from(["n1".into(), "n2".into()])
    }

    #[test]
    fn a_slot_counts_once_and_dead_nodes_do_not() {
        let tasks = [
            task(1, "n1", "running", "running"),
            task(2, "n2", "shutdown", "failed"),
            task(2, "n1", "running", "preparing"),
            task(3, "gone", "running", "running"),
        ];
        let tally = count(&replicated(3), &tasks, &alive(), false).unwrap();
        let lines: Vec<_> = tally.lines.iter().map(|(n, t)| format!("{n}: {}", t.trim())).collect();
        assert_eq!(
            lines,
            [
                "overall progress: 1 out of 3 tasks",
                "1/3: running   [==================>]",
                "2/3: preparing [============      >]",
                "3/3: "
            ]
        );
        assert!(!tally.complete);
        let tally = count(&replicated(1), &tasks[..1], &alive(), true).unwrap();
        assert!(tally.complete);
        assert_eq!(tally.lines[0].1, "rolling back update: 1 out of 1 tasks");
        assert_eq!(count(&replicated(21), &tasks, &alive(), false).unwrap().lines.len(), 1);
    }

    #[test]
    fn global_services_and_jobs() {
        let mut global = Service::default();
        global.spec.mode.global = Some(GlobalService {});
        assert!(!count(&global, &[], &alive(), false).unwrap().complete);
        let tasks = [task(0, "n1", "running", "running"), task(0, "n2", "running", "running")];
        assert!(count(&global, &tasks, &alive(), false).unwrap().complete);
        let mut job = Service::default();
        job.spec.mode.replicated_job =
            Some(ReplicatedJob { max_concurrent: Some(1), total_completions: Some(2) });
        let tasks = [task(0, "n1", "complete", "complete"), task(1, "n1", "complete", "running")];
        let tally = count(&job, &tasks, &alive(), false).unwrap();
        assert_eq!(tally.lines[0].1, "1 out of 2 complete");
        assert_eq!(tally.lines[1].1, "1 out of 1 tasks");
        assert!(!tally.complete && tally.job);
    }

    #[test]
    fn a_job_has_failed_when_nothing_of_it_goes_on_and_a_task_gave_up() {
        let mut job = Service::default();
        job.spec.mode.replicated_job =
            Some(ReplicatedJob { max_concurrent: Some(1), total_completions: Some(2) });
        let failed = |tasks: &[Task]| count(&job, tasks, &alive(), false).unwrap().failed;
        let done = task(0, "n1", "complete", "complete");
        let mut gave_up = task(1, "n1", "shutdown", "failed");
        gave_up.status.err = "task: non-zero exit (3)".into();
        let why = Some("job failed: 1 of 2 tasks failed: task: non-zero exit (3)".to_owned());
        assert_eq!(failed(&[done.clone(), gave_up.clone()]), why);
        assert_eq!(failed(&[gave_up.clone()]), None, "the other slot is still to begin");
        let again = task(1, "n1", "ready", "new");
        assert_eq!(failed(&[done.clone(), gave_up.clone(), again]), None, "it is tried again");
        let fresh = task(1, "n1", "complete", "failed");
        assert_eq!(failed(&[done.clone(), fresh]), None, "nobody has decided on it yet");
        let stopped = task(1, "n1", "shutdown", "shutdown");
        assert_eq!(failed(&[done, stopped]), None, "it was told to stop: another one begins");
    }
}
