//! What containers are where nobody says otherwise: those made by hand, and those of tasks.

use skep_e2e::{CommandLine, IMAGE};

use super::{Told, told, told_by_file};

const SCRIPT: &str = "ulimit -n; df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2; \
                      grep NoNewPrivs /proc/self/status | cut -f2; cat /proc/1/comm; \
                      grep -w up /etc/hosts | cut -f1; grep -w Seccomp: /proc/self/status | cut -f2";

fn holds(told: &Told) {
    told.each(|cli| {
        let run = ["run", "--rm", "--add-host", "up:host-gateway", IMAGE, "sh", "-c", SCRIPT];
        let said: Vec<String> = cli.ok(&run).lines().map(str::to_owned).collect();
        assert_eq!(said[..3], ["100", "1024", "1"], "{said:?}");
        // An init is before the shell.
        assert_ne!(said[3], "sh", "{said:?}");
        assert_eq!(said[4..], ["192.0.2.7", "0"], "{said:?}");
        // What a container says itself goes before.
        let own = ["--ulimit", "nofile=50", "--shm-size", "2m", "--init=false"];
        let security = ["--security-opt", "no-new-privileges=false"];
        let run = [&["run", "--rm"][..], &own, &security, &[IMAGE, "sh", "-c", SCRIPT]].concat();
        let said: Vec<String> = cli.ok(&run).lines().map(str::to_owned).collect();
        assert_eq!(said[..4], ["50", "2048", "0", "sh"], "{said:?}");

        let name = cli.name("shown");
        cli.ok(&["create", "--name", &name, IMAGE]);
        let shown = "{{.HostConfig.LogConfig.Type}} {{json .HostConfig.LogConfig.Config}} \
                     {{.HostConfig.IpcMode}} {{.HostConfig.ShmSize}}";
        let said = cli.inspect(&name, shown);
        assert_eq!(said, r#"local {"max-file":"2","max-size":"1m"} shareable 1048576"#);
        cli.ok(&["rm", &name]);
        let info = "{{.LoggingDriver}} {{.SecurityOptions}} {{.DefaultRuntime}}";
        let said = cli.ok(&["info", "--format", info]);
        assert!(said.starts_with("local ") && said.ends_with(" runc"), "{said}");
        for option in ["name=seccomp,profile=unconfined", "name=no-new-privileges"] {
            assert!(said.contains(option), "{option}: {said}");
        }
    });
    tasks(&told.cli);
}

fn tasks(cli: &CommandLine) {
    cli.ok(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
    let name = cli.name("task");
    cli.ok(&["service", "create", "-d", "--name", &name, IMAGE, "sh", "-c", SCRIPT]);
    let said = cli.wait_for(&["service", "logs", "--raw", &name], |text| text.lines().count() >= 5);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[..3], ["100", "1024", "1"], "{said:?}");
    // Of a service the command line always says whether it has an init, as Docker's does.
    assert_eq!(said[3], "sh", "{said:?}");
    cli.ok(&["service", "rm", &name]);
}

#[test]
fn flags_say_what_containers_are() {
    let flags = "--default-ulimit nofile=100:200 --default-shm-size 1m --no-new-privileges --init \
                 --log-driver local --log-opt max-size=1m --log-opt max-file=2 \
                 --default-ipc-mode shareable --seccomp-profile unconfined \
                 --host-gateway-ip 192.0.2.7 --default-runtime runc \
                 --exec-opt native.cgroupdriver=cgroupfs";
    let Some(told) = told(flags) else { return };
    holds(&told);
}

#[test]
fn keys_say_what_containers_are() {
    let file = r#"{"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 100, "Hard": 200}},
        "default-shm-size": "1M", "no-new-privileges": true, "init": true, "log-driver": "local",
        "log-opts": {"max-size": "1m", "max-file": "2"}, "default-ipc-mode": "shareable",
        "seccomp-profile": "unconfined", "host-gateway-ip": "192.0.2.7"}"#;
    let Some(told) = told_by_file("", file) else { return };
    holds(&told);
}

#[test]
fn cgroups_are_the_hosts_where_the_daemon_says_so() {
    let Some(mut told) = told("--default-cgroupns-mode host") else { return };
    let seen = |told: &Told| {
        let ids = ["run", "--rm", IMAGE, "readlink", "/proc/self/ns/cgroup"];
        told.cli.ok(&ids) == told.cli.shell("readlink /proc/self/ns/cgroup")
    };
    assert!(seen(&told));
    told.again("--default-cgroupns-mode private");
    assert!(!seen(&told));
}
