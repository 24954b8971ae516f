//! `skep stack deploy` and `skep stack diff`.
//!
//! Invariant: files are read and understood wholly, and compared with what stands, before anything is changed.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use skep_compose::{FileByName, Stack};
use skep_docker_api::Filters;
use skep_docker_api::convert::{config_spec_to_api, secret_spec_to_api};

use super::apply::{Resolve, Sending};
use super::files::{self, Disk, FileArgs};
use super::plan::{Act, Plan, Standing};
use super::versions::{self, Kind, Version};
use super::{apply, named, of, remove, wait};
use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::{print, warn};
use crate::values::duration;

#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Exit immediately instead of waiting for the stack services to converge (default true)
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    detach: Option<bool>,
    /// Show what would be created, changed and removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Prune services that are no longer referenced
    #[arg(long)]
    prune: bool,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
    /// Query the registry to resolve image digest and supported platforms ("always", "changed", "never")
    #[arg(long, value_name = "string", default_value = "always")]
    resolve_image: String,
    /// Wait until all services run as asked; fail where one does not, or was rolled back
    #[arg(long, conflicts_with_all = ["detach", "dry_run"])]
    wait: bool,
    /// How long to wait at most; without it there is no end
    #[arg(long, value_name = "duration", value_parser = duration::positive, requires = "wait", allow_hyphen_values = true)]
    wait_timeout: Option<i64>,
    /// Send registry authentication details to Swarm agents
    #[arg(long)]
    with_registry_auth: bool,
    #[arg(hide = true, value_name = "STACK")]
    stack: String,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Show services that are no longer referenced as removed
    #[arg(long)]
    prune: bool,
    #[arg(hide = true, value_name = "STACK")]
    stack: String,
}

/// A stack as its files have it and as it stands, compared.
struct Prepared {
    /// Its services name secrets and configs by their versions.
    stack: Stack,
    versions: Vec<Version>,
    standing: Standing,
    plan: Plan,
}

pub async fn run(session: &Session, args: DeployArgs) -> Outcome {
    let stack = named(&args.stack)?;
    let resolve = match args.resolve_image.as_str() {
        "always" => Resolve::Always,
        "changed" => Resolve::Changed,
        "never" => Resolve::Never,
        other => {
            let text = format!("Invalid option {other} for flag --resolve-image");
            return Err(Failure::new(text));
        }
    };
    let stack = read(&args.files, stack)?;
    if args.detach.is_none() && !args.wait && !args.dry_run {
        warn(
            "Since --detach=false was not specified, tasks will be created in the background.\nIn a future release, --detach=false will become the default.",
        );
    }
    let prepared = prepare(session, stack, args.prune).await?;
    if args.dry_run {
        return print(&prepared.plan.to_string());
    }
    let sending = Sending { with_login: args.with_registry_auth, resolve };
    let ids = deploy(session, prepared, sending).await?;
    if args.wait {
        let most = args.wait_timeout.map(|nanos| Duration::from_nanos(nanos.unsigned_abs()));
        return wait::until_converged(session, &ids, args.quiet, most).await;
    }
    match args.detach {
        Some(false) => wait::each(session, &ids, args.quiet).await,
        _ => Ok(()),
    }
}

/// The exit status of a difference: that of `diff`, where 0 says there is none and more than 1 is an error.
const EXIT_DIFFERS: u8 = 1;
const EXIT_TROUBLE: u8 = 2;

pub async fn diff(session: &Session, args: DiffArgs) -> Outcome {
    let trouble = |failure: Failure| Failure { status: EXIT_TROUBLE, ..failure };
    let compared = async {
        let stack = read(&args.files, named(&args.stack)?)?;
        prepare(session, stack, args.prune).await
    };
    let plan = compared.await.map_err(trouble)?.plan;
    print(&plan.to_string())?;
    match plan.is_empty() {
        true => Ok(()),
        false => Err(Failure::with_status(EXIT_DIFFERS, "")),
    }
}

fn read(files: &FileArgs, stack: &str) -> Outcome<Stack> {
    let project = files::load(files, false)?;
    let stack = project.stack(stack, &Disk).map_err(files::failure)?;
    files::say(&stack.warnings);
    Ok(stack)
}

/// Looks at the swarm and says what is to be done. It changes nothing.
async fn prepare(session: &Session, mut stack: Stack, prune: bool) -> Outcome<Prepared> {
    let client = &session.client;
    if !client.info().await?.swarm.control_available {
        return Err(Failure::new(
            "this node is not a swarm manager. Use \"skep swarm init\" or \"skep swarm join\" to connect this node to swarm and try again",
        ));
    }
    for name in &stack.external_networks {
        external_network(session, name).await?;
    }
    let mut versions = Vec::new();
    for kind in [Kind::Secret, Kind::Config] {
        let wanted = match kind {
            Kind::Secret => stack.secrets.iter().map(secret_spec_to_api).collect(),
            Kind::Config => {
                let specs = stack.configs.iter().map(config_spec_to_api);
                specs.map(versions::of_config).collect::<Vec<_>>()
            }
        };
        if !wanted.is_empty() {
            let held = kind.list(client).await?;
            versions.extend(versions::choose(client, kind, wanted, &held).await?);
        }
    }
    for service in &mut stack.services {
        name_by_version(&mut service.secrets, Kind::Secret, &versions);
        name_by_version(&mut service.configs, Kind::Config, &versions);
    }
    let standing = Standing {
        networks: client.networks(&Filters::default()).await?,
        services: client.services(&of(&stack.name), false).await?,
    };
    let plan = Plan::of(&stack, &versions, &standing, prune);
    Ok(Prepared { stack, versions, standing, plan })
}

fn name_by_version(files: &mut [FileByName], kind: Kind, versions: &[Version]) {
    let of_kind = versions.iter().filter(|version| version.kind == kind);
    let names: BTreeMap<&str, &str> =
        of_kind.map(|version| (version.known_as(), version.spec.name.as_str())).collect();
    for file in files {
        if let Some(name) = names.get(file.name.as_str()) {
            file.name = (*name).to_owned();
        }
    }
}

/// Carries a plan out; gives the ids of the stack's services.
async fn deploy(session: &Session, prepared: Prepared, sending: Sending) -> Outcome<Vec<String>> {
    let Prepared { stack, versions, standing, plan } = prepared;
    let removed = |service: &skep_docker_api::json::Service| {
        let name = &service.spec.name;
        plan.steps
            .iter()
            .any(|step| step.kind == "service" && step.name == *name && step.act == Act::Remove)
    };
    let Standing { networks, services } = standing;
    let (gone, kept): (Vec<_>, Vec<_>) = services.into_iter().partition(removed);
    remove::services(session, gone).await?;
    apply::networks(session, &networks, &stack.networks).await?;
    for version in &versions {
        versions::make(&session.client, version).await?;
    }
    let mut specs = Vec::with_capacity(stack.services.len());
    for template in &stack.services {
        specs.push(apply::resolved(session, template).await?);
    }
    let ids = apply::services(session, &kept, specs, sending).await?;
    if !versions.is_empty() {
        versions::clean(session, &versions).await?;
    }
    Ok(ids)
}

async fn external_network(session: &Session, name: &str) -> Outcome {
    // These are on every node and none of the swarm's.
    if matches!(name, "host" | "bridge" | "none" | "default") {
        return Ok(());
    }
    match session.client.network(name).await {
        Ok(network) if network.scope == "swarm" => Ok(()),
        Ok(network) => Err(Failure::new(format!(
            "network {name:?} is declared as external, but it is not in the right scope: {:?} instead of \"swarm\"",
            network.scope
        ))),
        Err(error) if error.is_not_found() => Err(Failure::new(format!(
            "network {name:?} is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed"
        ))),
        Err(error) => Err(error.into()),
    }
}
