//! `skep stack`: what Compose files describe, as one thing. A stack is no object of the swarm's but a label on others.

mod apply;
mod deploy;
mod differences;
mod files;
mod plan;
mod remove;
mod versions;
mod wait;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use skep_docker_api::Filters;

use super::{Session, service, tasks};
use crate::failure::{Failure, Outcome};
use crate::output::list::{Columns, Row, Shape};
use crate::output::{natural, print, warn};
use crate::values::filter;

/// Docker's label for what belongs to a stack.
const NAMESPACE: &str = "com.docker.stack.namespace";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Outputs the final config file, after doing merges and interpolations
    Config(ConfigArgs),
    /// Deploy a new stack or update an existing stack
    #[command(visible_alias = "up", override_usage = "skep stack deploy [OPTIONS] STACK")]
    Deploy(deploy::DeployArgs),
    /// Show what a deploy would change; the exit status is 1 if there is a difference
    #[command(override_usage = "skep stack diff [OPTIONS] STACK")]
    Diff(deploy::DiffArgs),
    /// List stacks
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// List the tasks in the stack
    #[command(override_usage = "skep stack ps [OPTIONS] STACK")]
    Ps(PsArgs),
    /// Remove one or more stacks
    #[command(visible_aliases = ["remove", "down"], override_usage = "skep stack rm [OPTIONS] STACK [STACK...]")]
    Rm(remove::RmArgs),
    /// List the services in the stack
    #[command(override_usage = "skep stack services [OPTIONS] STACK")]
    Services(ServicesArgs),
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    files: files::FileArgs,
    /// Skip interpolation and output only merged config
    #[arg(long)]
    skip_interpolation: bool,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

#[derive(Debug, Args)]
pub struct PsArgs {
    #[command(flatten)]
    tasks: tasks::ListArgs,
    #[arg(hide = true, value_name = "STACK")]
    stack: String,
}

#[derive(Debug, Args)]
pub struct ServicesArgs {
    #[command(flatten)]
    list: service::list::LsArgs,
    #[arg(hide = true, value_name = "STACK")]
    stack: String,
}

const COLUMNS: Columns = Columns {
    headers: &[("Name", "NAME"), ("Services", "SERVICES")],
    table: "table {{.Name}}\t{{.Services}}",
};

pub async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Config(args) => {
            let project = files::load(&args.files, args.skip_interpolation)?;
            print(&project.to_yaml())
        }
        Command::Deploy(args) => deploy::run(session, args).await,
        Command::Diff(args) => deploy::diff(session, args).await,
        Command::Ls(args) => list(session, args).await,
        Command::Ps(args) => ps(session, args).await,
        Command::Rm(args) => remove::run(session, args).await,
        Command::Services(args) => services(session, args).await,
    }
}

/// A stack's name, or Docker's refusal of it.
fn named(name: &str) -> Outcome<&str> {
    let empty =
        name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).is_empty();
    match empty {
        true => Err(Failure::new(format!("invalid stack name: {name:?}"))),
        false => Ok(name),
    }
}

/// What belongs to a stack.
fn of(stack: &str) -> Filters {
    let mut filters = Filters::default();
    filters.add("label", format!("{NAMESPACE}={stack}"));
    filters
}

async fn list(session: &Session, args: LsArgs) -> Outcome {
    let mut filters = Filters::default();
    filters.add("label", NAMESPACE);
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for service in session.client.services(&filters, false).await? {
        let Some(stack) = service.spec.labels.get(NAMESPACE) else { continue };
        *stacks.entry(stack.clone()).or_default() += 1;
    }
    let mut stacks: Vec<_> = stacks.into_iter().collect();
    stacks.sort_by(|a, b| natural::compare(&a.0, &b.0));
    let row = |(name, services): (String, u64)| {
        Row::from([("Name", name.into()), ("Services", services.to_string().into())])
    };
    let rows = stacks.into_iter().map(row).collect();
    COLUMNS.show(&Shape { format: args.format, quiet: false }, rows)
}

async fn ps(session: &Session, args: PsArgs) -> Outcome {
    let stack = named(&args.stack)?;
    let mut filters = filter::all(&args.tasks.filter);
    filters.add("label", format!("{NAMESPACE}={stack}"));
    let tasks = session.client.tasks(&filters).await?;
    if tasks.is_empty() {
        return Err(Failure::new(format!("nothing found in stack: {stack}")));
    }
    tasks::show(session, tasks, &args.tasks).await
}

async fn services(session: &Session, args: ServicesArgs) -> Outcome {
    let stack = named(&args.stack)?;
    let mut filters = filter::all(&args.list.filter);
    filters.add("label", format!("{NAMESPACE}={stack}"));
    let services = session.client.services(&filters, !args.list.quiet).await?;
    if services.is_empty() {
        warn(format!("Nothing found in stack: {stack}"));
        return Ok(());
    }
    service::list::show(services, Shape { format: args.list.format, quiet: args.list.quiet })
}
