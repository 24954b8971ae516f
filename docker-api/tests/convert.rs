//! Documents and vocabulary, both ways: defaults, refusals, and that nothing is lost between.

mod common;

use common::*;
use serde_json::{Value, json};
use skep_docker_api::json as api;
use skep_docker_api::{ApiError, convert};
use skep_types::*;

fn resolve(name: &str) -> Result<NetworkId, ApiError> {
    if name == "shop_default" || name == NETWORK.to_string() {
        return Ok(NETWORK);
    }
    Err(ApiError::not_found(format!("network {name} not found")))
}

fn read(document: Value) -> Result<ServiceSpec, ApiError> {
    convert::service_spec_from_api(&serde_json::from_value(document).unwrap(), &resolve)
}

/// A service's document with one part changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut document =
        json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
    let mut at = &mut document;
    for key in pointer.split('/') {
        at = &mut at[key];
    }
    *at = value;
    document
}

#[test]
fn what_is_left_out_gets_dockers_defaults() {
    let spec = read(json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}}));
    let expected = ServiceSpec {
        task: TaskSpec {
            container: ContainerSpec { image: "nginx".into(), ..Default::default() },
            ..Default::default()
        },
        ..ServiceSpec::new(named("web"), ServiceMode::Replicated { replicas: 1 })
    };
    assert_eq!(spec.unwrap(), expected);
    for (mode, expected) in [
        (json!({"Replicated": {}}), ServiceMode::Replicated { replicas: 1 }),
        (json!({"Replicated": {"Replicas": 0}}), ServiceMode::Replicated { replicas: 0 }),
        (json!({"Global": {}}), ServiceMode::Global),
        (
            json!({"ReplicatedJob": {"MaxConcurrent": 3}}),
            ServiceMode::ReplicatedJob { max_concurrent: 3, total_completions: 3 },
        ),
        (json!({"GlobalJob": {}}), ServiceMode::GlobalJob),
    ] {
        assert_eq!(read(with("Mode", mode)).unwrap().mode, expected);
    }
}

#[test]
fn networks_are_found_by_id_or_name_in_either_place() {
    let id = NETWORK.to_string();
    for target in ["shop_default", &id] {
        let networks = json!([{"Target": target, "Aliases": ["w"]}]);
        for place in ["Networks", "TaskTemplate/Networks"] {
            let spec = read(with(place, networks.clone())).unwrap();
            assert_eq!(spec.task.networks[0].target, NETWORK);
            assert_eq!(spec.task.networks[0].aliases, ["w"]);
        }
    }
    let error = read(with("Networks", json!([{"Target": "nope"}]))).unwrap_err();
    assert_eq!(error, ApiError::not_found("network nope not found"));
    let twice = json!([{"Target": "shop_default"}, {"Target": id}]);
    let error = read(with("TaskTemplate/Networks", twice)).unwrap_err();
    assert!(error.message.contains("more than once"), "{error}");
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let container = "TaskTemplate/ContainerSpec";
    for (pointer, value, message) in [
        ("TaskTemplate/Runtime", json!("plugin"), "runtime plugin is not supported"),
        ("TaskTemplate/Runtime", json!("wasm"), "unsupported runtime"),
        ("TaskTemplate/PluginSpec", json!({"Name": "x"}), "mismatched Runtime and *Spec fields"),
        ("TaskTemplate/ContainerSpec", json!(null), "mismatched Runtime and *Spec fields"),
        ("Mode", json!({"Global": {}, "Replicated": {}}), "must specify only one service mode"),
        (
            "TaskTemplate/RestartPolicy",
            json!({"Condition": "often"}),
            "invalid RestartCondition: \"often\"",
        ),
        (
            "TaskTemplate/RestartPolicy",
            json!({"Delay": -1}),
            "TaskSpec: restart-delay cannot be negative",
        ),
        (
            "UpdateConfig",
            json!({"FailureAction": "explode"}),
            "unrecognized update failure action explode",
        ),
        ("RollbackConfig", json!({"Order": "sideways"}), "unrecognized update order sideways"),
        ("EndpointSpec", json!({"Mode": "any"}), "invalid resolution mode: \"any\""),
        ("EndpointSpec", json!({"Ports": [{"Protocol": "icmp"}]}), "invalid protocol: \"icmp\""),
        (
            "EndpointSpec",
            json!({"Ports": [{"TargetPort": 65536}]}),
            "EndpointSpec: invalid target port 65536: expected at most 65535",
        ),
        (
            "TaskTemplate/Networks",
            json!([{"Target": "shop_default", "DriverOpts": {"a": "b"}}]),
            "network shop_default: DriverOpts is not supported",
        ),
        (
            "TaskTemplate/Resources",
            json!({"Reservations": {"GenericResources": [{}]}}),
            "a generic resource must be either named or discrete",
        ),
        ("TaskTemplate/Resources", json!({"SwapBytes": 1}), "memory-swap is not supported"),
        (
            "TaskTemplate/Resources",
            json!({"Limits": {"NanoCPUs": -1}}),
            "limit-cpu cannot be negative: -1",
        ),
        (
            "TaskTemplate/Placement",
            json!({"Preferences": [{}]}),
            "invalid placement preference: only spread is known",
        ),
    ] {
        let error = read(with(pointer, value.clone())).unwrap_err();
        assert_eq!(error, ApiError::invalid(message), "{pointer} {value}");
    }
    for (key, value, message) in [
        ("Isolation", json!("hyperv"), "isolation \"hyperv\" is not supported"),
        (
            "OomScoreAdj",
            json!(-1001),
            "Invalid value -1001, range for oom score adj is [-1000, 1000]",
        ),
        (
            "Privileges",
            json!({"CredentialSpec": {"File": "x"}}),
            "credential-spec is not supported",
        ),
        (
            "Privileges",
            json!({"SELinuxContext": {"User": "u"}}),
            "an SELinux context is not supported",
        ),
        (
            "Privileges",
            json!({"Seccomp": {"Mode": "unconfined"}}),
            "seccomp mode \"unconfined\" is not supported",
        ),
        (
            "Privileges",
            json!({"AppArmor": {"Mode": "disabled"}}),
            "AppArmor mode \"disabled\" is not supported",
        ),
        ("Privileges", json!({"NoNewPrivileges": true}), "no-new-privileges is not supported"),
        (
            "Mounts",
            json!([{"Type": "npipe", "Target": "/p"}]),
            "mount /p: type npipe is not supported",
        ),
        ("Mounts", json!([{"Type": "floppy"}]), "invalid MountType: \"floppy\""),
        (
            "Mounts",
            json!([{"Type": "bind", "Target": "/p", "BindOptions": {"Propagation": "far"}}]),
            "invalid MountPropagation: \"far\"",
        ),
        (
            "Mounts",
            json!([{"Type": "bind", "Target": "/p", "BindOptions": {"CreateMountpoint": true}}]),
            "mount /p: CreateMountpoint is not supported",
        ),
        (
            "Mounts",
            json!([{"Type": "volume", "Target": "/p", "VolumeOptions": {"Subpath": "a"}}]),
            "mount /p: volume-subpath is not supported",
        ),
        (
            "Mounts",
            json!([{"Type": "bind", "Target": "/p", "TmpfsOptions": {"SizeBytes": 1}}]),
            "invalid mount config: cannot specify TmpfsOptions for mount /p of type bind",
        ),
        (
            "Healthcheck",
            json!({"Interval": -1}),
            "ContainerSpec: Interval in HealthConfig cannot be negative",
        ),
        (
            "Hosts",
            json!(["db:10.0.0.9"]),
            "ContainerSpec: invalid host \"db:10.0.0.9\": expected an address and names",
        ),
        (
            "Secrets",
            json!([{"SecretID": "x", "SecretName": "x"}]),
            "malformed secret reference, no target",
        ),
        (
            "Secrets",
            json!([{"SecretID": "x", "SecretName": "x", "File": {"Name": "x"}}]),
            "malformed secret reference: \"x\"",
        ),
        (
            "Configs",
            json!([{"ConfigID": "x", "ConfigName": "x"}]),
            "invalid Config: either File or Runtime should be set",
        ),
        (
            "Configs",
            json!([{"ConfigName": "x", "Runtime": {}}]),
            "config x: a Runtime target is not supported",
        ),
    ] {
        let error = read(with(&format!("{container}/{key}"), value.clone())).unwrap_err();
        assert_eq!(error, ApiError::invalid(message), "{key} {value}");
    }
}

#[test]
fn hosts_are_lines_of_the_file() {
    let spec = read(with("TaskTemplate/ContainerSpec/Hosts", json!(["10.0.0.9 db  database"])));
    assert_eq!(spec.unwrap().task.container.hosts, ["10.0.0.9 db  database"]);
}

#[test]
fn the_empty_shells_that_clients_send_are_no_wishes() {
    let privileges = json!({"CredentialSpec": null, "SELinuxContext": null, "NoNewPrivileges": false,
        "Seccomp": {"Mode": "default"}, "AppArmor": {"Mode": "default"}});
    read(with("TaskTemplate/ContainerSpec/Privileges", privileges)).unwrap();
    read(with("TaskTemplate/ContainerSpec/Isolation", json!("default"))).unwrap();
    let mount = json!([{"Type": "bind", "Source": "/a", "Target": "/b", "Consistency": "cached",
        "BindOptions": {"Propagation": "rprivate"}, "VolumeOptions": {}, "TmpfsOptions": {}}]);
    read(with("TaskTemplate/ContainerSpec/Mounts", mount)).unwrap();
}

#[test]
fn a_spec_survives_its_document() {
    let mut specs = vec![rich_spec()];
    for mode in [
        ServiceMode::Global,
        ServiceMode::GlobalJob,
        ServiceMode::ReplicatedJob { max_concurrent: 2, total_completions: 9 },
    ] {
        let mut spec = rich_spec();
        spec.mode = mode;
        if mode.is_job() {
            spec.update = UpdateConfig::default();
            spec.rollback = UpdateConfig::default();
        }
        specs.push(spec);
    }
    let mut reserving = rich_spec();
    let generic = &mut reserving.task.resources.reservations.generic;
    *generic = skep_types::generic::parse(["gpu=2", "ssd=1", "fpga=A"]).unwrap();
    specs.push(reserving);
    for spec in specs {
        let text = serde_json::to_string(&convert::service_spec_to_api(&spec)).unwrap();
        let document: api::ServiceSpec = serde_json::from_str(&text).unwrap();
        assert_eq!(convert::service_spec_from_api(&document, &resolve).unwrap(), spec);
    }
}

#[test]
fn networks_to_make() {
    let read = |document: Value| {
        convert::network_spec_from_api(&serde_json::from_value(document).unwrap())
    };
    let spec = read(json!({"Name": "n", "Driver": "overlay", "Attachable": true, "Internal": true,
        "Options": {}, "IPAM": {"Driver": "default", "Options": {}, "Config":
        [{"Subnet": "10.5.0.9/16", "IPRange": "10.5.1.0/24", "Gateway": "10.5.0.1"}, {}]}}))
    .unwrap();
    assert!(spec.attachable && spec.internal && !spec.ipv6);
    assert_eq!(spec.ipam.len(), 1);
    assert_eq!(spec.ipam[0].subnet.to_string(), "10.5.0.0/16");
    let both = json!([{"Subnet": "10.5.0.0/16"}, {"Subnet": "fd00::/64", "Gateway": "fd00::9"}]);
    for (ipv6, subnets) in [(true, 2), (false, 1)] {
        let spec = read(json!({"Name": "n", "Driver": "overlay", "EnableIPv6": ipv6,
            "Options": {"com.docker.network.driver.mtu": "1400"}, "IPAM": {"Config": both}}))
        .unwrap();
        assert_eq!((spec.ipv6, spec.ipam.len(), spec.mtu()), (ipv6, subnets, Some(1400)));
    }
    for (document, message) in [
        (json!({"Name": "n", "Scope": "local"}), "network n: scope local is not supported"),
        (
            json!({"Name": "n", "Options": {"encrypted": ""}}),
            "network n: option \"encrypted\" is not supported",
        ),
        (
            json!({"Name": "n", "Options": {"com.docker.network.driver.mtu": "67"}}),
            "network n: invalid com.docker.network.driver.mtu \"67\": expected 68 to 65535 bytes",
        ),
        (
            json!({"Name": "n", "ConfigFrom": {"Network": "m"}}),
            "network n: a configuration-only network is not supported",
        ),
        (
            json!({"Name": "n", "IPAM": {"Driver": "dhcp"}}),
            "network n: IPAM driver dhcp is not supported",
        ),
        (
            json!({"Name": "n", "IPAM": {"Config": [{"Subnet": "10.0.0.0/33"}]}}),
            "invalid subnet \"10.0.0.0/33\"",
        ),
        (
            json!({"Name": "n", "IPAM": {"Config": [{"Gateway": "10.0.0.1"}]}}),
            "every ip-range or gateway must have a corresponding subnet",
        ),
    ] {
        assert_eq!(read(document).unwrap_err(), ApiError::invalid(message));
    }
}

#[test]
fn nodes_and_payloads_to_change() {
    let node = |document| convert::node_spec_from_api(&serde_json::from_value(document).unwrap());
    let spec = node(json!({"Role": "manager", "Availability": "drain", "Labels": {"a": "b"}}));
    let spec = spec.unwrap();
    assert_eq!((spec.role, spec.availability), (NodeRole::Manager, Availability::Drain));
    let error = node(json!({"Role": "boss", "Availability": "active"})).unwrap_err();
    assert_eq!(error, ApiError::invalid("invalid Role: \"boss\""));
    let error = node(json!({"Role": "worker"})).unwrap_err();
    assert_eq!(error, ApiError::invalid("invalid Availability: \"\""));

    let templates = |name: &str| Some(api::Driver { name: name.into(), ..Default::default() });
    let secret = api::SecretSpec {
        name: "pw".into(),
        data: "aHVudGVyMg==".into(),
        templating: templates("golang"),
        ..Default::default()
    };
    assert_eq!(convert::secret_spec_from_api(&secret).unwrap(), common::secret().spec);
    let broken = api::SecretSpec { data: "hunter2!".into(), ..secret.clone() };
    let error = convert::secret_spec_from_api(&broken).unwrap_err();
    assert_eq!(error, ApiError::invalid("invalid data of secret pw: expected base64"));
    let driven = api::SecretSpec { driver: Some(api::Driver::default()), ..secret };
    let error = convert::secret_spec_from_api(&driven).unwrap_err();
    assert_eq!(error, ApiError::invalid("secret pw: a driver is not supported"));
    let config = api::ConfigSpec {
        name: "site".into(),
        data: "aGVsbG8=".into(),
        templating: templates("golang"),
        ..Default::default()
    };
    let foreign = api::ConfigSpec { templating: templates("jinja"), ..config.clone() };
    let error = convert::config_spec_from_api(&foreign).unwrap_err();
    assert!(error.message.starts_with("config site: template driver \"jinja\""), "{error}");
    assert_eq!(convert::config_spec_from_api(&config).unwrap(), common::config().spec);
}

#[test]
fn a_swarms_spec_is_merged() {
    let raft = api::RaftConfig { snapshot_interval: 5000, ..Default::default() };
    let current = ClusterSpec { autolock: true, ..Default::default() };
    let merge = |document| {
        convert::cluster_spec_from_api(&serde_json::from_value(document).unwrap(), &current, &raft)
    };
    let merged = merge(json!({"Orchestration": {"TaskHistoryRetentionLimit": 2},
        "EncryptionConfig": {"AutoLockManagers": true}}))
    .unwrap();
    assert_eq!(merged, ClusterSpec { task_history_limit: 2, ..current.clone() });
    // What was read may be sent back whole.
    let read = serde_json::to_value(convert::swarm_to_api(&cluster(), &Default::default(), &raft));
    assert_eq!(merge(read.unwrap()["Spec"].take()).unwrap(), ClusterSpec::default());
    for (document, message) in [
        (
            json!({"Raft": {"SnapshotInterval": 7}}),
            "changing Raft's SnapshotInterval (asked for 7, it is 5000) is not supported",
        ),
        (json!({"CAConfig": {"ForceRotate": 1}}), "rotation of the root CA is not supported"),
        (
            json!({"CAConfig": {"ExternalCAs": [{"URL": "https://ca"}]}}),
            "an external CA is not supported",
        ),
        (
            json!({"TaskDefaults": {"LogDriver": {"Name": "syslog"}}}),
            "a default log driver is not supported",
        ),
        (json!({"Name": "mine"}), "invalid swarm name \"mine\": expected \"default\""),
        (json!({"CAConfig": {"NodeCertExpiry": -5}}), "certificate expiry cannot be negative"),
    ] {
        assert_eq!(merge(document).unwrap_err(), ApiError::invalid(message));
    }
}
