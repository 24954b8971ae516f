//! A container's sandbox from its opening to its end, and through restarts of the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::PoisonError;

use skep_docker_api::json::EndpointSettings;
use skep_docker_api::{ApiError, Kind};
use skep_overlay_kernel::Namespace;
use skep_overlay_kernel::netlink::Netlink;
use skep_overlay_net::dns::client::{Asker, Forward, Group};
use skep_overlay_net::dns::server::ADDRESS;

use crate::endpoint::{self, Endpoint, Record, SHORT_DIGITS, Wanted, way_out};
use crate::held::{Bound, Passing, bind_all, hold};
use crate::host_networks::{HostNetworks, Live, State, random_id};
use crate::network::{Driver, HOST, NONE};
use crate::ports::{self, Defaults, Published, Wish};
use crate::sandbox::{Sandbox, SandboxMode, SandboxRequest, Shown};
use crate::{BridgeError, names, resolv, rules};

/// The kernel's, where it does not say.
const EPHEMERAL: (u16, u16) = (32_768, 60_999);

impl HostNetworks {
    /// Gives a container its namespace and its places on networks. When it fails, nothing of it
    /// is left.
    pub async fn open_sandbox(&self, request: SandboxRequest) -> Result<Sandbox, BridgeError> {
        let container = request.container.clone();
        let opened = self.try_open(request).await;
        if opened.is_err()
            && let Err(error) = self.close_sandbox(&container).await
        {
            tracing::warn!(container, %error, "what a failed sandbox left is not taken down yet");
        }
        opened
    }

    async fn try_open(&self, request: SandboxRequest) -> Result<Sandbox, BridgeError> {
        let container = request.container.clone();
        if !container.bytes().all(|it| it.is_ascii_hexdigit()) || container.len() < SHORT_DIGITS {
            return Err(ApiError::invalid(format!("invalid container id {container:?}")).into());
        }
        if self.state.lock().await.open.contains_key(&container) {
            self.close_sandbox(&container).await?;
        }
        let mode = request.mode.clone();
        let mut of_swarm = Vec::new();
        {
            let mut state = self.state.lock().await;
            let record =
                Record { request, endpoints: Vec::new(), published: Vec::new(), swarm: None };
            state.open.insert(container.clone(), record);
            state.live.insert(container.clone(), Live::default());
            if let SandboxMode::Networks(networks) = &mode {
                for (given, settings) in networks {
                    if self.is_elsewhere(&state, given) {
                        of_swarm.push((given.clone(), settings.clone()));
                        continue;
                    }
                    self.allocate(&mut state, &container, given, settings).await?;
                }
            }
        }
        if let SandboxMode::Host | SandboxMode::Container(_) = mode {
            return self.told(&container).await;
        }
        for (given, settings) in of_swarm {
            self.attach(&container, &given, &settings).await?;
        }
        self.publish(&container).await?;
        let (record, networks) = self.snapshot(&container).await?;
        self.records.put_sandbox(&record)?;
        let inside = self.kernel.make_sandbox(&container, &record.request.owner).await?;
        for endpoint in &record.endpoints {
            let Some(network) = networks.get(&endpoint.network) else { continue };
            self.kernel.plug(&inside, network, endpoint).await?;
        }
        if let Some(endpoint) = way_out(&record.endpoints, &networks) {
            self.kernel.route(&inside, Some(endpoint)).await?;
        }
        self.join_swarm(&record).await?;
        self.follow(&container, &inside.place).await?;
        self.told(&container).await
    }

    /// A place on one network.
    ///
    /// DEVIATION: Docker's default bridge stands from the daemon's start on. Ours stands from the
    /// first container that is on it, so that a host without any keeps the interfaces and rules it
    /// had; and until a daemon starts and finds nobody on it, for to make it for each `run` would
    /// take longer than all the rest.
    async fn allocate(
        &self,
        state: &mut State,
        container: &str,
        given: &str,
        settings: &EndpointSettings,
    ) -> Result<Endpoint, BridgeError> {
        let network = state.find(given)?.clone();
        if network.driver != Driver::Bridge {
            let text = format!(
                "container cannot be disconnected from {0} network or connected to {0} network",
                network.name
            );
            return Err(ApiError::new(Kind::Forbidden, text).into());
        }
        let Some(record) = state.open.get(container) else { return Err(closed(container)) };
        if record.all().any(|it| it.network == network.id) {
            let (name, on) = (&record.request.name, &network.name);
            let text = format!("endpoint with name {name} already exists in network {on}");
            return Err(ApiError::new(Kind::Forbidden, text).into());
        }
        let interfaces = record.interfaces();
        let endpoint = endpoint::allocate(Wanted {
            network: &network,
            settings,
            request: &record.request,
            taken: &state.taken(&network.id),
            interfaces: &interfaces,
            id: random_id(),
        })?;
        if let Some(record) = state.open.get_mut(container) {
            record.endpoints.push(endpoint.clone());
        }
        // Under the lock, which all that start at once wait for: so only where it has to be.
        if !network.is_users() && !state.default_stands {
            self.kernel.make_bridge(&network).await?;
            state.default_stands = true;
        }
        Ok(endpoint)
    }

    /// Takes a container's places away; one that has none is no error.
    pub async fn close_sandbox(&self, container: &str) -> Result<(), BridgeError> {
        let record = {
            let mut state = self.state.lock().await;
            state.live.remove(container);
            state.open.get(container).cloned()
        };
        let Some(record) = record else { return Ok(()) };
        self.names.close(Group::Host, container).await;
        // Addresses are free for others only when the kernel has nothing of them any more.
        for endpoint in &record.endpoints {
            self.kernel.unplug(endpoint).await?;
        }
        if record.swarm.is_some() {
            self.part_from_swarm(container).await?;
        }
        self.kernel.remove_sandbox(container).await?;
        self.records.drop_sandbox(container)?;
        for place in record.on_swarm() {
            self.detach(container, place).await;
        }
        {
            let mut state = self.state.lock().await;
            state.open.remove(container);
        }
        self.refresh().await
    }

    /// Takes a container that runs onto one more network.
    pub async fn connect(
        &self,
        container: &str,
        given: &str,
        settings: EndpointSettings,
    ) -> Result<Sandbox, BridgeError> {
        let endpoint = {
            let mut state = self.state.lock().await;
            let elsewhere = self.is_elsewhere(&state, given);
            let Some(record) = state.open.get(container) else { return Err(closed(container)) };
            if let SandboxMode::Host | SandboxMode::Container(_) = record.request.mode {
                let text = "container sharing network namespace with another container or host \
                            cannot be connected to any other network";
                return Err(ApiError::invalid(text).into());
            }
            if matches!(record.request.mode, SandboxMode::None) {
                let text = "container cannot be connected to multiple networks with one of the \
                            networks in private (none) mode";
                return Err(ApiError::new(Kind::Forbidden, text).into());
            }
            if elsewhere {
                drop(state);
                return self.connect_to_swarm(container, given, &settings).await;
            }
            self.allocate(&mut state, container, given, &settings).await?
        };
        let done = self.try_connect(container, &endpoint).await;
        if done.is_err()
            && let Err(error) = self.unplug(container, &endpoint).await
        {
            tracing::warn!(container, %error, "what a failed connection left is not taken down yet");
        }
        done
    }

    async fn try_connect(
        &self,
        container: &str,
        endpoint: &Endpoint,
    ) -> Result<Sandbox, BridgeError> {
        let (record, networks) = self.snapshot(container).await?;
        self.records.put_sandbox(&record)?;
        let inside = self.kernel.enter(container).await?;
        if let Some(network) = networks.get(&endpoint.network) {
            self.kernel.plug(&inside, network, endpoint).await?;
        }
        self.leads_out(container, &inside).await?;
        self.follow(container, &inside.place).await?;
        self.told(container).await
    }

    /// Takes a container that runs off a network.
    pub async fn disconnect(&self, container: &str, given: &str) -> Result<Sandbox, BridgeError> {
        let endpoint = {
            let state = self.state.lock().await;
            let of_swarm = state.open.get(container).map(Record::on_swarm).unwrap_or_default();
            if self.is_elsewhere(&state, given)
                && let Some(place) = of_swarm.iter().find(|it| it.is_on(given)).cloned()
            {
                drop(state);
                self.leave_swarms(container, &place).await?;
                return self.told(container).await;
            }
            let network = state.find(given)?;
            if network.driver != Driver::Bridge {
                let text = format!(
                    "container cannot be disconnected from {0} network or connected to {0} network",
                    network.name
                );
                return Err(ApiError::new(Kind::Forbidden, text).into());
            }
            let record = state.open.get(container);
            let on = record.and_then(|it| it.endpoints.iter().find(|it| it.network == network.id));
            let Some(endpoint) = on else {
                let text =
                    format!("container {container} is not connected to network {}", network.name);
                return Err(ApiError::new(Kind::Forbidden, text).into());
            };
            endpoint.clone()
        };
        self.unplug(container, &endpoint).await?;
        self.told(container).await
    }

    async fn unplug(&self, container: &str, endpoint: &Endpoint) -> Result<(), BridgeError> {
        self.kernel.unplug(endpoint).await?;
        {
            let mut state = self.state.lock().await;
            if let Some(record) = state.open.get_mut(container) {
                record.endpoints.retain(|it| it.id != endpoint.id);
            }
        }
        let (record, _) = self.snapshot(container).await?;
        self.records.put_sandbox(&record)?;
        let inside = self.kernel.enter(container).await?;
        self.leads_out(container, &inside).await?;
        self.follow(container, &inside.place).await
    }

    /// Others call a container by its new name from now on.
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), BridgeError> {
        let record = {
            let mut state = self.state.lock().await;
            let Some(record) = state.open.get_mut(container) else { return Ok(()) };
            record.request.name = name.to_owned();
            let request = record.request.clone();
            for it in record.endpoints.iter_mut().filter(|it| !it.names.is_empty()) {
                it.names = endpoint::names(&request, &it.wished);
            }
            for it in record.swarm.iter_mut().flat_map(|it| &mut it.endpoints) {
                it.endpoint.names = endpoint::names(&request, &it.endpoint.wished);
            }
            record.clone()
        };
        self.records.put_sandbox(&record)?;
        for place in record.on_swarm() {
            self.rename_on_swarm(&record, place).await;
        }
        self.refresh().await
    }

    /// A container is not linked to another by this name any more.
    pub async fn unlink(&self, container: &str, alias: &str) -> Result<Sandbox, BridgeError> {
        let record = {
            let mut state = self.state.lock().await;
            let record = state.open.get_mut(container).ok_or_else(|| closed(container))?;
            record.request.links.retain(|link| link.alias != alias);
            record.clone()
        };
        self.records.put_sandbox(&record)?;
        self.refresh().await?;
        self.told(container).await
    }

    /// After a start of the daemon: containers of `running` keep their places without a break,
    /// what others left is taken down, and users' networks stand again.
    pub async fn restore(&self, running: &BTreeSet<String>) -> Result<(), BridgeError> {
        let (open, networks) = {
            let state = self.state.lock().await;
            (state.open.clone(), state.networks.clone())
        };
        let known: BTreeSet<String> = open
            .values()
            .filter(|it| running.contains(&it.request.container))
            .flat_map(|it| it.endpoints.iter().map(Endpoint::host_end))
            .collect();
        for end in self.kernel.host_ends().await? {
            if !known.contains(&end) {
                self.kernel.delete_link(&end).await?;
            }
        }
        for container in self.kernel.sandboxes() {
            if !(running.contains(&container) && open.contains_key(&container)) {
                self.kernel.remove_sandbox(&container).await?;
            }
        }
        for container in open.keys().filter(|it| !running.contains(*it)) {
            self.close_sandbox(container).await?;
        }
        let mut left = false;
        for network in networks.values().filter(|it| it.driver == Driver::Bridge) {
            let used = open.values().any(|it| {
                running.contains(&it.request.container)
                    && it.endpoints.iter().any(|at| at.network == network.id)
            });
            if network.is_users() || used {
                self.kernel.make_bridge(network).await?;
            } else {
                left |= self.kernel.remove_bridge(network).await?;
            }
            if !network.is_users() {
                self.state.lock().await.default_stands = used;
            }
        }
        for (container, record) in open.iter().filter(|(it, _)| running.contains(*it)) {
            if let Err(error) = self.revive(container, record).await {
                tracing::error!(container, %error, "a container's network is not whole");
            }
        }
        // A daemon that was killed between a change and its rules left older ones.
        let stands = networks.values().any(|it| it.is_users()) || !open.is_empty();
        if left || stands || self.records.has_rules() {
            self.refresh().await?;
        }
        self.names.settle(Group::Host).await;
        Ok(())
    }

    /// What of a sandbox ended with the daemon: the sockets that hold its ports; and its names, should
    /// who answers them have ended too.
    async fn revive(&self, container: &str, record: &Record) -> Result<(), BridgeError> {
        self.state.lock().await.live.insert(container.to_owned(), Live::default());
        for published in &record.published {
            let (at, port) = (vec![published.address], published.host_port);
            let protocol = published.port.protocol;
            let passing = self.passing();
            let bound = self.kernel.host.run(move || bind_all(&at, port, protocol, passing)).await;
            let bound = bound
                .and_then(|it| it)
                .map_err(BridgeError::io(ports::taken(published.address, port)))?;
            self.keep(container, bound, &[*published]).await?;
        }
        if matches!(record.request.mode, SandboxMode::Networks(_)) {
            let place = self.kernel.sandbox(container)?;
            self.plug_again(&place, record).await?;
            self.follow(container, &place).await?;
        }
        Ok(())
    }

    /// What of a container's places was taken out of the kernel by a call that a kill cut short.
    async fn plug_again(&self, place: &Namespace, record: &Record) -> Result<(), BridgeError> {
        let there = self.kernel.host_ends().await?;
        let lacking = record.endpoints.iter().filter(|it| !there.contains(&it.host_end()));
        let lacking: Vec<&Endpoint> = lacking.collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let networks = self.state.lock().await.networks.clone();
        let inside = Netlink::open(place).await?;
        for endpoint in lacking {
            if let Some(network) = networks.get(&endpoint.network) {
                self.kernel.plug(&inside, network, endpoint).await?;
            }
        }
        self.leads_out(&record.request.container, &inside).await
    }

    /// Makes rules, names, the resolver and relays follow where a container is.
    pub(crate) async fn follow(
        &self,
        container: &str,
        place: &Namespace,
    ) -> Result<(), BridgeError> {
        let (record, networks) = self.snapshot(container).await?;
        let out = way_out(&record.endpoints, &networks);
        {
            let mut state = self.state.lock().await;
            let Some(live) = state.live.get_mut(container) else { return Err(closed(container)) };
            *live.behind.lock().unwrap_or_else(PoisonError::into_inner) =
                record.reached_at(&networks);
        }
        self.refresh().await?;
        let mut named: Vec<&Endpoint> =
            record.endpoints.iter().filter(|it| !it.names.is_empty()).collect();
        if named.is_empty() && record.on_swarm().is_empty() {
            self.names.close(Group::Host, container).await;
            return Ok(());
        }
        // The same order each time, whichever was connected first.
        named.sort_by(|one, other| one.network.cmp(&other.network));
        let chosen = &record.request.dns.servers;
        let servers = if chosen.is_empty() { &self.options.dns.servers } else { chosen };
        let by_swarm = record.swarm.as_ref().is_some_and(|it| it.outside.is_some());
        let forward = match servers.as_slice() {
            _ if out.is_none() && !by_swarm => Forward::Nowhere,
            [] => Forward::Host(self.resolv_conf.clone()),
            servers => Forward::Chosen(servers.to_vec()),
        };
        let on_swarm = record.on_swarm().iter().filter_map(names::place_on_swarm);
        let places = named.into_iter().map(names::place).chain(on_swarm);
        let asker = Asker {
            group: Group::Host,
            name: container.to_owned(),
            // Ids are hexadecimal and random.
            seed: u128::from_str_radix(&container[..SHORT_DIGITS], 16).unwrap_or_default(),
            places: places.collect(),
            forward,
        };
        let port = self
            .names
            .open(asker, place)
            .await
            .map_err(|source| BridgeError::Resolver { container: container.to_owned(), source })?;
        let script = rules::container(ADDRESS.into(), port);
        Ok(self.kernel.rules(place, &script).await?)
    }

    /// Holds the ports that a container wishes, where it has a way to the outside.
    async fn publish(&self, container: &str) -> Result<(), BridgeError> {
        let (record, networks) = self.snapshot(container).await?;
        let request = &record.request;
        if request.ports.is_empty() && !request.publish_all {
            return Ok(());
        }
        // Where no network of the host leads out, the swarm's own way to the host does.
        let of_swarm = record.on_swarm().iter().find(|it| !it.internal).map(|it| &it.endpoint);
        let Some(out) = way_out(&record.endpoints, &networks).or(of_swarm) else { return Ok(()) };
        let bind = networks.get(&out.network).and_then(|it| it.bind).unwrap_or(self.options.bind);
        let defaults = self.defaults(bind).await?;
        let wishes =
            ports::wishes(&request.ports, &request.exposed, request.publish_all, &defaults)?;
        for wish in wishes {
            let (port, bound) = self.bind(&wish).await.map_err(|refused| {
                let text = format!(
                    "driver failed programming external connectivity on endpoint {} ({}): {}",
                    request.name, out.id, refused.message
                );
                ApiError::new(refused.kind, text)
            })?;
            let published: Vec<Published> = wish
                .addresses
                .iter()
                .map(|at| Published { port: wish.port, address: *at, host_port: port })
                .collect();
            self.keep(container, bound, &published).await?;
            let mut state = self.state.lock().await;
            if let Some(record) = state.open.get_mut(container) {
                record.published.extend(published);
            }
        }
        Ok(())
    }

    /// Where no packet rule is touched there is no other way than through the daemon.
    fn passing(&self) -> Passing {
        match self.options.userland_proxy || !self.options.iptables {
            true => Passing::On,
            false => Passing::Refused,
        }
    }

    async fn keep(
        &self,
        container: &str,
        bound: Vec<Bound>,
        published: &[Published],
    ) -> Result<(), BridgeError> {
        let mut state = self.state.lock().await;
        let Some(live) = state.live.get_mut(container) else { return Err(closed(container)) };
        for (bound, published) in bound.into_iter().zip(published) {
            let held = hold(&self.kernel.host, bound, *published, live.behind.clone())
                .map_err(BridgeError::io("serve a held port"))?;
            live.held.push(held);
        }
        Ok(())
    }

    async fn defaults(&self, bind: IpAddr) -> Result<Defaults, BridgeError> {
        let read = || {
            let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
            let ipv6 = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
            (text.unwrap_or_default(), ipv6.is_ok_and(|it| it.trim() == "0"))
        };
        let (range, ipv6) = self
            .kernel
            .host
            .run(read)
            .await
            .map_err(BridgeError::io("read the host's range of ports"))?;
        let mut words = range.split_whitespace().map(str::parse::<u16>);
        let ephemeral = match (words.next(), words.next()) {
            (Some(Ok(first)), Some(Ok(last))) if 0 < first && first <= last => first..=last,
            _ => EPHEMERAL.0..=EPHEMERAL.1,
        };
        Ok(Defaults { bind, ipv6, ephemeral })
    }

    /// The first candidate that nobody has, neither a container nor a process of the host.
    async fn bind(&self, wish: &Wish) -> Result<(u16, Vec<Bound>), ApiError> {
        let theirs: BTreeSet<Published> = {
            let state = self.state.lock().await;
            state.open.values().flat_map(|it| it.published.iter().copied()).collect()
        };
        let clashes = move |at: &IpAddr, port: u16, protocol| {
            theirs.iter().any(|it| {
                let meets = it.address == *at
                    || it.address.is_ipv4() == at.is_ipv4()
                        && (it.address.is_unspecified() || at.is_unspecified());
                meets && it.host_port == port && it.port.protocol == protocol
            })
        };
        let (addresses, candidates) = (wish.addresses.clone(), wish.candidates.clone());
        let (protocol, passing) = (wish.port.protocol, self.passing());
        let try_all = move || {
            let mut last = None;
            for port in candidates {
                if addresses.iter().any(|at| clashes(at, port, protocol)) {
                    continue;
                }
                match bind_all(&addresses, port, protocol, passing) {
                    Ok(bound) => return Ok((port, bound)),
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                    Err(error) => {
                        last = Some(error);
                        break;
                    }
                }
            }
            Err(last)
        };
        let tried = self.kernel.host.run(try_all).await;
        let (first, at) = (*wish.candidates.start(), wish.addresses[0]);
        match tried {
            Ok(Ok(bound)) => Ok(bound),
            Ok(Err(None)) => Err(ApiError::system(ports::taken(at, first))),
            Ok(Err(Some(error))) | Err(error) => {
                Err(ApiError::system(format!("failed to bind host port {at}:{first}: {error}")))
            }
        }
    }

    pub(crate) async fn snapshot(
        &self,
        container: &str,
    ) -> Result<(Record, BTreeMap<String, crate::network::HostNetwork>), BridgeError> {
        let state = self.state.lock().await;
        let record = state.open.get(container).ok_or_else(|| closed(container))?;
        Ok((record.clone(), state.networks.clone()))
    }

    /// What a container has now; None if it is not open.
    pub async fn sandbox(&self, container: &str) -> Option<Sandbox> {
        self.told(container).await.ok()
    }

    /// What all containers that are open have now.
    pub async fn shown(&self) -> BTreeMap<String, Shown> {
        let state = self.state.lock().await;
        let open = state.open.iter();
        open.map(|(container, record)| (container.clone(), shown(&state, record))).collect()
    }

    pub(crate) async fn told(&self, container: &str) -> Result<Sandbox, BridgeError> {
        let host = tokio::fs::read_to_string(&self.resolv_conf).await.unwrap_or_default();
        let state = self.state.lock().await;
        let record = state.open.get(container).ok_or_else(|| closed(container))?;
        let request = &record.request;
        let namespace = match &request.mode {
            SandboxMode::Networks(_) | SandboxMode::None => Some(self.kernel.path(container)),
            SandboxMode::Host => None,
            SandboxMode::Container(other) => match state.open.get(other) {
                Some(it) if matches!(it.request.mode, SandboxMode::Host) => None,
                Some(_) => Some(self.kernel.path(other)),
                None => return Err(closed(other)),
            },
        };
        let embedded = record.all().any(|it| !it.names.is_empty());
        let resolver = match &request.mode {
            _ if embedded => resolv::Resolver::Embedded(ADDRESS.into()),
            SandboxMode::Host => resolv::Resolver::Host,
            _ => resolv::Resolver::Servers,
        };
        let mut dns = request.dns.clone();
        let defaults = &self.options.dns;
        if dns.servers.is_empty() && resolver != resolv::Resolver::Host {
            dns.servers.clone_from(&defaults.servers);
        }
        if dns.search.is_empty() {
            dns.search.clone_from(&defaults.search);
        }
        if dns.options.is_empty() {
            dns.options.clone_from(&defaults.options);
        }
        let Shown { networks, ports } = shown(&state, record);
        Ok(Sandbox {
            namespace,
            networks,
            ports,
            resolver: embedded.then_some(ADDRESS.into()),
            hosts: hosts(&state, record),
            resolv_conf: resolv::text(&host, &dns, resolver),
        })
    }
}

fn shown(state: &State, record: &Record) -> Shown {
    let request = &record.request;
    let builtin = |name: &str| {
        let id = state.networks.values().find(|it| it.name == name).map(|it| it.id.clone());
        let shown = EndpointSettings { network_id: id.unwrap_or_default(), ..Default::default() };
        BTreeMap::from([(name.to_owned(), shown)])
    };
    let endpoints = record.endpoints.iter().filter_map(|endpoint| {
        let network = state.networks.get(&endpoint.network)?;
        Some((network.name.clone(), endpoint.show()))
    });
    let of_swarm = record.on_swarm().iter().map(|it| (it.network_name.clone(), it.show()));
    let networks = match &request.mode {
        SandboxMode::Networks(_) => endpoints.chain(of_swarm).collect(),
        SandboxMode::Host => builtin(HOST),
        SandboxMode::None => builtin(NONE),
        SandboxMode::Container(_) => BTreeMap::new(),
    };
    Shown { networks, ports: ports::show(&request.exposed, &record.published) }
}

/// A container's own addresses by its host name, then those that it is linked to.
fn hosts(state: &State, record: &Record) -> Vec<(IpAddr, Vec<String>)> {
    let mut hosts = Vec::new();
    for address in record.all().flat_map(|it| &it.addresses) {
        hosts.push((address.addr(), vec![record.request.hostname.clone()]));
    }
    for link in &record.request.links {
        let Some(other) = state.open.get(&link.container) else { continue };
        let Some(address) = other.endpoints.iter().find_map(Endpoint::v4) else { continue };
        let mut names = vec![link.alias.clone()];
        for name in [&other.request.hostname, &other.request.name] {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        hosts.push((address.addr(), names));
    }
    hosts
}

pub(crate) fn closed(container: &str) -> BridgeError {
    ApiError::conflict(format!("container {container} is not running")).into()
}
