//! A container's networks: what its documents wish, and how it comes to them and from them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use skep_bridge::{DnsOptions, Link, Sandbox, SandboxMode, SandboxRequest};
use skep_docker_api::json::{ContainerConfig, EndpointSettings, HostConfig, Map, NetworkingConfig};
use skep_docker_api::{ApiError, Kind};
use skep_idmap::Owner;
use skep_types::NetworkId;

use crate::containers::{Containers, Result};
use crate::entry::Entry;
use crate::etc::EtcFiles;
use crate::links;
use crate::record::{Phase, Record};

/// The networks by name, with what is wished of each. Empty where a mode rules that out.
pub fn wished(
    host: &HostConfig,
    config: &ContainerConfig,
    networking: NetworkingConfig,
) -> Result<BTreeMap<String, EndpointSettings>> {
    check_ports(host)?;
    let mut networks = networking.endpoints_config;
    let mode = host.network_mode.as_str();
    if config.network_disabled || matches!(mode, "host" | "none") || mode.starts_with("container:")
    {
        return Ok(BTreeMap::new());
    }
    // `default` and an unnamed entry mean the mode's.
    for alias in ["", "default"] {
        if let Some(settings) = networks.remove(alias) {
            networks.entry(mode.to_owned()).or_insert(settings);
        }
    }
    let main = networks.entry(mode.to_owned()).or_default();
    if main.mac_address.is_empty() {
        main.mac_address.clone_from(&config.mac_address);
    }
    Ok(networks)
}

/// Numbers, and ranges of numbers on the host's side; in Docker's words.
fn check_ports(host: &HostConfig) -> Result<()> {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_wish = |text: &str| match text.split_once('-') {
        Some((first, last)) => is_port(first) && is_port(last),
        None => text.is_empty() || is_port(text),
    };
    let wrong = |text: &str| ApiError::invalid(format!("invalid port specification: {text:?}"));
    for (port, bindings) in &host.port_bindings {
        let inside = port.split('/').next().unwrap_or_default();
        if !is_port(inside) {
            return Err(wrong(inside));
        }
        if let Some(binding) = bindings.iter().find(|it| !is_wish(&it.host_port)) {
            return Err(wrong(&binding.host_port));
        }
    }
    Ok(())
}

pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// What of a network is told with a change.
struct Named {
    id: String,
    name: String,
}

/// A network that a container is on, by its name or id.
fn of_sandbox(sandbox: &Sandbox, given: &str) -> Option<Named> {
    let mut on = sandbox.networks.iter();
    let (name, at) = on.find(|(name, at)| *name == given || at.network_id == given)?;
    Some(Named { id: at.network_id.clone(), name: name.clone() })
}

impl Containers {
    /// A network of this host. Of one that may be the swarm's no more is known than what was given.
    async fn named(&self, given: &str) -> Result<Named> {
        let networks = &self.parts.networks;
        match networks.inspect(given).await.map_err(ApiError::from) {
            Ok(shown) => Ok(Named { id: shown.id, name: shown.name }),
            Err(error) if error.kind == Kind::NotFound && networks.is_of_swarm(given).await => {
                Ok(Named { id: String::new(), name: given.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// What the networks are asked for at a start.
    pub(crate) fn sandbox_request(&self, record: &Record) -> Result<SandboxRequest> {
        let (config, host) = (&record.config, &record.host_config);
        let mode = match host.network_mode.as_str() {
            "host" => SandboxMode::Host,
            "none" => SandboxMode::None,
            _ if config.network_disabled => SandboxMode::None,
            mode => match mode.strip_prefix("container:") {
                Some(other) => {
                    let other = self.find(other)?;
                    if other.with(|it| it.state.phase != Phase::Running) {
                        return Err(ApiError::conflict(format!(
                            "cannot join network namespace of a non running container: {}",
                            other.id
                        )));
                    }
                    SandboxMode::Container(other.id.clone())
                }
                None => SandboxMode::Networks(record.networks.clone()),
            },
        };
        let mut linked = Vec::new();
        for text in host.links.iter().flatten() {
            let (other, alias) = links::parts(text);
            let other = self.find(other)?;
            if other.with(|it| it.state.phase != Phase::Running) {
                let (theirs, ours) = (other.with(|it| it.name.clone()), &record.name);
                return Err(ApiError::conflict(format!(
                    "Cannot link to a non running container: /{theirs} AS /{ours}/{alias}"
                )));
            }
            linked.push(Link { container: other.id.clone(), alias: alias.to_owned() });
        }
        let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        let servers = host.dns.iter().flatten().map(|it| {
            it.parse::<IpAddr>()
                .map_err(|_| ApiError::invalid(format!("{it} is not an ip address")))
        });
        Ok(SandboxRequest {
            container: record.id.clone(),
            name: record.name.clone(),
            hostname: config.hostname.clone(),
            mode,
            ports: host.port_bindings.clone(),
            exposed: config.exposed_ports.keys().cloned().collect::<BTreeSet<_>>(),
            publish_all: host.publish_all_ports,
            links: linked,
            dns: DnsOptions {
                servers: servers.collect::<Result<_>>()?,
                search: words(&host.dns_search),
                options: words(&host.dns_options),
            },
            owner: Owner::Host,
        })
    }

    /// The files of /etc; those of another container where its network is shared.
    pub(crate) fn etc_of(&self, record: &Record) -> EtcFiles {
        let owner = record.host_config.network_mode.strip_prefix("container:");
        EtcFiles::at(&self.records.place(owner.unwrap_or(&record.id)))
    }

    /// Writes them for a container that has its own.
    pub(crate) async fn write_etc(&self, record: &Record, sandbox: &Sandbox) -> Result<()> {
        if record.host_config.network_mode.starts_with("container:") {
            return Ok(());
        }
        let gateway = self.gateway().await;
        let extra = record.host_config.extra_hosts.clone().unwrap_or_default();
        let files = self.etc_of(record);
        files
            .write(&record.config.hostname, &extra, sandbox, gateway)
            .and_then(|()| files.own(self.root_outside()))
            .map_err(|error| {
                ApiError::system(format!("failed to write the container's /etc: {error}"))
            })
    }

    /// What `host-gateway` means: what the daemon was told, or the default bridge's address.
    async fn gateway(&self) -> Option<IpAddr> {
        if let Some(told) = self.parts.defaults.get().host_gateway {
            return Some(told);
        }
        let bridge = self.parts.networks.inspect("bridge").await.ok()?;
        bridge.ipam.config.iter().find_map(|it| it.gateway.parse().ok())
    }

    /// Puts a container on one more network; at once, where it runs.
    pub async fn connect(
        &self,
        network: &str,
        given: &str,
        settings: EndpointSettings,
    ) -> Result<()> {
        let entry = self.find(given)?;
        let _change = entry.change.lock().await;
        let mut shown = self.named(network).await?;
        let mode = entry.with(|it| it.host_config.network_mode.clone());
        if matches!(mode.as_str(), "host" | "none") || mode.starts_with("container:") {
            return Err(ApiError::new(
                Kind::Forbidden,
                match mode.strip_prefix("container:") {
                    Some(_) => "container sharing network namespace with another container or host cannot be connected to any other network".to_owned(),
                    None => format!("container cannot be connected to network {}: its network mode is {mode}", shown.name),
                },
            ));
        }
        if entry
            .with(|it| it.networks.contains_key(&shown.name) || it.networks.contains_key(&shown.id))
        {
            let name = entry.with(|it| it.name.clone());
            return Err(ApiError::new(
                Kind::Forbidden,
                format!("endpoint with name {name} already exists in network {}", shown.name),
            ));
        }
        if entry.with(|it| it.state.phase == Phase::Running) {
            let joined = self.parts.networks.connect(&entry.id, network, settings.clone()).await;
            let sandbox = joined.map_err(ApiError::from)?;
            self.write_etc(&entry.record(), &sandbox).await?;
            shown = of_sandbox(&sandbox, network).unwrap_or(shown);
        } else {
            self.parts.networks.check(network, &settings).await.map_err(ApiError::from)?;
        }
        entry.alter(|it| it.networks.insert(shown.name.clone(), settings));
        self.save(&entry, true).await?;
        self.tell_network("connect", &shown.id, &shown.name, &entry);
        Ok(())
    }

    /// Takes it off one.
    pub async fn disconnect(&self, network: &str, given: &str) -> Result<()> {
        let entry = self.find(given)?;
        let _change = entry.change.lock().await;
        let mut shown = self.named(network).await?;
        if let Some(sandbox) = self.parts.networks.sandbox(&entry.id).await {
            shown = of_sandbox(&sandbox, network).unwrap_or(shown);
        }
        let key = entry.with(|it| {
            [&shown.name, &shown.id].into_iter().find(|key| it.networks.contains_key(*key)).cloned()
        });
        let Some(key) = key else {
            return Err(ApiError::new(
                Kind::Forbidden,
                format!("container {} is not connected to network {}", entry.id, shown.name),
            ));
        };
        if entry.with(|it| it.state.phase == Phase::Running) {
            let left = self.parts.networks.disconnect(&entry.id, network).await;
            let sandbox = left.map_err(ApiError::from)?;
            self.write_etc(&entry.record(), &sandbox).await?;
        }
        entry.alter(|it| it.networks.remove(&key));
        self.save(&entry, true).await?;
        self.tell_network("disconnect", &shown.id, &shown.name, &entry);
        Ok(())
    }

    /// Ends what a kill cut short: the container's record says which networks it is on.
    pub(crate) async fn settle_networks(&self, entry: &Entry) -> Result<()> {
        let record = entry.record();
        let Some(sandbox) = self.parts.networks.sandbox(&entry.id).await else { return Ok(()) };
        if record.networks.is_empty() {
            return Ok(());
        }
        let mut wanted = BTreeMap::new();
        for (given, settings) in &record.networks {
            let shown = match of_sandbox(&sandbox, given) {
                Some(on) => on,
                None => self.named(given).await?,
            };
            wanted.insert(shown.name, settings.clone());
        }
        let mut settled = None;
        for name in sandbox.networks.keys().filter(|it| !wanted.contains_key(*it)) {
            let left = self.parts.networks.disconnect(&entry.id, name).await;
            settled = Some(left.map_err(ApiError::from)?);
        }
        wanted.retain(|name, _| !sandbox.networks.contains_key(name));
        for (name, settings) in wanted {
            let joined = self.parts.networks.connect(&entry.id, &name, settings).await;
            settled = Some(joined.map_err(ApiError::from)?);
        }
        match settled {
            Some(sandbox) => self.write_etc(&record, &sandbox).await,
            None => Ok(()),
        }
    }

    pub(crate) fn tell_network(&self, action: &str, id: &str, name: &str, entry: &Entry) {
        let kind = match name {
            // The host's own networks are called as their drivers are.
            "host" | "none" => name,
            _ if id.parse::<NetworkId>().is_ok() => "overlay",
            _ => "bridge",
        };
        let attributes = Map::from([
            ("name".to_owned(), name.to_owned()),
            ("type".to_owned(), kind.to_owned()),
            ("container".to_owned(), entry.id.clone()),
        ]);
        self.parts.events.publish("network", action, id, attributes);
    }
}
