//! Services: what a user wants to run, and how the world reaches it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::container::ContainerSpec;
use crate::resources::ResourceRequirements;
use crate::{
    Annotations, Meta, NetworkId, NodeId, RestartPolicy, Revision, ServiceId, TaskId, Timestamp,
    UpdateConfig,
};

/// How many tasks a service has, and whether they are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceMode {
    /// So many slots.
    Replicated { replicas: u64 },
    /// One task on each node that matches.
    Global,
    /// So many completions, at most so many at a time.
    ReplicatedJob { max_concurrent: u64, total_completions: u64 },
    /// One completion on each node that matches.
    GlobalJob,
}

impl ServiceMode {
    /// Whether tasks are meant to come to an end.
    pub const fn is_job(self) -> bool {
        matches!(self, Self::ReplicatedJob { .. } | Self::GlobalJob)
    }
}

/// A network that tasks join, with names of their own on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAttachmentConfig {
    pub target: NetworkId,
    pub aliases: Vec<String>,
}

/// Which nodes may hold a service's tasks, and how they are spread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// `node.labels.zone == east` and its kin.
    pub constraints: Vec<String>,
    /// Labels whose values the tasks are spread over, outermost first.
    pub spread: Vec<String>,
    /// Zero: no limit.
    pub max_replicas_per_node: u64,
    /// (os, architecture) pairs, either of which may be empty; none: any.
    pub platforms: Vec<(String, String)>,
}

/// What a task is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskSpec {
    pub container: ContainerSpec,
    pub resources: ResourceRequirements,
    pub restart: RestartPolicy,
    pub placement: Placement,
    pub networks: Vec<NetworkAttachmentConfig>,
    pub log_driver: Option<LogDriver>,
    /// Raised to have every task replaced although nothing else changed.
    pub force_update: u64,
}

/// Where a task's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDriver {
    pub name: String,
    pub options: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// As everybody writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Of a word; None where it is none.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Where a published port answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublishMode {
    /// On every node.
    #[default]
    Ingress,
    /// On the nodes that run a task.
    Host,
}

/// A port of a service that the outside reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortConfig {
    pub name: String,
    pub protocol: Protocol,
    pub target_port: u16,
    /// Zero in a spec: to be allocated.
    pub published_port: u16,
    pub publish_mode: PublishMode,
}

/// How a service's name is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EndpointMode {
    /// By one virtual address.
    #[default]
    Vip,
    /// By the tasks' addresses.
    DnsRoundRobin,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSpec {
    pub mode: EndpointMode,
    pub ports: Vec<PortConfig>,
}

/// What a user asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    pub annotations: Annotations,
    pub task: TaskSpec,
    pub mode: ServiceMode,
    pub update: UpdateConfig,
    pub rollback: UpdateConfig,
    pub endpoint: EndpointSpec,
}

impl ServiceSpec {
    /// Tasks of a mode, and defaults for everything else.
    pub fn new(annotations: Annotations, mode: ServiceMode) -> Self {
        Self {
            annotations,
            task: TaskSpec::default(),
            mode,
            update: UpdateConfig::default(),
            rollback: UpdateConfig::default(),
            endpoint: EndpointSpec::default(),
        }
    }
}

/// A virtual address on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualIp {
    pub network: NetworkId,
    pub address: IpAddr,
    pub prefix_length: u8,
}

/// What was allocated for a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    pub mode: EndpointMode,
    /// As in the spec, with every port number filled in.
    pub ports: Vec<PortConfig>,
    pub virtual_ips: Vec<VirtualIp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateState {
    Updating,
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted,
}

/// How far the last change of a service has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateStatus {
    pub state: UpdateState,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub message: String,
    /// Tasks that are to leave their nodes while nothing else changes: the service is rebalanced.
    /// Empty in any other update.
    pub moving: BTreeMap<TaskId, Moving>,
}

/// What becomes of the place of a task that leaves its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving {
    /// The number of its slot.
    pub slot: u64,
    /// The node that its successor goes to, if that still fits when it is placed.
    pub to: NodeId,
}

/// Which run of a job stands, and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobStatus {
    /// The first run is number 0; every update of the service begins another.
    pub iteration: u64,
    pub last_execution: Timestamp,
}

/// A service as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub id: ServiceId,
    pub meta: Meta,
    pub spec: Arc<ServiceSpec>,
    /// The revision at which `spec` last changed; tasks name the one they were made from.
    pub spec_version: Revision,
    pub previous_spec: Option<Arc<ServiceSpec>>,
    pub previous_spec_version: Option<Revision>,
    pub endpoint: Option<Endpoint>,
    pub update_status: Option<UpdateStatus>,
    /// Of jobs only.
    pub job: Option<JobStatus>,
}

impl Service {
    /// A service as it is created; that of a job has its first run still to be given.
    pub fn new(id: ServiceId, spec: Arc<ServiceSpec>) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec,
            spec_version: Revision::default(),
            previous_spec: None,
            previous_spec_version: None,
            endpoint: None,
            update_status: None,
            job: None,
        }
    }

    /// Tasks that are to leave their nodes; none unless the service is being rebalanced.
    pub fn moving(&self) -> Option<&BTreeMap<TaskId, Moving>> {
        let moving = &self.update_status.as_ref()?.moving;
        (!moving.is_empty()).then_some(moving)
    }

    /// Whether a task is to leave its node although it is as it should be.
    pub fn moves(&self, task: TaskId) -> bool {
        self.moving().is_some_and(|moving| moving.contains_key(&task))
    }
}
