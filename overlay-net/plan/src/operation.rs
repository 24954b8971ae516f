//! The steps that the kernel's side executes. Each is idempotent: done twice it leaves the same,
//! and one that failed half-way is done again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use skep_types::service::Protocol;
use skep_types::{NetworkId, TaskId};

use crate::observed::{Forwarding, Interface, Outside, Tunnel};
use crate::rules::Edit;
use crate::{Balanced, Mac, Ruleset, TaskRules};

/// Which namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Host,
    Task(TaskId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// The host forwards between interfaces.
    EnableForwarding(Forwarding),
    /// A network's namespace with its bridge and VXLAN device. One that stands with another tunnel
    /// loses its device and with it all forwarding entries.
    CreateSandbox {
        network: NetworkId,
        tunnel: Tunnel,
        gateways: BTreeSet<IpNet>,
        mac: Mac,
    },
    /// The sandbox's way to and from the host, for published ports.
    JoinToHost {
        network: NetworkId,
        subnet: Ipv4Net,
        gateway: Ipv4Addr,
        /// The subnet of IPv6, where the network has one.
        subnet_v6: Option<Ipv6Net>,
        /// What the host is called there.
        host: IpAddr,
        /// The host has no such address yet: its end of the way is given it.
        lacks_host: bool,
        mtu: u32,
    },
    /// Frames to `mac` are tunnelled to `node`.
    SetForwarding {
        network: NetworkId,
        mac: Mac,
        node: IpAddr,
    },
    /// Who asks for `address` is told `mac`.
    SetNeighbour {
        network: NetworkId,
        address: IpAddr,
        mac: Mac,
    },
    CreateTask {
        task: TaskId,
    },
    /// A task's namespace is one that stands elsewhere, and is not ours to take away.
    BorrowTask {
        task: TaskId,
        namespace: PathBuf,
    },
    /// An interface of the task on a network's bridge.
    Connect {
        task: TaskId,
        network: NetworkId,
        name: String,
        interface: Interface,
    },
    /// A routed pair between the task and the host, with the task's default routes.
    ConnectOutside {
        task: TaskId,
        name: String,
        outside: Outside,
        gateway: Ipv4Addr,
        mtu: u32,
    },
    /// Replies to connections that came in through a node go back by the ingress network.
    RouteReplies {
        task: TaskId,
        name: String,
        /// Of one family both.
        address: IpAddr,
        gateway: IpAddr,
        /// Of protocols whose sockets choose their source before a packet is marked.
        early: BTreeSet<(Protocol, u16)>,
    },
    /// A table of the host for rules of its operator.
    CreateUserTable,
    /// Replaces all packet rules of ours in the host's namespace at once.
    ReplaceHostRules {
        rules: Ruleset,
        /// The ports that they answer.
        balanced: Vec<Balanced>,
    },
    /// The same in a task's.
    ReplaceTaskRules {
        task: TaskId,
        rules: Arc<TaskRules>,
    },
    /// Changes what differs between the packet rules that stand in a task's namespace and others, at
    /// once.
    EditTaskRules {
        task: TaskId,
        edit: Edit,
        rules: Arc<TaskRules>,
    },
    /// Forgets translated flows to tasks that no longer serve: UDP, and what nobody has answered yet,
    /// to all but the serving ones, other flows to all that are gone.
    PruneFlows {
        place: Place,
        balanced: Vec<Balanced>,
    },
    Disconnect {
        task: TaskId,
        name: String,
    },
    RemoveForwarding {
        network: NetworkId,
        mac: Mac,
    },
    RemoveNeighbour {
        network: NetworkId,
        address: IpAddr,
    },
    RemoveTask {
        task: TaskId,
    },
    PartFromHost {
        network: NetworkId,
    },
    RemoveSandbox {
        network: NetworkId,
    },
    RemoveHostRules,
}

/// What an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Host,
    Network(NetworkId),
    Task(TaskId),
}

impl Operation {
    /// What fails when the operation fails.
    pub fn subject(&self) -> Subject {
        match self {
            Self::EnableForwarding(_)
            | Self::CreateUserTable
            | Self::RemoveHostRules
            | Self::ReplaceHostRules { .. }
            | Self::PruneFlows { place: Place::Host, .. } => Subject::Host,
            Self::CreateSandbox { network, .. }
            | Self::JoinToHost { network, .. }
            | Self::SetForwarding { network, .. }
            | Self::SetNeighbour { network, .. }
            | Self::RemoveForwarding { network, .. }
            | Self::RemoveNeighbour { network, .. }
            | Self::PartFromHost { network }
            | Self::RemoveSandbox { network } => Subject::Network(*network),
            Self::CreateTask { task }
            | Self::BorrowTask { task, .. }
            | Self::Connect { task, .. }
            | Self::ConnectOutside { task, .. }
            | Self::RouteReplies { task, .. }
            | Self::ReplaceTaskRules { task, .. }
            | Self::EditTaskRules { task, .. }
            | Self::PruneFlows { place: Place::Task(task), .. }
            | Self::Disconnect { task, .. }
            | Self::RemoveTask { task } => Subject::Task(*task),
        }
    }
}
