//! `/tasks`: one-shot runs of a service's template.

use super::shape::{null_default, omitempty, shape};
use super::{GenericResource, Map, ObjectVersion, PortConfig, SwarmNetwork, TaskSpec, Timestamp};

shape! {
    ContainerStatus { "ContainerID" container_id: String, "PID" pid: i64, "ExitCode" exit_code: i64 }

    PortStatus { "Ports" ports: Vec<PortConfig> => "omitempty" }

    TaskStatus {
        "Timestamp" timestamp: Timestamp,
        "State" state: String => "omitempty",
        "Message" message: String => "omitempty",
        "Err" err: String => "omitempty",
        "ContainerStatus" container_status: Option<ContainerStatus> => "omitempty",
        "PortStatus" port_status: PortStatus,
    }

    NetworkAttachment { "Network" network: SwarmNetwork => "omitempty", "Addresses" addresses: Vec<String> => "omitempty" }

    Task {
        "ID" id: String,
        "Version" version: ObjectVersion,
        "CreatedAt" created_at: Timestamp,
        "UpdatedAt" updated_at: Timestamp,
        "Name" name: String => "omitempty",
        "Labels" labels: Map,
        "Spec" spec: TaskSpec,
        "ServiceID" service_id: String => "omitempty",
        "Slot" slot: u64 => "omitempty",
        "NodeID" node_id: String => "omitempty",
        "Status" status: TaskStatus,
        "DesiredState" desired_state: String => "omitempty",
        "NetworksAttachments" networks_attachments: Vec<NetworkAttachment> => "omitempty",
        "GenericResources" generic_resources: Vec<GenericResource> => "omitempty",
        "JobIteration" job_iteration: Option<ObjectVersion> => "omitempty",
    }
}
