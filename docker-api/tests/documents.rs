//! Objects of the swarm as the API shows them, key for key.

mod common;

use common::*;
use expect_test::{Expect, expect};
use serde_json::json;
use skep_docker_api::convert;
use skep_docker_api::json as api;

fn shows(document: impl serde::Serialize, expected: Expect) {
    let mut text = serde_json::to_string_pretty(&document).unwrap();
    text.push('\n');
    expected.assert_eq(&text);
}

#[test]
fn a_service_as_shown() {
    let mut shown = serde_json::to_value(convert::service_to_api(&service(), None)).unwrap();
    assert_eq!(shown["PreviousSpec"]["Mode"]["Replicated"]["Replicas"], 1);
    shown.as_object_mut().unwrap().remove("PreviousSpec");
    shows(
        shown,
        expect![[r#"
            {
              "ID": "000000000000000000000002m",
              "Version": {
                "Index": 12
              },
              "CreatedAt": "2023-11-14T22:13:20Z",
              "UpdatedAt": "2023-11-14T22:13:21.5Z",
              "Spec": {
                "Name": "shop_web",
                "Labels": {
                  "com.docker.stack.namespace": "shop"
                },
                "TaskTemplate": {
                  "ContainerSpec": {
                    "Image": "nginx:1@sha256:00",
                    "Labels": {
                      "tier": "front"
                    },
                    "Command": [
                      "nginx"
                    ],
                    "Args": [
                      "-g",
                      "daemon off;"
                    ],
                    "Hostname": "{{.Task.Name}}",
                    "Env": [
                      "A=b",
                      "UNSET"
                    ],
                    "Dir": "/srv",
                    "User": "www",
                    "Groups": [
                      "adm"
                    ],
                    "Init": true,
                    "StopSignal": "SIGQUIT",
                    "TTY": true,
                    "OpenStdin": true,
                    "ReadOnly": true,
                    "Mounts": [
                      {
                        "Type": "bind",
                        "Source": "/etc/hosts",
                        "Target": "/hosts",
                        "ReadOnly": true,
                        "BindOptions": {
                          "Propagation": "rslave",
                          "NonRecursive": true,
                          "ReadOnlyNonRecursive": true
                        }
                      },
                      {
                        "Type": "volume",
                        "Source": "data",
                        "Target": "/data",
                        "VolumeOptions": {
                          "NoCopy": true,
                          "Labels": {
                            "k": "v"
                          },
                          "DriverConfig": {
                            "Name": "local",
                            "Options": {
                              "type": "nfs"
                            }
                          }
                        }
                      },
                      {
                        "Type": "tmpfs",
                        "Target": "/tmp",
                        "TmpfsOptions": {
                          "SizeBytes": 65536,
                          "Mode": 1016
                        }
                      }
                    ],
                    "StopGracePeriod": 30000000000,
                    "Healthcheck": {
                      "Test": [
                        "CMD",
                        "true"
                      ],
                      "Interval": 10000000000,
                      "Timeout": 2000000000,
                      "StartPeriod": 5000000000,
                      "StartInterval": 1000000000,
                      "Retries": 3
                    },
                    "Hosts": [
                      "10.0.0.9 db",
                      "fd00::1 six"
                    ],
                    "DNSConfig": {
                      "Nameservers": [
                        "9.9.9.9"
                      ],
                      "Search": [
                        "example.org"
                      ],
                      "Options": [
                        "ndots:2"
                      ]
                    },
                    "Secrets": [
                      {
                        "File": {
                          "Name": "pw",
                          "UID": "0",
                          "GID": "0",
                          "Mode": 292
                        },
                        "SecretID": "0000000000000000000000001",
                        "SecretName": "pw"
                      }
                    ],
                    "Configs": [
                      {
                        "File": {
                          "Name": "/etc/site",
                          "UID": "0",
                          "GID": "0",
                          "Mode": 292
                        },
                        "ConfigID": "0000000000000000000000002",
                        "ConfigName": "site"
                      }
                    ],
                    "Isolation": "default",
                    "Sysctls": {
                      "net.core.somaxconn": "512"
                    },
                    "CapabilityAdd": [
                      "CAP_NET_ADMIN"
                    ],
                    "CapabilityDrop": [
                      "CAP_MKNOD"
                    ],
                    "Ulimits": [
                      {
                        "Name": "nofile",
                        "Hard": 4096,
                        "Soft": 1024
                      }
                    ],
                    "OomScoreAdj": -500
                  },
                  "Resources": {
                    "Limits": {
                      "NanoCPUs": 500000000,
                      "MemoryBytes": 67108864,
                      "Pids": 100
                    },
                    "Reservations": {
                      "NanoCPUs": 250000000,
                      "MemoryBytes": 33554432
                    }
                  },
                  "RestartPolicy": {
                    "Condition": "on-failure",
                    "Delay": 3000000000,
                    "MaxAttempts": 4,
                    "Window": 60000000000
                  },
                  "Placement": {
                    "Constraints": [
                      "node.role == worker"
                    ],
                    "Preferences": [
                      {
                        "Spread": {
                          "SpreadDescriptor": "node.labels.rack"
                        }
                      }
                    ],
                    "MaxReplicas": 2,
                    "Platforms": [
                      {
                        "Architecture": "x86_64",
                        "OS": "linux"
                      }
                    ]
                  },
                  "Networks": [
                    {
                      "Target": "000000000000000000000003b",
                      "Aliases": [
                        "web"
                      ]
                    }
                  ],
                  "LogDriver": {
                    "Name": "json-file",
                    "Options": {
                      "max-size": "1m"
                    }
                  },
                  "ForceUpdate": 2,
                  "Runtime": "container"
                },
                "Mode": {
                  "Replicated": {
                    "Replicas": 3
                  }
                },
                "UpdateConfig": {
                  "Parallelism": 2,
                  "Delay": 1000000000,
                  "FailureAction": "rollback",
                  "Monitor": 7000000000,
                  "MaxFailureRatio": 0.25,
                  "Order": "start-first"
                },
                "RollbackConfig": {
                  "Parallelism": 1,
                  "FailureAction": "continue",
                  "Monitor": 5000000000,
                  "MaxFailureRatio": 0.0,
                  "Order": "stop-first"
                },
                "EndpointSpec": {
                  "Mode": "vip",
                  "Ports": [
                    {
                      "Name": "http",
                      "Protocol": "tcp",
                      "TargetPort": 80,
                      "PublishMode": "ingress"
                    }
                  ]
                }
              },
              "UpdateStatus": {
                "State": "completed",
                "StartedAt": "2023-11-14T22:13:21Z",
                "CompletedAt": "2023-11-14T22:13:22Z",
                "Message": "update completed"
              },
              "Endpoint": {
                "Spec": {
                  "Mode": "vip",
                  "Ports": [
                    {
                      "Name": "http",
                      "Protocol": "tcp",
                      "TargetPort": 80,
                      "PublishMode": "ingress"
                    }
                  ]
                },
                "Ports": [
                  {
                    "Name": "http",
                    "Protocol": "tcp",
                    "TargetPort": 80,
                    "PublishedPort": 30000,
                    "PublishMode": "ingress"
                  }
                ],
                "VirtualIPs": [
                  {
                    "NetworkID": "000000000000000000000003b",
                    "Addr": "10.0.1.2/24"
                  }
                ]
              }
            }
        "#]],
    );
    let mut fresh = service();
    fresh.endpoint = None;
    fresh.previous_spec = None;
    fresh.update_status = None;
    let shown = serde_json::to_value(convert::service_to_api(&fresh, None)).unwrap();
    assert_eq!(shown["Endpoint"], json!({"Spec": {}}));
    assert!(shown.get("PreviousSpec").is_none() && shown.get("UpdateStatus").is_none());
}

#[test]
fn a_task_as_shown() {
    let network = network();
    let spec = rich_spec();
    let found = |id| (id == NETWORK).then_some(&network);
    let mut shown =
        serde_json::to_value(convert::task_to_api(&task(2), &spec.task, &found)).unwrap();
    assert_eq!(shown["Spec"]["ContainerSpec"]["Image"], "nginx:1@sha256:00");
    shown.as_object_mut().unwrap().remove("Spec");
    shows(
        shown,
        expect![[r#"
        {
          "ID": "0000000000000000000000o3m",
          "Version": {
            "Index": 13
          },
          "CreatedAt": "2023-11-14T22:13:20Z",
          "UpdatedAt": "2023-11-14T22:13:21.5Z",
          "Labels": {},
          "NetworksAttachments": [
            {
              "Network": {
                "ID": "000000000000000000000003b",
                "Version": {
                  "Index": 5
                },
                "CreatedAt": "2023-11-14T22:13:20Z",
                "UpdatedAt": "2023-11-14T22:13:21.5Z",
                "Spec": {
                  "Name": "shop_default",
                  "Labels": {
                    "com.docker.stack.namespace": "shop"
                  },
                  "DriverConfiguration": {
                    "Name": "overlay"
                  },
                  "Attachable": true,
                  "IPAMOptions": {
                    "Driver": {
                      "Name": "default"
                    }
                  },
                  "Scope": "swarm"
                },
                "DriverState": {
                  "Name": "overlay",
                  "Options": {
                    "com.docker.network.driver.overlay.vxlanid_list": "4097"
                  }
                },
                "IPAMOptions": {
                  "Driver": {
                    "Name": "default"
                  },
                  "Configs": [
                    {
                      "Subnet": "10.0.1.0/24",
                      "Gateway": "10.0.1.1"
                    }
                  ]
                }
              },
              "Addresses": [
                "10.0.1.3/24"
              ]
            }
          ],
          "ServiceID": "000000000000000000000002m",
          "Slot": 2,
          "NodeID": "000000000000000000000000d",
          "Status": {
            "Timestamp": "2023-11-14T22:13:23Z",
            "State": "running",
            "Message": "started",
            "ContainerStatus": {
              "ContainerID": "c0ffee",
              "PID": 4711,
              "ExitCode": 0
            },
            "PortStatus": {
              "Ports": [
                {
                  "Name": "http",
                  "Protocol": "tcp",
                  "TargetPort": 80,
                  "PublishedPort": 8080,
                  "PublishMode": "host"
                }
              ]
            }
          },
          "DesiredState": "running"
        }
    "#]],
    );
    let mut global = task(1);
    global.slot = skep_types::task::Slot::Node(NODE);
    let shown = convert::task_to_api(&global, &spec.task, &|_| None);
    assert_eq!(
        (shown.slot, shown.networks_attachments[0].network.id.as_str()),
        (0, &*NETWORK.to_string())
    );
}

#[test]
fn the_rest_as_shown() {
    let tls = api::TlsInfo {
        trust_root: "PEM".into(),
        cert_issuer_subject: "c3Vi".into(),
        cert_issuer_public_key: "a2V5".into(),
    };
    let view =
        convert::ManagerView { leader: true, reachability: convert::Reachability::Reachable };
    let raft = api::RaftConfig { snapshot_interval: 5000, ..Default::default() };
    shows(
        convert::node_to_api(&node(), &tls, Some(view)),
        expect![[r#"
        {
          "ID": "000000000000000000000000d",
          "Version": {
            "Index": 3
          },
          "CreatedAt": "2023-11-14T22:13:20Z",
          "UpdatedAt": "2023-11-14T22:13:21.5Z",
          "Spec": {
            "Labels": {},
            "Role": "manager",
            "Availability": "active"
          },
          "Description": {
            "Hostname": "host1",
            "Platform": {
              "Architecture": "x86_64",
              "OS": "linux"
            },
            "Resources": {
              "NanoCPUs": 2000000000,
              "MemoryBytes": 1073741824
            },
            "Engine": {
              "EngineVersion": "0.1.0",
              "Labels": {
                "disk": "ssd"
              },
              "Plugins": [
                {
                  "Type": "Network",
                  "Name": "overlay"
                }
              ]
            },
            "TLSInfo": {
              "TrustRoot": "PEM",
              "CertIssuerSubject": "c3Vi",
              "CertIssuerPublicKey": "a2V5"
            }
          },
          "Status": {
            "State": "ready",
            "Addr": "10.9.0.1"
          },
          "ManagerStatus": {
            "Leader": true,
            "Reachability": "reachable",
            "Addr": "10.9.0.1:2377"
          }
        }
    "#]],
    );
    shows(
        convert::network_to_api(&network()),
        expect![[r#"
        {
          "Name": "shop_default",
          "Id": "000000000000000000000003b",
          "Created": "2023-11-14T22:13:20Z",
          "Scope": "swarm",
          "Driver": "overlay",
          "EnableIPv4": true,
          "EnableIPv6": false,
          "IPAM": {
            "Driver": "default",
            "Options": null,
            "Config": [
              {
                "Subnet": "10.0.1.0/24",
                "Gateway": "10.0.1.1"
              }
            ]
          },
          "Internal": false,
          "Attachable": true,
          "Ingress": false,
          "ConfigFrom": {
            "Network": ""
          },
          "ConfigOnly": false,
          "Containers": {},
          "Options": {
            "com.docker.network.driver.overlay.vxlanid_list": "4097"
          },
          "Labels": {
            "com.docker.stack.namespace": "shop"
          }
        }
    "#]],
    );
    shows(
        convert::swarm_to_api(&cluster(), &tls, &raft),
        expect![[r#"
        {
          "ID": "000000000000000000000005d",
          "Version": {
            "Index": 2
          },
          "CreatedAt": "2023-11-14T22:13:20Z",
          "UpdatedAt": "2023-11-14T22:13:21.5Z",
          "Spec": {
            "Name": "default",
            "Labels": {},
            "Orchestration": {
              "TaskHistoryRetentionLimit": 5
            },
            "Raft": {
              "SnapshotInterval": 5000,
              "ElectionTick": 0,
              "HeartbeatTick": 0
            },
            "Dispatcher": {
              "HeartbeatPeriod": 5000000000
            },
            "CAConfig": {
              "NodeCertExpiry": 7776000000000000
            },
            "TaskDefaults": {},
            "EncryptionConfig": {
              "AutoLockManagers": false
            }
          },
          "TLSInfo": {
            "TrustRoot": "PEM",
            "CertIssuerSubject": "c3Vi",
            "CertIssuerPublicKey": "a2V5"
          },
          "RootRotationInProgress": false,
          "DefaultAddrPool": [
            "10.0.0.0/8"
          ],
          "SubnetSize": 24,
          "DataPathPort": 4789,
          "JoinTokens": {
            "Worker": "SWMTKN-1-w",
            "Manager": "SWMTKN-1-m"
          }
        }
    "#]],
    );
    shows(
        convert::secret_to_api(&secret()),
        expect![[r#"
            {
              "ID": "0000000000000000000000001",
              "Version": {
                "Index": 7
              },
              "CreatedAt": "2023-11-14T22:13:20Z",
              "UpdatedAt": "2023-11-14T22:13:21.5Z",
              "Spec": {
                "Name": "pw",
                "Labels": {},
                "Templating": {
                  "Name": "golang"
                }
              }
            }
        "#]],
    );
    shows(
        convert::config_to_api(&config()),
        expect![[r#"
            {
              "ID": "0000000000000000000000002",
              "Version": {
                "Index": 8
              },
              "CreatedAt": "2023-11-14T22:13:20Z",
              "UpdatedAt": "2023-11-14T22:13:21.5Z",
              "Spec": {
                "Name": "site",
                "Labels": {},
                "Data": "aGVsbG8=",
                "Templating": {
                  "Name": "golang"
                }
              }
            }
        "#]],
    );
}
