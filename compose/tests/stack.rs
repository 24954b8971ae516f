//! What a file is turned into.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use skep_compose::{Interpolation, MapLoader, Source, Stack, load};

fn loader() -> MapLoader {
    let files = [
        ("/demo/.env", "REPLICAS=4\nTOKEN=from-dotenv\nTAG=not-this\n"),
        ("/demo/web.env", "FROM_FILE=1\nTAG\n"),
        ("/demo/secret.txt", "hush"),
        ("/demo/config.txt", "a=b\n"),
    ];
    let files = files.map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()));
    let variables = [("TAG".to_owned(), "1.27".to_owned())];
    MapLoader { files: files.into(), variables: variables.into() }
}

fn stack(texts: &[&str]) -> Stack {
    let source = |(index, text): (usize, &&str)| Source {
        name: format!("{index}.yml"),
        contents: text.as_bytes().to_vec(),
    };
    let sources = texts.iter().enumerate().map(source).collect();
    load(sources, Path::new("/demo"), Interpolation::Expand, &loader())
        .and_then(|project| project.stack("demo", &loader()))
        .unwrap_or_else(|error| panic!("{error}"))
}

const FULL: &str = r#"
name: named
services:
  web:
    image: nginx:${TAG}
    entrypoint: /entry
    command: run --now
    environment: {B: 2, A: "x y", UNSET: }
    env_file:
      - web.env
      - path: gone.env
        required: false
    hostname: h-{{.Task.Slot}}
    user: "1000"
    group_add: [audio, 5]
    working_dir: /srv
    tty: true
    stdin_open: true
    read_only: true
    init: true
    stop_signal: SIGINT
    stop_grace_period: 1m30s
    cap_add: [net_admin]
    cap_drop: [ALL]
    sysctls: [net.core.somaxconn=1024]
    ulimits: {nofile: {soft: 10, hard: 20}, nproc: 5}
    extra_hosts: ["one:10.0.0.1", "two=[::1]"]
    dns: 8.8.8.8
    dns_search: [example.com]
    dns_opt: [ndots:2]
    labels: {a: b}
    logging: {driver: json-file, options: {max-file: 3}}
    tmpfs: /t:size=64m,mode=700
    healthcheck: {test: curl -f localhost, interval: 5s, timeout: 2s, retries: 3, start_period: 1s}
    ports: ["8080:80", "53:53/udp", {target: 443, published: "8443", mode: host}]
    volumes:
      - data:/data:nocopy
      - outer:/outer
      - ./here:/here:ro
      - /anonymous
      - {type: tmpfs, target: /scratch, tmpfs: {size: 1m, mode: 0o1770}}
    networks: {front: {aliases: [www]}, shared: , host: }
    secrets: [token, {source: outer, target: /run/x, uid: "5", gid: "6", mode: 0400}]
    configs: [{source: settings, target: /etc/s}]
    deploy:
      replicas: ${REPLICAS}
      labels: [tier=web]
      endpoint_mode: dnsrr
      placement:
        constraints: [node.role == worker]
        preferences: [{spread: node.labels.zone}]
        max_replicas_per_node: 2
      resources:
        limits: {cpus: "0.5", memory: 50M, pids: 100}
        reservations:
          cpus: 0.25
          memory: 20M
          generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]
      restart_policy: {condition: on-failure, delay: 1s, max_attempts: 3, window: 2m}
      update_config: {parallelism: 2, delay: 10s, failure_action: rollback, monitor: 7s, max_failure_ratio: 0.5, order: start-first}
      rollback_config: {parallelism: 0}
  plain: {image: busybox}
  batch: {image: busybox, deploy: {mode: replicated-job, replicas: 3}, restart: on-failure:2}
  agent: {image: busybox, deploy: {mode: global}, healthcheck: {disable: true}}
networks:
  front:
    attachable: true
    driver_opts: {encrypted: "true"}
    ipam: {config: [{subnet: 10.9.0.0/16, ip_range: 10.9.1.0/24, gateway: 10.9.0.1}]}
    labels: {n: l}
  shared: {external: true, name: shared-net}
  host: {external: true, name: host}
  unused: {}
volumes:
  data: {driver: nfs, driver_opts: {o: addr}, labels: {v: l}}
  outer: {external: true}
secrets:
  token: {environment: TOKEN, labels: {s: l}}
  file: {file: ./secret.txt, name: exact}
  outer: {external: true}
configs:
  settings: {content: "tag=${TAG}\n"}
  file: {file: config.txt}
  outer: {external: {name: theirs}}
"#;

#[test]
fn every_field_arrives() {
    let stack = stack(&[FULL]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/stack.expected");
    expect_file![path].assert_eq(&format!("{stack:#?}\n"));
    // `Debug` shows no payload, so these are looked at one by one.
    let secrets: BTreeMap<_, _> =
        stack.secrets.iter().map(|s| (s.annotations.name.as_str(), &*s.data.0)).collect();
    assert_eq!(secrets, BTreeMap::from([("demo_token", &b"from-dotenv"[..]), ("exact", b"hush")]));
    let configs: BTreeMap<_, _> =
        stack.configs.iter().map(|c| (c.annotations.name.as_str(), &*c.data.0)).collect();
    let expected = [("demo_settings", &b"tag=1.27\n"[..]), ("demo_file", b"a=b\n")];
    assert_eq!(configs, BTreeMap::from(expected));
}

/// What one file says, whatever its layout, is one stack; nothing restarts for a new order.
#[test]
fn short_and_long_forms_are_the_same() {
    let short = "
services:
  web:
    image: nginx
    command: a 'b c'
    environment: [A=1, B=2]
    labels: [x=y]
    ports: ['80:80']
    secrets: [t, s]
    networks: [one, two]
    volumes: ['data:/d:ro']
    dns: 1.1.1.1
networks: {one: , two: }
secrets: {s: {external: true}, t: {external: true}}
volumes: {data: }
";
    let long = "
volumes: {data: {}}
secrets: {t: {external: true}, s: {external: true}}
networks: {two: {}, one: {}}
services:
  web:
    dns: [1.1.1.1]
    volumes: [{type: volume, source: data, target: /d, read_only: true}]
    networks: {two: , one: {}}
    secrets: [{source: s}, {source: t, target: t}]
    ports: [{target: 80, published: 80, protocol: tcp, mode: ingress}]
    labels: {x: y}
    environment: {B: 2, A: '1'}
    command: [a, b c]
    image: nginx
";
    assert_eq!(stack(&[short]), stack(&[long]));
}

#[test]
fn later_files_go_over_earlier_ones() {
    let base = "
services:
  web: {image: 'a:1', environment: {A: 1, B: 1}, ports: ['80:80'], deploy: {replicas: 1}, command: x y,
    healthcheck: {test: one, retries: 2}, secrets: [s]}
secrets: {s: {content: x}}
";
    let base = base.replace("{content: x}", "{external: true}");
    let over = "
services:
  web: {image: 'a:2', environment: {B: 2}, ports: ['80:8080', '53:53/udp', '53:53'],
    deploy: {replicas: 3}, command: [z], healthcheck: {test: two}}
  db: {image: b}
";
    let merged = "
services:
  web: {image: 'a:2', environment: {A: 1, B: 2}, ports: ['80:8080', '53:53/udp', '53:53'],
    deploy: {replicas: 3}, command: [z], healthcheck: {test: two, retries: 2}, secrets: [s]}
  db: {image: b}
secrets: {s: {external: true}}
";
    assert_eq!(stack(&[&base, over]), stack(&[merged]));
}

/// What `stack config` prints is a file that makes the same stack.
#[test]
fn printed_files_make_the_same_stack() {
    let loader = loader();
    let sources = vec![Source { name: "a".to_owned(), contents: FULL.as_bytes().to_vec() }];
    let project = load(sources, Path::new("/demo"), Interpolation::Expand, &loader).unwrap();
    let printed = project.to_yaml();
    let contents = printed.clone().into_bytes();
    let sources = vec![Source { name: "b".to_owned(), contents }];
    let again = load(sources, Path::new("/demo"), Interpolation::Keep, &loader).unwrap();
    assert_eq!(again.to_yaml(), printed);
    let stacks = [&project, &again].map(|project| project.stack("demo", &loader).unwrap());
    assert_eq!(stacks[0].services, stacks[1].services);
    assert_eq!(stacks[0].networks, stacks[1].networks);
    assert_eq!(stacks[0].secrets, stacks[1].secrets);
    assert_eq!(stacks[0].configs, stacks[1].configs);
}

#[test]
fn devices_and_privileges_are_asked_of_the_nodes_operator() {
    let text = "
services:
  web:
    image: nginx
    privileged: true
    devices: ['/dev/fuse', '/dev/snd:/dev/sound:r']
    labels: {own: label}
  plain: {image: nginx, privileged: false}
";
    let stack = stack(&[text]);
    assert!(stack.warnings.is_empty(), "{:?}", stack.warnings);
    let labels = |name: &str| {
        let service = stack.services.iter().find(|it| it.name == name).unwrap();
        let mut labels = service.spec.task.container.labels.clone();
        labels.retain(|key, _| key.starts_with("skep.") || key == "own");
        labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    let devices = "skep.devices=/dev/fuse,/dev/snd:/dev/sound:r";
    assert_eq!(labels("web"), ["own=label", devices, "skep.privileged=true"]);
    assert_eq!(labels("plain"), Vec::<String>::new());
    for (devices, said) in
        [("fuse", "invalid device \"fuse\""), ("'/dev/a,/dev/b'", "cannot have a comma")]
    {
        let text = format!("services:\n  web:\n    image: nginx\n    devices: [{devices}]\n");
        let contents = text.into_bytes();
        let source = Source { name: "bad.yml".to_owned(), contents };
        let error = load(vec![source], Path::new("/demo"), Interpolation::Expand, &loader())
            .and_then(|project| project.stack("demo", &loader()))
            .unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
