//! Jobs on a real daemon, by both command lines: tasks that run to their end, and again when asked.

use std::time::Duration;

use anyhow::{Result, ensure};
use skep_e2e::{
    Fleet, FleetConfig, Host, IMAGE, docker_version, eventually_blocking, image_archive,
    skep_binary,
};

/// Images, containers and elections are ready well within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(90);

/// A swarm of one host that has the image; none (and SKIP) without root.
fn swarm() -> Option<(Fleet, Host)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return None;
    }
    let fleet = Fleet::up(FleetConfig::hosts(1).daemon(skep_binary()).managers(1)).unwrap();
    let host = fleet.host(1);
    let archive = image_archive();
    host.check(&["skep", "image", "import", archive.to_str().unwrap(), IMAGE]).unwrap();
    Some((fleet, host))
}

/// The command lines that are here.
fn programs() -> Vec<&'static str> {
    match docker_version() {
        Some(_) => vec!["skep", "docker"],
        None => vec!["skep"],
    }
}

fn run(host: &Host, program: &str, words: &[&str]) -> Result<String> {
    host.check(&[&["env", "DOCKER_CONFIG=/tmp/docker-config", program], words].concat())
}

fn listed(host: &Host, program: &str, name: &str) -> Result<String> {
    let format = ["--format", "{{.Mode}} {{.Replicas}}"];
    let name = format!("name={name}");
    let words = [&["service", "ls", "--filter", &name], &format[..]].concat();
    Ok(run(host, program, &words)?.trim().to_owned())
}

/// The states of a service's tasks, in one word each, sorted.
fn states(host: &Host, program: &str, name: &str) -> Result<Vec<String>> {
    let text = run(host, program, &["service", "ps", "--format", "{{.CurrentState}}", name])?;
    let word = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let mut states: Vec<String> = text.lines().map(word).collect();
    states.sort();
    Ok(states)
}

fn iteration(host: &Host, name: &str) -> String {
    let format = "{{json .JobStatus.JobIteration}}";
    run(host, "skep", &["service", "inspect", "--format", format, name]).unwrap().trim().to_owned()
}

#[test]
fn a_job_runs_to_its_end_and_again_when_it_is_updated() {
    let Some((fleet, host)) = swarm() else { return };
    for program in programs() {
        let name = &format!("of-{program}");
        let create = ["service", "create", "--quiet", "--no-resolve-image", "--name"];
        let mode = ["--mode", "replicated-job", "--replicas", "5", "--max-concurrent", "2"];
        let words = [&create[..], &[name], &mode[..], &[IMAGE, "true"]].concat();
        run(&host, program, &words).unwrap();
        // It came back because all had completed.
        let all = "replicated job 0/2 (5/5 completed)";
        assert_eq!(listed(&host, program, name).unwrap(), all);
        assert_eq!(states(&host, program, name).unwrap(), ["Complete"; 5]);
        assert_eq!(iteration(&host, name), "{}");

        run(&host, program, &["service", "update", "--quiet", "--force", name]).unwrap();
        assert_eq!(listed(&host, program, name).unwrap(), all);
        assert_eq!(states(&host, program, name).unwrap(), ["Complete"; 10]);
        assert_eq!(iteration(&host, name), r#"{"Index":1}"#);

        run(&host, program, &["service", "scale", &format!("{name}=3")]).unwrap();
        let fewer = "replicated job 0/2 (3/3 completed)";
        assert_eq!(listed(&host, program, name).unwrap(), fewer);
        // The docker command line takes the flag and forgets it.
        run(&host, "skep", &["service", "update", "-q", "--max-concurrent", "3", name]).unwrap();
        let wider = "replicated job 0/3 (3/3 completed)";
        assert_eq!(listed(&host, program, name).unwrap(), wider);
        run(&host, program, &["service", "rollback", "-q", name]).unwrap();
        assert_eq!(listed(&host, program, name).unwrap(), fewer);
        assert_eq!(iteration(&host, name), r#"{"Index":4}"#);
        run(&host, program, &["service", "rm", name]).unwrap();
    }
    fleet.down().unwrap();
}

#[test]
fn a_jobs_task_that_fails_is_tried_again_as_its_policy_says() {
    let Some((fleet, host)) = swarm() else { return };
    // Whoever waits for a job that fails for good is told so.
    let waited = ["service", "create", "--quiet", "--no-resolve-image", "--mode", "replicated-job"];
    let tail = ["--restart-condition", "none", "--name", "failing", IMAGE, "sh", "-c", "exit 3"];
    let failed = run(&host, "skep", &[&waited[..], &tail].concat()).unwrap_err().to_string();
    let why = "job failed: 1 of 1 tasks failed: task: non-zero exit (3)";
    assert!(failed.contains(why), "{failed}");
    run(&host, "skep", &["service", "rm", "failing"]).unwrap();
    for program in programs() {
        let create = ["service", "create", "--no-resolve-image", "--mode", "replicated-job"];
        // The second attempt finds what the first one left.
        let mark = format!("/shared/{program}");
        let script = format!("test -e {mark} || {{ touch {mark}; exit 3; }}");
        let mount = ["--mount", "type=bind,source=/tmp,target=/shared", "--restart-delay", "1s"];
        let tail = ["--quiet", "--name", "second", IMAGE, "sh", "-c", &script];
        run(&host, program, &[&create[..], &mount, &tail].concat()).unwrap();
        assert_eq!(states(&host, program, "second").unwrap(), ["Complete", "Failed"]);

        // Never again, by the policy; the other slots have their turn.
        let never = ["--detach", "--restart-condition", "none", "--name", "never"];
        let tail = ["--replicas", "2", "--max-concurrent", "1", IMAGE, "false"];
        run(&host, program, &[&create[..], &never, &tail].concat()).unwrap();
        eventually_blocking(SOON, || {
            let states = states(&host, program, "never")?;
            ensure!(states == ["Failed", "Failed"], "{states:?}");
            Ok(())
        });
        assert_eq!(listed(&host, program, "never").unwrap(), "replicated job 0/1 (0/2 completed)");
        run(&host, program, &["service", "rm", "second", "never"]).unwrap();
    }
    fleet.down().unwrap();
}

const STACK: &str = "
services:
  once: {image: IMAGE, command: ['true'], deploy: {mode: replicated-job, replicas: 2}}
  each: {image: IMAGE, command: ['true'], deploy: {mode: global-job}}
";

#[test]
fn a_global_job_runs_once_on_each_node_and_stacks_have_jobs() {
    let Some((fleet, host)) = swarm() else { return };
    let file = STACK.replace("IMAGE", IMAGE);
    host.check(&["sh", "-c", &format!("cat > /tmp/jobs.yml <<END{file}END")]).unwrap();
    for program in programs() {
        let create = ["service", "create", "--quiet", "--no-resolve-image", "--mode", "global-job"];
        let name = &format!("all-{program}");
        run(&host, program, &[&create[..], &["--name", name, IMAGE, "true"]].concat()).unwrap();
        let listed_as = listed(&host, program, name).unwrap();
        assert_eq!(listed_as, "global job 0/0 (1/1 completed)");

        let refused = [&create[..], &["--update-parallelism", "2", IMAGE, "true"]].concat();
        let error = format!("{:#}", run(&host, program, &refused).unwrap_err());
        let why = "update and rollback configuration is not supported for jobs";
        assert!(error.contains(why), "{error}");

        let stack = format!("s{program}");
        let deploy = ["stack", "deploy", "--detach=true", "--resolve-image", "never", "-c"];
        run(&host, program, &[&deploy[..], &["/tmp/jobs.yml", &stack]].concat()).unwrap();
        for (service, expected) in [
            ("once", "replicated job 0/2 (2/2 completed)"),
            ("each", "global job 0/0 (1/1 completed)"),
        ] {
            eventually_blocking(SOON, || {
                let now = listed(&host, program, &format!("{stack}_{service}"))?;
                ensure!(now == expected, "{service}: {now}");
                Ok(())
            });
        }
        run(&host, program, &["stack", "rm", &stack]).unwrap();
    }
    fleet.down().unwrap();
}
