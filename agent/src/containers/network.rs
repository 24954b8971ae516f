//! The node's networks as tasks use them: made when the swarm says where this node is.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use skep_idmap::Owner;
use skep_overlay_net::requirements::Lack;
use skep_overlay_net::{
    Attached, Finding, ManagerConfig, Mend, NameServer, Namespace, NetworkError, NetworkManager,
    NetworkUpdate, NodeConfig, Subject, TaskNet, follows_sctp, requirements, speaks_v6, underlay,
};
use skep_proto::convert::NodeTask;
use skep_types::defaults::DATA_PATH_PORT;
use skep_types::error_chain;
use tokio::sync::RwLock;

use super::{failed, refused};
use crate::attachments::{Attachments, Joined, task_of};
use crate::executor::ExecutorError;

/// Tasks' addresses towards their host, the same on every node; Docker's second default bridge has
/// this pool, which no overlay is cut from.
const OUTSIDE_POOL: &str = "172.18.0.0/16";

/// See the module.
pub struct Networks {
    pub(super) attachments: Arc<Attachments>,
    run: PathBuf,
    /// Whose tasks' namespaces are.
    owner: Owner,
    names: NameServer,
    made: RwLock<Option<Made>>,
}

struct Made {
    underlay: IpAddr,
    vxlan_port: u16,
    manager: Arc<NetworkManager>,
    /// What the kernel or the host lacks for networks.
    lacking: Vec<Lack>,
}

impl Networks {
    /// Namespaces get their names below `run`, which ends with the boot.
    pub fn new(run: PathBuf, names: NameServer) -> Self {
        let attachments = Arc::default();
        Self { attachments, run, owner: Owner::Host, names, made: RwLock::new(None) }
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
        let host = Namespace::current().map_err(failed)?;
        let tried = requirements::lacking(&self.probe()).await;
        let lacking = tried.unwrap_or_else(|error| {
            let error = error_chain(&error);
            tracing::warn!(error, "failed to try what networks need of this kernel");
            Vec::new()
        });
        for Lack { what, mend } in &lacking {
            tracing::error!(what, mend, "this node cannot have the swarm's networks");
        }
        if !speaks_v6() {
            tracing::warn!(
                "this kernel has no IPv6 (module ipv6, or ipv6.disable=1 at boot): networks of both \
                 families have IPv4 alone on this node"
            );
        }
        let node = NodeConfig {
            underlay,
            vxlan_port,
            underlay_mtu: underlay::mtu(&host, underlay).await.map_err(failed)?,
            ipv6: speaks_v6(),
            sctp: follows_sctp(&host).await.map_err(failed)?,
            outside_pool: outside_pool(),
            repeated_sources: Vec::new(),
        };
        let manager = Arc::new(self.manage(node, host));
        *made = Some(Made { underlay, vxlan_port, manager, lacking });
        Ok(())
    }

    fn manage(&self, node: NodeConfig, host: Namespace) -> NetworkManager {
        NetworkManager::new(ManagerConfig {
            node,
            host,
            run: self.run.clone(),
            owner: self.owner.clone(),
            resolv_conf: None,
            names: self.names.clone(),
        })
    }

    pub async fn manager(&self) -> Result<Arc<NetworkManager>, ExecutorError> {
        let made = self.made.read().await;
        let manager = made.as_ref().map(|made| Arc::clone(&made.manager));
        manager.ok_or_else(|| failed("this node's networks are not known yet"))
    }

    /// Where other nodes reach this one.
    pub(super) async fn underlay(&self) -> Option<IpAddr> {
        self.made.read().await.as_ref().map(|made| made.underlay)
    }

    pub async fn update(&self, update: NetworkUpdate) -> Result<(), ExecutorError> {
        self.manager().await?.update_network(update).await.map_err(|error| match error {
            NetworkError::Stale(_) => ExecutorError::Unfit(error.to_string()),
            _ => failed(error),
        })
    }

    /// Takes all of them down, those too that the daemon made before it was started again and had no
    /// session since. The next swarm may be by another way.
    pub async fn end(&self) -> Result<(), ExecutorError> {
        let mut made = self.made.write().await;
        let manager = match &*made {
            Some(made) => Arc::clone(&made.manager),
            None => Arc::new(self.manage(nowhere(), Namespace::current().map_err(failed)?)),
        };
        manager.end().await.map_err(failed)?;
        *made = None;
        Ok(())
    }

    /// Nothing is found where no network was made yet.
    pub async fn mend(&self) -> Result<Vec<Finding>, ExecutorError> {
        let lacking = self.lacking().await?;
        let manager = self.made.read().await.as_ref().map(|made| Arc::clone(&made.manager));
        let Some(manager) = manager else { return Ok(Vec::new()) };
        let mut found = match manager.mend().await {
            // That is why, most likely.
            Err(_) if !lacking.is_empty() => Vec::new(),
            found => found.map_err(failed)?,
        };
        found.extend(lacking.into_iter().map(|Lack { what, mend }| Finding {
            subject: Subject::Host,
            what: format!("this host: {what}"),
            mend: Mend::Failed(mend),
        }));
        Ok(found)
    }

    /// What is lacking still of what was lacking: a module may have been loaded meanwhile.
    async fn lacking(&self) -> Result<Vec<Lack>, ExecutorError> {
        let nothing = |made: &Made| made.lacking.is_empty();
        if self.made.read().await.as_ref().is_none_or(nothing) {
            return Ok(Vec::new());
        }
        let lacking = requirements::lacking(&self.probe()).await.map_err(failed)?;
        if let Some(made) = self.made.write().await.as_mut() {
            made.lacking.clone_from(&lacking);
        }
        Ok(lacking)
    }

    /// Where a namespace is tried things in.
    fn probe(&self) -> PathBuf {
        self.run.join("probe")
    }

    /// Gives a task its network namespace and its ports of this host.
    pub async fn attach(&self, task: &NodeTask) -> Result<Attached, ExecutorError> {
        let manager = self.manager().await?;
        manager.attach_task(task_net(task)?).await.map_err(failed)
    }

    /// Makes a container that was started by hand be in its places and no others. Gives its addresses
    /// towards the host; None before the first session, when they are as they were.
    pub async fn join(&self, joined: Joined) -> Result<Option<Vec<IpAddr>>, ExecutorError> {
        let (net, lent) = joined.net();
        self.attachments.join(joined);
        // Before the first session it is only noted: what runs already is left as it stands, and is
        // brought to this when networks are taken up.
        match self.manager().await {
            Ok(manager) => {
                let attached = manager.attach_container(net, lent).await.map_err(failed)?;
                Ok(Some(attached.outside))
            }
            Err(_) => Ok(None),
        }
    }

    /// Its namespace is about to go.
    pub async fn part(&self, container: &str) -> Result<(), ExecutorError> {
        self.attachments.part(container);
        self.detach(task_of(container)).await
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

fn outside_pool() -> Ipv4Net {
    OUTSIDE_POOL.parse().expect("a constant network")
}

/// A node that has no session yet: to take networks down it need not be known where it is.
fn nowhere() -> NodeConfig {
    NodeConfig {
        underlay: Ipv4Addr::UNSPECIFIED.into(),
        vxlan_port: DATA_PATH_PORT,
        underlay_mtu: 0,
        ipv6: speaks_v6(),
        sctp: false,
        outside_pool: outside_pool(),
        repeated_sources: Vec::new(),
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
