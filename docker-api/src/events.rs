//! What happened in this engine and its swarm, told to everybody who asks: a few are kept for those who ask later.
//!
//! It is not a log: it does not outlive the daemon. Invariant: whoever publishes never waits; a subscriber sees each event once and in the
//! order of publishing, and one that does not keep up is cut off rather than let anything grow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{StreamExt, stream};
use skep_types::Timestamp;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::error::ApiError;
use crate::filters::EventFilter;
use crate::json::{Event, EventActor, EventOptions, Map};
use crate::stream::Flow;

/// How many are kept for those who ask for the past (Docker's number).
const KEPT: usize = 256;
/// How many a subscriber may lie behind before it is cut off (Docker's number).
const BEHIND_MAX: usize = 1024;

/// The events of one daemon. Its clones are one and the same.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    // Sending happens under the lock: so the past and what comes after it meet without a gap or a double.
    kept: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("listeners", &self.listeners()).finish_non_exhaustive()
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

impl Events {
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            kept: Mutex::new(VecDeque::with_capacity(KEPT)),
            live: broadcast::Sender::new(BEHIND_MAX),
        }))
    }

    /// Something happened to an object of this engine: `kind` and `action` are Docker's words (`container`, `start`), `attributes` what
    /// Docker tells of such an object (`name`, `image`, its labels, …).
    pub fn publish(&self, kind: &str, action: &str, id: &str, attributes: Map) {
        self.tell(kind, action, id, attributes, "local");
    }

    /// Something happened to an object of the swarm.
    pub fn publish_of_swarm(&self, kind: &str, action: &str, id: &str, attributes: Map) {
        self.tell(kind, action, id, attributes, "swarm");
    }

    fn tell(&self, kind: &str, action: &str, id: &str, attributes: Map, scope: &str) {
        let actor = EventActor { id: id.to_owned(), attributes };
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event::new(kind, action, actor, scope, now()));
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&event));
        // Nobody may be listening.
        let _ = self.0.live.send(event);
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        self.0.live.receiver_count()
    }

    /// Those kept that lie between `since` and `until`, where one of the two is given, then those that come. To end it when `until`
    /// comes is the caller's; where it has passed already, nothing follows what is kept.
    ///
    /// # Errors
    /// A filter that events do not know. In the flow: the subscriber did not keep up.
    pub fn subscribe(&self, options: &EventOptions) -> Result<Flow<Event>, ApiError> {
        let filter = EventFilter::new(&options.filters)?;
        let (since, until) = (options.since, options.until);
        let asks_for_past = since.is_some() || until.is_some();
        let asked = |event: &&Arc<Event>| {
            let at = Timestamp(event.time_nano);
            since.is_none_or(|since| since <= at)
                && until.is_none_or(|until| at <= until)
                && filter.matches(event)
        };
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let past: Vec<_> = match asks_for_past {
            true => kept.iter().filter(asked).map(|event| Ok(Event::clone(event))).collect(),
            false => Vec::new(),
        };
        let receiver = self.0.live.subscribe();
        drop(kept);
        let past = stream::iter(past);
        if until.is_some_and(|until| until <= now()) {
            return Ok(past.boxed());
        }
        let live = stream::unfold(Some(receiver), move |receiver| {
            let filter = filter.clone();
            async move {
                let mut receiver = receiver?;
                loop {
                    match receiver.recv().await {
                        Ok(event) if filter.matches(&event) => {
                            return Some((Ok(Event::clone(&event)), Some(receiver)));
                        }
                        Ok(_) => {}
                        Err(RecvError::Closed) => return None,
                        Err(RecvError::Lagged(_)) => {
                            let text = format!(
                                "events were not read fast enough: more than {BEHIND_MAX} waited"
                            );
                            return Some((Err(ApiError::system(text)), None));
                        }
                    }
                }
            }
        });
        Ok(past.chain(live).boxed())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::filters::Filters;

    fn told(events: &Events, action: &str) {
        events.publish("volume", action, "data", Map::new());
    }

    /// The actions that are there to be read without waiting.
    fn ready(flow: &mut Flow<Event>) -> Vec<Result<String, String>> {
        let mut seen = Vec::new();
        while let Some(Some(item)) = flow.next().now_or_never() {
            seen.push(item.map(|event| event.action).map_err(|error| error.message));
        }
        seen
    }

    fn actions(flow: &mut Flow<Event>) -> Vec<String> {
        ready(flow).into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn the_past_is_told_where_it_is_asked_for_and_what_comes_follows_it() {
        let events = Events::new();
        told(&events, "create");
        let mut whole = events
            .subscribe(&EventOptions { since: Some(Timestamp(0)), ..Default::default() })
            .unwrap();
        let mut live = events.subscribe(&EventOptions::default()).unwrap();
        told(&events, "destroy");
        assert_eq!(actions(&mut whole), ["create", "destroy"]);
        assert_eq!(actions(&mut live), ["destroy"]);
        assert_eq!(events.listeners(), 2);
        drop((whole, live));
        assert_eq!(events.listeners(), 0);
        let until = Some(now());
        let mut past = events.subscribe(&EventOptions { until, ..Default::default() }).unwrap();
        assert_eq!(actions(&mut past), ["create", "destroy"]);
        assert!(past.next().now_or_never().unwrap().is_none(), "it ends where until has passed");
    }

    #[test]
    fn a_filter_holds_for_the_past_and_for_what_comes() {
        let events = Events::new();
        let filters = Filters::parse(r#"{"event":["destroy"]}"#).unwrap();
        told(&events, "create");
        told(&events, "destroy");
        let options = EventOptions { since: Some(Timestamp(0)), filters, ..Default::default() };
        let mut flow = events.subscribe(&options).unwrap();
        told(&events, "create");
        told(&events, "destroy");
        assert_eq!(actions(&mut flow), ["destroy", "destroy"]);
        let filters = Filters::parse(r#"{"colour":["red"]}"#).unwrap();
        let refused = events.subscribe(&EventOptions { filters, ..Default::default() });
        assert_eq!(refused.err().unwrap().message, "invalid filter 'colour'");
    }

    #[test]
    fn only_the_last_are_kept() {
        let events = Events::new();
        for at in 0..=KEPT {
            told(&events, &at.to_string());
        }
        let since = Some(Timestamp(0));
        let mut flow = events.subscribe(&EventOptions { since, ..Default::default() }).unwrap();
        let seen = actions(&mut flow);
        assert_eq!((seen.len(), seen[0].as_str()), (KEPT, "1"));
    }

    #[test]
    fn one_that_does_not_keep_up_is_cut_off() {
        let events = Events::new();
        let mut flow = events.subscribe(&EventOptions::default()).unwrap();
        for _ in 0..=BEHIND_MAX {
            told(&events, "create");
        }
        let seen = ready(&mut flow);
        assert!(seen.len() == 1 && seen[0].as_ref().unwrap_err().contains("not read fast enough"));
        assert_eq!(events.listeners(), 0);
    }
}
