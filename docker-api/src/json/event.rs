//! `/events`: what happened in this engine and swarm, one document a line.

use super::Map;
use super::shape::{null_default, omitempty, shape};

shape! {
    EventActor { "ID" id: String, "Attributes" attributes: Map }

    /// `Type` is `container`, `image`, `service`, `node`, …; `scope` is `local` or `swarm`. The lower-case `status`, `id` and `from`
    /// are what clients before 1.22 read of containers and images.
    Event {
        "status" status: String => "omitempty",
        "id" id: String => "omitempty",
        "from" from: String => "omitempty",
        "Type" kind: String,
        "Action" action: String,
        "Actor" actor: EventActor,
        "scope" scope: String => "omitempty",
        "time" time: i64 => "omitempty",
        "timeNano" time_nano: i64 => "omitempty",
    }
}

impl Event {
    /// An event of `kind` on the object `id` at a moment, with the old keys where Docker has them.
    pub fn new(
        kind: &str,
        action: &str,
        actor: EventActor,
        scope: &str,
        at: skep_types::Timestamp,
    ) -> Self {
        let old = matches!(kind, "container" | "image");
        let from = actor.attributes.get("image").filter(|_| kind == "container");
        Self {
            status: if old { action.to_owned() } else { String::new() },
            id: if old { actor.id.clone() } else { String::new() },
            from: from.cloned().unwrap_or_default(),
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor,
            scope: scope.to_owned(),
            time: at.0.div_euclid(1_000_000_000),
            time_nano: at.0,
        }
    }
}

/// What is asked of events: those between two moments, and those to come until the second one or for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventOptions {
    pub since: Option<skep_types::Timestamp>,
    pub until: Option<skep_types::Timestamp>,
    pub filters: crate::filters::Filters,
}
