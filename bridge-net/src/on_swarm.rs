//! A container's life on networks of the swarm, beside those of this host.
//!
//! **Invariant:** the record says that a container is on a network before the kernel has anything of
//! it, and no more once the swarm was told that it is off. What a kill leaves of it in the swarm goes
//! when the node says what it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_docker_api::json::EndpointSettings;
use skep_docker_api::{ApiError, Kind};
use skep_overlay_kernel::netlink::Netlink;

use crate::BridgeError;
use crate::endpoint::{Record, free_interface, way_out};
use crate::host_networks::{HostNetworks, State};
use crate::life::closed;
use crate::sandbox::Sandbox;
use crate::swarm::{self, Joined, SwarmEndpoint, SwarmNetworks};

impl HostNetworks {
    /// Whether a network is none of this host's, and may be one of the swarm's.
    pub(crate) fn is_elsewhere(&self, state: &State, given: &str) -> bool {
        let unknown = state.find(given).is_err_and(|error| error.kind == Kind::NotFound);
        unknown && self.swarm.get().is_some_and(|swarm| swarm.is_there())
    }

    /// A place for a container that runs, or is about to, in the swarm and in its record.
    pub(crate) async fn attach(
        &self,
        container: &str,
        given: &str,
        settings: &EndpointSettings,
    ) -> Result<SwarmEndpoint, BridgeError> {
        let unknown = || ApiError::not_found(format!("network {given} not found"));
        let swarm = self.swarm.get().ok_or_else(unknown)?;
        let record = self.record(container).await?;
        let name = record.request.name.clone();
        let twice = |on: &str| {
            let text = format!("endpoint with name {name} already exists in network {on}");
            ApiError::new(Kind::Forbidden, text)
        };
        if record.on_swarm().iter().any(|it| it.is_on(given)) {
            return Err(twice(given).into());
        }
        let wish = swarm::wish(&record.request, given, settings)?;
        let place = swarm.attach(wish).await.ok_or_else(unknown)??;
        let (network, name) = (place.network, place.network_name.clone());
        let mut state = self.state.lock().await;
        let Some(record) = state.open.get_mut(container) else {
            drop(state);
            swarm.detach(container, network).await;
            return Err(closed(container));
        };
        if record.on_swarm().iter().any(|it| it.network() == Some(network)) {
            return Err(twice(&name).into());
        }
        let made = swarm::endpoint(record, place, settings);
        record.swarm.get_or_insert_default().endpoints.push(made.clone());
        Ok(made)
    }

    pub(crate) async fn connect_to_swarm(
        &self,
        container: &str,
        given: &str,
        settings: &EndpointSettings,
    ) -> Result<Sandbox, BridgeError> {
        let made = self.attach(container, given, settings).await?;
        let connected = async {
            let inside = self.kernel.enter(container).await?;
            self.leads_out(container, &inside).await?;
            self.follow(container, &inside.place).await?;
            self.told(container).await
        };
        let connected = connected.await;
        if connected.is_err()
            && let Err(error) = self.leave_swarms(container, &made).await
        {
            tracing::warn!(container, %error, "what a failed connection left is not taken down yet");
        }
        connected
    }

    /// Takes a container that runs off one of the swarm's networks.
    pub(crate) async fn leave_swarms(
        &self,
        container: &str,
        place: &SwarmEndpoint,
    ) -> Result<(), BridgeError> {
        {
            let mut state = self.state.lock().await;
            let record = state.open.get_mut(container).ok_or_else(|| closed(container))?;
            if let Some(joined) = &mut record.swarm {
                joined.endpoints.retain(|it| it.endpoint.id != place.endpoint.id);
            }
        }
        let inside = self.kernel.enter(container).await?;
        self.leads_out(container, &inside).await?;
        self.follow(container, &inside.place).await?;
        self.detach(container, place).await;
        Ok(())
    }

    pub(crate) async fn detach(&self, container: &str, place: &SwarmEndpoint) {
        if let (Some(swarm), Some(network)) = (self.swarm.get(), place.network()) {
            swarm.detach(container, network).await;
        }
    }

    /// Makes routes and the swarm's interfaces follow where a container is. Its way out is a network of
    /// this host where it is on one that leads there, and else the host itself, as for tasks.
    pub(crate) async fn leads_out(
        &self,
        container: &str,
        inside: &Netlink,
    ) -> Result<(), BridgeError> {
        let (record, networks) = self.snapshot(container).await?;
        let out = way_out(&record.endpoints, &networks);
        // Without another way the swarm's own route is the one.
        if out.is_some() || record.swarm.is_none() {
            self.kernel.route(inside, out).await?;
        }
        self.records.put_sandbox(&record)?;
        self.join_swarm(&record).await
    }

    /// Makes the swarm's side of a container as its record has it.
    pub(crate) async fn join_swarm(&self, record: &Record) -> Result<(), BridgeError> {
        let container = &record.request.container;
        if record.swarm.is_none() {
            return Ok(());
        }
        let record = self.choose_outside(container).await?;
        self.records.put_sandbox(&record)?;
        let joined = swarm::container(&record, self.kernel.path(container));
        let (Some(swarm), Some(joined)) = (self.swarm.get(), joined) else { return Ok(()) };
        let Some(addresses) = swarm.join(joined).await? else { return Ok(()) };
        let record = {
            let mut state = self.state.lock().await;
            let record = state.open.get_mut(container).ok_or_else(|| closed(container))?;
            record.swarm.get_or_insert_default().outside_addresses = addresses;
            record.clone()
        };
        self.records.put_sandbox(&record)
    }

    /// Whether a container has an interface towards the host, and its name.
    async fn choose_outside(&self, container: &str) -> Result<Record, BridgeError> {
        let mut state = self.state.lock().await;
        let networks = state.networks.clone();
        let record = state.open.get_mut(container).ok_or_else(|| closed(container))?;
        let leads = way_out(&record.endpoints, &networks).is_some();
        let wants = !leads && record.on_swarm().iter().any(|it| !it.internal);
        let name = free_interface(record, "eth");
        if let Some(Joined { outside, .. }) = &mut record.swarm {
            match (wants, &outside) {
                (true, None) => *outside = Some(name),
                (false, Some(_)) => *outside = None,
                _ => {}
            }
        }
        Ok(record.clone())
    }

    /// Says once who lets containers onto the swarm's networks; and which of those that ran when the
    /// daemon was started are on some. Whether they still run is seen later.
    pub async fn follow_swarm(&self, swarm: Arc<dyn SwarmNetworks>) {
        let open = self.state.lock().await.open.clone();
        for (container, record) in open {
            if let Some(joined) = swarm::container(&record, self.kernel.path(&container)) {
                swarm.remember(joined).await;
            }
        }
        let _ = self.swarm.set(swarm);
    }

    /// Whether a network is none of this host's, and may be one of the swarm's.
    pub async fn is_of_swarm(&self, given: &str) -> bool {
        self.is_elsewhere(&*self.state.lock().await, given)
    }

    pub(crate) async fn part_from_swarm(&self, container: &str) -> Result<(), BridgeError> {
        match self.swarm.get() {
            Some(swarm) => Ok(swarm.part(container).await?),
            None => Ok(()),
        }
    }

    /// Others there call it by its new name from now on.
    pub(crate) async fn rename_on_swarm(&self, record: &Record, place: &SwarmEndpoint) {
        let wish = swarm::wish(&record.request, &place.endpoint.network, &place.endpoint.wished);
        if let (Some(swarm), Ok(wish)) = (self.swarm.get(), wish)
            && let Some(Err(error)) = swarm.attach(wish).await
        {
            let (container, network) = (&record.request.container, &place.network_name);
            tracing::warn!(container, network, %error, "a network of the swarm has a container's old name");
        }
    }

    /// The names of the swarm's networks that a container which runs is on.
    pub async fn on_swarm(&self, container: &str) -> BTreeSet<String> {
        let state = self.state.lock().await;
        let record = state.open.get(container);
        let places = record.map(Record::on_swarm).unwrap_or_default();
        places.iter().map(|it| it.network_name.clone()).collect()
    }

    /// The containers here on a network of the swarm: each with its name and its place.
    pub async fn on_network_of_swarm(
        &self,
        network: &str,
    ) -> Vec<(String, String, EndpointSettings)> {
        let state = self.state.lock().await;
        let places = state.open.values().flat_map(|record| {
            let on = record.on_swarm().iter().filter(|it| it.endpoint.network == network);
            on.map(|it| (record.request.container.clone(), record.request.name.clone(), it.show()))
        });
        places.collect()
    }

    async fn record(&self, container: &str) -> Result<Record, BridgeError> {
        let state = self.state.lock().await;
        state.open.get(container).cloned().ok_or_else(|| closed(container))
    }
}
