//! `skep service`: make, show, change and watch services.

mod create;
pub mod list;
mod logs;
pub mod pin;
mod pretty;
mod privileges;
mod rebalance;
pub mod resolve;
pub mod settings;
mod update;
mod why;

use clap::{Args, Subcommand};
use skep_docker_api::Filters;
use skep_docker_api::json::ServiceUpdateOptions;

use super::progress::{self, WaitArgs};
use super::{Session, tasks};
use crate::failure::{Failure, Outcome};
use crate::output::{inspect, line, print, warn};
use crate::values::filter;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a new service
    #[command(override_usage = "skep service create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
    Create(Box<create::CreateArgs>),
    /// Display detailed information on one or more services
    #[command(override_usage = "skep service inspect [OPTIONS] SERVICE [SERVICE...]")]
    Inspect(InspectArgs),
    /// Fetch the logs of a service or task
    #[command(override_usage = "skep service logs [OPTIONS] SERVICE|TASK")]
    Logs(logs::LogsArgs),
    /// List services
    #[command(visible_alias = "list")]
    Ls(list::LsArgs),
    /// List the tasks of one or more services
    #[command(override_usage = "skep service ps [OPTIONS] SERVICE [SERVICE...]")]
    Ps(PsArgs),
    /// Spread a service's tasks over the nodes anew, moving no more than needed
    #[command(override_usage = "skep service rebalance [OPTIONS] SERVICE [SERVICE...]")]
    Rebalance(rebalance::RebalanceArgs),
    /// Remove one or more services
    #[command(visible_alias = "remove", override_usage = "skep service rm SERVICE [SERVICE...]")]
    Rm(Services),
    /// Revert changes to a service's configuration
    #[command(override_usage = "skep service rollback [OPTIONS] SERVICE")]
    Rollback(RollbackArgs),
    /// Scale one or multiple replicated services
    #[command(override_usage = "skep service scale SERVICE=REPLICAS [SERVICE=REPLICAS...]")]
    Scale(ScaleArgs),
    /// Update a service
    #[command(override_usage = "skep service update [OPTIONS] SERVICE")]
    Update(Box<update::UpdateArgs>),
    /// Tell why a service's tasks wait or fail, each reason once
    #[command(override_usage = "skep service why SERVICE [SERVICE...]")]
    Why(Services),
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
    #[arg(required = true, hide = true, value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PsArgs {
    #[command(flatten)]
    tasks: tasks::ListArgs,
    #[arg(required = true, hide = true, value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Services {
    #[arg(required = true, hide = true, value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    wait: WaitArgs,
    #[arg(hide = true, value_name = "SERVICE")]
    service: String,
}

#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Exit immediately instead of waiting for the service to converge
    #[arg(short, long)]
    detach: bool,
    #[arg(required = true, hide = true, value_name = "SERVICE=REPLICAS")]
    services: Vec<String>,
}

pub async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Create(args) => create::run(session, *args).await,
        Command::Inspect(args) => show(session, args).await,
        Command::Logs(args) => logs::run(session, args).await,
        Command::Ls(args) => list::run(session, args).await,
        Command::Ps(args) => ps(session, args).await,
        Command::Rebalance(args) => rebalance::run(session, args).await,
        Command::Rm(args) => remove(session, args.services).await,
        Command::Rollback(args) => rollback(session, args).await,
        Command::Scale(args) => scale(session, args).await,
        Command::Update(args) => update::run(session, *args).await,
        Command::Why(args) => why::run(session, &args.services).await,
    }
}

async fn show(session: &Session, args: InspectArgs) -> Outcome {
    let pretty = args.pretty || args.format.as_deref() == Some("pretty");
    let mut found = Vec::new();
    for name in &args.services {
        // Without its defaults a service reads as its author wrote it; reading wants to know what holds.
        let service = session.client.service(name, true).await.map_err(|error| {
            if error.is_not_found() {
                return Failure::new(format!("Error: no such service: {name}"));
            }
            Failure::from(error)
        });
        if pretty {
            print(&pretty::show(session, &service?).await)?;
        } else {
            found.push(service.map(|service| inspect::value(&service)));
        }
    }
    if pretty { Ok(()) } else { inspect::show(args.format.as_deref(), found) }
}

async fn ps(session: &Session, mut args: PsArgs) -> Outcome {
    let (mut ids, mut names) = (Filters::default(), Filters::default());
    for service in &args.services {
        ids.add("id", service);
        names.add("name", service);
    }
    let by_id = session.client.services(&ids, false).await?;
    let by_name = session.client.services(&names, false).await?;
    let mut filters = filter::all(&args.tasks.filter);
    let mut missing = Vec::new();
    let mut known = false;
    // By whole id, then by name, then by what an id begins with.
    for wanted in &args.services {
        let exact = by_id
            .iter()
            .find(|service| service.id == *wanted)
            .or_else(|| by_name.iter().find(|service| service.spec.name == *wanted));
        let mut begun = by_id.iter().filter(|service| service.id.starts_with(wanted.as_str()));
        let found = match (exact, begun.next(), begun.next()) {
            (Some(service), ..) => service,
            (None, Some(_), Some(_)) => {
                return Err(Failure::new(format!(
                    "multiple services found with provided prefix: {wanted}"
                )));
            }
            (None, Some(service), None) => service,
            (None, None, _) => {
                missing.push(Failure::new(format!("no such service: {wanted}")));
                continue;
            }
        };
        filters.add("service", &found.id);
        known = true;
    }
    if known {
        let tasks = session.client.tasks(&filters).await?;
        args.tasks.no_trunc |= args.tasks.quiet;
        tasks::show(session, tasks, &args.tasks).await?;
    }
    Failure::join(missing)
}

pub async fn remove(session: &Session, names: Vec<String>) -> Outcome {
    let mut failures = Vec::new();
    for name in names {
        match session.client.service_remove(&name).await {
            Ok(()) => line(name)?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}

async fn rollback(session: &Session, args: RollbackArgs) -> Outcome {
    let service = session.client.service(&args.service, false).await?;
    let options = ServiceUpdateOptions {
        version: service.version.index,
        rollback_previous: true,
        ..Default::default()
    };
    let updated = session.client.service_update(&service.id, &options, &service.spec).await?;
    updated.warnings.iter().flatten().for_each(warn);
    line(&args.service)?;
    progress::wait(session, &service.id, &args.wait).await
}

async fn scale_one(session: &Session, name: &str, count: &str) -> Outcome<String> {
    let replicas: u64 = count.parse().map_err(|_| {
        let why = format!("strconv.ParseUint: parsing {count:?}: invalid syntax");
        Failure::new(format!("invalid replicas value {count}: {why}"))
    })?;
    let service = session.client.service(name, false).await?;
    let mut spec = service.spec;
    match (&mut spec.mode.replicated, &mut spec.mode.replicated_job) {
        (Some(mode), _) => mode.replicas = Some(replicas),
        (None, Some(job)) => job.total_completions = Some(replicas),
        (None, None) => {
            return Err(Failure::new(
                "scale can only be used with replicated or replicated-job mode",
            ));
        }
    }
    let options = ServiceUpdateOptions { version: service.version.index, ..Default::default() };
    let updated = session.client.service_update(&service.id, &options, &spec).await?;
    updated.warnings.iter().flatten().for_each(warn);
    line(format!("{name} scaled to {replicas}"))?;
    Ok(service.id)
}

async fn scale(session: &Session, args: ScaleArgs) -> Outcome {
    if let Some(wrong) = args.services.iter().find(|one| !matches!(one.split_once('='), Some((name, count)) if !name.is_empty() && !count.is_empty())) {
        return Err(Failure::new(format!(
            "invalid scale specifier '{wrong}'.\nSee 'skep service scale --help'.\n\nUsage:  skep service scale SERVICE=REPLICAS [SERVICE=REPLICAS...]\n\nScale one or multiple replicated services"
        )));
    }
    let mut failures = Vec::new();
    let mut scaled = Vec::new();
    for argument in &args.services {
        let (name, count) = argument.split_once('=').unwrap_or((argument, ""));
        match scale_one(session, name, count).await {
            Ok(id) => scaled.push((name, id)),
            Err(failure) => failures.push(Failure::new(format!("{name}: {failure}"))),
        }
    }
    let wait = WaitArgs { detach: args.detach, quiet: false };
    for (name, id) in scaled {
        if let Err(failure) = progress::wait(session, &id, &wait).await {
            failures.push(Failure::new(format!("{name}: {failure}")));
        }
    }
    Failure::join(failures)
}
