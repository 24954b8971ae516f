//! What a service's spec asks for reaches its tasks, seen from inside of them: nothing is passed over.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use skep_e2e::{
    Fleet, FleetConfig, Host, IMAGE, Session, docker_version, eventually_blocking, image_archive,
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
        (&["--publish", "target=80,mode=host"], "a published port must be given"),
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
        (&["network", "create", "-d", "overlay", "--ipv6", "n"], "IPv6"),
        (&["config", "create", "--template-driver", "jinja", "c", "/etc/hostname"], "jinja"),
    ] {
        let error = format!("{:#}", skep(&host, words).unwrap_err());
        assert!(error.contains(why), "{words:?}: {error}");
    }
    assert_eq!(skep(&host, &["service", "ls", "-q"]).unwrap(), "");
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
