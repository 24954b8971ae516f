//! `/nodes`: what a member is, wants to be, and is seen to be.

use super::shape::{null_default, omitempty, shape};
use super::{Map, ObjectVersion, Resources, Timestamp, TlsInfo};

shape! {
    /// `Role` is `worker` or `manager`; `Availability` is `active`, `pause` or `drain`.
    NodeSpec {
        "Name" name: String => "omitempty",
        "Labels" labels: Map,
        "Role" role: String => "omitempty",
        "Availability" availability: String => "omitempty",
    }

    NodePlatform { "Architecture" architecture: String => "omitempty", "OS" os: String => "omitempty" }

    PluginDescription { "Type" kind: String => "omitempty", "Name" name: String => "omitempty" }

    EngineDescription {
        "EngineVersion" engine_version: String => "omitempty",
        "Labels" labels: Map => "omitempty",
        "Plugins" plugins: Vec<PluginDescription> => "omitempty",
    }

    NodeDescription {
        "Hostname" hostname: String => "omitempty",
        "Platform" platform: NodePlatform,
        "Resources" resources: Resources,
        "Engine" engine: EngineDescription,
        "TLSInfo" tls_info: TlsInfo,
    }

    /// `State` is `unknown`, `down`, `ready` or `disconnected`.
    NodeStatus {
        "State" state: String => "omitempty",
        "Message" message: String => "omitempty",
        "Addr" addr: String => "omitempty",
    }

    /// `Reachability` is `unknown`, `unreachable` or `reachable`.
    ManagerStatus {
        "Leader" leader: bool => "omitempty",
        "Reachability" reachability: String => "omitempty",
        "Addr" addr: String => "omitempty",
    }

    /// `GET /nodes` (a list of them) and `GET /nodes/{id}`.
    Node {
        "ID" id: String,
        "Version" version: ObjectVersion,
        "CreatedAt" created_at: Timestamp,
        "UpdatedAt" updated_at: Timestamp,
        "Spec" spec: NodeSpec,
        "Description" description: NodeDescription,
        "Status" status: NodeStatus,
        "ManagerStatus" manager_status: Option<ManagerStatus> => "omitempty",
    }
}
