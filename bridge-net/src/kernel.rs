//! Carries out on the kernel what was decided. Every step can be done again.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use skep_idmap::Owner;
use skep_overlay_kernel::link::{self, LOOPBACK, Peer};
use skep_overlay_kernel::netlink::{self, Netlink};
use skep_overlay_kernel::{KernelError, Namespace, host, nft, sysctl};
use skep_overlay_net::Mac;
use skep_types::Family;
use tokio::sync::Mutex;

use crate::endpoint::Endpoint;
use crate::network::HostNetwork;

/// The kernel of one host.
#[derive(Debug)]
pub struct Kernel {
    pub host: Namespace,
    namespaces: PathBuf,
    /// To the host's links, for requests of one answer: many go through one connection at a time.
    links: Mutex<Option<Arc<Netlink>>>,
}

impl Kernel {
    pub fn new(host: Namespace, run: &Path) -> Self {
        Self { host, namespaces: run.join("sandboxes"), links: Mutex::new(None) }
    }

    /// To be opened takes a thread that enters the namespace, so it is kept.
    async fn links(&self) -> Result<Arc<Netlink>, KernelError> {
        let mut kept = self.links.lock().await;
        if let Some(links) = kept.as_ref().filter(|links| links.is_open()) {
            return Ok(links.clone());
        }
        let links = Arc::new(Netlink::open(&self.host).await?);
        *kept = Some(links.clone());
        Ok(links)
    }

    /// Where a container's namespace has its name.
    pub fn path(&self, container: &str) -> PathBuf {
        self.namespaces.join(container)
    }

    /// A network's bridge with the network's own addresses.
    pub async fn make_bridge(&self, network: &HostNetwork) -> Result<(), KernelError> {
        let name = &network.interface;
        let netlink = self.links().await?;
        if network.ours {
            if netlink.find(name).await?.is_none() {
                let mut mac = [0x02, 0x42, 0, 0, 0, 0];
                // Ids are hexadecimal; the bytes stay zero should one not be.
                let _ = hex::decode_to_slice(&network.id[..8], &mut mac[2..]);
                netlink.add(name, link::bridge(name, Mac(mac), network.mtu)).await?;
            }
            for subnet in &network.subnets {
                netlink.add_address(name, subnet.gateway_net()).await?;
            }
        }
        let localnet = format!("ipv4/conf/{name}/route_localnet");
        sysctl::write(&self.host, vec![(localnet, "1")]).await?;
        netlink.up(name).await
    }

    /// Whether there was one.
    pub async fn remove_bridge(&self, network: &HostNetwork) -> Result<bool, KernelError> {
        if !network.ours {
            return Ok(false);
        }
        let netlink = Netlink::open(&self.host).await?;
        let stands = netlink.find(&network.interface).await?.is_some();
        netlink.delete(&network.interface).await?;
        Ok(stands)
    }

    pub async fn enable_forwarding(&self, ipv6: bool) -> Result<(), KernelError> {
        host::enable_forwarding(&self.host, host::Forwarding { v4: true, v6: ipv6 }).await
    }

    /// A container's namespace, made unless it stands, by a connection to its kernel.
    pub async fn make_sandbox(
        &self,
        container: &str,
        owner: &Owner,
    ) -> Result<Netlink, KernelError> {
        let place = Namespace::create_for(&self.path(container), owner).await?;
        let inside = Netlink::open(&place).await?;
        inside.up(LOOPBACK).await?;
        Ok(inside)
    }

    /// The same of one that stands.
    pub async fn enter(&self, container: &str) -> Result<Netlink, KernelError> {
        Netlink::open(&self.sandbox(container)?).await
    }

    pub fn sandbox(&self, container: &str) -> Result<Namespace, KernelError> {
        Namespace::open(&self.path(container))
    }

    /// An interface of a container on a network's bridge. What stood under its name is replaced.
    pub async fn plug(
        &self,
        inside: &Netlink,
        network: &HostNetwork,
        endpoint: &Endpoint,
    ) -> Result<(), KernelError> {
        let (end, name) = (endpoint.host_end(), endpoint.interface.as_str());
        let (outside, place) = (self.links().await?, &inside.place);
        outside.delete(&end).await?;
        inside.delete(name).await?;
        let peer = Peer { name, place, mac: Some(endpoint.mac()) };
        outside.add(&end, link::pair(&end, network.mtu, &peer)).await?;
        match outside.join(&end, &network.interface).await {
            // Somebody else took it away.
            Err(KernelError::LinkMissing { .. }) if network.ours => {
                self.make_bridge(network).await?;
                outside.join(&end, &network.interface).await?;
            }
            joined => joined?,
        }
        outside.reflect(&end).await?;
        outside.up(&end).await?;
        let v6 =
            endpoint.v6().is_some() || endpoint.link_local.iter().any(|it| it.addr().is_ipv6());
        let disable = if v6 { "0" } else { "1" };
        sysctl::write(place, vec![(format!("ipv6/conf/{name}/disable_ipv6"), disable)]).await?;
        for address in endpoint.addresses.iter().chain(&endpoint.link_local) {
            inside.add_address(name, *address).await?;
        }
        sysctl::write(place, endpoint.sysctls.clone()).await?;
        inside.up(name).await
    }

    pub async fn unplug(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        self.links().await?.delete(&endpoint.host_end()).await
    }

    /// The one way out of a container.
    pub async fn route(
        &self,
        inside: &Netlink,
        way_out: Option<&Endpoint>,
    ) -> Result<(), KernelError> {
        for family in Family::ALL {
            inside.remove_default_routes(family).await?;
        }
        let Some(endpoint) = way_out else { return Ok(()) };
        for gateway in &endpoint.gateways {
            inside.set_default_route(&endpoint.interface, *gateway).await?;
        }
        Ok(())
    }

    /// Takes a container's namespace away. A process that is still inside would keep its links.
    pub async fn remove_sandbox(&self, container: &str) -> Result<(), KernelError> {
        Namespace::remove(&self.path(container))
    }

    pub async fn rules(&self, place: &Namespace, script: &str) -> Result<(), KernelError> {
        nft::execute(place, script).await
    }

    pub async fn routes(&self) -> Result<Vec<IpNet>, KernelError> {
        Netlink::open(&self.host).await?.routed_networks().await
    }

    /// The IPv4 address of a bridge that somebody else made.
    pub async fn address_of(&self, bridge: &str) -> Result<Option<IpNet>, KernelError> {
        let netlink = Netlink::open(&self.host).await?;
        let index = netlink.index(bridge).await?;
        let addresses = netlink.addresses().await?;
        let v4 = |(at, net): &(u32, IpNet)| *at == index && matches!(net.addr(), IpAddr::V4(_));
        Ok(addresses.into_iter().find(v4).map(|(_, net)| net))
    }

    /// Host's ends of endpoints that stand.
    pub async fn host_ends(&self) -> Result<Vec<String>, KernelError> {
        let links = Netlink::open(&self.host).await?.links().await?;
        let names = links.iter().filter_map(netlink::name);
        let ours = names.filter(|it| it.starts_with(Endpoint::HOST_END_PREFIX));
        Ok(ours.map(str::to_owned).collect())
    }

    pub async fn delete_link(&self, name: &str) -> Result<(), KernelError> {
        Netlink::open(&self.host).await?.delete(name).await
    }

    /// Containers whose namespaces stand, or stood when the daemon ended.
    pub fn sandboxes(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.namespaces).into_iter().flatten().flatten();
        entries.filter_map(|it| it.file_name().into_string().ok()).collect()
    }
}
