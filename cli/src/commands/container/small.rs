//! Commands that show one thing of a container: logs, top, port, diff; and those that make something of it: commit, export.

use std::path::PathBuf;

use clap::Args;
use futures::TryStreamExt;
use skep_docker_api::json::CommitOptions;
use skep_docker_api::{LogFrame, LogOptions};

use super::wiring::write;
use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::{line, natural, print, save, tabs};
use crate::values::integer;
use crate::values::moment::{self, Tail};

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", value_parser = moment::parse)]
    since: Option<skep_types::Timestamp>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "string", default_value = "all", value_parser = moment::tail)]
    tail: Tail,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", value_parser = moment::parse)]
    until: Option<skep_types::Timestamp>,
    #[arg(hide = true, value_name = "CONTAINER")]
    container: String,
}

pub async fn logs(session: &Session, args: LogsArgs) -> Outcome {
    let id = session.client.container(&args.container, false).await?.id;
    let options = LogOptions {
        follow: args.follow,
        timestamps: args.timestamps,
        details: args.details,
        since: args.since,
        until: args.until,
        tail: args.tail.0,
        ..Default::default()
    };
    let mut frames = session.client.container_logs(&id, &options).await?;
    while let Some(LogFrame { source, text }) = frames.try_next().await? {
        write(source, &text)?;
    }
    Ok(())
}

#[derive(Debug, Args)]
pub struct TopArgs {
    #[arg(required = true, hide = true, value_name = "CONTAINER")]
    container: String,
    #[arg(
        hide = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ps OPTIONS"
    )]
    arguments: Vec<String>,
}

pub async fn top(session: &Session, args: TopArgs) -> Outcome {
    let list = session.client.container_top(&args.container, &args.arguments.join(" ")).await?;
    let mut text = String::new();
    for cells in std::iter::once(&list.titles).chain(&list.processes) {
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
    print(&tabs::align(&text, tabs::TOP))
}

#[derive(Debug, Args)]
pub struct PortArgs {
    #[arg(hide = true, required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(hide = true, value_name = "PRIVATE_PORT[/PROTO]")]
    port: Option<String>,
}

fn address(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub async fn port(session: &Session, args: PortArgs) -> Outcome {
    let container = session.client.container(&args.container, false).await?;
    let ports = container.network_settings.ports;
    let mut out: Vec<String> = match args.port.as_deref().filter(|port| !port.is_empty()) {
        Some(asked) => {
            let (number, proto) = asked.split_once('/').unwrap_or((asked, ""));
            let proto = if proto.is_empty() { "tcp" } else { proto };
            if let Err(why) = integer::short(number) {
                return Err(Failure::new(format!("Error: invalid port ({number}): {why}")));
            }
            let found = ports.get(&format!("{number}/{proto}")).and_then(Option::as_ref);
            let found = found.filter(|list| !list.is_empty()).ok_or_else(|| {
                Failure::new(format!(
                    "Error: No public port '{asked}' published for {}",
                    args.container
                ))
            })?;
            found.iter().map(|at| address(&at.host_ip, &at.host_port)).collect()
        }
        None => ports
            .iter()
            .flat_map(|(inside, list)| {
                list.iter()
                    .flatten()
                    .map(move |at| format!("{inside} -> {}", address(&at.host_ip, &at.host_port)))
            })
            .collect(),
    };
    out.sort_by(|a, b| natural::compare(a, b));
    if out.is_empty() { Ok(()) } else { line(out.join("\n")) }
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    #[arg(hide = true, value_name = "CONTAINER")]
    container: String,
}

pub async fn diff(session: &Session, args: DiffArgs) -> Outcome {
    if args.container.is_empty() {
        return Err(Failure::new("Container name cannot be empty"));
    }
    for change in session.client.container_changes(&args.container).await? {
        let kind = match change.kind {
            0 => "C",
            1 => "A",
            _ => "D",
        };
        line(format!("{kind} {}", change.path))?;
    }
    Ok(())
}

#[derive(Debug, Args)]
pub struct CommitArgs {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    author: String,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    message: String,
    /// Pause container during commit
    #[arg(short, long, value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = integer::truth)]
    pause: bool,
    #[arg(hide = true, required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(hide = true, value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

pub async fn commit(session: &Session, args: CommitArgs) -> Outcome {
    let reference = match args.reference.as_deref().unwrap_or_default() {
        "" => String::new(),
        name => {
            crate::values::image::check(name)?;
            crate::values::image::full(name)
        }
    };
    let (repo, tag) = crate::values::image::parts(&reference);
    let options = CommitOptions {
        container: args.container,
        repo: repo.into(),
        tag: tag.unwrap_or(if repo.is_empty() { "" } else { "latest" }).into(),
        comment: args.message,
        author: args.author,
        changes: args.change,
        pause: args.pause,
    };
    line(session.client.container_commit(&options).await?.id)
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    #[arg(hide = true, value_name = "CONTAINER")]
    container: String,
}

pub async fn export(session: &Session, args: ExportArgs) -> Outcome {
    save::refuse_terminal(args.output.as_deref())?;
    let bytes = session.client.container_export(&args.container).await?;
    save::stream(bytes, args.output.as_deref(), "failed to export container").await
}
