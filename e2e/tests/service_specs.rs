//! What a service's spec asks for reaches its tasks, seen from inside of them: nothing is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skep_e2e::{
    Fleet, FleetConfig, Host, IMAGE, Session, Signal, docker_version, eventually_blocking,
    image_archive, skep_binary,
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

/// Settings of the command lines that are the host's own.
const SETTINGS: [&str; 2] = ["env", "DOCKER_CONFIG=/tmp/docker-config"];

fn skep(host: &Host, words: &[&str]) -> Result<String> {
    host.check(&[&SETTINGS[..], &["skep"], words].concat())
}

/// States and errors of a service's tasks.
fn states(host: &Host, service: &str) -> Result<String> {
    let format = "{{.CurrentState}} {{.Error}}";
    skep(host, &["service", "ps", "--no-trunc", "--format", format, service])
}

fn wait_running(host: &Host, service: &str, count: usize) {
    eventually_blocking(SOON, || {
        let now = states(host, service)?;
        let running = now.lines().filter(|line| line.starts_with("Running")).count();
        ensure!(running == count, "{service} has {running} of {count}: {now}");
        Ok(())
    });
}

/// What each task of a service said of itself, `KEY=VALUE` in a line, once all have said `done`.
fn said(host: &Host, service: &str, count: usize) -> Vec<BTreeMap<String, String>> {
    let text = eventually_blocking(SOON, || {
        let text = skep(host, &["service", "logs", "--no-trunc", service])?;
        let done = text.lines().filter(|line| line.trim().ends_with("| done")).count();
        ensure!(done == count, "{service}: {text}{}", states(host, service)?);
        Ok(text)
    });
    let mut tasks: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for line in text.lines() {
        let (task, words) = line.split_once('|').unwrap();
        let Some((key, value)) = words.trim().split_once('=') else { continue };
        let task = tasks.entry(task.trim().to_owned()).or_default();
        task.insert(key.to_owned(), value.to_owned());
    }
    tasks.into_values().collect()
}

const TELL: &str = "
    echo host=$(hostname)
    echo node=$NODE
    echo slot=$(ls /volume)
    echo id=$(id -u):$(id -g):$(id -G)
    echo dir=$(pwd)
    echo oom=$(cat /proc/self/oom_score_adj)
    echo init=$(tr '\\0' ' ' < /proc/1/cmdline)
    echo caps=$(grep CapEff /proc/self/status | cut -f 2)
    echo files=$(ulimit -n)
    echo sysctl=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)
    echo resolv=$(tr '\\n' ' ' < /etc/resolv.conf)
    echo hosts=$(grep db /etc/hosts)
    echo root=$(touch /x 2> /dev/null && echo writable || echo closed)
    echo motd=$(cat /motd)
    echo key=$(cat /run/secrets/key)
    echo bind=$(grep ' /bind ' /proc/self/mountinfo | grep -o 'master:' | head -n 1)
    echo scratch=$(grep ' /scratch ' /proc/mounts | cut -d ' ' -f 3,4)
    echo first=$0
    echo done
    exec sleep 86400";

#[test]
fn a_task_is_what_its_service_says() {
    let Some((fleet, host)) = swarm() else { return };
    let motd =
        "{{.Service.Name}} {{env \"NODE\"}} {{secret \"key\"}} {{index .Service.Labels \"tier\"}}";
    for (kind, name, data) in [("config", "motd", motd), ("secret", "key", "hush")] {
        let template: &[&str] =
            if kind == "config" { &["--template-driver", "golang"] } else { &[] };
        let words = [&["skep", kind, "create"], template, &[name, "-"]].concat();
        let made = host.run_with_input(&words, data.as_bytes()).unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    host.check(&["mkdir", "-p", "/tmp/shared"]).unwrap();
    host.check(&["mount", "--bind", "/tmp/shared", "/tmp/shared"]).unwrap();
    host.check(&["mount", "--make-shared", "/tmp/shared"]).unwrap();
    // A volume for each slot, with the slot's name in it.
    for slot in ["1", "2"] {
        let volume = format!("data-{slot}");
        skep(&host, &["volume", "create", &volume]).unwrap();
        let fill = format!("touch /v/slot{slot}");
        skep(&host, &["run", "--rm", "-v", &format!("{volume}:/v"), IMAGE, "sh", "-c", &fill])
            .unwrap();
    }
    let words = [
        &["service", "create", "--detach", "--name", "probe", "--replicas", "2"][..],
        &["--label", "tier=front", "--container-label", "colour=red"],
        &["--hostname", "{{.Service.Name}}-{{.Task.Slot}}", "--env", "NODE={{.Node.Hostname}}"],
        &["--mount", "type=volume,source=data-{{.Task.Slot}},target=/volume"],
        &["--mount", "type=bind,source=/tmp/shared,target=/bind,bind-propagation=rslave"],
        &["--mount", "type=tmpfs,target=/scratch,tmpfs-size=65536"],
        &["--user", "7:8", "--group", "9", "--workdir", "/proc/sys"],
        &["--oom-score-adj", "321", "--init", "--read-only"],
        &["--cap-drop", "ALL", "--cap-add", "CAP_KILL", "--ulimit", "nofile=1000:2000"],
        &["--sysctl", "net.ipv4.ip_unprivileged_port_start=77"],
        &["--dns-search", "example.org", "--dns-option", "timeout:3", "--host", "db:10.9.8.7"],
        &["--config", "source=motd,target=/motd", "--secret", "key"],
        &["--limit-cpu", "0.5", "--limit-memory", "64m", "--limit-pids", "50"],
        &["--stop-signal", "SIGQUIT", "--stop-grace-period", "7s"],
        &["--log-driver", "json-file", "--log-opt", "max-size=1m"],
        &["--entrypoint", "sh -c", IMAGE, TELL, "entry"],
    ]
    .concat();
    skep(&host, &words).unwrap();
    let tasks = said(&host, "probe", 2);
    for (slot, task) in (1..).zip(&tasks) {
        let is = |key: &str| task.get(key).map_or("", String::as_str);
        assert_eq!(is("host"), format!("probe-{slot}"), "{task:?}");
        assert_eq!(is("slot"), format!("slot{slot}"));
        assert_eq!(is("node"), "host1");
        assert_eq!(is("id"), "7:8:8 9");
        assert_eq!(is("dir"), "/proc/sys");
        assert_eq!(is("oom"), "321");
        assert!(!is("init").starts_with("sh "), "{task:?}");
        // What a user that is not root has of them.
        assert_eq!(is("caps"), "0000000000000000");
        assert_eq!(is("files"), "1000");
        assert_eq!(is("sysctl"), "77");
        assert!(is("resolv").contains("search example.org"), "{task:?}");
        assert!(is("resolv").contains("timeout:3"), "{task:?}");
        assert!(is("hosts").starts_with("10.9.8.7"), "{task:?}");
        assert_eq!(is("root"), "closed");
        assert_eq!(is("motd"), "probe host1 hush front");
        assert_eq!(is("key"), "hush");
        assert_eq!(is("bind"), "master:");
        assert!(is("scratch").starts_with("tmpfs ") && is("scratch").contains("size=64k"));
        assert_eq!(is("first"), "entry");
    }
    assert_eq!(tasks.len(), 2);
    let ids = skep(&host, &["ps", "-q", "--filter", "label=colour=red"]).unwrap();
    assert_eq!(ids.lines().count(), 2, "{ids}");
    let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.Config.StopSignal}} {{index .Config.Labels \"com.docker.swarm.service.name\"}}";
    for id in ids.lines() {
        let shown = skep(&host, &["inspect", "--format", format, id]).unwrap();
        assert_eq!(shown.trim(), "500000000 67108864 50 SIGQUIT probe");
    }
    skep(&host, &["service", "rm", "probe"]).unwrap();

    // A terminal, and a standard input that stays open.
    let create = ["service", "create", "--detach", "--name"];
    let tell = "test -t 1 && echo tty=yes; echo done; exec sleep 86400";
    skep(&host, &[&create[..], &["terminal", "--tty", IMAGE, "sh", "-c", tell]].concat()).unwrap();
    wait_running(&host, "terminal", 1);
    let text = eventually_blocking(SOON, || {
        let text = skep(&host, &["service", "logs", "--raw", "terminal"])?;
        ensure!(text.contains("done"), "{text}");
        Ok(text)
    });
    assert!(text.contains("tty=yes"), "{text}");
    host.check(&["umount", "/tmp/shared"]).unwrap();
    fleet.down().unwrap();
}

#[test]
fn what_nobody_would_do_is_refused() {
    let Some((fleet, host)) = swarm() else { return };
    for (flags, why) in [
        (&["--hostname", "{{.Task.Colour}}"][..], "can't evaluate field Colour"),
        (&["--env", "A={{.Task"], "unclosed action"),
        (&["--oom-score-adj", "1001"], "range for oom score adj is [-1000, 1000]"),
        (
            &["--mount", "type=volume,source=v,target=/v,volume-subpath=a"],
            "volume-subpath is not supported",
        ),
        (&["--network", "name=ingress"], "cannot be explicitly attached to the ingress network"),
    ] {
        let words = [&["service", "create", "--detach"], flags, &[IMAGE]].concat();
        let error = format!("{:#}", skep(&host, &words).unwrap_err());
        assert!(error.contains(why), "{flags:?}: {error}");
    }
    for (words, why) in [
        (&["swarm", "update", "--autolock"][..], "autolock is not supported yet"),
        (&["swarm", "update", "--snapshot-interval", "7"], "SnapshotInterval"),
        (&["swarm", "update", "--max-snapshots", "7"], "KeepOldSnapshots"),
        (&["secret", "create", "--driver", "vault", "s"], "a driver is not supported"),
        (&["network", "create", "-d", "overlay", "-o", "encrypted", "n"], "option \"encrypted\""),
        (
            &["network", "create", "-d", "overlay", "--ipv4=false", "--ipv6", "n"],
            "switching IPv4 off",
        ),
        (&["config", "create", "--template-driver", "jinja", "c", "/etc/hostname"], "jinja"),
    ] {
        let error = format!("{:#}", skep(&host, words).unwrap_err());
        assert!(error.contains(why), "{words:?}: {error}");
    }
    assert_eq!(skep(&host, &["service", "ls", "-q"]).unwrap(), "");
    fleet.down().unwrap();
}

/// By each running task of a service, the host's port for each of its own: `80/tcp`.
type HostPorts = BTreeMap<String, BTreeMap<String, u16>>;

/// From a column of ports.
fn read_ports(column: &str) -> Result<BTreeMap<String, u16>> {
    let port = |text: &str| {
        let (number, own) = text.strip_prefix("*:")?.split_once("->")?;
        Some((own.to_owned(), number.parse().ok()?))
    };
    column.split(',').map(|text| port(text).with_context(|| column.to_owned())).collect()
}

fn host_ports(host: &Host, service: &str) -> Result<HostPorts> {
    let words = ["service", "ps", "--no-trunc", "--filter", "desired-state=running"];
    let format = ["--format", "{{.ID}}|{{.CurrentState}}|{{.Ports}}", service];
    let mut ports = BTreeMap::new();
    for line in skep(host, &[&words[..], &format].concat())?.lines() {
        let columns: Vec<&str> = line.split('|').collect();
        ensure!(columns.len() == 3 && columns[1].starts_with("Running"), "{line}");
        ports.insert(columns[0].to_owned(), read_ports(columns[2])?);
    }
    Ok(ports)
}

/// Waits for two tasks that have what the service publishes, and none of those that were `before`.
fn wait_ports(host: &Host, before: &HostPorts) -> HostPorts {
    eventually_blocking(SOON, || {
        let ports = host_ports(host, "web")?;
        let whole = ports.values().all(|it| it.keys().eq(["53/udp", "80/tcp"]));
        let new = ports.keys().all(|task| !before.contains_key(task));
        ensure!(ports.len() == 2 && whole && new, "{ports:?} after {before:?}");
        Ok(ports)
    })
}

fn fetch(host: &Host, port: u16) -> Result<String> {
    let url = format!("http://127.0.0.1:{port}/");
    Ok(host.check(&["curl", "-s", "--fail", "--max-time", "3", &url])?.trim().to_owned())
}

/// What the tasks say of themselves, each at its port.
fn answers(host: &Host, ports: &HostPorts) -> Vec<String> {
    let ask = |of_task: &BTreeMap<String, u16>| {
        eventually_blocking(SOON, || fetch(host, of_task["80/tcp"]))
    };
    ports.values().map(ask).collect()
}

/// Tells its own name on port 80.
const WEB: &str = "mkdir -p /w; hostname > /w/index.html; exec httpd -f -p 80 -h /w";

#[test]
fn a_node_chooses_the_host_ports_that_have_no_number() {
    let Some((fleet, host)) = swarm() else { return };
    let first = 40_000;
    let range = format!("net.ipv4.ip_local_port_range={first} 60999");
    host.check(&["sysctl", "-q", "-w", &range]).unwrap();
    // The first one is a container's that was made by hand.
    skep(&host, &["run", "-d", "-p", "40000:80", IMAGE, "sleep", "86400"]).unwrap();
    let words = [
        &["service", "create", "--detach", "--name", "web", "--replicas", "2"][..],
        &["--hostname", "web-{{.Task.Slot}}"],
        &["--publish", "mode=host,target=80", "--publish", "mode=host,target=53,protocol=udp"],
        &["--publish", "mode=host,target=90,published=8080"],
    ]
    .concat();
    // The second of two tasks has no room for the number that both ask for.
    skep(&host, &[&words[..], &[IMAGE, "sh", "-c", WEB]].concat()).unwrap();
    eventually_blocking(SOON, || {
        let now = states(&host, "web")?;
        ensure!(now.contains("host port 8080 in use"), "{now}");
        let shown = skep(&host, &["service", "ps", "--format", "{{.Ports}}", "web"])?;
        ensure!(shown.contains("*:8080->90/tcp"), "{shown}");
        Ok(())
    });
    let rm = ["--publish-rm", "mode=host,target=90"];
    skep(&host, &[&["service", "update", "--detach"], &rm[..], &["web"]].concat()).unwrap();
    let ports = wait_ports(&host, &HostPorts::new());
    let numbers: Vec<u16> = ports.values().map(|of_task| of_task["80/tcp"]).collect();
    assert!(numbers[0] != numbers[1] && numbers.iter().all(|it| *it > first), "{ports:?}");
    let said = answers(&host, &ports);
    let both = BTreeSet::from(["web-1".to_owned(), "web-2".to_owned()]);
    assert_eq!(BTreeSet::from_iter(said.clone()), both);

    // The task, its node, and its container tell the same.
    let of_node = skep(&host, &["node", "ps", "--no-trunc", "--format", "{{.ID}} {{.Ports}}"]);
    let of_node = of_node.unwrap();
    for (task, of_task) in &ports {
        let format = "{{range .Status.PortStatus.Ports}}{{.PublishMode}} \
                      *:{{.PublishedPort}}->{{.TargetPort}}/{{.Protocol}}\n{{end}}";
        let shown = skep(&host, &["inspect", "--format", format, task]).unwrap();
        let shown = shown.lines().filter(|line| !line.is_empty());
        let shown: Vec<_> = shown.map(|line| line.strip_prefix("host ").unwrap()).collect();
        assert_eq!(&read_ports(&shown.join(",")).unwrap(), of_task);
        let line = of_node.lines().find_map(|line| line.strip_prefix(&format!("{task} ")));
        assert_eq!(&read_ports(line.unwrap()).unwrap(), of_task, "{of_node}");
        let filter = format!("label=com.docker.swarm.task.id={task}");
        let id = skep(&host, &["ps", "-q", "--filter", &filter]).unwrap();
        let bound = skep(&host, &["port", id.trim(), "80/tcp"]).unwrap();
        assert_eq!(bound.trim(), format!("0.0.0.0:{}", of_task["80/tcp"]));
    }

    // A daemon that starts again finds them, and gives them to nobody else.
    host.kill(Signal::SIGKILL).unwrap();
    host.start().unwrap();
    wait_running(&host, "web", 2);
    assert_eq!(host_ports(&host, "web").unwrap(), ports);
    assert_eq!(answers(&host, &ports), said);
    let by_hand = ["run", "-d", "-p", "80", IMAGE, "sleep", "86400"];
    let id = eventually_blocking(SOON, || skep(&host, &by_hand));
    let bound = skep(&host, &["port", id.trim(), "80/tcp"]).unwrap();
    assert!(!bound.lines().any(|it| numbers.iter().any(|n| it.ends_with(&format!(":{n}")))));

    // A new task has one of its own; what went answers no more.
    skep(&host, &["service", "update", "--detach", "--force", "web"]).unwrap();
    let newer = wait_ports(&host, &ports);
    assert_eq!(BTreeSet::from_iter(answers(&host, &newer)), both);
    skep(&host, &["service", "rm", "web"]).unwrap();
    for of_task in ports.values().chain(newer.values()) {
        eventually_blocking(SOON, || {
            let port = of_task["80/tcp"];
            ensure!(fetch(&host, port).is_err(), "{port} still answers");
            Ok(())
        });
    }
    fleet.down().unwrap();
}

/// A registry on the host itself, with a login.
const REGISTRY: &str = r#"
    printf 'ali:$2b$04$16.v6WSHAclGdOyUEquUKuqoDuf6WiN9KK1cpujrHzLDh8Io5UE1G\n' > /tmp/passwords
    cat > /tmp/registry.yml <<END
version: 0.1
storage: { filesystem: { rootdirectory: /tmp/registry } }
http: { addr: "127.0.0.1:5000", secret: test }
auth: { htpasswd: { realm: test, path: /tmp/passwords } }
END
    exec docker-registry serve /tmp/registry.yml"#;

#[test]
fn a_login_goes_to_the_nodes_that_pull() {
    let Some((fleet, host)) = swarm() else { return };
    if host.run(&["which", "docker-registry"]).is_ok_and(|output| !output.status.success()) {
        eprintln!("SKIP: no docker-registry is installed");
        return;
    }
    let _registry = Session::on_pipes(host.command(&["sh", "-c", REGISTRY]).unwrap()).unwrap();
    let login = ["login", "-u", "ali", "-p", "open sesame", "127.0.0.1:5000"];
    eventually_blocking(SOON, || skep(&host, &login));
    let tag = "127.0.0.1:5000/app:v1";
    for words in [&["tag", IMAGE, tag][..], &["push", tag], &["rmi", tag, IMAGE]] {
        skep(&host, words).unwrap();
    }
    let create = ["service", "create", "--detach", "--restart-condition", "none", "--name"];
    let command = [tag, "sleep", "86400"];
    skep(&host, &[&create[..], &["without"], &command].concat()).unwrap();
    eventually_blocking(SOON, || {
        let now = states(&host, "without")?;
        ensure!(now.contains("Rejected") && now.contains("No such image"), "{now}");
        Ok(())
    });
    skep(&host, &[&create[..], &["with", "--with-registry-auth"], &command].concat()).unwrap();
    wait_running(&host, "with", 1);
    let shown = skep(&host, &["service", "inspect", "with"]).unwrap();
    assert!(!shown.contains("sesame") && !shown.contains("RegistryAuth"), "{shown}");
    // A change that says nothing of it keeps it; the image is fetched again.
    skep(&host, &["service", "scale", "--detach", "with=0"]).unwrap();
    eventually_blocking(SOON, || skep(&host, &["rmi", "-f", tag]));
    skep(&host, &["service", "scale", "--detach", "with=1"]).unwrap();
    wait_running(&host, "with", 1);
    if docker_version().is_some() {
        let word = ["docker", "service", "update", "--detach", "--with-registry-auth"];
        let update = ["--image", tag, "--force", "--no-resolve-image", "without"];
        host.check(&[&SETTINGS[..], &word, &update].concat()).unwrap();
        wait_running(&host, "without", 1);
    }
    fleet.down().unwrap();
}
