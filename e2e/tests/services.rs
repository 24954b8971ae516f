//! Services on a fleet of real daemons: containers, networks, secrets, nodes that die.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skep_e2e::{Fleet, FleetConfig, Host, Signal, eventually_blocking, image_archive, skep_binary};

/// Images, containers and elections are ready well within it, on a busy machine too.
const SOON: Duration = Duration::from_secs(90);

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIP: a fleet needs root");
    }
    root
}

/// A swarm of three hosts, of which so many are managers, each with the busybox image.
fn swarm(managers: usize) -> Fleet {
    let config = FleetConfig::hosts(3).daemon(skep_binary()).managers(managers);
    let fleet = Fleet::up(config).unwrap();
    for host in fleet.hosts() {
        let socket = format!("unix://{}", host.socket().display());
        let mut import = Command::new(skep_binary());
        import.args(["-H", &socket, "image", "import"]).arg(image_archive()).arg("busybox:latest");
        let output = import.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    fleet
}

fn skep(host: &Host, words: &[&str]) -> Result<String> {
    let words: Vec<&str> = std::iter::once("skep").chain(words.iter().copied()).collect();
    host.check(&words)
}

/// The service's tasks that run: (name, node).
fn running(host: &Host, service: &str) -> Result<Vec<(String, String)>> {
    let format = "{{.Name}} {{.Node}} {{.CurrentState}}";
    let filter = ["--filter", "desired-state=running"];
    let lines = skep(host, &["service", "ps", service, filter[0], filter[1], "--format", format])?;
    let tasks = lines.lines().filter_map(|line| {
        let mut words = line.splitn(3, ' ');
        let (name, node, state) = (words.next()?, words.next()?, words.next()?);
        state.starts_with("Running").then(|| (name.to_owned(), node.to_owned()))
    });
    Ok(tasks.collect())
}

fn wait_running(host: &Host, service: &str, count: usize) -> Vec<(String, String)> {
    eventually_blocking(SOON, || {
        let tasks = running(host, service)?;
        let all = || skep(host, &["service", "ps", service, "--no-trunc"]).unwrap_or_default();
        ensure!(tasks.len() == count, "{service} has {} of {count}:\n{}", tasks.len(), all());
        Ok(tasks)
    })
}

/// What a web server says to a host's own request.
fn fetch(from: &Host, url: &str) -> Result<String> {
    let said = from.check(&["curl", "-s", "--fail", "--max-time", "3", url])?;
    Ok(said.trim().to_owned())
}

/// Runs in a task's network: the first process of that command on the host.
fn inside(host: &Host, command: &str, words: &[&str]) -> Result<String> {
    let found = host.check(&["pgrep", "-f", "-x", command])?;
    let pid = found.split_whitespace().next().context("no such process")?.to_owned();
    let mut all = vec!["nsenter", "-t", &pid, "-n", "-m", "-r", "-w"];
    all.extend(words);
    host.check(&all)
}

const WEB: &str = "mkdir -p /w; hostname > /w/index.html; exec httpd -f -p 80 -h /w";

#[test]
fn a_service_answers_by_name_and_on_every_host() {
    if !root() {
        return;
    }
    let fleet = swarm(1);
    let one = fleet.host(1);
    skep(&one, &["network", "create", "-d", "overlay", "front"]).unwrap();
    let create = ["service", "create", "--detach", "--network", "front", "--name"];
    let web = ["web", "--replicas", "2", "-p", "8080:80", "busybox:latest", "sh", "-c", WEB];
    skep(&one, &[&create[..], &web[..]].concat()).unwrap();
    let client = ["client", "--mode", "global", "busybox:latest", "sleep", "86400"];
    skep(&one, &[&create[..], &client[..]].concat()).unwrap();
    wait_running(&one, "web", 2);
    wait_running(&one, "client", 3);

    // The published port answers on every host, whether or not a task runs there.
    for host in fleet.hosts() {
        for address in ["127.0.0.1".to_owned(), fleet.host(1).address().to_string()] {
            eventually_blocking(SOON, || fetch(&host, &format!("http://{address}:8080/")));
        }
    }
    // By name, from a task on each host; both tasks take their turn.
    for host in fleet.hosts() {
        let found =
            eventually_blocking(SOON, || inside(&host, "sleep 86400", &["/bin/nslookup", "web"]));
        let vip = found.lines().rev().find_map(|line| line.strip_prefix("Address: "));
        let vip = vip.unwrap_or_else(|| panic!("no address in {found}")).trim().to_owned();
        let ask = format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc {vip} 80");
        let mut seen = std::collections::BTreeSet::new();
        eventually_blocking(SOON, || {
            let said = inside(&host, "sleep 86400", &["/bin/sh", "-c", &ask])?;
            seen.insert(said.lines().last().unwrap_or_default().to_owned());
            ensure!(seen.len() == 2, "only {seen:?} answered");
            Ok(())
        });
        let tasks = inside(&host, "sleep 86400", &["/bin/nslookup", "tasks.web"]).unwrap();
        let addresses = tasks.lines().filter(|line| line.starts_with("Address: ")).count();
        assert_eq!(addresses, 2, "{tasks}");
    }
    skep(&one, &["service", "rm", "web", "client"]).unwrap();
    eventually_blocking(SOON, || {
        ensure!(fetch(&one, "http://127.0.0.1:8080/").is_err(), "the port still answers");
        Ok(())
    });
    eventually_blocking(SOON, || skep(&one, &["network", "rm", "front"]));
    fleet.down().unwrap();
}

#[test]
fn a_dead_workers_tasks_are_replaced() {
    if !root() {
        return;
    }
    let fleet = swarm(1);
    let one = fleet.host(1);
    let words = ["--detach", "--name", "s", "--replicas", "3", "busybox:latest", "sleep", "86400"];
    skep(&one, &[&["service", "create"], &words[..]].concat()).unwrap();
    let placed = wait_running(&one, "s", 3);
    let nodes: std::collections::BTreeSet<&String> = placed.iter().map(|(_, node)| node).collect();
    assert_eq!(nodes.len(), 3, "spread over all hosts: {placed:?}");
    // Its daemon and its containers die with it.
    fleet.host(3).pause().unwrap();
    eventually_blocking(SOON, || {
        let tasks = running(&one, "s")?;
        let moved = tasks.len() == 3 && tasks.iter().all(|(_, node)| node != "host3");
        ensure!(moved, "tasks are {tasks:?}");
        Ok(())
    });
    // What it still ran is stopped when it is back.
    fleet.host(3).resume().unwrap();
    eventually_blocking(SOON, || {
        let left = fleet.host(3).run(&["pgrep", "-f", "-x", "sleep 86400"])?;
        ensure!(!left.status.success(), "the old task still runs on host3");
        Ok(())
    });
    fleet.down().unwrap();
}

/// Clients that fetch a page one after the other, until they are told to end.
struct Load {
    ending: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    const CLIENTS: usize = 4;

    fn on(host: &Host, url: &'static str) -> Self {
        let (ending, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |_| {
            let (host, ending, answers) = (host.clone(), ending.clone(), answers.clone());
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                while !ending.load(Ordering::Relaxed) {
                    match fetch(&host, url) {
                        Ok(_) => drop(answers.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failed.push(format!("{error:#}")),
                    }
                }
                failed
            })
        };
        let clients = (0..Self::CLIENTS).map(client).collect();
        Self { ending, answers, clients }
    }

    /// Waits for so many answers more.
    fn wait_answers(&self, more: usize) {
        let wanted = self.answers.load(Ordering::Relaxed) + more;
        eventually_blocking(SOON, || {
            let got = self.answers.load(Ordering::Relaxed);
            ensure!(got >= wanted, "{got} of {wanted} answers");
            Ok(())
        });
    }

    /// What went wrong.
    fn end(self) -> Vec<String> {
        self.ending.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

#[test]
fn containers_outlive_the_daemon_and_are_taken_up_again() {
    if !root() {
        return;
    }
    let fleet = swarm(1);
    let (one, two) = (fleet.host(1), fleet.host(2));
    let words = ["--detach", "--name", "web", "--mode", "global", "-p", "8080:80"];
    let command = ["busybox:latest", "sh", "-c", WEB];
    skep(&one, &[&["service", "create"], &words[..], &command[..]].concat()).unwrap();
    wait_running(&one, "web", 3);
    let pids = |host: &Host| host.check(&["pgrep", "httpd"]);
    let before = eventually_blocking(SOON, || pids(&two));
    let load = Load::on(&two, "http://127.0.0.1:8080/");
    load.wait_answers(20);
    two.kill(Signal::SIGKILL).unwrap();
    // Nobody but the kernel is left to answer.
    load.wait_answers(50);
    two.start().unwrap();
    let id = skep(&one, &["service", "ps", "web", "-q"]).unwrap();
    eventually_blocking(SOON, || {
        let status = skep(&one, &["node", "ls", "--format", "{{.Hostname}} {{.Status}}"])?;
        ensure!(status.contains("host2 Ready"), "nodes are {status:?}");
        ensure!(running(&one, "web")?.len() == 3, "not all run");
        Ok(())
    });
    load.wait_answers(20);
    assert_eq!(load.end(), Vec::<String>::new(), "requests that were not answered");
    assert_eq!(pids(&two).unwrap(), before, "the same processes run");
    assert_eq!(skep(&one, &["service", "ps", "web", "-q"]).unwrap(), id, "the same tasks run");
    fetch(&two, "http://127.0.0.1:8080/").unwrap();
    // And they can still be stopped.
    skep(&one, &["service", "rm", "web"]).unwrap();
    eventually_blocking(SOON, || {
        ensure!(pids(&two).is_err(), "the containers still run");
        Ok(())
    });
    fleet.down().unwrap();
}

#[test]
fn a_secret_is_read_in_its_task_alone() {
    if !root() {
        return;
    }
    let fleet = swarm(1);
    let one = fleet.host(1);
    let marker = "a marker that belongs in memory only";
    let create = ["skep", "secret", "create", "password", "-"];
    assert!(one.run_with_input(&create, marker.as_bytes()).unwrap().status.success());
    let constraint = ["--constraint", "node.hostname == host2"];
    let words = ["--detach", "--name", "reader", "--secret", "password"];
    let command = ["busybox:latest", "sh", "-c", "cat /run/secrets/password && exec sleep 86400"];
    skep(&one, &[&["service", "create"], &words[..], &constraint[..], &command[..]].concat())
        .unwrap();
    wait_running(&one, "reader", 1);
    let two = fleet.host(2);
    let read = eventually_blocking(SOON, || {
        inside(&two, "sleep 86400", &["/bin/cat", "/run/secrets/password"])
    });
    assert_eq!(read, marker);
    let shown = skep(&one, &["secret", "inspect", "password"]).unwrap();
    assert!(!shown.contains(marker), "{shown}");
    // The task printed it, so its log has it; nothing else on any host does.
    for host in fleet.hosts() {
        let found =
            host.run(&["grep", "-rlI", "-F", marker, "/var/lib/skep", "/run/skep"]).unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        let beside = found.lines().filter(|file| !file.contains("/log"));
        let beside: Vec<&str> = beside.collect();
        assert!(beside.is_empty(), "{} keeps it in {beside:?}", host.name());
    }
    skep(&one, &["service", "rm", "reader"]).unwrap();
    fleet.down().unwrap();
}

const COMPOSE: &str = r#"
services:
  web:
    image: busybox:latest
    command: ["sh", "-c", "mkdir /w; cat /banner > /w/index.html; exec httpd -f -p 80 -h /w"]
    ports: ["8080:80"]
    configs:
      - source: banner
        target: /banner
    networks: [front]
    deploy:
      replicas: 3
      update_config: { parallelism: 1, order: start-first, monitor: 1s }
  client:
    image: busybox:latest
    command: sleep 86400
    networks: [front]
networks:
  front:
    driver: overlay
configs:
  banner:
    file: ./banner
"#;

/// What `service inspect` says of the last change.
fn update_state(host: &Host, service: &str) -> Result<String> {
    let format = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}";
    Ok(skep(host, &["service", "inspect", "--format", format, service])?.trim().to_owned())
}

fn wait_update(host: &Host, service: &str, state: &str) {
    eventually_blocking(SOON, || {
        let now = update_state(host, service)?;
        let all = || skep(host, &["service", "ps", service, "--no-trunc"]).unwrap_or_default();
        ensure!(now == state, "update is {now:?}, not {state}:\n{}", all());
        Ok(())
    });
}

#[test]
fn a_stack_is_deployed_updated_rolled_back_and_removed() {
    if !root() {
        return;
    }
    let fleet = swarm(3);
    let one = fleet.host(1);
    let dir = std::env::temp_dir().join(format!("skep-stack-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("compose.yaml"), COMPOSE).unwrap();
    std::fs::write(dir.join("banner"), "first\n").unwrap();
    let mut deploy = Command::new(skep_binary());
    deploy.current_dir(&dir).args(["-H", &format!("unix://{}", one.socket().display())]);
    let deployed = deploy.args(["stack", "deploy", "-c", "compose.yaml", "app"]).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    let before = wait_running(&one, "app_web", 3);
    for host in fleet.hosts() {
        let said = eventually_blocking(SOON, || fetch(&host, "http://127.0.0.1:8080/"));
        assert_eq!(said, "first");
    }
    // Labels of the service replace no task; its environment replaces all.
    skep(&one, &["service", "update", "--detach", "--label-add", "a=b", "app_web"]).unwrap();
    assert_eq!(wait_running(&one, "app_web", 3), before);
    let ids = |host: &Host| {
        skep(host, &["service", "ps", "-q", "-f", "desired-state=running", "app_web"])
    };
    let first = ids(&one).unwrap();
    skep(&one, &["service", "update", "--detach", "--env-add", "A=b", "app_web"]).unwrap();
    wait_update(&one, "app_web", "completed");
    wait_running(&one, "app_web", 3);
    let second = ids(&one).unwrap();
    assert!(first.lines().all(|id| !second.contains(id)), "{first}\n{second}");
    skep(&one, &["service", "rollback", "--detach", "app_web"]).unwrap();
    wait_update(&one, "app_web", "rollback_completed");
    let env = "{{json .Spec.TaskTemplate.ContainerSpec.Env}}";
    let env = skep(&one, &["service", "inspect", "--format", env, "app_web"]).unwrap();
    assert!(!env.contains("A=b"), "{env}");
    wait_running(&one, "app_web", 3);
    assert_eq!(fetch(&one, "http://127.0.0.1:8080/").unwrap(), "first");

    skep(&one, &["stack", "rm", "app"]).unwrap();
    eventually_blocking(SOON, || {
        let left = skep(&one, &["service", "ls", "-q"])? + &skep(&one, &["config", "ls", "-q"])?;
        ensure!(left.trim().is_empty(), "left: {left}");
        let networks = skep(&one, &["network", "ls", "--format", "{{.Name}}"])?;
        ensure!(!networks.contains("app_"), "left: {networks}");
        Ok(())
    });
    fleet.down().unwrap();
}

#[test]
fn changed_content_is_rolled_out_by_a_deploy_that_waits() {
    if !root() {
        return;
    }
    let fleet = swarm(1);
    let one = fleet.host(1);
    let dir = tempfile::tempdir().unwrap();
    let file = COMPOSE
        .replace("/banner >", "/banner /run/secrets/word >")
        .replace("    networks: [front]\n    deploy:", "    secrets: [word]\n    deploy:")
        + "secrets:\n  word:\n    file: ./word\n";
    std::fs::write(dir.path().join("compose.yaml"), file).unwrap();
    let stack = |banner: &str, word: &str, words: &[&str]| {
        std::fs::write(dir.path().join("banner"), banner).unwrap();
        std::fs::write(dir.path().join("word"), word).unwrap();
        let mut deploy = Command::new(skep_binary());
        deploy.current_dir(dir.path()).arg("-H").arg(format!("unix://{}", one.socket().display()));
        let done = deploy.arg("stack").args(words).args(["-c", "compose.yaml", "app"]).output();
        let done = done.unwrap();
        let text = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (done.status.code(), text)
    };
    let wait = ["deploy", "--wait", "--wait-timeout", "120s"];
    let (code, said) = stack("first ", "hush", &wait);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fetch(&one, "http://127.0.0.1:8080/").unwrap(), "first hush");
    let (code, said) = stack("first ", "hush", &["diff"]);
    assert_eq!(code, Some(0), "{said}");

    let revision = || {
        let format = "{{.Version.Index}}";
        skep(&one, &["secret", "inspect", "--format", format, "app_word"]).unwrap()
    };
    let before = revision();
    let (code, said) = stack("second ", "psst", &["diff"]);
    assert_eq!(code, Some(1), "{said}");
    for line in ["+ secret app_word.2 (the content of app_word changed)", "+ config app_banner.2"] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(revision(), before, "a look changes nothing");
    let (code, said) = stack("second ", "psst", &wait);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fetch(&one, "http://127.0.0.1:8080/").unwrap(), "second psst");
    // The first versions stay as long as a rollback would need them.
    skep(&one, &["service", "rollback", "app_web"]).unwrap();
    assert_eq!(fetch(&one, "http://127.0.0.1:8080/").unwrap(), "first hush");
    for content in ["third", "fourth"] {
        let (code, said) = stack(content, "", &wait);
        assert_eq!(code, Some(1), "an empty secret is none: {said}");
        let (code, said) = stack(content, "psst", &wait);
        assert_eq!(code, Some(0), "{said}");
    }
    let left = skep(&one, &["config", "ls", "--format", "{{.Name}}"]).unwrap();
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    assert_eq!(left, ["app_banner.3", "app_banner.4"]);
    let left = skep(&one, &["secret", "ls", "--format", "{{.Name}}"]).unwrap();
    assert_eq!(left.trim(), "app_word.2");
    // What cannot run is told by the exit status.
    let broken = std::fs::read_to_string(dir.path().join("compose.yaml")).unwrap();
    let broken = broken.replace("exec httpd", "exit 3; httpd");
    std::fs::write(dir.path().join("compose.yaml"), broken).unwrap();
    let (code, said) = stack("fourth", "psst", &wait);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("service app_web: service update paused"), "{said}");
    fleet.down().unwrap();
}

#[test]
fn logs_come_from_every_host() {
    if !root() {
        return;
    }
    let fleet = swarm(1);
    let one = fleet.host(1);
    let words = ["service", "create", "--detach", "--name", "talker", "--mode", "global"];
    let command = ["busybox:latest", "sh", "-c", "echo hello from $(hostname); exec sleep 86400"];
    skep(&one, &[&words[..], &command[..]].concat()).unwrap();
    wait_running(&one, "talker", 3);
    let logs = eventually_blocking(SOON, || {
        let logs = skep(&one, &["service", "logs", "talker"])?;
        ensure!(logs.lines().count() == 3, "logs are {logs}");
        Ok(logs)
    });
    for host in ["host1", "host2", "host3"] {
        let line = logs.lines().find(|line| line.contains(&format!("@{host}")));
        assert!(line.is_some_and(|line| line.contains("hello from")), "{logs}");
    }
    fleet.down().unwrap();
}

#[test]
fn a_health_check_says_when_a_task_runs_and_when_it_is_replaced() {
    if !root() {
        return;
    }
    let fleet = swarm(1);
    let one = fleet.host(1);
    let words = ["service", "create", "--detach", "--name", "web", "--restart-delay", "100ms"];
    let health = ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms"];
    let limits = ["--health-retries", "2", "--health-start-period", "1h"];
    let asked = ["--health-start-interval", "100ms", "--constraint", "node.hostname == host1"];
    let command = ["busybox:latest", "sleep", "86400"];
    let all = [&words[..], &health, &limits, &asked, &command].concat();
    skep(&one, &all).unwrap();
    let status = || one.check(&["docker", "ps", "--format", "{{.Names}} {{.Status}}"]);
    // It has started and does not count as running.
    eventually_blocking(SOON, || {
        let shown = status()?;
        ensure!(shown.contains("(health: starting)"), "containers are {shown}");
        Ok(())
    });
    let state = || {
        skep(
            &one,
            &["service", "ps", "web", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}"],
        )
    };
    assert!(state().unwrap().starts_with("Starting"), "{}", state().unwrap());
    inside(&one, "sleep 86400", &["/bin/touch", "/tmp/well"]).unwrap();
    let first = wait_running(&one, "web", 1);
    assert!(status().unwrap().contains("(healthy)"), "{}", status().unwrap());
    let id = skep(&one, &["service", "ps", "web", "-q"]).unwrap();

    inside(&one, "sleep 86400", &["/bin/rm", "/tmp/well"]).unwrap();
    eventually_blocking(SOON, || {
        let history = state()?;
        ensure!(history.contains("unhealthy container"), "history is {history}");
        Ok(())
    });
    // Another stands in its place, and waits for its own health.
    eventually_blocking(SOON, || {
        inside(&one, "sleep 86400", &["/bin/touch", "/tmp/well"])?;
        let now = running(&one, "web")?;
        ensure!(now.len() == 1, "tasks are {now:?}");
        Ok(())
    });
    assert_ne!(skep(&one, &["service", "ps", "web", "-q"]).unwrap(), id, "{first:?}");
    fleet.down().unwrap();
}
