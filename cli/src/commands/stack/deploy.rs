//! `skep stack deploy`: makes what a stack lacks and changes what differs, in the order in which one thing needs another.
//!
//! Invariant: files are read and understood wholly before anything is changed.

use std::collections::BTreeSet;

use clap::Args;
use skep_compose::{FileByName, ServiceTemplate};
use skep_docker_api::convert::{config_spec_to_api, secret_spec_to_api, service_spec_to_api};
use skep_docker_api::json::{
    ConfigReference, ConfigSpec, FileTarget, Ipam, IpamConfig, NetworkAttachmentConfig,
    NetworkCreateRequest, SecretReference, SecretSpec, ServiceSpec, ServiceUpdateOptions,
};
use skep_types::NetworkSpec;

use super::files::{self, Disk, FileArgs};
use super::{named, of, remove};
use crate::commands::Session;
use crate::commands::progress::{self, WaitArgs};
use crate::commands::service::settings::login_for;
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};

#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Exit immediately instead of waiting for the stack services to converge (default true)
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    detach: Option<bool>,
    /// Prune services that are no longer referenced
    #[arg(long)]
    prune: bool,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
    /// Query the registry to resolve image digest and supported platforms ("always", "changed", "never")
    // DEVIATION: each node resolves an image when it pulls it; all three keep the digest that a service already has.
    #[arg(long, value_name = "string", default_value = "always")]
    resolve_image: String,
    /// Send registry authentication details to Swarm agents
    #[arg(long)]
    with_registry_auth: bool,
    #[arg(hide = true, value_name = "STACK")]
    stack: String,
}

/// Docker's label for the image as the file names it.
const IMAGE: &str = "com.docker.stack.image";

pub async fn run(session: &Session, args: DeployArgs) -> Outcome {
    let stack = named(&args.stack)?;
    if !matches!(args.resolve_image.as_str(), "always" | "changed" | "never") {
        return Err(Failure::new(format!(
            "Invalid option {} for flag --resolve-image",
            args.resolve_image
        )));
    }
    let project = files::load(&args.files, false)?;
    let stack = project.stack(stack, &Disk).map_err(files::failure)?;
    files::say(&stack.warnings);
    if args.detach.is_none() {
        warn(
            "Since --detach=false was not specified, tasks will be created in the background.\nIn a future release, --detach=false will become the default.",
        );
    }
    let info = session.client.info().await?;
    if !info.swarm.control_available {
        return Err(Failure::new(
            "this node is not a swarm manager. Use \"skep swarm init\" or \"skep swarm join\" to connect this node to swarm and try again",
        ));
    }
    if args.prune {
        let kept: BTreeSet<_> =
            stack.services.iter().map(|one| one.spec.annotations.name.as_str()).collect();
        let mut old = session.client.services(&of(&stack.name), false).await?;
        old.retain(|service| !kept.contains(service.spec.name.as_str()));
        remove::services(session, old).await?;
    }
    for name in &stack.external_networks {
        external_network(session, name).await?;
    }
    networks(session, &stack.name, &stack.networks).await?;
    for spec in stack.secrets {
        secret(session, secret_spec_to_api(&spec)).await?;
    }
    for spec in stack.configs {
        config(session, config_spec_to_api(&spec)).await?;
    }
    let mut specs = Vec::with_capacity(stack.services.len());
    for template in &stack.services {
        specs.push(resolved(session, template).await?);
    }
    let login = args.with_registry_auth;
    let ids = services(session, &stack.name, specs, login).await?;
    if args.detach.unwrap_or(true) {
        return Ok(());
    }
    let wait = WaitArgs { detach: false, quiet: args.quiet };
    let mut failures = Vec::new();
    for id in ids {
        if let Err(failure) = progress::wait(session, &id, &wait).await {
            failures.push(Failure::new(format!("{id}: {failure}")));
        }
    }
    Failure::join(failures)
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

fn failed(what: &str, name: &str, error: skep_docker_api::ClientError) -> Failure {
    Failure::new(format!("failed to {what} {name}: {}", Failure::from(error)))
}

async fn networks(session: &Session, stack: &str, wanted: &[NetworkSpec]) -> Outcome {
    let have = session.client.networks(&of(stack)).await?;
    for spec in wanted {
        let name = &spec.annotations.name;
        if have.iter().any(|network| network.name == *name) {
            continue;
        }
        line(format!("Creating network {name}"))?;
        let config = |part: &skep_types::network::IpamConfig| IpamConfig {
            subnet: part.subnet.to_string(),
            ip_range: part.range.map(|range| range.to_string()).unwrap_or_default(),
            gateway: part.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
            ..Default::default()
        };
        let ipam = Ipam {
            driver: "default".into(),
            config: spec.ipam.iter().map(config).collect(),
            ..Default::default()
        };
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: if spec.driver.is_empty() { "overlay" } else { &spec.driver }.into(),
            enable_ipv6: spec.ipv6.then_some(true),
            ipam: (!spec.ipam.is_empty()).then_some(ipam),
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: spec.ingress,
            options: spec.driver_options.clone(),
            labels: spec.annotations.labels.clone(),
            ..Default::default()
        };
        session
            .client
            .network_create(&request)
            .await
            .map_err(|error| failed("create network", name, error))?;
    }
    Ok(())
}

async fn secret(session: &Session, spec: SecretSpec) -> Outcome {
    let client = &session.client;
    match client.secret(&spec.name).await {
        Ok(have) => client
            .secret_update(&have.id, have.version.index, &spec)
            .await
            .map_err(|error| failed("update secret", &spec.name, error)),
        Err(error) if error.is_not_found() => {
            line(format!("Creating secret {}", spec.name))?;
            let made = client.secret_create(&spec).await;
            made.map(drop).map_err(|error| failed("create secret", &spec.name, error))
        }
        Err(error) => Err(error.into()),
    }
}

async fn config(session: &Session, spec: ConfigSpec) -> Outcome {
    let client = &session.client;
    match client.config(&spec.name).await {
        Ok(have) => client
            .config_update(&have.id, have.version.index, &spec)
            .await
            .map_err(|error| failed("update config", &spec.name, error)),
        Err(error) if error.is_not_found() => {
            line(format!("Creating config {}", spec.name))?;
            let made = client.config_create(&spec).await;
            made.map(drop).map_err(|error| failed("create config", &spec.name, error))
        }
        Err(error) => Err(error.into()),
    }
}

fn file(one: &FileByName) -> Option<FileTarget> {
    let target = one.target.clone();
    let skep_types::container::FileTarget { name, uid, gid, mode } = target;
    Some(FileTarget { name, uid, gid, mode })
}

/// A service's spec with the ids of what it names.
async fn resolved(session: &Session, template: &ServiceTemplate) -> Outcome<ServiceSpec> {
    let client = &session.client;
    let within = |what: &str, name: &str| {
        Failure::new(format!("service {}: {what} not found: {name}", template.name))
    };
    let mut spec = service_spec_to_api(&template.spec);
    for network in &template.networks {
        // Networks of the nodes themselves have no id in the swarm.
        let target = match network.network.as_str() {
            own @ ("host" | "bridge" | "none") => own.to_owned(),
            name => client.network(name).await?.id,
        };
        spec.task_template.networks.push(NetworkAttachmentConfig {
            target,
            aliases: network.aliases.clone(),
            ..Default::default()
        });
    }
    spec.task_template.networks.sort_by(|a, b| a.target.cmp(&b.target));
    let container = spec.task_template.container_spec.get_or_insert_default();
    for one in &template.secrets {
        let found = client.secret(&one.name).await;
        let secret = found.map_err(|error| match error.is_not_found() {
            true => within("secret", &one.name),
            false => error.into(),
        })?;
        container.secrets.push(SecretReference {
            file: file(one),
            secret_id: secret.id,
            secret_name: one.name.clone(),
        });
    }
    for one in &template.configs {
        let found = client.config(&one.name).await;
        let config = found.map_err(|error| match error.is_not_found() {
            true => within("config", &one.name),
            false => error.into(),
        })?;
        container.configs.push(ConfigReference {
            file: file(one),
            config_id: config.id,
            config_name: one.name.clone(),
            runtime: None,
        });
    }
    Ok(spec)
}

async fn services(
    session: &Session,
    stack: &str,
    specs: Vec<ServiceSpec>,
    with_login: bool,
) -> Outcome<Vec<String>> {
    let client = &session.client;
    let have = client.services(&of(stack), false).await?;
    let mut ids = Vec::with_capacity(specs.len());
    for mut spec in specs {
        let name = spec.name.clone();
        let login = if with_login { login_for(session, &spec)? } else { None };
        let Some(old) = have.iter().find(|service| service.spec.name == name) else {
            line(format!("Creating service {name}"))?;
            let made = client
                .service_create(&spec, login.as_ref())
                .await
                .map_err(|error| failed("create service", &name, error))?;
            made.warnings.iter().for_each(warn);
            ids.push(made.id);
            continue;
        };
        line(format!("Updating service {name} (id: {})", old.id))?;
        let container = spec.task_template.container_spec.get_or_insert_default();
        let before = old.spec.task_template.container_spec.as_ref();
        if let Some(before) = before
            && old.spec.labels.get(IMAGE) == Some(&container.image)
        {
            // The same image: keep the digest it has been given, or all tasks would be replaced.
            container.image = before.image.clone();
        }
        spec.task_template.force_update = old.spec.task_template.force_update;
        let options = ServiceUpdateOptions {
            version: old.version.index,
            registry_auth: login,
            ..Default::default()
        };
        let updated = client
            .service_update(&old.id, &options, &spec)
            .await
            .map_err(|error| failed("update service", &name, error))?;
        updated.warnings.iter().flatten().for_each(warn);
        ids.push(old.id.clone());
    }
    Ok(ids)
}
