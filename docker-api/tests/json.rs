//! Documents as the docker command line sends them come back key for key.

use serde_json::{Value, json};
use skep_docker_api::json::*;

fn round<T: serde::Serialize + serde::de::DeserializeOwned>(document: Value) {
    let parsed: T = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(parsed).unwrap(), document);
}

#[test]
fn service_specs() {
    round::<ServiceSpec>(json!({
        "Name": "web", "Labels": {},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "nginx", "StopGracePeriod": 10_000_000_000_i64, "Env": ["A=b"],
                "Mounts": [{"Type": "volume", "Source": "v", "Target": "/v"}],
                "Secrets": [{"File": {"Name": "pw", "UID": "0", "GID": "0", "Mode": 292}, "SecretID": "i", "SecretName": "pw"}]},
            "Resources": {"Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 67_108_864}},
            "RestartPolicy": {"Condition": "any", "Delay": 5_000_000_000_i64, "MaxAttempts": 0},
            "Placement": {"Constraints": ["node.role==worker"], "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.rack"}}]},
            "Networks": [{"Target": "n"}], "ForceUpdate": 0
        },
        "Mode": {"Replicated": {"Replicas": 0}},
        "UpdateConfig": {"Parallelism": 1, "MaxFailureRatio": 0.0, "Order": "stop-first"},
        "EndpointSpec": {"Mode": "vip", "Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"}]}
    }));
    round::<ServiceMode>(json!({"Global": {}}));
}

#[test]
fn nulls_and_unknown_keys_read_as_nothing() {
    let spec: ServiceSpec = serde_json::from_value(
        json!({"Labels": null, "Later": [1], "TaskTemplate": {"ContainerSpec": {"Env": null}}}),
    )
    .unwrap();
    assert!(spec.labels.is_empty());
    let init: SwarmInitRequest = serde_json::from_value(json!({"DefaultAddrPool": null, "Spec": {"Orchestration": {}, "Raft": {"ElectionTick": 0, "HeartbeatTick": 0}}})).unwrap();
    assert_eq!(init, SwarmInitRequest::default());
}

#[test]
fn moments() {
    let at = Timestamp::from_unix_nanos(1_700_000_000_123_456_789);
    assert_eq!(at.0, "2023-11-14T22:13:20.123456789Z");
    assert_eq!(at.unix_nanos(), Some(1_700_000_000_123_456_789));
    assert_eq!(Timestamp::default().unix_nanos(), None);
}
