//! The one place that knows a host's networks and who is on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use skep_docker_api::json::{self, NetworkCreateRequest, Timestamp};
use skep_docker_api::{ApiError, Kind};
use skep_overlay_net::NameServer;
use skep_overlay_net::dns::client::Group;
use skep_overlay_net::dns::zone::Told;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::endpoint::{Endpoint, Record, SHORT_DIGITS, check};
use crate::held::{Behind, Held};
use crate::kernel::Kernel;
use crate::network::{BRIDGE, Driver, HOST, HostNetwork, NONE, Subnet};
use crate::options::{DefaultBridge, HostNetworksConfig, NetworkOptions};
use crate::pool::{choose_subnet, unique_local_subnet};
use crate::ports::Port;
use crate::records::Records;
use crate::rules::{self, Bridge, Forwarded, Opened};
use crate::swarm::SwarmNetworks;
use crate::{BridgeError, names, spec};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// See the module. Calls for one container are to come one after the other; those of different
/// containers and networks may come at once.
pub struct HostNetworks {
    pub(crate) options: NetworkOptions,
    pub(crate) kernel: Kernel,
    pub(crate) records: Records,
    pub(crate) resolv_conf: PathBuf,
    pub(crate) names: NameServer,
    /// None where nobody has said who the swarm's networks are.
    pub(crate) swarm: OnceLock<Arc<dyn SwarmNetworks>>,
    pub(crate) state: Mutex<State>,
    /// The script that was carried out last. Whoever changes the rules holds this first, and then
    /// reads the state, so that an older state never follows a newer one.
    applied: Mutex<Option<String>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub networks: BTreeMap<String, HostNetwork>,
    pub open: BTreeMap<String, Record>,
    pub live: BTreeMap<String, Live>,
    /// Somebody was on the default bridge since the daemon's start.
    pub default_stands: bool,
}

/// What of an open sandbox ends with the daemon, and is made again after.
#[derive(Default)]
pub(crate) struct Live {
    pub held: Vec<Held>,
    pub behind: Behind,
}

pub(crate) fn random_id() -> String {
    let bytes: [u8; 32] = rand::random();
    hex::encode(bytes)
}

fn now() -> Timestamp {
    Timestamp::from_unix_nanos(OffsetDateTime::now_utc().unix_timestamp_nanos())
}

impl State {
    /// A full id, else a name, else the start of an id that only one has.
    pub fn find(&self, given: &str) -> Result<&HostNetwork, ApiError> {
        let given = if given == "default" { BRIDGE } else { given };
        if let Some(network) = self.networks.get(given) {
            return Ok(network);
        }
        if let Some(network) = self.networks.values().find(|it| it.name == given) {
            return Ok(network);
        }
        let mut starts =
            self.networks.values().filter(|it| !given.is_empty() && it.id.starts_with(given));
        match (starts.next(), starts.count()) {
            (Some(network), 0) => Ok(network),
            (Some(_), more) => Err(ApiError::invalid(format!(
                "network {given} is ambiguous ({} matches found based on ID prefix)",
                more + 1
            ))),
            (None, _) => Err(ApiError::not_found(format!("network {given} not found"))),
        }
    }

    pub fn on<'a>(
        &'a self,
        network: &'a str,
    ) -> impl Iterator<Item = (&'a Record, &'a Endpoint)> + 'a {
        self.open.values().flat_map(move |record| {
            let on = record.endpoints.iter().filter(move |it| it.network == network);
            on.map(move |endpoint| (record, endpoint))
        })
    }

    pub fn taken(&self, network: &str) -> BTreeSet<IpAddr> {
        self.on(network).flat_map(|(_, it)| it.addresses.iter().map(IpNet::addr)).collect()
    }

    /// Whether a network's bridge is to stand: the default one from its first container on, a user's
    /// from its making to its removal.
    fn stands(&self, network: &HostNetwork) -> bool {
        network.driver == Driver::Bridge && (network.is_users() || self.default_stands)
    }

    fn show(&self, network: &HostNetwork) -> json::Network {
        let mut shown = network.show();
        let net = |net: Option<IpNet>| net.map(|it| it.to_string()).unwrap_or_default();
        let containers = self.on(&network.id).map(|(record, endpoint)| {
            let place = serde_json::json!({
                "Name": record.request.name,
                "EndpointID": endpoint.id,
                "MacAddress": endpoint.mac().to_string(),
                "IPv4Address": net(endpoint.v4()),
                "IPv6Address": net(endpoint.v6()),
            });
            let place = serde_json::from_value(place).unwrap_or_default();
            (record.request.container.clone(), place)
        });
        shown.containers = containers.collect();
        shown
    }

    fn script(&self) -> String {
        let standing = self.networks.values().filter(|it| self.stands(it));
        let bridges: Vec<Bridge> = standing
            .map(|it| Bridge {
                interface: it.interface.clone(),
                subnets: it.subnets.iter().map(|it| it.subnet).collect(),
                internal: it.internal,
                closed: match it.icc {
                    true => Vec::new(),
                    false => self.on(&it.id).map(|(_, at)| at.host_end()).collect(),
                },
                masquerade: it.masquerade,
            })
            .collect();
        let mut forwarded = Vec::new();
        let mut opened = Vec::new();
        for record in self.open.values() {
            let at = record.reached_at(&self.networks);
            forwarded.extend(record.published.iter().filter_map(|published| {
                let v4 = published.address.is_ipv4();
                let to = at.iter().find(|it| it.is_ipv4() == v4)?;
                Some(Forwarded { published: *published, to: *to })
            }));
            opened.extend(self.opened(record));
        }
        rules::host(&bridges, &forwarded, &opened)
    }

    /// What a container's links open: ports that the other exposes.
    fn opened(&self, record: &Record) -> Vec<Opened> {
        let mut opened = Vec::new();
        let closed = self.networks.values().find(|it| it.name == BRIDGE && !it.icc);
        let Some(bridge) = closed else { return opened };
        let at = |record: &Record| {
            let mut on = record.endpoints.iter().filter(|it| it.network == bridge.id);
            on.find_map(Endpoint::v4).map(|it| it.addr())
        };
        let Some(from) = at(record) else { return opened };
        for link in &record.request.links {
            let Some(other) = self.open.get(&link.container) else { continue };
            let Some(to) = at(other) else { continue };
            let ports = other.request.exposed.iter().filter_map(|it| it.parse::<Port>().ok());
            opened.extend(ports.map(|port| Opened {
                from,
                to,
                protocol: port.protocol,
                port: port.number,
            }));
        }
        opened
    }

    /// The networks that have names, each as a zone.
    pub fn zones(&self) -> BTreeMap<String, Told> {
        let users = self.networks.values().filter(|it| it.is_users());
        users.map(|it| (names::zone(&it.id), names::told(it, self.on(&it.id)))).collect()
    }
}

impl HostNetworks {
    /// Reads what is remembered. The kernel is changed by `restore` and by what is asked later.
    pub async fn open(config: HostNetworksConfig) -> Result<Self, BridgeError> {
        let HostNetworksConfig { state_dir, run_dir, host, resolv_conf, options, names } = config;
        let records = Records::open(&state_dir, &run_dir)?;
        let kernel = Kernel::new(host, &run_dir);
        let mut state =
            State { networks: records.networks()?, open: records.sandboxes()?, ..State::default() };
        default_networks(&mut state, &options, &kernel, &records).await?;
        Ok(Self {
            options,
            kernel,
            records,
            resolv_conf: resolv_conf.unwrap_or_else(|| RESOLV_CONF.into()),
            names,
            swarm: OnceLock::new(),
            state: Mutex::new(state),
            applied: Mutex::new(None),
        })
    }

    pub fn options(&self) -> &NetworkOptions {
        &self.options
    }

    /// Makes a network and gives its id.
    pub async fn create(&self, request: &NetworkCreateRequest) -> Result<String, BridgeError> {
        let routes = self.kernel.routes().await?;
        let network = {
            let mut state = self.state.lock().await;
            let networks: Vec<&HostNetwork> = state.networks.values().collect();
            let ground =
                spec::Ground { options: &self.options, networks: &networks, routes: &routes };
            let network = spec::build(request, random_id(), now(), &ground)?;
            self.records.put_network(&network)?;
            state.networks.insert(network.id.clone(), network.clone());
            network
        };
        if network.config_only {
            return Ok(network.id);
        }
        let made = match self.kernel.make_bridge(&network).await {
            Ok(()) => self.refresh().await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = made {
            self.forget(&network).await?;
            return Err(error);
        }
        Ok(network.id)
    }

    async fn forget(&self, network: &HostNetwork) -> Result<(), BridgeError> {
        if !network.config_only {
            self.kernel.remove_bridge(network).await?;
        }
        self.records.drop_network(&network.id)?;
        self.state.lock().await.networks.remove(&network.id);
        self.refresh().await
    }

    /// All networks, with the containers that run on them.
    pub async fn list(&self) -> Vec<json::Network> {
        let state = self.state.lock().await;
        state.networks.values().map(|it| state.show(it)).collect()
    }

    pub async fn inspect(&self, given: &str) -> Result<json::Network, BridgeError> {
        let state = self.state.lock().await;
        Ok(state.show(state.find(given)?))
    }

    /// Whether a network can give what a container asks of it, before the container starts.
    pub async fn check(
        &self,
        given: &str,
        settings: &json::EndpointSettings,
    ) -> Result<(), BridgeError> {
        let state = self.state.lock().await;
        if self.is_elsewhere(&state, given) {
            // Whether there is one the managers say, when the container starts.
            return Ok(());
        }
        Ok(check(state.find(given)?, settings)?)
    }

    /// Removes a user's network that nobody runs on.
    pub async fn remove(&self, given: &str) -> Result<(), BridgeError> {
        let network = {
            let mut state = self.state.lock().await;
            let network = state.find(given)?.clone();
            if !network.is_users() {
                let text =
                    format!("{} is a pre-defined network and cannot be removed", network.name);
                return Err(ApiError::new(Kind::Forbidden, text).into());
            }
            if network.config_only
                && state.networks.values().any(|it| it.config_from == network.name)
            {
                let text = format!("configuration network {:?} is in use", network.name);
                return Err(ApiError::new(Kind::Forbidden, text).into());
            }
            let active: Vec<String> = state
                .on(&network.id)
                .map(|(record, it)| {
                    format!("name:{:?} id:{:?}", record.request.name, &it.id[..SHORT_DIGITS])
                })
                .collect();
            if !active.is_empty() {
                let text = format!(
                    "error while removing network: network {} id {} has active endpoints ({})",
                    network.name,
                    network.id,
                    active.join(", ")
                );
                return Err(ApiError::new(Kind::Forbidden, text).into());
            }
            // From now on nobody comes to it; its record stays until its interface is gone.
            state.networks.remove(&network.id);
            network
        };
        self.forget(&network).await
    }

    /// Removes the users' networks that nobody runs on and that `wanted` picks; gives their names.
    pub async fn prune(&self, wanted: impl Fn(&json::Network) -> bool) -> Vec<String> {
        let mut pruned = Vec::new();
        for shown in self.list().await {
            let users = !matches!(shown.name.as_str(), BRIDGE | HOST | NONE);
            if !users || !shown.containers.is_empty() || !wanted(&shown) {
                continue;
            }
            match self.remove(&shown.id).await {
                Ok(()) => pruned.push(shown.name),
                Err(error) => tracing::warn!(network = shown.name, %error, "not pruned"),
            }
        }
        pruned
    }

    /// Makes the host's rules and what resolvers know follow the state.
    pub(crate) async fn refresh(&self) -> Result<(), BridgeError> {
        let mut applied = self.applied.lock().await;
        let (script, zones, bridges, ipv6) = {
            let state = self.state.lock().await;
            let zones = state.zones();
            let bridges = state.networks.values().any(|it| state.stands(it));
            let ipv6 = state.networks.values().any(|it| it.ipv6);
            (state.script(), zones, bridges, ipv6)
        };
        for gone in self.names.zones(Group::Host).await {
            if !zones.contains_key(&gone) {
                self.names.forget_zone(&gone).await;
            }
        }
        for (zone, told) in zones {
            self.names.set_zone(&zone, told).await;
        }
        if applied.as_ref() == Some(&script) {
            return Ok(());
        }
        if bridges && self.options.ip_forward {
            self.kernel.enable_forwarding(ipv6).await?;
        }
        if self.options.iptables {
            self.records.note_rules()?;
            self.kernel.rules(&self.kernel.host, &script).await?;
        }
        *applied = Some(script);
        Ok(())
    }
}

/// The networks that every host has. Their ids are remembered; what the options say of the default
/// bridge holds from the next start on, as in Docker.
async fn default_networks(
    state: &mut State,
    options: &NetworkOptions,
    kernel: &Kernel,
    records: &Records,
) -> Result<(), BridgeError> {
    for (name, driver) in [(HOST, Driver::Host), (NONE, Driver::Null)] {
        if !state.networks.values().any(|it| it.name == name) {
            let network = plain(name, driver);
            records.put_network(&network)?;
            state.networks.insert(network.id.clone(), network);
        }
    }
    let before = state.networks.values().find(|it| it.name == BRIDGE).cloned();
    let (interface, ours) = match &options.bridge {
        DefaultBridge::None => {
            if let Some(before) = before {
                records.drop_network(&before.id)?;
                state.networks.remove(&before.id);
            }
            return Ok(());
        }
        DefaultBridge::Ours(name) => (name.clone(), true),
        DefaultBridge::Given(name) => (name.clone(), false),
    };
    let mut network = before.clone().unwrap_or_else(|| plain(BRIDGE, Driver::Bridge));
    let address = match (ours, options.bip) {
        (_, Some(bip)) => Some(IpNet::V4(bip)),
        (false, None) => kernel.address_of(&interface).await?,
        (true, None) => None,
    };
    let v4_before =
        network.subnets.iter().find(|it| it.subnet.addr().is_ipv4() && !it.chosen).cloned();
    let v6_before =
        network.subnets.iter().find(|it| it.subnet.addr().is_ipv6() && !it.chosen).cloned();
    let mut subnet = match address {
        Some(address) => {
            let mut subnet = spec::automatic(address.trunc())?;
            subnet.gateway = address.addr();
            subnet
        }
        None => match v4_before {
            Some(before) => before,
            None => first_subnet(state, options, kernel).await?,
        },
    };
    // Whether the daemon's options chose it: without them another may be taken the next time.
    subnet.chosen = address.is_some();
    subnet.range = options.fixed_cidr.map(IpNet::V4);
    if let Some(range) = subnet.range
        && !subnet.subnet.contains(&range)
    {
        let text = format!("--fixed-cidr {range} is not within {}", subnet.subnet);
        return Err(ApiError::invalid(text).into());
    }
    network.subnets = vec![subnet];
    network.ipv6 = options.ipv6;
    if options.ipv6 {
        let mut subnet = match (options.fixed_cidr_v6, v6_before) {
            (Some(range), _) => spec::automatic(IpNet::V6(range))?,
            (None, Some(before)) => before,
            (None, None) => spec::automatic(unique_local_subnet(rand::random()))?,
        };
        subnet.chosen = options.fixed_cidr_v6.is_some();
        network.subnets.push(subnet);
    }
    (network.interface, network.ours) = (interface, ours);
    (network.icc, network.mtu) = (options.icc, options.mtu);
    network.masquerade = options.masquerade;
    let truth =
        |key: &str, value: bool| (format!("com.docker.network.bridge.{key}"), value.to_string());
    network.options = [
        truth("default_bridge", true),
        truth("enable_icc", options.icc),
        truth("enable_ip_masquerade", options.masquerade),
        ("com.docker.network.bridge.host_binding_ipv4".into(), options.bind.to_string()),
        ("com.docker.network.bridge.name".into(), network.interface.clone()),
        ("com.docker.network.driver.mtu".into(), options.mtu.to_string()),
    ]
    .into_iter()
    .collect();
    if before.as_ref() != Some(&network) {
        records.put_network(&network)?;
    }
    state.networks.insert(network.id.clone(), network);
    Ok(())
}

async fn first_subnet(
    state: &State,
    options: &NetworkOptions,
    kernel: &Kernel,
) -> Result<Subnet, BridgeError> {
    let real = state.networks.values().filter(|it| !it.config_only);
    let others = real.flat_map(|it| &it.subnets).map(|it| it.subnet);
    let taken: Vec<IpNet> =
        others.chain(options.reserved.iter().copied()).chain(kernel.routes().await?).collect();
    let subnet = choose_subnet(&options.pools, &taken).ok_or_else(|| {
        ApiError::invalid("all predefined address pools have been fully subnetted")
    })?;
    Ok(spec::automatic(subnet)?)
}

fn plain(name: &str, driver: Driver) -> HostNetwork {
    HostNetwork {
        id: random_id(),
        name: name.into(),
        driver,
        created: now(),
        subnets: Vec::new(),
        ipv4: true,
        ipv6: false,
        ipam_options: json::Map::default(),
        config_only: false,
        config_from: String::new(),
        internal: false,
        attachable: false,
        icc: true,
        masquerade: true,
        mtu: crate::options::MTU,
        interface: String::new(),
        ours: true,
        bind: None,
        prefix: "eth".into(),
        labels: json::Map::default(),
        options: json::Map::default(),
    }
}
