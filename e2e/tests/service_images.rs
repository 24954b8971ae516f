//! Where a service's image comes from: the same one on every node, with the login that its service
//! brings.

use std::time::Duration;

use anyhow::{Result, ensure};
use skep_e2e::{
    Fleet, FleetConfig, Host, IMAGE, ImageRegistry, Program, Way, eventually_blocking,
    image_archive, skep_binary,
};

/// Images, containers and elections are ready well within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(90);

fn run(host: &Host, program: Program, words: &[&str]) -> Result<String> {
    let name = if program == Program::Docker { "docker" } else { "skep" };
    host.check(&[&["env", "DOCKER_CONFIG=/tmp/docker-config", name], words].concat())
}

/// Waits until a service has so many tasks that run; gives what each runs.
fn images(host: &Host, service: &str, count: usize) -> Vec<String> {
    let filter = ["--filter", "desired-state=running", "--no-trunc"];
    let format = ["--format", "{{.CurrentState}}|{{.Image}}|{{.Error}}"];
    eventually_blocking(SOON, || {
        let words = [&["service", "ps"], &filter[..], &format, &[service]].concat();
        let now = run(host, Program::Skep, &words)?;
        let running = now.lines().filter(|line| line.starts_with("Running"));
        let images: Vec<String> =
            running.filter_map(|line| line.split('|').nth(1)).map(str::to_owned).collect();
        ensure!(images.len() == count, "{service} has {} of {count}: {now}", images.len());
        Ok(images)
    })
}

#[test]
fn all_nodes_run_what_the_tag_stood_for_with_the_login_of_the_service() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return;
    }
    let fleet = Fleet::up(FleetConfig::hosts(3).daemon(skep_binary()).managers(1)).unwrap();
    let hosts = [1, 2, 3].map(|number| fleet.host(number));
    let host = &hosts[0];
    let Some(registry) = ImageRegistry::serve_by_tls(host, Way::Token).unwrap() else { return };
    for host in &hosts {
        registry.trust(host, "/etc/skep/certs.d").unwrap();
    }
    let archive = image_archive();
    let skep = |words: &[&str]| run(host, Program::Skep, words).unwrap();
    skep(&["image", "import", archive.to_str().unwrap(), IMAGE]);
    skep(&["login", "-u", "ali", "-p", "open sesame", &registry.at]);
    let tag = format!("{}/app:v1", registry.at);
    let push = |change: &str| {
        skep(&["image", "import", "--change", change, archive.to_str().unwrap(), &tag]);
        let pushed = skep(&["push", &tag]);
        let (_, digest) = pushed.split_once("digest: ").unwrap();
        let digest = digest.split(' ').next().unwrap().to_owned();
        skep(&["rmi", &tag]);
        digest
    };
    for program in [Program::Docker, Program::Skep] {
        if !program.installed() {
            eprintln!("SKIP: no docker command line is installed");
            continue;
        }
        let old = push("ENV EDITION=old");
        let name = if program == Program::Docker { "by-docker" } else { "by-skep" };
        let create = ["service", "create", "--detach", "--with-registry-auth", "--name", name];
        let create = [&create[..], &["--replicas", "1", &tag, "sleep", "86400"]].concat();
        run(host, program, &create).unwrap();
        let pinned = format!("{tag}@{old}");
        let format = "{{.Spec.TaskTemplate.ContainerSpec.Image}}";
        assert_eq!(skep(&["service", "inspect", "--format", format, name]).trim(), pinned);
        images(host, name, 1);
        // The tag moves on. Nodes that come to the service later run the same as the first.
        let new = push("ENV EDITION=new");
        assert_ne!(old, new);
        skep(&["service", "scale", "--detach", &format!("{name}=6")]);
        images(host, name, 6);
        for host in &hosts {
            let digests = ["images", "--digests", "--format", "{{.Digest}}"];
            let repository = format!("{}/app", registry.at);
            let has = run(host, Program::Skep, &[&digests[..], &[&repository]].concat()).unwrap();
            assert!(has.contains(&old) && !has.contains(&new), "{}: {has}", host.name());
        }
        // An update by the tag brings what it stands for now.
        let update =
            ["service", "update", "--detach", "--with-registry-auth", "--image", &tag, name];
        run(host, program, &update).unwrap();
        let pinned = format!("{tag}@{new}");
        assert_eq!(skep(&["service", "inspect", "--format", format, name]).trim(), pinned);
        skep(&["service", "rm", name]);
        for host in &hosts {
            eventually_blocking(SOON, || {
                let prune = ["image", "prune", "-a", "-f"];
                run(host, Program::Skep, &prune)?;
                let repository = format!("{}/app", registry.at);
                let left = run(host, Program::Skep, &["images", "-q", &repository])?;
                ensure!(left.trim().is_empty(), "{}: {left}", host.name());
                Ok(())
            });
        }
    }
    fleet.down().unwrap();
}
