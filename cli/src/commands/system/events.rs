//! `skep events`: what happens, as it happens.

use clap::Args;
use futures::TryStreamExt;
use serde_json::json;
use skep_docker_api::json::{Event, EventOptions, Timestamp, Whole};
use skep_template::{Template, TemplateError};

use crate::commands::Session;
use crate::failure::{EXIT_TEMPLATE, Failure, Outcome};
use crate::output::inspect::Document;
use crate::output::line;
use crate::values::filter::{self, Filter};
use crate::values::moment;

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string", value_parser = moment::parse)]
    since: Option<skep_types::Timestamp>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string", value_parser = moment::parse)]
    until: Option<skep_types::Timestamp>,
}

fn template(format: Option<&str>) -> Outcome<Option<Format>> {
    let text = match format.unwrap_or_default() {
        "" => return Ok(None),
        "json" => "{{json .}}",
        text => text,
    };
    let wrong = |error: TemplateError| {
        Failure::with_status(EXIT_TEMPLATE, format!("Error parsing format: {error}"))
    };
    let template = Template::parse(text).map_err(wrong)?;
    // What names no key of an event is refused before one comes.
    let attributes = attributes(text).into_iter().map(str::to_owned).collect();
    let format = Format { template, attributes };
    format.render(&Event::default()).map_err(wrong)?;
    Ok(Some(format))
}

/// What Go calls the keys that JSON has in small letters.
const CALLED: [(&str, &str); 6] = [
    ("status", "Status"),
    ("id", "ID"),
    ("from", "From"),
    ("scope", "Scope"),
    ("time", "Time"),
    ("timeNano", "TimeNano"),
];

/// Go's word for a key that a map has not.
const NO_VALUE: &str = "<no value>";

/// The attributes that a template names: events have some of them and no others.
fn attributes(template: &str) -> Vec<&str> {
    let word = |rest: &&str| rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let after = template.split(".Attributes.").skip(1);
    after.map(|rest| &rest[..word(&rest).unwrap_or(rest.len())]).collect()
}

/// What a template over events is, and the attributes that it names.
struct Format {
    template: Template,
    attributes: Vec<String>,
}

impl Format {
    fn render(&self, event: &Event) -> Result<String, TemplateError> {
        document(event, &self.attributes).render(&self.template)
    }
}

fn document(event: &Event, attributes: &[String]) -> Document {
    let mut whole = event.whole();
    let keys = whole.as_object_mut().expect("an event is an object");
    for (key, called) in CALLED {
        let value = keys.remove(key).unwrap_or_default();
        keys.insert(called.to_owned(), value);
    }
    for name in attributes {
        let told = whole["Actor"]["Attributes"].as_object_mut().expect("attributes are a map");
        told.entry(name).or_insert_with(|| NO_VALUE.into());
    }
    Document::called(json!(event), whole)
}

fn pretty(event: &Event) -> String {
    let nanos = match event.time_nano {
        0 => i128::from(event.time) * 1_000_000_000,
        nanos => i128::from(nanos),
    };
    let mut text = match nanos {
        0 => String::new(),
        nanos => format!("{} ", full(&Timestamp::from_unix_nanos(nanos))),
    };
    text.push_str(&format!("{} {} {}", event.kind, event.action, event.actor.id));
    if !event.actor.attributes.is_empty() {
        let pairs: Vec<_> =
            event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        text.push_str(&format!(" ({})", pairs.join(", ")));
    }
    text
}

/// With all nine digits, so that lines stay in columns.
fn full(at: &Timestamp) -> String {
    let (clock, fraction) =
        at.0.trim_end_matches('Z').split_once('.').unwrap_or((at.0.trim_end_matches('Z'), ""));
    format!("{clock}.{fraction:0<9}Z")
}

pub async fn run(session: &Session, args: EventsArgs) -> Outcome {
    let template = template(args.format.as_deref())?;
    let options =
        EventOptions { since: args.since, until: args.until, filters: filter::all(&args.filter) };
    let mut events = session.client.events(&options).await?;
    while let Some(event) = events.try_next().await? {
        line(match &template {
            None => pretty(&event),
            Some(format) => format.render(&event)?,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use skep_docker_api::json::{EventActor, Map};

    use super::*;

    #[test]
    fn templates_call_keys_as_go_does() {
        let event = Event { scope: "local".into(), time: 7, ..Event::default() };
        let text = |text| template(Some(text)).unwrap().unwrap().render(&event);
        assert_eq!(text("{{.Actor.Attributes.none}}!").unwrap(), "<no value>!");
        assert_eq!(text("{{.Scope}} {{.Time}}").unwrap(), "local 7");
        assert!(text("json").unwrap().contains(r#""scope":"local""#));
        assert!(template(Some("{{.Colour}}")).is_err());
    }

    #[test]
    fn a_line_says_it_all() {
        let attributes = Map::from([("image".into(), "nginx".into()), ("name".into(), "w".into())]);
        let event = Event {
            kind: "container".into(),
            action: "start".into(),
            actor: EventActor { id: "abc".into(), attributes },
            time_nano: 1_700_000_000_500_000_000,
            ..Default::default()
        };
        assert_eq!(
            pretty(&event),
            "2023-11-14T22:13:20.500000000Z container start abc (image=nginx, name=w)"
        );
    }
}
