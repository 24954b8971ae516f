//! `skep service update`: the spec that stands, changed by flags.
//!
//! Invariant: a flag that names nothing new leaves the spec as it is, so that no task is replaced for nothing.

use std::collections::BTreeMap;

use clap::{ArgAction, Args};
use skep_docker_api::json::{
    ContainerSpec, DeviceMapping, DnsConfig, Map, Mount, NetworkAttachmentConfig, Placement,
    PlacementPreference, PortConfig, ServiceSpec, ServiceUpdateOptions, Ulimit,
};

use super::create::preference;
use super::settings::Settings;
use super::{privileges, resolve};
use crate::commands::Session;
use crate::commands::progress::{self, WaitArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};
use crate::values::port::Ports;
use crate::values::reference::{self, Reference};
use crate::values::words::{self, Words};
use crate::values::{device, generic, host, image, mount, network, pairs, ulimit};

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Service command args
    #[arg(long, value_name = "command", value_parser = words::split, allow_hyphen_values = true)]
    args: Option<Words>,
    /// Add or update a config file on a service
    #[arg(long, value_name = "config", value_parser = reference::config)]
    config_add: Vec<Reference>,
    /// Remove a configuration file
    #[arg(long, value_name = "list")]
    config_rm: Vec<String>,
    /// Add or update a placement constraint
    #[arg(long, value_name = "list")]
    constraint_add: Vec<String>,
    /// Remove a constraint
    #[arg(long, value_name = "list")]
    constraint_rm: Vec<String>,
    /// Add or update a container label
    #[arg(long, value_name = "list")]
    container_label_add: Vec<String>,
    /// Remove a container label by its key
    #[arg(long, value_name = "list")]
    container_label_rm: Vec<String>,
    /// Add or update a host device, on nodes that allow it
    #[arg(long, value_name = "list", value_parser = device::mapping)]
    device_add: Vec<DeviceMapping>,
    /// Remove a device by its path in the container
    #[arg(long, value_name = "list")]
    device_rm: Vec<String>,
    /// Add or update a custom DNS server
    #[arg(long, value_name = "list", value_parser = host::address)]
    dns_add: Vec<String>,
    /// Add or update a DNS option
    #[arg(long, value_name = "list")]
    dns_option_add: Vec<String>,
    /// Remove a DNS option
    #[arg(long, value_name = "list")]
    dns_option_rm: Vec<String>,
    /// Remove a custom DNS server
    #[arg(long, value_name = "list")]
    dns_rm: Vec<String>,
    /// Add or update a custom DNS search domain
    #[arg(long, value_name = "list")]
    dns_search_add: Vec<String>,
    /// Remove a DNS search domain
    #[arg(long, value_name = "list")]
    dns_search_rm: Vec<String>,
    /// Add or update an environment variable
    #[arg(long, value_name = "list", value_parser = pairs::variable)]
    env_add: Vec<String>,
    /// Remove an environment variable
    #[arg(long, value_name = "list")]
    env_rm: Vec<String>,
    /// Force update even if no changes require it
    #[arg(long)]
    force: bool,
    /// Add a Generic resource
    #[arg(long, value_name = "list", value_parser = generic::term)]
    generic_resource_add: Vec<String>,
    /// Remove a Generic resource
    #[arg(long, value_name = "list")]
    generic_resource_rm: Vec<String>,
    /// Add an additional supplementary user group to the container
    #[arg(long, value_name = "list")]
    group_add: Vec<String>,
    /// Remove a previously added supplementary user group from the container
    #[arg(long, value_name = "list")]
    group_rm: Vec<String>,
    /// Add a custom host-to-IP mapping ("host:ip")
    #[arg(long, value_name = "list", value_parser = host::mapping)]
    host_add: Vec<String>,
    /// Remove a custom host-to-IP mapping ("host:ip")
    #[arg(long, value_name = "list")]
    host_rm: Vec<String>,
    /// Service image tag
    #[arg(long, value_name = "string")]
    image: Option<String>,
    /// Add or update a service label
    #[arg(long, value_name = "list")]
    label_add: Vec<String>,
    /// Remove a label by its key
    #[arg(long, value_name = "list")]
    label_rm: Vec<String>,
    /// Add or update a mount on a service
    #[arg(long, value_name = "mount", value_parser = mount::parse)]
    mount_add: Vec<Mount>,
    /// Remove a mount by its target path
    #[arg(long, value_name = "list")]
    mount_rm: Vec<String>,
    /// Add a network
    #[arg(long, value_name = "network", value_parser = network::parse)]
    network_add: Vec<NetworkAttachmentConfig>,
    /// Remove a network
    #[arg(long, value_name = "list")]
    network_rm: Vec<String>,
    /// Add a placement preference
    #[arg(long, value_name = "pref", value_parser = preference)]
    placement_pref_add: Vec<PlacementPreference>,
    /// Remove a placement preference
    #[arg(long, value_name = "pref", value_parser = preference)]
    placement_pref_rm: Vec<PlacementPreference>,
    /// Give extended privileges to the container, on nodes that allow it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    privileged: Option<bool>,
    /// Add or update a published port
    #[arg(long, value_name = "port")]
    publish_add: Vec<Ports>,
    /// Remove a published port by its target port
    #[arg(long, value_name = "port")]
    publish_rm: Vec<Ports>,
    /// Rollback to previous specification
    #[arg(long)]
    rollback: bool,
    /// Add or update a secret on a service
    #[arg(long, value_name = "secret", value_parser = reference::secret)]
    secret_add: Vec<Reference>,
    /// Remove a secret
    #[arg(long, value_name = "list")]
    secret_rm: Vec<String>,
    /// Add or update a Sysctl option
    #[arg(long, value_name = "list")]
    sysctl_add: Vec<String>,
    /// Remove a Sysctl option
    #[arg(long, value_name = "list")]
    sysctl_rm: Vec<String>,
    /// Add or update a ulimit option
    #[arg(long, value_name = "ulimit", value_parser = ulimit::parse)]
    ulimit_add: Vec<Ulimit>,
    /// Remove a ulimit option
    #[arg(long, value_name = "list")]
    ulimit_rm: Vec<String>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    wait: WaitArgs,
    #[arg(hide = true, value_name = "SERVICE")]
    service: String,
}

fn pairs_changed(map: &mut Map, add: &[String], remove: &[String]) {
    for key in remove {
        map.remove(pairs::key(key));
    }
    map.extend(pairs::map(add));
}

/// Appends, removes, and sorts, so that the order of flags changes nothing.
fn names_changed(list: &mut Vec<String>, add: &[String], remove: &[String]) {
    if add.is_empty() && remove.is_empty() {
        return;
    }
    list.extend_from_slice(add);
    list.retain(|name| !remove.contains(name));
    list.sort();
    list.dedup();
}

fn same_port(port: &PortConfig, other: &PortConfig) -> bool {
    let or =
        |text: &str, default: &str| if text.is_empty() { default.into() } else { text.to_owned() };
    port.target_port == other.target_port
        && or(&port.protocol, "tcp") == or(&other.protocol, "tcp")
        && or(&port.publish_mode, "ingress") == or(&other.publish_mode, "ingress")
}

impl UpdateArgs {
    async fn change(&self, session: &Session, spec: &mut ServiceSpec) -> Outcome {
        if !self.generic_resource_add.is_empty() || !self.generic_resource_rm.is_empty() {
            let resources = spec.task_template.resources.get_or_insert_default();
            let reserved = &mut resources.reservations.get_or_insert_default().generic;
            generic::change(reserved, &self.generic_resource_add, &self.generic_resource_rm)?;
        }
        if let Some(replicas) = self.settings.replicas {
            let Some(mode) = &mut spec.mode.replicated else {
                return Err(Failure::new("replicas can only be used with replicated mode"));
            };
            mode.replicas = Some(replicas);
        }
        if let Some(concurrent) = self.settings.max_concurrent {
            // DEVIATION: Docker takes the flag for any service and forgets it.
            let Some(job) = &mut spec.mode.replicated_job else {
                return Err(Failure::new(
                    "max-concurrent can only be used with replicated-job mode",
                ));
            };
            job.max_concurrent = Some(concurrent);
        }
        self.settings.apply(spec)?;
        pairs_changed(&mut spec.labels, &self.label_add, &self.label_rm);
        self.container(spec.task_template.container_spec.get_or_insert_default())?;
        if !self.constraint_add.is_empty()
            || !self.constraint_rm.is_empty()
            || !self.placement_pref_add.is_empty()
            || !self.placement_pref_rm.is_empty()
        {
            self.placement(spec.task_template.placement.get_or_insert_default());
        }
        if !self.publish_add.is_empty() || !self.publish_rm.is_empty() {
            self.ports(&mut spec.endpoint_spec.get_or_insert_default().ports);
        }
        self.networks(session, &mut spec.task_template.networks).await?;
        let container = spec.task_template.container_spec.get_or_insert_default();
        container.secrets.retain(|one| !self.secret_rm.contains(&one.secret_name));
        container.secrets.extend(resolve::secrets(&session.client, &self.secret_add).await?);
        container.configs.retain(|one| !self.config_rm.contains(&one.config_name));
        container.configs.extend(resolve::configs(&session.client, &self.config_add).await?);
        if self.force {
            spec.task_template.force_update += 1;
        }
        Ok(())
    }

    fn container(&self, container: &mut ContainerSpec) -> Outcome {
        if let Some(image) = &self.image {
            container.image = image::tagged(image);
        }
        if let Some(Words(words)) = &self.args {
            container.args = words.clone();
        }
        pairs_changed(&mut container.labels, &self.container_label_add, &self.container_label_rm);
        let labels = &mut container.labels;
        privileges::change(labels, self.privileged, &self.device_add, &self.device_rm)?;
        pairs_changed(&mut container.sysctls, &self.sysctl_add, &self.sysctl_rm);
        names_changed(&mut container.groups, &self.group_add, &self.group_rm);
        container.env.retain(|pair| !self.env_rm.iter().any(|name| name == pairs::key(pair)));
        for pair in &self.env_add {
            let pair = pairs::resolved(pair);
            match container.env.iter_mut().find(|have| pairs::key(have) == pairs::key(&pair)) {
                Some(have) => *have = pair,
                None => container.env.push(pair),
            }
        }
        if !self.ulimit_add.is_empty() || !self.ulimit_rm.is_empty() {
            let all = container.ulimits.drain(..).chain(self.ulimit_add.iter().cloned());
            let mut limits: BTreeMap<String, Ulimit> = BTreeMap::new();
            for limit in all {
                limits.insert(limit.name.clone(), limit);
            }
            for name in &self.ulimit_rm {
                limits.remove(pairs::key(name));
            }
            container.ulimits = limits.into_values().collect();
        }
        self.dns(&mut container.dns_config);
        self.hosts(&mut container.hosts);
        self.mounts(&mut container.mounts)
    }

    fn dns(&self, config: &mut Option<DnsConfig>) {
        let changes = [
            &self.dns_add,
            &self.dns_rm,
            &self.dns_option_add,
            &self.dns_option_rm,
            &self.dns_search_add,
            &self.dns_search_rm,
        ];
        if changes.iter().all(|list| list.is_empty()) {
            return;
        }
        let config = config.get_or_insert_default();
        names_changed(&mut config.nameservers, &self.dns_add, &self.dns_rm);
        names_changed(&mut config.options, &self.dns_option_add, &self.dns_option_rm);
        names_changed(&mut config.search, &self.dns_search_add, &self.dns_search_rm);
    }

    /// Lines keep their order: of two for a name the first counts.
    fn hosts(&self, hosts: &mut Vec<String>) {
        if self.host_add.is_empty() && self.host_rm.is_empty() {
            return;
        }
        let mut out: Vec<String> = Vec::new();
        for entry in hosts.iter() {
            let mut words = entry.split_whitespace();
            let Some(ip) = words.next() else { continue };
            let kept: Vec<_> = words
                .filter(|name| {
                    !self.host_rm.iter().any(|remove| {
                        let (host, only) = remove.split_once(':').unwrap_or((remove, ""));
                        host == *name && (only.is_empty() || only == ip)
                    })
                })
                .collect();
            if !kept.is_empty() {
                out.push(format!("{ip} {}", kept.join(" ")));
            }
        }
        for entry in &self.host_add {
            let entry = host::line(entry);
            if !out.contains(&entry) {
                out.push(entry);
            }
        }
        *hosts = out;
    }

    fn mounts(&self, mounts: &mut Vec<Mount>) -> Outcome {
        if self.mount_add.is_empty() && self.mount_rm.is_empty() {
            return Ok(());
        }
        let mut by_target: BTreeMap<String, Mount> =
            mounts.drain(..).map(|mount| (mount.target.clone(), mount)).collect();
        let mut added = std::collections::BTreeSet::new();
        for mount in &self.mount_add {
            if !added.insert(&mount.target) {
                return Err(Failure::new("duplicate mount target"));
            }
            by_target.insert(mount.target.clone(), mount.clone());
        }
        for target in &self.mount_rm {
            by_target.remove(target);
        }
        *mounts = by_target.into_values().collect();
        mounts.sort_by(|a, b| (&a.source, &a.target).cmp(&(&b.source, &b.target)));
        Ok(())
    }

    fn placement(&self, placement: &mut Placement) {
        names_changed(&mut placement.constraints, &self.constraint_add, &self.constraint_rm);
        placement.preferences.retain(|one| !self.placement_pref_rm.contains(one));
        placement.preferences.extend(self.placement_pref_add.iter().cloned());
    }

    fn ports(&self, ports: &mut Vec<PortConfig>) {
        let removed: Vec<_> = self.publish_rm.iter().flat_map(|ports| &ports.0).collect();
        let had = ports.clone();
        ports.retain(|port| !removed.iter().any(|other| same_port(port, other)));
        for port in self.publish_add.iter().flat_map(|ports| &ports.0) {
            let stood = |other: &PortConfig| {
                same_port(other, port) && other.published_port == port.published_port
            };
            if !had.iter().any(stood) {
                ports.push(port.clone());
            }
        }
        ports.sort_by_key(|port| {
            format!(
                "{}:{}/{}/{}",
                port.published_port, port.target_port, port.protocol, port.publish_mode
            )
        });
    }

    async fn networks(
        &self,
        session: &Session,
        networks: &mut Vec<NetworkAttachmentConfig>,
    ) -> Outcome {
        for name in &self.network_rm {
            let id = resolve::network(&session.client, name).await?;
            networks.retain(|network| network.target != id);
        }
        for added in &self.network_add {
            let target = resolve::network(&session.client, &added.target).await?;
            if networks.iter().any(|network| network.target == target) {
                return Err(Failure::new(format!(
                    "service is already attached to network {}",
                    added.target
                )));
            }
            networks.push(NetworkAttachmentConfig { target, ..added.clone() });
        }
        if !self.network_add.is_empty() || !self.network_rm.is_empty() {
            networks.sort_by(|a, b| a.target.cmp(&b.target));
        }
        Ok(())
    }
}

pub async fn run(session: &Session, args: UpdateArgs) -> Outcome {
    let service = session.client.service(&args.service, false).await?;
    let mut spec = service.spec.clone();
    args.change(session, &mut spec).await?;
    if args.rollback && spec != service.spec {
        return Err(Failure::new("other flags may not be combined with --rollback"));
    }
    let options = ServiceUpdateOptions {
        version: service.version.index,
        rollback_previous: args.rollback,
        registry_auth: args.settings.registry_auth(session, &spec)?,
        ..Default::default()
    };
    let auth = options.registry_auth.as_ref();
    let warning = match &args.image {
        Some(_) if !args.settings.no_resolve_image => {
            super::pin::image(&session.client, &mut spec, auth).await
        }
        _ => None,
    };
    let updated = session.client.service_update(&service.id, &options, &spec).await?;
    warning.iter().for_each(warn);
    updated.warnings.iter().flatten().for_each(warn);
    line(&args.service)?;
    progress::wait(session, &service.id, &args.wait).await
}
