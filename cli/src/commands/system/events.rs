//! `skep events`: what happens, as it happens.

use clap::Args;
use futures::TryStreamExt;
use skep_docker_api::json::{Event, EventOptions, Timestamp, Whole};

use crate::commands::Session;
use crate::failure::{EXIT_TEMPLATE, Failure, Outcome};
use crate::output::line;
use crate::output::template::{Mode, Template};
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

fn template(format: Option<&str>) -> Outcome<Option<Template>> {
    let text = match format.unwrap_or_default() {
        "" => return Ok(None),
        "json" => "{{json .}}",
        text => text,
    };
    let wrong = |error: crate::output::template::TemplateError| {
        Failure::with_status(EXIT_TEMPLATE, format!("Error parsing format: {error}"))
    };
    let template = Template::parse(text).map_err(wrong)?;
    // What names no key of an event is refused before one comes.
    template.render(&Event::default().whole(), Mode::Row).map_err(wrong)?;
    Ok(Some(template))
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
            Some(template) => crate::output::inspect::value(&event).render(template)?,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use skep_docker_api::json::{EventActor, Map};

    use super::*;

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
