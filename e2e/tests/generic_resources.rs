//! Generic resources: nodes declare them, services reserve them, and each task is told what is its own.

use std::time::Duration;

use anyhow::{Result, ensure};
use skep_e2e::{
    Fleet, FleetConfig, Host, IMAGE, docker_version, eventually_blocking, image_archive,
    skep_binary,
};

/// Images, containers and elections are ready well within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(90);

fn run(host: &Host, program: &str, words: &[&str]) -> Result<String> {
    host.check(&[&["env", "DOCKER_CONFIG=/tmp/docker-config", program], words].concat())
}

/// What the service's running tasks say, sorted.
fn said(host: &Host, service: &str, count: usize) -> Vec<String> {
    eventually_blocking(SOON, || {
        // It says of tasks that wait that they have said nothing yet.
        let logs = format!("skep service logs --raw {service} 2>/dev/null || true");
        let text = host.check(&["sh", "-c", &logs])?;
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        let ps = run(host, "skep", &["service", "ps", "--no-trunc", service])?;
        ensure!(lines.len() == count, "{text}{ps}");
        Ok(lines)
    })
}

#[test]
fn what_a_node_declares_goes_to_one_task_each() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return;
    }
    let fleet = Fleet::up(FleetConfig::hosts(1).daemon(skep_binary()).managers(1)).unwrap();
    let host = fleet.host(1);
    host.check(&["skep", "image", "import", image_archive().to_str().unwrap(), IMAGE]).unwrap();
    let file = r#"{"node-generic-resources": ["gpu=UUID1", "gpu=UUID2", "ssd=3"]}"#;
    let write = format!("mkdir -p /etc/skep; echo '{file}' > /etc/skep/daemon.json");
    host.check(&["sh", "-c", &write]).unwrap();
    host.restart().unwrap();

    let format = "{{json .Description.Resources.GenericResources}}";
    eventually_blocking(SOON, || {
        let declared = run(&host, "skep", &["node", "inspect", "--format", format, "self"])?;
        ensure!(declared.contains(r#""Kind":"ssd","Value":3"#), "{declared}");
        Ok(())
    });
    let info = run(&host, "skep", &["info", "--format", "{{json .GenericResources}}"]).unwrap();
    assert!(info.contains(r#""Kind":"gpu","Value":"UUID2""#), "{info}");

    let programs = if docker_version().is_some() { &["skep", "docker"][..] } else { &["skep"] };
    for program in programs {
        let create = ["service", "create", "--detach", "--no-resolve-image", "--name", "probe"];
        let wants = ["--generic-resource", "gpu=1", "--generic-resource", "ssd=1"];
        let script = "env | grep DOCKER_RESOURCE_GPU; exec sleep 86400";
        let tail = ["--replicas", "3", IMAGE, "sh", "-c", script];
        run(&host, program, &[&create[..], &wants, &tail].concat()).unwrap();
        let lines = said(&host, "probe", 2);
        assert_eq!(lines, ["DOCKER_RESOURCE_GPU=UUID1", "DOCKER_RESOURCE_GPU=UUID2"]);
        let why = run(&host, "skep", &["service", "ps", "--no-trunc", "probe"]).unwrap();
        assert!(why.contains("lacks gpu (need 1, most free 0)"), "{why}");
        let format = "{{json .GenericResources}}";
        let ids = run(&host, program, &["service", "ps", "-q", "--no-trunc", "probe"]).unwrap();
        let shown: Vec<String> = ids
            .lines()
            .map(|id| run(&host, program, &["inspect", "--format", format, id]).unwrap())
            .collect();
        let held = shown.iter().filter(|text| text.contains(r#""Kind":"ssd","Value":1"#)).count();
        assert_eq!(held, 2, "{shown:?}");

        // One that asks for less of them lets the third one in.
        let update = ["service", "update", "--detach", "--no-resolve-image"];
        let change = ["--generic-resource-rm", "gpu", "--env-add", "NOW=1", "probe"];
        run(&host, program, &[&update[..], &change].concat()).unwrap();
        eventually_blocking(SOON, || {
            let filter = "desired-state=running";
            let ps =
                ["service", "ps", "--filter", filter, "--format", "{{.CurrentState}}", "probe"];
            let states = run(&host, program, &ps)?;
            let running = states.lines().filter(|line| line.starts_with("Running")).count();
            ensure!(running == 3, "{states}");
            Ok(())
        });
        let refused = [&create[..], &["--generic-resource", "gpu=UUID1", IMAGE]].concat();
        let error = format!("{:#}", run(&host, program, &refused).unwrap_err());
        assert!(error.contains("Named Generic Resources is not supported"), "{error}");
        run(&host, program, &["service", "rm", "probe"]).unwrap();
        eventually_blocking(SOON, || {
            let left = run(&host, "skep", &["ps", "-aq"])?;
            ensure!(left.trim().is_empty(), "{left}");
            Ok(())
        });
    }
    fleet.down().unwrap();
}
