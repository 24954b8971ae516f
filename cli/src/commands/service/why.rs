//! `skep service why`: why a service is not (yet) what it shall be, from what its tasks say.

use std::collections::BTreeMap;

use skep_docker_api::Filters;
use skep_docker_api::json::{Service, Task};

use crate::commands::Session;
use crate::commands::tasks::Names;
use crate::failure::{Failure, Outcome};
use crate::output::human::ago;
use crate::output::print;

/// Kinds of failures that are shown, the newest first: older ones are in `service ps`.
const FAILURES_MAX: usize = 5;
/// Tasks that are named for one reason; of the others the number is said.
const NAMES_MAX: usize = 3;

pub async fn run(session: &Session, names: &[String]) -> Outcome {
    let mut failures = Vec::new();
    let mut told = false;
    for name in names {
        match explain(session, name).await {
            Ok(text) if told => print(&format!("\n{text}"))?,
            Ok(text) => print(&text)?,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        }
        told = true;
    }
    Failure::join(failures)
}

async fn explain(session: &Session, name: &str) -> Outcome<String> {
    let service = session.client.service(name, false).await.map_err(|error| {
        if error.is_not_found() {
            return Failure::new(format!("no such service: {name}"));
        }
        Failure::from(error)
    })?;
    let id = service.id;
    let (mut by_id, mut of_service) = (Filters::default(), Filters::default());
    by_id.add("id", &id);
    of_service.add("service", &id);
    // The list counts tasks by what the managers want of them, which a single object does not.
    let services = session.client.services(&by_id, true).await?;
    let Some(service) = services.into_iter().find(|service| service.id == id) else {
        return Err(Failure::new(format!("no such service: {name}")));
    };
    let tasks = session.client.tasks(&of_service).await?;
    let mut nodes = Names::new(&session.client, true);
    let mut hosts = BTreeMap::new();
    for task in &tasks {
        hosts.insert(task.node_id.clone(), nodes.node(&task.node_id).await);
    }
    Ok(text(&service, &tasks, &hosts))
}

/// Tasks that say the same.
struct Alike<'a> {
    words: String,
    /// The newest first.
    tasks: Vec<&'a Task>,
}

/// Groups tasks by what they say; the group with the newest task first.
fn alike<'a>(mut tasks: Vec<&'a Task>, words: impl Fn(&Task) -> String) -> Vec<Alike<'a>> {
    tasks.sort_by_key(|task| std::cmp::Reverse(task.status.timestamp.unix_nanos()));
    let mut groups: Vec<Alike<'a>> = Vec::new();
    for task in tasks {
        let words = words(task);
        match groups.iter_mut().find(|group| group.words == words) {
            Some(group) => group.tasks.push(task),
            None => groups.push(Alike { words, tasks: vec![task] }),
        }
    }
    groups
}

fn is_wanted(task: &Task) -> bool {
    !matches!(task.desired_state.as_str(), "shutdown" | "remove")
}

fn is_ended(task: &Task) -> bool {
    let states = ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"];
    states.contains(&task.status.state.as_str())
}

/// What a task on its way waits for: its error, or how far it has come.
fn on_its_way(task: &Task) -> String {
    match (task.status.err.as_str(), task.status.message.as_str()) {
        ("", "") => task.status.state.clone(),
        ("", message) => format!("{}: {message}", task.status.state),
        (error, _) => error.to_owned(),
    }
}

fn how_it_failed(task: &Task) -> String {
    let container = task.status.container_status.as_ref();
    let code = container.map(|container| container.exit_code).filter(|code| *code != 0);
    match (task.status.err.as_str(), code) {
        ("", None) => task.status.state.clone(),
        ("", Some(code)) => format!("exit code {code}"),
        (error, None) => error.to_owned(),
        // Docker's own error names the code already.
        (error, Some(code)) if error.ends_with(&format!("({code})")) => error.to_owned(),
        (error, Some(code)) => format!("{error} (exit code {code})"),
    }
}

fn text(service: &Service, tasks: &[Task], hosts: &BTreeMap<String, String>) -> String {
    let spec = &service.spec;
    let host = |id: &str| hosts.get(id).map_or(id, String::as_str).to_owned();
    let name = |task: &Task| match task.slot {
        0 => format!("{}.{}", spec.name, host(&task.node_id)),
        slot => format!("{}.{slot}", spec.name),
    };
    let status = service.service_status.clone().unwrap_or_default();
    let mut out = match spec.mode.replicated_job.is_some() || spec.mode.global_job.is_some() {
        true => format!(
            "{}: {} running, {} of {} completed\n",
            spec.name,
            status.running_tasks,
            status.completed_tasks,
            // What a job still wants shrinks with what it has completed.
            spec.mode
                .replicated_job
                .as_ref()
                .and_then(|job| job.total_completions)
                .unwrap_or(status.completed_tasks + status.desired_tasks),
        ),
        false => {
            format!("{}: {} of {} running\n", spec.name, status.running_tasks, status.desired_tasks)
        }
    };
    if let Some(update) = service.update_status.as_ref().filter(|update| !update.state.is_empty()) {
        out += &format!("update: {}", update.state.replace('_', " "));
        if !update.message.is_empty() {
            out += &format!(", {}", update.message);
        }
        let at = update.completed_at.as_ref().or(update.started_at.as_ref());
        if let Some(at) = at.map(ago).filter(|ago| !ago.is_empty()) {
            out += &format!(", {at}");
        }
        out.push('\n');
    }
    let waiting = tasks
        .iter()
        .filter(|task| is_wanted(task) && !is_ended(task) && task.status.state != "running");
    let mut waiting = alike(waiting.collect(), on_its_way);
    waiting.sort_by_key(|group| std::cmp::Reverse(group.tasks.len()));
    for group in &waiting {
        let mut named: Vec<String> = group.tasks.iter().map(|task| name(task)).collect();
        named.sort_by(|a, b| crate::output::natural::compare(a, b));
        let more = named.len().saturating_sub(NAMES_MAX);
        named.truncate(NAMES_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        out += &format!("{}: {}\n  {}{more}\n", count(group), group.words, named.join(", "));
    }
    let failed = tasks
        .iter()
        .filter(|task| matches!(task.status.state.as_str(), "failed" | "rejected" | "orphaned"));
    for group in alike(failed.collect(), how_it_failed).iter().take(FAILURES_MAX) {
        let last = group.tasks[0];
        let state = &last.status.state;
        out += &format!("{} {state}: {}\n  last {}", count(group), group.words, name(last));
        if !last.node_id.is_empty() && last.slot != 0 {
            out += &format!(" on {}", host(&last.node_id));
        }
        out += &format!(", {}\n", ago(&last.status.timestamp).to_lowercase());
    }
    out
}

fn count(group: &Alike<'_>) -> String {
    match group.tasks.len() {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    }
}
