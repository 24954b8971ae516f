//! `skep service create`: a spec from flags.

use clap::{ArgAction, Args};
use skep_docker_api::json::{
    ContainerSpec, DeviceMapping, DnsConfig, EndpointSpec, GlobalService, Mount,
    NetworkAttachmentConfig, Placement, PlacementPreference, ReplicatedJob, ReplicatedService,
    ResourceRequirements, Resources, ServiceMode, ServiceSpec, SpreadOver, TaskSpec, Ulimit,
};
use skep_types::privilege;

use super::settings::Settings;
use super::{privileges, resolve};
use crate::commands::Session;
use crate::commands::progress::{self, WaitArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};
use crate::values::port::Ports;
use crate::values::reference::{self, Reference};
use crate::values::{device, generic, host, image, mount, network, pairs, ulimit};

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Specify configurations to expose to the service
    #[arg(long, value_name = "config", value_parser = reference::config)]
    config: Vec<Reference>,
    /// Placement constraints
    #[arg(long, value_name = "list")]
    constraint: Vec<String>,
    /// Container labels
    #[arg(long, value_name = "list")]
    container_label: Vec<String>,
    /// Add a host device to the container, on nodes that allow it
    #[arg(long, value_name = "list", value_parser = device::mapping)]
    device: Vec<DeviceMapping>,
    /// Set custom DNS servers
    #[arg(long, value_name = "list", value_parser = host::address)]
    dns: Vec<String>,
    /// Set DNS options
    #[arg(long, value_name = "list")]
    dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "list")]
    dns_search: Vec<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = pairs::variable)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// User defined resources
    #[arg(long, value_name = "list", value_parser = generic::term)]
    generic_resource: Vec<String>,
    /// GPU devices to add to the container ('all' to pass all GPUs)
    #[arg(long, value_name = "gpu-request", value_parser = privileges::gpus)]
    gpus: Option<String>,
    /// Set one or more supplementary user groups for the container
    #[arg(long, value_name = "list")]
    group: Vec<String>,
    /// Set one or more custom host-to-IP mappings (host:ip)
    #[arg(long, value_name = "list", value_parser = host::mapping)]
    host: Vec<String>,
    /// Service labels
    #[arg(short, long, value_name = "list")]
    label: Vec<String>,
    /// Service mode ("replicated", "global", "replicated-job", "global-job")
    #[arg(long, value_name = "string", default_value = "replicated")]
    mode: String,
    /// Attach a filesystem mount to the service
    #[arg(long, value_name = "mount", value_parser = mount::parse)]
    mount: Vec<Mount>,
    /// Service name
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    name: String,
    /// Network attachments
    #[arg(long, value_name = "network", value_parser = network::parse)]
    network: Vec<NetworkAttachmentConfig>,
    /// Add a placement preference
    #[arg(long, value_name = "pref", value_parser = preference)]
    placement_pref: Vec<PlacementPreference>,
    /// Give extended privileges to the container, on nodes that allow it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    privileged: Option<bool>,
    /// Publish a port as a node port
    #[arg(short, long, value_name = "port")]
    publish: Vec<Ports>,
    /// Specify secrets to expose to the service
    #[arg(long, value_name = "secret", value_parser = reference::secret)]
    secret: Vec<Reference>,
    /// Sysctl options
    #[arg(long, value_name = "list")]
    sysctl: Vec<String>,
    /// Ulimit options
    #[arg(long, value_name = "ulimit", value_parser = ulimit::parse)]
    ulimit: Vec<Ulimit>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    wait: WaitArgs,
    #[arg(required = true, hide = true, value_name = "IMAGE")]
    image: String,
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    arguments: Vec<String>,
}

pub fn preference(text: &str) -> Result<PlacementPreference, String> {
    match text.split_once('=') {
        Some(("spread", descriptor)) => {
            Ok(PlacementPreference { spread: Some(SpreadOver { descriptor: descriptor.into() }) })
        }
        Some((strategy, _)) if !strategy.is_empty() => {
            Err(format!("unsupported placement preference {strategy} (only spread is supported)"))
        }
        _ => Err("placement preference must be of the format \"<strategy>=<arg>\"".into()),
    }
}

impl CreateArgs {
    fn mode(&self) -> Outcome<ServiceMode> {
        let Settings { replicas, max_concurrent, replicas_max_per_node, .. } = self.settings;
        let only = |flag: &str, modes: &str| {
            Err(Failure::new(format!("{flag} can only be used with {modes} mode")))
        };
        let replicated = "replicated or replicated-job";
        let mut mode = ServiceMode::default();
        match self.mode.as_str() {
            "global" | "global-job" if replicas.is_some() => return only("replicas", replicated),
            "global" | "global-job" if replicas_max_per_node.is_some_and(|most| most > 0) => {
                return only("replicas-max-per-node", replicated);
            }
            "global" | "global-job" | "replicated" if max_concurrent.is_some() => {
                return only("max-concurrent", "replicated-job");
            }
            "global" => mode.global = Some(GlobalService {}),
            "global-job" => mode.global_job = Some(GlobalService {}),
            "replicated" => mode.replicated = Some(ReplicatedService { replicas }),
            "replicated-job" => {
                mode.replicated_job = Some(ReplicatedJob {
                    max_concurrent: max_concurrent.or(replicas),
                    total_completions: replicas,
                });
            }
            other => {
                return Err(Failure::new(format!(
                    "unknown mode: {other}, only replicated and global supported"
                )));
            }
        }
        Ok(mode)
    }

    async fn spec(&self, session: &Session) -> Outcome<ServiceSpec> {
        let mut ulimits = self.ulimit.clone();
        ulimits.sort_by(|a, b| a.name.cmp(&b.name));
        ulimits.dedup_by(|later, first| {
            let same = later.name == first.name;
            if same {
                *first = later.clone();
            }
            same
        });
        let mut labels = pairs::map(&self.container_label);
        privileges::change(&mut labels, self.privileged, &self.device, &[])?;
        labels.extend(self.gpus.clone().map(|gpus| (privilege::GPUS.to_owned(), gpus)));
        let container = ContainerSpec {
            image: image::tagged(&self.image),
            args: self.arguments.clone(),
            env: pairs::environment(&self.env_file, &self.env)?,
            labels,
            groups: self.group.clone(),
            mounts: self.mount.clone(),
            init: Some(false),
            dns_config: Some(DnsConfig {
                nameservers: self.dns.clone(),
                search: self.dns_search.clone(),
                options: self.dns_option.clone(),
            }),
            hosts: self.host.iter().map(|one| host::line(one)).collect(),
            sysctls: pairs::map(&self.sysctl),
            ulimits,
            ..Default::default()
        };
        let mut spec = ServiceSpec {
            name: self.name.clone(),
            labels: pairs::map(&self.label),
            mode: self.mode()?,
            task_template: TaskSpec {
                container_spec: Some(container),
                resources: Some(ResourceRequirements {
                    limits: Some(Default::default()),
                    reservations: Some(Resources {
                        generic: generic::parse(&self.generic_resource)?,
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                placement: Some(Placement {
                    constraints: self.constraint.clone(),
                    preferences: self.placement_pref.clone(),
                    ..Default::default()
                }),
                ..Default::default()
            },
            endpoint_spec: Some(EndpointSpec {
                mode: "vip".into(),
                ports: self.publish.iter().flat_map(|ports| ports.0.clone()).collect(),
            }),
            ..Default::default()
        };
        self.settings.apply(&mut spec)?;
        let job = spec.mode.replicated_job.is_some() || spec.mode.global_job.is_some();
        if job && (spec.update_config.is_some() || spec.rollback_config.is_some()) {
            return Err(Failure::new(
                "update and rollback configuration is not supported for jobs",
            ));
        }
        spec.task_template.networks = resolve::networks(&session.client, &self.network).await?;
        let secrets = resolve::secrets(&session.client, &self.secret).await?;
        let configs = resolve::configs(&session.client, &self.config).await?;
        let container = spec.task_template.container_spec.get_or_insert_default();
        (container.secrets, container.configs) = (secrets, configs);
        Ok(spec)
    }
}

pub async fn run(session: &Session, args: CreateArgs) -> Outcome {
    let mut spec = args.spec(session).await?;
    let auth = args.settings.registry_auth(session, &spec)?;
    let warning = match args.settings.no_resolve_image {
        true => None,
        false => super::pin::image(&session.client, &mut spec, auth.as_ref()).await,
    };
    let created = session.client.service_create(&spec, auth.as_ref()).await?;
    warning.iter().chain(&created.warnings).for_each(warn);
    line(&created.id)?;
    progress::wait(session, &created.id, &args.wait).await
}
