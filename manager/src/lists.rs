//! Services, tasks and nodes as the Docker Engine API lists them, from a view of the state.
//!
//! A list is made in pieces while it is sent, and only the view is held meanwhile: so a million
//! tasks take no more memory than a hundred, and hold nobody up.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_docker_api::convert::{
    ManagerView, Reachability, node_to_api, service_to_api, task_to_api,
};
use skep_docker_api::filters::{NodeFilter, ServiceFilter, TaskFilter};
use skep_docker_api::json;
use skep_docker_api::resolve::find;
use skep_docker_api::{ApiError, Filters, List};
use skep_state::{Object, State, Table};
use skep_types::{Node, Service, ServiceMode, Task, TaskId};

use crate::MemberReport;

type Answer<T> = Result<T, ApiError>;

/// The services that filters let through, with how many tasks of each run where `with_status` says so.
///
/// # Errors
/// A filter is none of this list's.
pub fn services(view: State, filters: &Filters, with_status: bool) -> Answer<List<json::Service>> {
    let filter = ServiceFilter::new(filters)?;
    Ok(of_table(view, State::services, move |view, service| {
        let status = || with_status.then(|| status(view, service));
        filter.matches(service).then(|| service_to_api(service, status()))
    }))
}

/// The tasks that filters let through.
///
/// # Errors
/// A filter is none of this list's, or names what is not there.
pub fn tasks(view: State, filters: &Filters) -> Answer<List<json::Task>> {
    let service = |given: &str| find_service(&view, given).map(|service| service.id);
    let node = |given: &str| find_node(&view, given).map(|node| node.id);
    let filter = TaskFilter::new(filters, &service, &node)?;
    let candidates = candidates(&view, &filter);
    let show = move |view: &State, task: &Arc<Task>| {
        let service = view.services().get(task.service_id).map(|it| &**it);
        filter.matches(task, service).then(|| show_task(view, task)).flatten()
    };
    Ok(match candidates {
        Some(ids) => of_some(view, State::tasks, ids, show),
        None => of_table(view, State::tasks, show),
    })
}

/// The nodes that filters let through, with the managers among them as the leader sees them.
///
/// # Errors
/// A filter is none of this list's.
pub fn nodes(
    view: State,
    filters: &Filters,
    tls: json::TlsInfo,
    managers: BTreeMap<u64, ManagerView>,
) -> Answer<List<json::Node>> {
    let filter = NodeFilter::new(filters)?;
    Ok(of_table(view, State::nodes, move |_, node| {
        filter.matches(node).then(|| node_to_api(node, &tls, manager_view(node, &managers)))
    }))
}

/// Managers by their Raft ids.
pub fn manager_views(members: Vec<MemberReport>) -> BTreeMap<u64, ManagerView> {
    let view = |member: MemberReport| {
        let reachability = match member.reachable {
            true => Reachability::Reachable,
            false => Reachability::Unreachable,
        };
        (member.raft_id, ManagerView { leader: member.leader, reachability })
    };
    members.into_iter().map(view).collect()
}

/// What is shown of a node as a manager; none of one that is none.
pub fn manager_view(node: &Node, views: &BTreeMap<u64, ManagerView>) -> Option<ManagerView> {
    let manager = node.manager.as_ref()?;
    Some(views.get(&manager.raft_id).copied().unwrap_or_default())
}

/// The service that `given` means.
pub fn find_service<'a>(view: &'a State, given: &str) -> Answer<&'a Arc<Service>> {
    let named =
        |service: &'a Arc<Service>| (service.id, service.spec.annotations.name.as_str(), service);
    find("service", given, view.services().iter().map(named))
}

/// The node that `given` means: an id, a host's name, or the start of an id.
pub fn find_node<'a>(view: &'a State, given: &str) -> Answer<&'a Arc<Node>> {
    let nodes = view.nodes().iter().map(|node| {
        let name = node.description.as_ref().map_or("", |it| it.hostname.as_str());
        (node.id, name, node)
    });
    find("node", given, nodes)
}

/// The task that `given` means: an id, or the start of one.
pub fn find_task<'a>(view: &'a State, given: &str) -> Answer<&'a Arc<Task>> {
    // Among a million tasks a whole id is not looked for one by one.
    let whole = given.parse().ok().and_then(|id| view.tasks().get(id));
    match whole {
        Some(task) => Ok(task),
        None => find("task", given, view.tasks().iter().map(|task| (task.id, "", task))),
    }
}

/// What is shown of a task; none of one whose spec is gone.
pub fn show_task(view: &State, task: &Task) -> Option<json::Task> {
    let spec = view.spec(task.service_id, task.spec_version)?;
    Some(task_to_api(task, &spec.task, &|id| view.networks().get(id).map(|it| &**it)))
}

/// How many tasks run, and how many should.
fn status(view: &State, service: &Service) -> json::ServiceStatus {
    let iteration = service.job.map(|job| job.iteration);
    let tally = view.tally(service.id, iteration);
    let wanted = match iteration {
        Some(_) => tally.unfinished,
        None => tally.wanted,
    };
    let desired_tasks = match service.spec.mode {
        ServiceMode::Replicated { replicas } => replicas,
        ServiceMode::ReplicatedJob { max_concurrent, .. } => max_concurrent,
        ServiceMode::Global | ServiceMode::GlobalJob => wanted.into(),
    };
    json::ServiceStatus {
        running_tasks: tally.running.into(),
        desired_tasks,
        completed_tasks: tally.completed.into(),
    }
}

/// The tasks that a list may show, ascending by id; none where that may be all of them.
fn candidates(view: &State, filter: &TaskFilter) -> Option<Vec<TaskId>> {
    let mut ids: Vec<TaskId> = match (filter.services(), filter.nodes()) {
        ([], []) => return None,
        ([], nodes) => {
            nodes.iter().flat_map(|id| view.tasks_on_node(*id)).map(|it| it.id).collect()
        }
        (services, _) => {
            services.iter().flat_map(|id| view.tasks_of_service(*id)).map(|it| it.id).collect()
        }
    };
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

/// Objects that are looked at for one piece: some tenths of a millisecond.
const PIECE_OBJECTS: usize = 128;

/// What is shown of a table, ascending by id.
fn of_table<T: Object<Id: Send> + 'static, S: Send + 'static>(
    view: State,
    table: fn(&State) -> &Table<T>,
    show: impl Fn(&State, &Arc<T>) -> Option<S> + Send + 'static,
) -> List<S> {
    let (mut last, mut ended) = (None, false);
    List::of_pieces(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let piece: Vec<&Arc<T>> = table(&view).after(last).take(PIECE_OBJECTS).collect();
        ended = piece.len() < PIECE_OBJECTS;
        last = piece.last().map(|object| object.id());
        Some(piece.into_iter().filter_map(|object| show(&view, object)).collect())
    }))
}

/// What is shown of some objects of a table, in the order of their ids.
fn of_some<T: Object<Id: Send> + 'static, S: Send + 'static>(
    view: State,
    table: fn(&State) -> &Table<T>,
    ids: Vec<T::Id>,
    show: impl Fn(&State, &Arc<T>) -> Option<S> + Send + 'static,
) -> List<S> {
    let mut from = 0;
    List::of_pieces(std::iter::from_fn(move || {
        let piece = ids.get(from..)?.iter().take(PIECE_OBJECTS);
        if piece.len() == 0 {
            return None;
        }
        from += piece.len();
        let found = piece.filter_map(|id| table(&view).get(*id));
        Some(found.filter_map(|object| show(&view, object)).collect())
    }))
}
