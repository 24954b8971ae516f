//! Makes what a stack lacks and changes what differs, in the order in which one thing needs another.

use skep_compose::{FileByName, NetworkByName, ServiceTemplate};
use skep_docker_api::ClientError;
use skep_docker_api::convert::service_spec_to_api;
use skep_docker_api::json::{
    ConfigReference, FileTarget, Ipam, IpamConfig, Network, NetworkAttachmentConfig,
    NetworkCreateRequest, SecretReference, Service, ServiceSpec, ServiceUpdateOptions, TaskSpec,
};
use skep_types::NetworkSpec;

use super::NAMESPACE;
use crate::commands::Session;
use crate::commands::service::{pin, settings::login_for};
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};

/// Docker's label for the image as the file names it.
const IMAGE: &str = "com.docker.stack.image";

fn failed(what: &str, name: &str, error: ClientError) -> Failure {
    Failure::new(format!("failed to {what} {name}: {}", Failure::from(error)))
}

/// Whether a network that stands is the stack's own one of this name.
pub fn is_made(network: &Network, spec: &NetworkSpec) -> bool {
    network.name == spec.annotations.name
        && network.labels.get(NAMESPACE) == spec.annotations.labels.get(NAMESPACE)
}

/// Makes the networks that are missing.
pub async fn networks(session: &Session, have: &[Network], wanted: &[NetworkSpec]) -> Outcome {
    for spec in wanted {
        let name = &spec.annotations.name;
        if have.iter().any(|network| is_made(network, spec)) {
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

fn file(one: &FileByName) -> Option<FileTarget> {
    let target = one.target.clone();
    let skep_types::container::FileTarget { name, uid, gid, mode } = target;
    Some(FileTarget { name, uid, gid, mode })
}

/// A service's spec as its template has it: what it names is named, and has no id.
pub fn by_name(template: &ServiceTemplate) -> ServiceSpec {
    let mut spec = service_spec_to_api(&template.spec);
    let attach = |network: &NetworkByName| NetworkAttachmentConfig {
        target: network.network.clone(),
        aliases: network.aliases.clone(),
        ..Default::default()
    };
    spec.task_template.networks = template.networks.iter().map(attach).collect();
    let container = spec.task_template.container_spec.get_or_insert_default();
    let secret = |one: &FileByName| SecretReference {
        file: file(one),
        secret_id: String::new(),
        secret_name: one.name.clone(),
    };
    container.secrets = template.secrets.iter().map(secret).collect();
    let config = |one: &FileByName| ConfigReference {
        file: file(one),
        config_id: String::new(),
        config_name: one.name.clone(),
        runtime: None,
    };
    container.configs = template.configs.iter().map(config).collect();
    spec
}

/// A service's spec with the ids of what it names.
pub async fn resolved(session: &Session, template: &ServiceTemplate) -> Outcome<ServiceSpec> {
    let client = &session.client;
    let within = |what: &str, name: &str, error: ClientError| match error.is_not_found() {
        true => Failure::new(format!("service {}: {what} not found: {name}", template.name)),
        false => error.into(),
    };
    let mut spec = by_name(template);
    for network in &mut spec.task_template.networks {
        // Networks of the nodes themselves have no id in the swarm.
        if !matches!(network.target.as_str(), "host" | "bridge" | "none") {
            network.target = client.network(&network.target).await?.id;
        }
    }
    spec.task_template.networks.sort_by(|a, b| a.target.cmp(&b.target));
    let container = spec.task_template.container_spec.get_or_insert_default();
    for one in &mut container.secrets {
        let found = client.secret(&one.secret_name).await;
        one.secret_id = found.map_err(|error| within("secret", &one.secret_name, error))?.id;
    }
    for one in &mut container.configs {
        let found = client.config(&one.config_name).await;
        one.config_id = found.map_err(|error| within("config", &one.config_name, error))?.id;
    }
    Ok(spec)
}

/// Takes over from the service that stands what a file does not say.
pub fn carry_over(spec: &mut ServiceSpec, old: &Service) {
    let container = spec.task_template.container_spec.get_or_insert_default();
    if let Some(before) = &old.spec.task_template.container_spec
        && old.spec.labels.get(IMAGE) == Some(&container.image)
    {
        // The same image: keep the digest it has been given, or all tasks would be replaced.
        container.image = before.image.clone();
        let platforms = old.spec.task_template.placement.as_ref().map(|it| &it.platforms);
        if let Some(platforms) = platforms.filter(|platforms| !platforms.is_empty()) {
            let placement = spec.task_template.placement.get_or_insert_default();
            placement.platforms = platforms.clone();
        }
    }
    spec.task_template.force_update = old.spec.task_template.force_update;
}

/// When a registry is asked for the digest that a tag stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolve {
    Always,
    /// Only where the file names another image than before.
    Changed,
    Never,
}

/// What goes with the services.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    pub with_login: bool,
    pub resolve: Resolve,
}

fn pinned_anew(spec: &ServiceSpec, old: &Service, resolve: Resolve) -> bool {
    let image = spec.task_template.container_spec.as_ref().map(|container| &container.image);
    match resolve {
        Resolve::Always => true,
        Resolve::Changed => old.spec.labels.get(IMAGE) != image,
        Resolve::Never => false,
    }
}

/// Makes the services that are not among those that the stack has, and updates the others; gives all their ids.
pub async fn services(
    session: &Session,
    have: &[Service],
    specs: Vec<ServiceSpec>,
    sending: Sending,
) -> Outcome<Vec<String>> {
    let client = &session.client;
    let mut ids = Vec::with_capacity(specs.len());
    for mut spec in specs {
        let name = spec.name.clone();
        let login = if sending.with_login { login_for(session, &spec)? } else { None };
        let Some(old) = have.iter().find(|service| service.spec.name == name) else {
            line(format!("Creating service {name}"))?;
            if sending.resolve != Resolve::Never {
                // As docker, which says nothing of it here.
                let _ = pin::image(client, &mut spec, login.as_ref()).await;
            }
            let made = client
                .service_create(&spec, login.as_ref())
                .await
                .map_err(|error| failed("create service", &name, error))?;
            made.warnings.iter().for_each(warn);
            ids.push(made.id);
            continue;
        };
        line(format!("Updating service {name} (id: {})", old.id))?;
        let asked = pinned_anew(&spec, old, sending.resolve).then(|| spec.clone());
        carry_over(&mut spec, old);
        if let Some(mut asked) = asked {
            // DEVIATION: docker forgets the digest where no registry can be asked, and all tasks are
            // replaced. What was recorded before is better than nothing.
            if pin::image(client, &mut asked, login.as_ref()).await.is_none() {
                spec.task_template = TaskSpec {
                    force_update: spec.task_template.force_update,
                    ..asked.task_template
                };
            }
        }
        // A registry takes its time, and an update that ends meanwhile changes the service's status.
        // Another spec is somebody else's change, which is not written over.
        let now = client.service(&old.id, false).await;
        let now = now.map_err(|error| failed("update service", &name, error))?;
        let version = if now.spec == old.spec { now.version.index } else { old.version.index };
        let options = ServiceUpdateOptions { version, registry_auth: login, ..Default::default() };
        let updated = client
            .service_update(&old.id, &options, &spec)
            .await
            .map_err(|error| failed("update service", &name, error))?;
        updated.warnings.iter().flatten().for_each(warn);
        ids.push(old.id.clone());
    }
    Ok(ids)
}
