//! What is said of files that are wrong, and of what is ignored: the words, the place, the line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use skep_compose::{Error, Interpolation, MapLoader, Source, load};

mod docker;

fn loader() -> MapLoader {
    let files = [
        (PathBuf::from("/demo/bad.env"), b"A B=1\n".to_vec()),
        (PathBuf::from("/demo/empty.txt"), Vec::new()),
    ];
    MapLoader { files: files.into(), variables: BTreeMap::from([("N".into(), "x".into())]) }
}

fn source(text: &str) -> Vec<Source> {
    vec![Source { name: "stack.yml".to_owned(), contents: text.as_bytes().to_vec() }]
}

/// The error of reading the file, or else of making a stack of it.
fn error(text: &str) -> Error {
    let loader = loader();
    load(source(text), Path::new("/demo"), Interpolation::Expand, &loader)
        .and_then(|project| project.stack("demo", &loader))
        .map(|stack| panic!("{text} is taken: {stack:?}"))
        .unwrap_err()
}

/// The whole error, as it is printed, with its causes.
fn check(text: &str, expected: Expect) {
    let error = error(text);
    let mut shown = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        shown.push_str(&format!(": {error}"));
        cause = error.source();
    }
    expected.assert_eq(&shown);
}

#[test]
fn an_error_shows_its_place() {
    check(
        "services:\n  web:\n    image: nginx\n    ports: \"80\"\n",
        expect![[r#"
        services.web.ports must be a list
         --> stack.yml:4:12
          |
        4 |     ports: "80"
          |            ^"#]],
    );
    check(
        "services:\n\tweb: {}\n",
        expect![[r#"
        yaml: tabs disallowed within this context (block indentation)
         --> stack.yml:2:2
          |
        2 | 	web: {}
          | 	^"#]],
    );
    check(
        "services:\n  web: {image: a}\n  web: {image: b}\n",
        expect![[r#"
        yaml: duplicate mapping key: web
         --> stack.yml:3:3
          |
        3 |   web: {image: b}
          |   ^"#]],
    );
    check(
        "a: &a [x, x]\nb: &b [*a, *a]\n*c : d",
        expect![[r#"
        yaml: alias references unknown anchor
         --> stack.yml:3:1
          |
        3 | *c : d
          | ^"#]],
    );
    check(
        "services:\n  web:\n    environment: {1: x}\n",
        expect![[r#"
        non-string key in services.web.environment
         --> stack.yml:3:19
          |
        3 |     environment: {1: x}
          |                   ^"#]],
    );
    check(
        "services:\n  web:\n    image: a\n    env_file: bad.env\n",
        expect![[r#"
        invalid env file (/demo/bad.env): variable on line 1 contains whitespaces
         --> stack.yml:4:15
          |
        4 |     env_file: bad.env
          |               ^"#]],
    );
    check(
        "services:\n  web:\n    image: a\n    env_file: none.env\n",
        expect!["failed to read env file /demo/none.env: entity not found"],
    );
    check(
        "services:\n  web:\n    image: ${N:+${MISSING?no such thing}}\n",
        expect![[r#"
        error while interpolating services.web.image: required variable MISSING is missing a value: no such thing
         --> stack.yml:3:12
          |
        3 |     image: ${N:+${MISSING?no such thing}}
          |            ^"#]],
    );
    check(
        "services:\n  web:\n    image: a\n    mem_limit: 5m\n",
        expect![[r#"
        Compose file contains unsupported options:

        mem_limit: Set resource limits using deploy.resources
    "#]],
    );
}

/// The message alone, without the place.
fn message(text: &str) -> String {
    match error(text) {
        Error::Invalid { message, .. } => message,
        other => other.to_string(),
    }
}

/// The message that docker prints, where there is a docker command.
fn dockers(text: &str) -> Option<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("stack.yml");
    std::fs::write(&file, text).expect("the file is written");
    let mut docker = docker::stack_config()?;
    docker.arg("-c").arg(&file).env("N", "x");
    let output = docker.output().expect("the docker command runs");
    Some(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Files that docker refuses too, in the words that both have.
#[test]
fn the_words_are_dockers() {
    for (service, expected) in [
        ("ports: '80'", "services.web.ports must be a list"),
        ("ports: [abc]", "services.web.ports.0 Does not match format 'ports'"),
        ("ports: [{target: abc}]", "services.web.ports.0.target must be a integer"),
        ("foo: 1", "services.web Additional property foo is not allowed"),
        ("environment: 5", "services.web.environment must be a mapping"),
        ("environment: [5]", "services.web.environment.0 must be a string"),
        ("environment: {A: true}", "services.web.environment.A must be a string, number or null"),
        ("ulimits: {nofile: {soft: 5}}", "services.web.ulimits.nofile hard is required"),
        ("volumes: [{target: /a}]", "services.web.volumes.0 type is required"),
        ("stop_grace_period: 5", "services.web.stop_grace_period must be a string"),
        (
            "stop_grace_period: '5'",
            "services.web.stop_grace_period Does not match format 'duration'",
        ),
        ("dns: [a, a]", "services.web.dns array items[0,1] must be unique"),
        ("image: 5", "services.web.image must be a string"),
        ("tty: 'yes'", "services.web.tty must be a boolean"),
        ("command: 5", "services.web.command must be a string"),
        ("deploy: {replicas: '3'}", "services.web.deploy.replicas must be a integer"),
        ("deploy: {foo: 1}", "services.web.deploy Additional property foo is not allowed"),
        ("deploy: []", "services.web.deploy must be a mapping or null"),
        (
            "image: $1",
            "invalid interpolation format for services.web.image: \"$1\"; you may need to escape \
             any $ with another $",
        ),
        ("networks: {a: 5}", "services.web.networks.a must be a mapping"),
        ("healthcheck: {test: 5}", "services.web.healthcheck.test must be a string"),
        ("logging: x", "services.web.logging must be a mapping"),
        ("secrets: [{source: 5}]", "services.web.secrets.0.source must be a string"),
    ] {
        let text = format!("services: {{web: {{{service}}}}}\n");
        assert_eq!(message(&text), expected);
        agrees(&text, expected);
    }
    for (text, expected) in [
        ("foo: 1", "(root) Additional property foo is not allowed"),
        ("services: []", "services must be a mapping"),
        ("[]", "top-level object must be a mapping"),
        ("", "top-level object must be a mapping"),
        ("version: '2'", "unsupported Compose file version: 2"),
        ("services: {'we b': {}}", "services Additional property we b is not allowed"),
        ("services: {web: }", "services.web must be a mapping"),
        ("networks: {a: 5}", "networks.a must be a mapping or null"),
        ("secrets: {a: }", "secrets.a must be a mapping"),
        (
            "volumes: {a: {external: true, driver: x}}",
            "conflicting parameters \"external\" and \"driver\" specified for volume \"a\"",
        ),
        (
            "networks: {a: {external: {name: x}, name: y}}",
            "network a: network.external.name and network.name conflict; only use network.name",
        ),
    ] {
        assert_eq!(message(text), expected);
        agrees(text, expected);
    }
}

fn agrees(text: &str, expected: &str) {
    if let Some(dockers) = dockers(text) {
        assert_eq!(dockers, expected, "docker's words of {text}");
    }
}

/// What only making a stack finds.
#[test]
fn a_stack_that_cannot_be() {
    let service = |rest: &str| message(&format!("services: {{web: {{image: nginx, {rest}}}}}"));
    for (rest, expected) in [
        ("networks: [none-such]", "service web: undefined network \"none-such\""),
        ("volumes: ['data:/data']", "service web: undefined volume \"data\""),
        ("secrets: [s]", "service web: undefined secret \"s\""),
        ("configs: [c]", "service web: undefined config \"c\""),
        (
            "volumes: [{type: npipe, source: a, target: /b}]",
            "service web: mounts of type npipe are not supported",
        ),
        (
            "volumes: [{type: other, target: /b}]",
            "service web: volume type must be volume, bind, or tmpfs",
        ),
        (
            "volumes: [{type: volume, target: b}]",
            "service web: invalid mount config for type \"volume\": invalid mount path: 'b' mount path must be absolute",
        ),
        (
            "volumes: [{type: volume, target: /b, tmpfs: {size: 1}}]",
            "service web: tmpfs options are incompatible with type volume",
        ),
        (
            "volumes: [{type: tmpfs, source: a, target: /b}]",
            "service web: invalid tmpfs source, source must be empty",
        ),
        (
            "deploy: {mode: global, replicas: 2}",
            "service web: replicas can only be used with replicated or replicated-job mode",
        ),
        ("deploy: {mode: other}", "service web: unknown mode: other"),
        (
            "deploy: {replicas: -1}",
            "services.web.deploy.replicas must be a whole number not below 0, got -1",
        ),
        ("deploy: {endpoint_mode: other}", "service web: unknown endpoint mode: other"),
        ("deploy: {resources: {limits: {cpus: 1/3}}}", "service web: value is too precise"),
        ("deploy: {resources: {limits: {memory: 5x}}}", "invalid suffix: 'x'"),
        (
            "deploy: {restart_policy: {condition: other}}",
            "service web: invalid RestartCondition: \"other\"",
        ),
        (
            "deploy: {update_config: {failure_action: other}}",
            "service web: unrecognized update failure action other",
        ),
        (
            "deploy: {update_config: {max_failure_ratio: 2}}",
            "service web: max_failure_ratio cannot be less than 0 or bigger than 1",
        ),
        (
            "restart: sometimes",
            "service web: invalid restart policy: unknown policy 'sometimes' (must be one of 'no', 'always', 'on-failure', or 'unless-stopped')",
        ),
        (
            "healthcheck: {disable: true, test: x}",
            "service web: test and disable can't be set at the same time",
        ),
        (
            "ulimits: {nofile: {soft: 5, hard: 2}}",
            "service web: ulimit nofile: soft limit must be less than or equal to hard limit: 5 > 2",
        ),
        ("dns: other", "service web: invalid DNS server: other is not an IP address"),
        (
            "ports: [{target: 80, mode: other}]",
            "service web: invalid publish mode value (other): must be either 'ingress' or 'host'",
        ),
        ("volumes: ['data::b']", "invalid spec: data::b: empty section between colons"),
        ("ports: [{published: 80}]", "invalid port: a target is required"),
        (
            "ports: [{target: 80, published: 70000}]",
            "invalid published port: expected 0 to 65535, got 70000",
        ),
        ("command: \"'\"", "services.web.command: EOF found when expecting closing quote"),
    ] {
        assert_eq!(service(rest), expected);
    }
    for (text, expected) in [
        ("services: {web: {}}", "invalid image reference for service web: no image specified"),
        (
            "services: {web: {image: Nginx}}",
            "invalid image reference for service web: invalid reference format: repository name (Nginx) must be lowercase",
        ),
        (
            "services: {w.b: {image: x}}",
            "service w.b: demo_w.b: name must be valid as a DNS name component",
        ),
        ("secrets: {s: {}}", "secret s: one of file, environment, external is required"),
        (
            "configs: {c: {file: a, content: b}}",
            "config c: config.file and config.content conflict; use only one",
        ),
        (
            "configs: {c: {content: a, template_driver: jinja}}",
            "config c: template driver jinja is not supported",
        ),
        ("secrets: {s: {driver: vault}}", "secret s: drivers are not supported"),
        (
            "secrets: {s: {environment: NONE}}",
            "environment variable \"NONE\" required by secret \"s\" is not set",
        ),
        (
            "secrets: {s: {file: empty.txt}}",
            "secret s: secret data must be larger than 0 and less than 512000 bytes",
        ),
        ("configs: {c: {file: gone.txt}}", "failed to read file of config c: /demo/gone.txt"),
        (
            "services: {web: {image: x, networks: [n]}}\nnetworks: {n: {ipam: {config: [{subnet: x}]}}}",
            "network n: invalid subnet: x",
        ),
    ] {
        assert_eq!(message(text), expected);
    }
    let project = load(source("services: {}"), Path::new("/"), Interpolation::Expand, &loader());
    let error = project.unwrap().stack(" '' ", &loader()).unwrap_err();
    assert_eq!(error.to_string(), "invalid stack name: \" '' \"");
    let error = load(Vec::new(), Path::new("/"), Interpolation::Expand, &loader()).unwrap_err();
    assert_eq!(error.to_string(), "specify a Compose file (with --compose-file)");
}

#[test]
fn what_services_wait_for_is_a_label_of_theirs() {
    let text = "
services:
  web:
    image: nginx
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully, restart: true}
      cache: {condition: service_started, required: false}
  migrate: {image: tool, depends_on: [db]}
  db: {image: postgres}
";
    let over = "services: {web: {depends_on: [db]}, migrate: {depends_on: {db: {condition: service_healthy}}}}";
    let loader = loader();
    let label = |sources: Vec<_>, service: usize| {
        let project = load(sources, Path::new("/demo"), Interpolation::Expand, &loader).unwrap();
        let stack = project.stack("demo", &loader).unwrap();
        let labels = &stack.services[service].spec.annotations.labels;
        (labels.get("com.docker.stack.depends-on").cloned(), stack.warnings.clone())
    };
    let (web, warnings) = label(source(text), 2);
    let waits = "demo_db:service_healthy,demo_migrate:service_completed_successfully";
    assert_eq!(web.as_deref(), Some(waits));
    assert_eq!(warnings, ["service web: depends_on migrate: restart is ignored"]);
    assert_eq!(label(source(text), 1).0.as_deref(), Some("demo_db:service_started"));
    assert_eq!(label(source(text), 0).0, None);
    let mut sources = source(text);
    sources.extend(source(over));
    assert_eq!(label(sources, 1).0.as_deref(), Some("demo_db:service_healthy"));
    let mut sources = source(text);
    sources.extend(source(over));
    let (web, _) = label(sources, 2);
    assert!(web.unwrap().starts_with("demo_db:service_started,"), "the later file holds");
    // What `config` prints says the same.
    let project = load(source(text), Path::new("/demo"), Interpolation::Expand, &loader).unwrap();
    let printed = project.to_yaml();
    assert_eq!(label(source(&printed), 2).0.as_deref(), Some(waits), "{printed}");
}

#[test]
fn what_waits_for_itself_or_for_nothing_is_refused() {
    for (services, expected) in [
        (
            "{a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [c]}, c: {image: x, depends_on: [b]}}",
            "dependency cycle detected: b -> c -> b",
        ),
        ("{a: {image: x, depends_on: [a]}}", "dependency cycle detected: a -> a"),
        ("{a: {image: x, depends_on: [b]}}", "service \"a\" depends on undefined service \"b\""),
        (
            "{a: {image: x, depends_on: {b: {condition: ready}}}, b: {image: x}}",
            "service a: depends_on b: unknown condition \"ready\": expected service_started, \
             service_healthy or service_completed_successfully",
        ),
    ] {
        let loader = loader();
        let text = format!("services: {services}\n");
        let project =
            load(source(&text), Path::new("/demo"), Interpolation::Expand, &loader).unwrap();
        let error = project.stack("demo", &loader).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_ignored_is_said() {
    let loader = loader();
    let text = "
services:
  web:
    image: nginx$TAG
    build: .
    links: [db]
    depends_on: [db]
    container_name: x
    expose: [80]
    ports: ['127.0.0.1:80:80']
    restart: 'no'
    tmpfs: /t:noexec
    networks: {front: {ipv4_address: 10.0.0.1}}
  db: {image: postgres, restart: always, privileged: true, volumes: ['~/a:/a']}
networks:
  front: {external: {name: other}}
";
    let project = load(source(text), Path::new("/demo"), Interpolation::Expand, &loader);
    let stack = project.unwrap().stack("demo", &loader).unwrap();
    expect![[r#"
        The "TAG" variable is not set. Defaulting to a blank string.
        network front: network.external.name is deprecated in favor of network.name
        cannot expand '~', because the environment lacks HOME
        ignoring IP-address (127.0.0.1) of port 127.0.0.1:80:80: service will listen on '0.0.0.0'
        Ignoring unsupported options: build, links, restart
        Ignoring deprecated options:

        container_name: Setting the container name is not supported.

        expose: Exposing ports is unnecessary - services on the same network can access each other's containers on any port.
        service web: tmpfs /t: noexec is ignored
        service web: network front: ipv4_address is ignored"#]].assert_eq(&stack.warnings.join("\n"));
}

#[test]
fn two_files_that_do_not_go_together() {
    let mut sources = source("version: '3.7'\nservices: {}\n");
    sources.extend(source("version: '3.8'\n"));
    let error = load(sources, Path::new("/"), Interpolation::Expand, &loader()).unwrap_err();
    let expected = "version mismatched between two composefiles : 3.7 and 3.8";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn an_error_names_its_file() {
    let mut sources = source("services: {web: {image: nginx}}\n");
    let second = "services:\n  web:\n    networks: [gone]\n";
    sources.push(Source { name: "second.yml".to_owned(), contents: second.as_bytes().to_vec() });
    let loader = loader();
    let project = load(sources, Path::new("/"), Interpolation::Expand, &loader).unwrap();
    match project.stack("demo", &loader).unwrap_err() {
        Error::Invalid { place, .. } => {
            assert_eq!((place.file.as_str(), place.line, place.column), ("second.yml", 3, 16));
        }
        other => panic!("{other}"),
    }
}
