//! Devices and privileges of services: on nodes whose operators allow them, and nowhere else.

use std::time::Duration;

use anyhow::{Result, ensure};
use skep_e2e::{
    Fleet, FleetConfig, Host, IMAGE, docker_version, eventually_blocking, image_archive,
    skep_binary,
};

/// Images, containers and elections are ready well within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(120);

fn run(host: &Host, program: &str, words: &[&str]) -> Result<String> {
    host.check(&[&["env", "DOCKER_CONFIG=/tmp/docker-config", program], words].concat())
}

/// What the service's one task said, once it is on `node`.
fn said_on(host: &Host, service: &str, node: &str) -> String {
    eventually_blocking(SOON, || {
        let format = "{{.Node}} {{.CurrentState}} {{.Error}}";
        let filter = "desired-state=running";
        let ps = ["service", "ps", "--no-trunc", "--filter", filter, "--format", format, service];
        let ps = run(host, "skep", &ps)?;
        ensure!(ps.starts_with(&format!("{node} Running")), "{ps}");
        let logs = run(host, "skep", &["service", "logs", "--raw", service])?;
        ensure!(logs.contains("told"), "{logs}");
        Ok(logs)
    })
}

/// What a driver would write of a host with two.
const GPUS: &str = "
cdiVersion: 0.6.0
kind: nvidia.com/gpu
devices:
  - { name: all, containerEdits: { env: [GPU=all] } }
  - { name: \"0\", containerEdits: { env: [GPU=0] } }
  - { name: \"1\", containerEdits: { env: [GPU=1] } }
";

#[test]
fn a_service_has_privileges_where_the_operator_allows_them() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return;
    }
    let fleet = Fleet::up(FleetConfig::hosts(2).daemon(skep_binary()).managers(1)).unwrap();
    for host in fleet.hosts() {
        let archive = image_archive();
        host.check(&["skep", "image", "import", archive.to_str().unwrap(), IMAGE]).unwrap();
    }
    let (one, two) = (fleet.host(1), fleet.host(2));
    let script = "grep CapEff /proc/self/status; ls /dev/given; echo told; exec sleep 86400";
    let create = ["service", "create", "--detach", "--no-resolve-image", "--name"];
    let asks = ["probe", "--privileged", "--device", "/dev/null:/dev/given:r"];
    let tail = [IMAGE, "sh", "-c", script];
    let gpu_tail = [IMAGE, "sh", "-c", "echo gpu=$GPU; echo told; exec sleep 86400"];
    run(&one, "skep", &[&create[..], &asks, &tail].concat()).unwrap();
    eventually_blocking(SOON, || {
        let ps = run(&one, "skep", &["service", "ps", "--no-trunc", "probe"])?;
        ensure!(ps.contains("no suitable node: 2 nodes do not allow devices in tasks"), "{ps}");
        Ok(())
    });

    // GPUs that do no harm.
    run(&one, "skep", &[&create[..], &["gpu", "--gpus", "all"], &gpu_tail].concat()).unwrap();
    eventually_blocking(SOON, || {
        let ps = run(&one, "skep", &["service", "ps", "--no-trunc", "gpu"])?;
        ensure!(ps.contains("no suitable node: 2 nodes do not allow GPUs in tasks"), "{ps}");
        Ok(())
    });
    let describe = format!("mkdir -p /etc/skep/cdi; echo '{GPUS}' > /etc/skep/cdi/nvidia.yaml");
    two.check(&["sh", "-c", &describe]).unwrap();

    let file = r#"{"allow-service-privileges": ["devices", "gpus", "privileged"],
        "cdi-spec-dirs": ["/etc/skep/cdi"]}"#;
    let write = format!("mkdir -p /etc/skep; echo '{file}' > /etc/skep/daemon.json");
    two.check(&["sh", "-c", &write]).unwrap();
    two.restart().unwrap();
    let said = said_on(&one, "probe", "host2");
    // All that the host itself can give.
    let all = two.check(&["grep", "CapBnd", "/proc/self/status"]).unwrap();
    let all = all.trim().replace("CapBnd", "CapEff");
    assert!(said.contains(&all), "{said}");
    assert!(said.contains("/dev/given"), "{said}");

    assert!(said_on(&one, "gpu", "host2").contains("gpu=all"));
    // Only some of them, and one that there is not.
    let asks = ["one-gpu", "--gpus", "device=0", "--restart-condition", "none"];
    run(&one, "skep", &[&create[..], &asks, &gpu_tail].concat()).unwrap();
    assert!(said_on(&one, "one-gpu", "host2").contains("gpu=0"));
    let asks = ["no-gpu", "--gpus", "device=7", "--restart-condition", "none"];
    run(&one, "skep", &[&create[..], &asks, &gpu_tail].concat()).unwrap();
    eventually_blocking(SOON, || {
        let ps = run(&one, "skep", &["service", "ps", "--no-trunc", "no-gpu"])?;
        let why = "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7";
        ensure!(ps.contains("Rejected") && ps.contains(why), "{ps}");
        Ok(())
    });
    run(&one, "skep", &["service", "rm", "gpu", "one-gpu", "no-gpu"]).unwrap();

    // Changed, and taken away again.
    let update = |change: &[&str]| {
        let update = ["service", "update", "--detach", "--no-resolve-image"];
        run(&one, "skep", &[&update[..], change, &["probe"]].concat()).unwrap();
        let format = "{{json .Spec.TaskTemplate.ContainerSpec.Labels}}";
        run(&one, "skep", &["service", "inspect", "--format", format, "probe"]).unwrap()
    };
    let labels = update(&["--privileged=false", "--device-add", "/dev/zero:/dev/other"]);
    let devices = "/dev/null:/dev/given:r,/dev/zero:/dev/other:rwm";
    assert_eq!(labels.trim(), format!(r#"{{"skep.devices":"{devices}"}}"#));
    let labels = update(&["--device-rm", "/dev/given", "--device-rm", "/dev/other"]);
    assert!(!labels.contains("skep."), "{labels}");

    // Docker's own command asks by labels.
    let programs = if docker_version().is_some() { &["skep", "docker"][..] } else { &["skep"] };
    for program in programs {
        let name = format!("by-{program}");
        let label = ["--container-label", "skep.privileged=true", "--restart-condition", "none"];
        let asked = [&create[..], &[&name], &label, &tail].concat();
        run(&one, program, &asked).unwrap();
        let said = said_on(&one, &name, "host2");
        assert!(said.contains(&all), "{said}");
        let bad = ["bad", "--container-label", "skep.privileged=perhaps", IMAGE];
        let error = run(&one, program, &[&create[..], &bad].concat()).unwrap_err();
        assert!(format!("{error:#}").contains("expected true or false"), "{error:#}");
        // By hand nobody need allow it.
        for (gpus, given) in [("all", "all"), ("1", "0"), ("device=1", "1")] {
            let words = ["run", "--rm", "--gpus", gpus, IMAGE, "sh", "-c", "echo $GPU"];
            assert_eq!(run(&two, program, &words).unwrap().trim(), given, "{program} {gpus}");
        }
    }
    let devices = run(&two, "skep", &["info", "--format", "{{json .DiscoveredDevices}}"]).unwrap();
    assert!(devices.contains(r#"{"Source":"cdi","ID":"nvidia.com/gpu=all"}"#), "{devices}");
    let gpus = run(&one, "skep", &[&create[..], &["bad", "--gpus", "0", IMAGE]].concat());
    let error = format!("{:#}", gpus.unwrap_err());
    assert!(error.contains("invalid label skep.gpus=\"0\": expected all"), "{error}");
    fleet.down().unwrap();
}
