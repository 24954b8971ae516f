//! Which events a client is sent.

use super::Filters;
use crate::error::ApiError;
use crate::json::Event;

/// Kinds of objects by whose id or name events are filtered.
const KINDS: &[&str] =
    &["container", "volume", "network", "node", "service", "secret", "config", "daemon"];

/// The filters of `GET /events`: type, event, scope, label, image, and an object of any of the kinds.
#[derive(Debug, Clone)]
pub struct EventFilter(Filters);

impl EventFilter {
    pub fn new(filters: &Filters) -> Result<Self, ApiError> {
        let known = [&["type", "event", "scope", "label", "image"], KINDS].concat();
        filters.only(&known)?;
        Ok(Self(filters.clone()))
    }

    pub fn matches(&self, event: &Event) -> bool {
        let actor = &event.actor;
        let attribute = |name: &str| actor.attributes.get(name).map_or("", String::as_str);
        // "health_status: healthy" and its kin carry a detail that a filter need not name.
        let action = event.action.split(':').next().unwrap_or_default();
        let image = attribute(if event.kind == "image" { "name" } else { "image" });
        // A tag's colon is after the last slash; a registry's port is not.
        let untagged = match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => image,
        };
        self.0.exact("type", &event.kind)
            && self.0.exact("scope", &event.scope)
            && (self.0.exact("event", &event.action) || self.0.exact("event", action))
            && self.0.labels("label", &actor.attributes)
            && [actor.id.as_str(), image, untagged].iter().any(|name| self.0.exact("image", name))
            && KINDS.iter().all(|kind| {
                self.0.prefix(kind, &actor.id) || self.0.prefix(kind, attribute("name"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::EventActor;

    #[test]
    fn events() {
        let attributes = [("image", "r:5000/nginx:1"), ("name", "web.1"), ("tier", "front")];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let actor = EventActor { id: "c0ffee".into(), attributes };
        let at = skep_types::Timestamp(1);
        let event = Event::new("container", "health_status: healthy", actor, "local", at);
        for (text, expected) in [
            ("", true),
            (r#"{"type":["container"]}"#, true),
            (r#"{"type":["image"]}"#, false),
            (r#"{"event":["health_status"]}"#, true),
            (r#"{"event":["health_status: healthy"]}"#, true),
            (r#"{"event":["start"]}"#, false),
            (r#"{"container":["web"]}"#, true),
            (r#"{"container":["c0f"]}"#, true),
            (r#"{"container":["db"]}"#, false),
            (r#"{"image":["r:5000/nginx"]}"#, true),
            (r#"{"image":["r:5000/nginx:1"]}"#, true),
            (r#"{"image":["nginx"]}"#, false),
            (r#"{"label":["tier=front"]}"#, true),
            (r#"{"scope":["swarm"]}"#, false),
        ] {
            let filter = EventFilter::new(&Filters::parse(text).unwrap()).unwrap();
            assert_eq!(filter.matches(&event), expected, "{text}");
        }
        let unknown = EventFilter::new(&Filters::parse(r#"{"colour":["x"]}"#).unwrap());
        assert_eq!(unknown.unwrap_err().message, "invalid filter 'colour'");
    }
}
