//! `/services`: the spec a user writes and what the cluster made of it.

use super::shape::{null_default, omitempty, shape};
use super::{Map, NetworkAttachmentConfig, ObjectVersion, RegistryAuth, TaskSpec, Timestamp};

shape! {
    ReplicatedService { "Replicas" replicas: Option<u64> => "omitempty" }

    GlobalService {}

    ReplicatedJob { "MaxConcurrent" max_concurrent: Option<u64> => "omitempty", "TotalCompletions" total_completions: Option<u64> => "omitempty" }

    /// Exactly one is set; none means one replica. Go reads keys in any case, and the Python SDK
    /// writes these two small.
    ServiceMode {
        #[serde(alias = "replicated")]
        "Replicated" replicated: Option<ReplicatedService> => "omitempty",
        #[serde(alias = "global")]
        "Global" global: Option<GlobalService> => "omitempty",
        "ReplicatedJob" replicated_job: Option<ReplicatedJob> => "omitempty",
        "GlobalJob" global_job: Option<GlobalService> => "omitempty",
    }

    /// Durations are nanoseconds; `FailureAction` is `pause`, `continue` or `rollback`; `Order` is `stop-first` or `start-first`.
    UpdateConfig {
        "Parallelism" parallelism: u64,
        "Delay" delay_ns: i64 => "omitempty",
        "FailureAction" failure_action: String => "omitempty",
        "Monitor" monitor_ns: i64 => "omitempty",
        "MaxFailureRatio" max_failure_ratio: f32,
        "Order" order: String,
    }

    /// `PublishMode` is `ingress` or `host`.
    PortConfig {
        "Name" name: String => "omitempty",
        "Protocol" protocol: String => "omitempty",
        "TargetPort" target_port: u32 => "omitempty",
        "PublishedPort" published_port: u32 => "omitempty",
        "PublishMode" publish_mode: String => "omitempty",
    }

    /// `Mode` is `vip` or `dnsrr`.
    EndpointSpec { "Mode" mode: String => "omitempty", "Ports" ports: Vec<PortConfig> => "omitempty" }

    ServiceSpec {
        "Name" name: String => "omitempty",
        "Labels" labels: Map,
        "TaskTemplate" task_template: TaskSpec,
        "Mode" mode: ServiceMode,
        "UpdateConfig" update_config: Option<UpdateConfig> => "omitempty",
        "RollbackConfig" rollback_config: Option<UpdateConfig> => "omitempty",
        "Networks" networks: Vec<NetworkAttachmentConfig> => "omitempty",
        "EndpointSpec" endpoint_spec: Option<EndpointSpec> => "omitempty",
    }

    VirtualIp { "NetworkID" network_id: String => "omitempty", "Addr" addr: String => "omitempty" }

    Endpoint {
        "Spec" spec: EndpointSpec,
        "Ports" ports: Vec<PortConfig> => "omitempty",
        "VirtualIPs" virtual_ips: Vec<VirtualIp> => "omitempty",
    }

    /// Ours: a task that leaves its node, and the node that its place goes to as things stand.
    ServiceMove { "TaskID" task_id: String, "Slot" slot: u64, "From" from: String, "To" to: String }

    /// Ours: what a rebalance moves, of how many tasks that have a node; `Left` more are to move and want
    /// another call.
    ServiceRebalanceResponse { "Tasks" tasks: u64, "Moves" moves: Vec<ServiceMove>, "Left" left: u64 }

    /// `State` is `updating`, `paused`, `completed`, `rollback_started`, `rollback_paused` or `rollback_completed`.
    UpdateStatus {
        "State" state: String => "omitempty",
        "StartedAt" started_at: Option<Timestamp> => "omitempty",
        "CompletedAt" completed_at: Option<Timestamp> => "omitempty",
        "Message" message: String => "omitempty",
    }

    /// Of jobs only: which run stands, and since when.
    JobStatus { "JobIteration" job_iteration: ObjectVersion, "LastExecution" last_execution: Option<Timestamp> => "omitempty" }

    /// In lists asked with `status=true`.
    ServiceStatus { "RunningTasks" running_tasks: u64, "DesiredTasks" desired_tasks: u64, "CompletedTasks" completed_tasks: u64 }

    Service {
        "ID" id: String,
        "Version" version: ObjectVersion,
        "CreatedAt" created_at: Timestamp,
        "UpdatedAt" updated_at: Timestamp,
        "Spec" spec: ServiceSpec,
        "PreviousSpec" previous_spec: Option<ServiceSpec> => "omitempty",
        "Endpoint" endpoint: Endpoint,
        "UpdateStatus" update_status: Option<UpdateStatus> => "omitempty",
        "ServiceStatus" service_status: Option<ServiceStatus> => "omitempty",
        "JobStatus" job_status: Option<JobStatus> => "omitempty",
    }

    ServiceCreateResponse { "ID" id: String => "omitempty", "Warnings" warnings: Vec<String> => "omitempty" }

    ServiceUpdateResponse { "Warnings" warnings: Option<Vec<String>> }
}

/// The query of `POST /services/{id}/update`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceUpdateOptions {
    pub version: u64,
    /// `rollback=previous`: take the spec before the last update instead of the body.
    pub rollback_previous: bool,
    /// The login for the image's registry; none keeps the one that the service has.
    pub registry_auth: Option<RegistryAuth>,
    /// `registryAuthFrom=previous-spec`: it is the spec before the last update that has it.
    pub registry_auth_of_previous: bool,
}
