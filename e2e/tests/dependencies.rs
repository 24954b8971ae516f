//! Stacks whose services wait for others, on a real daemon.

use std::time::Duration;

use anyhow::{Result, ensure};
use skep_e2e::{
    Fleet, FleetConfig, Host, IMAGE, docker_version, eventually_blocking, image_archive,
    skep_binary,
};

/// Images, containers and elections are ready well within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(90);

const STACK: &str = "
services:
  web:
    image: IMAGE
    command: [sleep, '86400']
    depends_on:
      migrate: {condition: service_completed_successfully}
  migrate:
    image: IMAGE
    command: [sh, -c, 'test -e /shared/go']
    volumes: ['/tmp:/shared']
    deploy: {mode: replicated-job, restart_policy: {condition: on-failure, delay: 1s}}
    depends_on: {db: {condition: service_healthy}}
  db:
    image: IMAGE
    command: [sleep, '86400']
    volumes: ['/tmp:/shared']
    healthcheck: {test: test -e /shared/up, interval: 1s, retries: 60, start_period: 60s}
";

fn run(host: &Host, program: &str, words: &[&str]) -> Result<String> {
    host.check(&[&["env", "DOCKER_CONFIG=/tmp/docker-config", program], words].concat())
}

fn tasks(host: &Host, service: &str) -> Result<String> {
    let format = "{{.CurrentState}} {{.Error}}";
    run(host, "skep", &["service", "ps", "--no-trunc", "--format", format, service])
}

fn wait_for(host: &Host, service: &str, expected: &str) {
    eventually_blocking(SOON, || {
        let now = tasks(host, service)?;
        ensure!(now.contains(expected), "{service}: expected {expected:?}, got {now}");
        Ok(())
    });
}

fn write(host: &Host, path: &str, text: &str) {
    host.check(&["sh", "-c", &format!("cat > {path} <<'END'\n{text}\nEND")]).unwrap();
}

#[test]
fn services_begin_when_what_they_wait_for_has_come_so_far() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return;
    }
    let fleet = Fleet::up(FleetConfig::hosts(1).daemon(skep_binary()).managers(1)).unwrap();
    let host = fleet.host(1);
    host.check(&["skep", "image", "import", image_archive().to_str().unwrap(), IMAGE]).unwrap();
    write(&host, "/tmp/stack.yml", &STACK.replace("IMAGE", IMAGE));
    let deploy = ["stack", "deploy", "--detach=true", "--resolve-image", "never", "-c"];
    run(&host, "skep", &[&deploy[..], &["/tmp/stack.yml", "s"]].concat()).unwrap();
    wait_for(&host, "s_db", "Starting");
    wait_for(&host, "s_migrate", "waits for service s_db, which is not healthy");
    let waits = "waits for service s_migrate, which has not completed successfully";
    wait_for(&host, "s_web", waits);
    let shown = tasks(&host, "s_web").unwrap();
    assert!(shown.starts_with("Pending"), "as others that wait: {shown}");

    host.check(&["touch", "/tmp/up"]).unwrap();
    wait_for(&host, "s_db", "Running");
    wait_for(&host, "s_migrate", "Failed");
    assert!(tasks(&host, "s_web").unwrap().contains(waits), "it failed: there is still to wait");

    host.check(&["touch", "/tmp/go"]).unwrap();
    wait_for(&host, "s_migrate", "Complete");
    wait_for(&host, "s_web", "Running");

    // It outlives a change by a client that knows nothing of it.
    if docker_version().is_some() {
        let update = ["service", "update", "--detach", "--no-resolve-image", "--env-add", "A=1"];
        run(&host, "docker", &[&update[..], &["s_web"]].concat()).unwrap();
        let format = "{{json .Spec.Labels}}";
        let labels = run(&host, "docker", &["service", "inspect", "--format", format, "s_web"]);
        let expected =
            r#""com.docker.stack.depends-on":"s_migrate:service_completed_successfully""#;
        assert!(labels.unwrap().contains(expected));
    }

    // What would never begin is refused before anything is sent.
    let circle = "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}";
    write(&host, "/tmp/circle.yml", circle);
    let error = run(&host, "skep", &[&deploy[..], &["/tmp/circle.yml", "c"]].concat());
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("dependency cycle detected: a -> b -> a"), "{error}");
    let label = ["--label", "com.docker.stack.depends-on=db", IMAGE];
    let create = run(&host, "skep", &[&["service", "create", "-d"][..], &label].concat());
    let error = format!("{:#}", create.unwrap_err());
    assert!(error.contains("expected SERVICE:CONDITION"), "{error}");
    fleet.down().unwrap();
}
