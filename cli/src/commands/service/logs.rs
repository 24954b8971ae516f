//! `skep service logs`: what the tasks of a service, or one task, have written, each line with its task and node.

use std::collections::HashMap;
use std::io::Write;

use clap::Args;
use futures::TryStreamExt;
use skep_docker_api::json::Map;
use skep_docker_api::{Client, LogFrame, LogOptions, LogSource};
use skep_types::Timestamp;

use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::human::short_id;
use crate::values::moment::{self, Tail};

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Do not map IDs to Names in output
    #[arg(long)]
    no_resolve: bool,
    /// Do not include task IDs in output
    #[arg(long)]
    no_task_ids: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Do not neatly format logs
    #[arg(long)]
    raw: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "string", default_value = "all", value_parser = moment::tail)]
    tail: Tail,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    #[arg(hide = true, value_name = "SERVICE|TASK")]
    target: String,
}

const NODE: &str = "com.docker.swarm.node.id";
const SERVICE: &str = "com.docker.swarm.service.id";
const TASK: &str = "com.docker.swarm.task.id";

/// Who wrote a line, in words; asked for once for each task.
struct Names<'a> {
    client: &'a Client,
    args: &'a LogsArgs,
    /// Digits of the highest slot, so that lines stay in columns.
    digits: usize,
    known: HashMap<String, String>,
}

impl Names<'_> {
    async fn of(&mut self, attributes: &Map) -> Outcome<String> {
        let id = |key: &str| {
            let missing = || Failure::new(format!("missing {key} in a line of the logs"));
            attributes.get(key).ok_or_else(missing)
        };
        let (node, service, task) = (id(NODE)?, id(SERVICE)?, id(TASK)?);
        if let Some(known) = self.known.get(task) {
            return Ok(known.clone());
        }
        let (mut node_name, mut service_name) = (node.clone(), service.clone());
        if !self.args.no_resolve {
            // What is gone keeps its id: its lines are still worth reading.
            if let Ok(node) = self.client.node(node).await {
                node_name = match node.spec.name.as_str() {
                    "" => node.description.hostname,
                    name => name.to_owned(),
                };
            }
            if let Ok(service) = self.client.service(service, false).await {
                service_name = service.spec.name;
            }
        }
        let slot = match self.client.task(task).await {
            Ok(task) => task.slot,
            Err(error) if error.is_not_found() => 0,
            Err(error) => return Err(error.into()),
        };
        let mut name = format!("{service_name}.{slot}");
        if !self.args.no_task_ids {
            name.push('.');
            name.push_str(&if self.args.no_trunc { task.clone() } else { short_id(task) });
        }
        let blank = " ".repeat(self.digits.saturating_sub(slot.to_string().len()));
        let name = format!("{name}@{node_name}{blank}");
        self.known.insert(task.clone(), name.clone());
        Ok(name)
    }
}

/// Undoes the escaping of attributes.
fn plain(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let pair: Vec<u8> = bytes.by_ref().take(2).collect();
                let value = std::str::from_utf8(&pair).ok();
                out.extend(value.and_then(|hex| u8::from_str_radix(hex, 16).ok()));
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn attributes(text: &str) -> Map {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((plain(key), plain(value)))
    };
    text.split(',').filter_map(pair).collect()
}

fn write(source: LogSource, text: &[u8]) -> Outcome {
    match source {
        LogSource::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(text)?;
            out.flush()?;
        }
        LogSource::Stderr => std::io::stderr().lock().write_all(text)?,
    }
    Ok(())
}

/// One frame as it is shown: its time, who wrote it, details where asked for, and the text.
async fn pretty(names: &mut Names<'_>, text: &[u8]) -> Outcome<Vec<u8>> {
    let args = names.args;
    let parts = if args.timestamps { 3 } else { 2 };
    let parts: Vec<&[u8]> = text.splitn(parts, |byte| *byte == b' ').collect();
    let (at, details, text) = match parts.as_slice() {
        [details, text] if !args.timestamps => (None, *details, *text),
        [at, details, text] => (Some(*at), *details, *text),
        _ => return Err(Failure::new("a line of the logs does not say where it is from")),
    };
    let mut attributes = attributes(&String::from_utf8_lossy(details));
    let name = names.of(&attributes).await?;
    let mut out = Vec::with_capacity(text.len() + 64);
    if let Some(at) = at {
        out.extend_from_slice(at);
        out.push(b' ');
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"    | ");
    if args.details {
        attributes.retain(|key, _| ![NODE, SERVICE, TASK].contains(&key.as_str()));
        let shown: Vec<_> = attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
        out.extend_from_slice(shown.join(",").as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(text);
    Ok(out)
}

pub async fn run(session: &Session, args: LogsArgs) -> Outcome {
    let client = &session.client;
    let options = LogOptions {
        follow: args.follow,
        timestamps: args.timestamps,
        // What names are made of stands in the details.
        details: args.details || !args.raw,
        since: args.since,
        tail: args.tail.0,
        ..Default::default()
    };
    let terminal = |tty: bool| match tty && !args.raw {
        true => Err(Failure::new("tty service logs only supported with --raw")),
        false => Ok(tty),
    };
    let (mut frames, tty, highest) = match client.service(&args.target, false).await {
        Ok(service) => {
            let container = service.spec.task_template.container_spec;
            let tty = terminal(container.is_some_and(|container| container.tty))?;
            let replicas = service.spec.mode.replicated.and_then(|mode| mode.replicas);
            let frames = client.service_logs(&args.target, &options).await?;
            (frames, tty, replicas.unwrap_or(0))
        }
        Err(error) if error.is_not_found() => {
            let task = client.task(&args.target).await.map_err(|error| {
                if error.is_not_found() {
                    return Failure::new(format!("no such task or service: {}", args.target));
                }
                error.into()
            })?;
            let container = task.spec.container_spec;
            let tty = terminal(container.is_some_and(|container| container.tty))?;
            (client.task_logs(&args.target, &options).await?, tty, task.slot)
        }
        Err(error) => return Err(error.into()),
    };
    let digits = highest.to_string().len();
    let mut names = Names { client, args: &args, digits, known: HashMap::new() };
    while let Some(LogFrame { source, text }) = frames.try_next().await? {
        if tty || args.raw {
            write(source, &text)?;
        } else {
            write(source, &pretty(&mut names, &text).await?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_unescaped() {
        let found = attributes("a=b+c,d=%2C%3D");
        assert_eq!(found["a"], "b c");
        assert_eq!(found["d"], ",=");
    }
}
