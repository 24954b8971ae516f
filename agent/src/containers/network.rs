//! The node's networks as tasks use them: made when the swarm says where this node is.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;
use skep_idmap::Owner;
use skep_overlay_net::{
    Attached, ManagerConfig, Namespace, NetworkError, NetworkManager, NetworkUpdate, NodeConfig,
    TaskNet,
};
use skep_proto::convert::NodeTask;
use tokio::sync::RwLock;

use super::{failed, refused};
use crate::executor::ExecutorError;

/// What an underlay carries when its interface does not say: Ethernet's.
const MTU_DEFAULT: u32 = 1500;

/// The largest packet that a pair of virtual interfaces takes; loopback, where a swarm of one host
/// may stand, says more.
const MTU_MAX: u32 = 65_535;

/// Tasks' addresses towards their host, the same on every node; Docker's second default bridge has
/// this pool, which no overlay is cut from.
const OUTSIDE_POOL: &str = "172.18.0.0/16";

/// See the module.
pub struct Networks {
    run: PathBuf,
    /// Whose tasks' namespaces are.
    owner: Owner,
    made: RwLock<Option<Made>>,
}

struct Made {
    underlay: IpAddr,
    vxlan_port: u16,
    manager: Arc<NetworkManager>,
}

impl Networks {
    /// Namespaces get their names below `run`, which ends with the boot.
    pub fn new(run: PathBuf) -> Self {
        Self { run, owner: Owner::Host, made: RwLock::new(None) }
    }

    /// With tasks' namespaces belonging to a user namespace.
    pub fn with_owner(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Makes the manager of networks for where this node is; nothing if it stands already.
    pub async fn begin(&self, underlay: IpAddr, vxlan_port: u16) -> Result<(), ExecutorError> {
        let mut made = self.made.write().await;
        if let Some(made) = &*made {
            if made.underlay == underlay && made.vxlan_port == vxlan_port {
                return Ok(());
            }
            return Err(failed("the node's data path changed: restart the daemon to follow it"));
        }
        let outside_pool: Ipv4Net = OUTSIDE_POOL.parse().expect("a constant network");
        let config = ManagerConfig {
            node: NodeConfig {
                underlay,
                vxlan_port,
                underlay_mtu: mtu_of(underlay).unwrap_or(MTU_DEFAULT),
                outside_pool,
                repeated_sources: Vec::new(),
            },
            host: Namespace::current().map_err(failed)?,
            run: self.run.clone(),
            owner: self.owner.clone(),
            resolv_conf: None,
        };
        let manager = Arc::new(NetworkManager::new(config));
        *made = Some(Made { underlay, vxlan_port, manager });
        Ok(())
    }

    pub async fn manager(&self) -> Result<Arc<NetworkManager>, ExecutorError> {
        let made = self.made.read().await;
        let manager = made.as_ref().map(|made| Arc::clone(&made.manager));
        manager.ok_or_else(|| failed("this node's networks are not known yet"))
    }

    pub async fn update(&self, update: NetworkUpdate) -> Result<(), ExecutorError> {
        self.manager().await?.update_network(update).await.map_err(|error| match error {
            NetworkError::Stale(_) => ExecutorError::Unfit(error.to_string()),
            _ => failed(error),
        })
    }

    /// Gives a task its network namespace and its ports of this host.
    pub async fn attach(&self, task: &NodeTask) -> Result<Attached, ExecutorError> {
        let manager = self.manager().await?;
        manager.attach_task(task_net(task)?).await.map_err(failed)
    }

    /// Takes a task's networks away; one that has none is no error.
    pub async fn detach(&self, task: skep_types::TaskId) -> Result<(), ExecutorError> {
        let made = self.made.read().await;
        match made.as_ref() {
            Some(made) => made.manager.detach_task(task).await.map_err(failed),
            None => Ok(()),
        }
    }
}

/// What a task asks of the network.
pub fn task_net(task: &NodeTask) -> Result<TaskNet, ExecutorError> {
    let nameservers = task
        .spec
        .container
        .dns
        .nameservers
        .iter()
        .map(|text| text.parse().map_err(|_| refused(format!("invalid DNS address {text:?}"))));
    Ok(TaskNet {
        task: task.id,
        networks: task.networks.iter().map(|(_, at)| at.clone()).collect(),
        ports: task.endpoint.as_ref().map(|it| it.ports.clone()).unwrap_or_default(),
        nameservers: nameservers.collect::<Result<_, _>>()?,
    })
}

/// The largest packet of the interface that has an address, as far as a task's can have it.
fn mtu_of(address: IpAddr) -> Option<u32> {
    let has = |interface: &nix::ifaddrs::InterfaceAddress| {
        let at = interface.address.as_ref()?;
        let v4 = at.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
        let v6 = at.as_sockaddr_in6().map(|it| IpAddr::from(it.ip()));
        v4.or(v6).filter(|it| *it == address).map(|_| interface.interface_name.clone())
    };
    let name = getifaddrs().ok()?.find_map(|interface| has(&interface))?;
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?;
    text.trim().parse().ok().map(|mtu: u32| mtu.min(MTU_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_promises_no_more_than_a_task_can_have() {
        let mtu = mtu_of(IpAddr::from([127, 0, 0, 1]));
        assert!(mtu.is_none_or(|mtu| (1500..=MTU_MAX).contains(&mtu)), "{mtu:?}");
    }
}
