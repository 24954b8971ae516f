//! The events that lead from one state to another: what followers of the state are told when a
//! snapshot takes its place, since no transaction says what changed, or when they are so far behind
//! that the transactions are not there any more.

use skep_state::{Delta, Event, Object, State, Table};

/// One event for each object that stands in only one of the two states or is not the same.
pub(crate) fn difference(before: &State, after: &State) -> Vec<Event> {
    let mut events = Vec::new();
    if before.cluster() != after.cluster() {
        let delta = Delta { before: before.cluster().cloned(), after: after.cluster().cloned() };
        events.push(Event::Cluster(delta));
    }
    table(before.nodes(), after.nodes(), Event::Node, &mut events);
    table(before.networks(), after.networks(), Event::Network, &mut events);
    table(before.secrets(), after.secrets(), Event::Secret, &mut events);
    table(before.configs(), after.configs(), Event::Config, &mut events);
    table(before.attachments(), after.attachments(), Event::Attachment, &mut events);
    table(before.services(), after.services(), Event::Service, &mut events);
    table(before.tasks(), after.tasks(), Event::Task, &mut events);
    events
}

fn table<T: Object>(
    before: &Table<T>,
    after: &Table<T>,
    event: fn(Delta<T>) -> Event,
    events: &mut Vec<Event>,
) {
    // What is gone first: what comes may have its name, its address or its ports.
    let (gone, others): (Vec<_>, Vec<_>) =
        before.changes_to(after).partition(|delta| delta.after.is_none());
    events.extend(gone.into_iter().chain(others).map(event));
}
