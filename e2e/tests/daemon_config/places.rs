//! Where the daemon's things stand, how it speaks, and what it refuses to be told.

use skep_e2e::{IMAGE, Program, Single};

use super::{import, told};

#[test]
fn places_are_where_they_are_told() {
    let flags = "--data-root /tmp/data --exec-root /tmp/exec --cgroup-parent /skep-told \
                 --pidfile /tmp/run/skep.pid --log-json --label tier=db --label zone=1";
    let Some(mut told) = told(flags) else { return };
    import(&told);
    let cli = &told.cli;
    let info = |format: &str| cli.ok(&["info", "--format", format]);
    assert_eq!(info("{{.DockerRootDir}} {{json .Labels}}"), r#"/tmp/data ["tier=db","zone=1"]"#);
    let pid = cli.shell("cat /tmp/run/skep.pid");
    assert_eq!(cli.shell(&format!("tr '\\0' ' ' < /proc/{pid}/cmdline | cut -d' ' -f2")), "daemon");
    let name = cli.name("told");
    cli.ok(&["run", "-d", "--name", &name, IMAGE, "top"]);
    let process = cli.inspect(&name, "{{.State.Pid}}");
    let cgroup = cli.shell(&format!("cat /proc/{process}/cgroup"));
    assert!(cgroup.contains("/skep-told/"), "{cgroup}");
    assert_eq!(cli.shell("test -d /tmp/exec/containers && echo there"), "there");
    // Each line of the log is one document.
    for line in told.daemon.text().lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(document["level"].is_string(), "{line}");
    }
    cli.ok(&["rm", "-f", &name]);
    told.again("--log-format text --raw-logs --label tier=db");
    let text = told.daemon.text();
    assert!(text.contains("INFO") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(told.cli.shell("test -e /tmp/run/skep.pid || echo gone"), "gone");
}

#[test]
fn the_socket_is_a_groups() {
    let Some(mut told) = told("-G 1234") else { return };
    let owner = |told: &super::Told| told.cli.shell("stat -c '%u %g %a' /run/skep.sock");
    assert_eq!(owner(&told), "0 1234 660");
    told.again("--group 4321");
    assert_eq!(owner(&told), "0 4321 660");
}

#[test]
fn tls_without_verification_hides_and_trusts_nobody() {
    let Some(mut told) = told("") else { return };
    told.cli.shell(
        "mkdir -p /tmp/tls && cd /tmp/tls && openssl req -x509 -newkey rsa:2048 -nodes -days 2 \
         -subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null",
    );
    told.again(
        "-H tcp://127.0.0.1:2376 --tls --tlscert /tmp/tls/cert.pem --tlskey /tmp/tls/key.pem \
         --tlsverify=false",
    );
    let ask = |scheme: &str| {
        let script = format!("curl -sk {scheme}://127.0.0.1:2376/_ping || echo no");
        told.cli.shell(&script)
    };
    assert_eq!(ask("https"), "OK");
    assert_ne!(ask("http"), "OK");
}

#[test]
fn files_are_validated_and_bad_ones_refused() {
    let Some(single) = Single::shared() else { return };
    let cli = single.command_line(Program::Skep);
    let validate = |text: &str, flags: &[&str]| {
        let file = cli.file("daemon.json", text);
        cli.run(&[&["daemon", "--validate", "--config-file", &file][..], flags].concat())
    };
    let good = r#"{"debug": true, "log-level": "warn", "live-restore": true, "experimental": false,
        "storage-driver": "overlay2", "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "features": {"buildkit": true, "containerd-snapshotter": false}, "shutdown-timeout": 30,
        "proxies": {"http-proxy": "http://proxy:3128", "no-proxy": "localhost"},
        "selinux-enabled": false, "ip6tables": true, "default-runtime": "runc", "runtimes": {},
        "userland-proxy": true, "node-generic-resources": ["gpu=one", "gpu=two", "ssd=2"]}"#;
    let ran = validate(good, &[]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "configuration OK\n"), "{ran:?}");
    let bad = [
        ("{", &[][..], "unable to configure the daemon with file"),
        (r#"{"bees": 1}"#, &[], "directives don't match any configuration option: bees"),
        (
            r#"{"labels": ["a=1"]}"#,
            &["--label", "b=2"],
            "labels: (from flag: [b=2], from file: [a=1])",
        ),
        (r#"{"live-restore": false}"#, &[], "live-restore: false is not supported"),
        (r#"{"selinux-enabled": true}"#, &[], "selinux-enabled: true is not supported"),
        (r#"{"storage-driver": "btrfs"}"#, &[], "storage-driver: btrfs is not supported"),
        (r#"{"runtimes": {"kata": {"path": "kata"}}}"#, &[], "runtimes: "),
        (r#"{"metrics-addr": "nowhere"}"#, &[], "invalid value for metrics-addr: nowhere"),
        (r#"{"authorization-plugins": ["opa"]}"#, &[], "authorization-plugins: [opa] is not"),
        (r#"{"features": {"containerd-snapshotter": true}}"#, &[], "containerd-snapshotter is not"),
        (r#"{"exec-opts": ["native.cgroupdriver=systemd"]}"#, &[], "native.cgroupdriver=systemd"),
        (r#"{"default-runtime": "kata"}"#, &[], "default runtime 'kata' does not exist"),
        (r#"{"log-driver": "splunk"}"#, &[], "no log driver named 'splunk' is registered"),
        ("{}", &["--live-restore=false"], "live-restore: false is not supported"),
        ("{}", &["--storage-opt", "size=1"], "storage-opts: [size=1] is not supported"),
        ("{}", &["-s", "zfs"], "storage-driver: zfs is not supported"),
        ("{}", &["--metrics-addr", ":9"], "invalid value for metrics-addr: :9"),
        ("{}", &["--selinux-enabled"], "selinux-enabled: true is not supported"),
        ("{}", &["--authorization-plugin", "opa"], "authorization-plugins: [opa] is not"),
        ("{}", &["--exec-opt", "bee=1"], "invalid exec-opt: bee=1"),
        ("{}", &["--max-concurrent-uploads", "-1"], "invalid max concurrent uploads: -1"),
        ("{}", &["--max-download-attempts", "-1"], "invalid max download attempts: -1"),
        ("{}", &["--max-concurrent-downloads", "-1"], "invalid max concurrent downloads: -1"),
        ("{}", &["--default-ulimit", "bees=1"], "invalid ulimit type: bees"),
        ("{}", &["--default-runtime", "kata"], "default runtime 'kata' does not exist"),
        ("{}", &["-l", "loud"], "invalid logging level: loud"),
        ("{}", &["--ip6tables=false"], "ip6tables: false is not supported"),
    ];
    for (file, flags, why) in bad {
        let ran = validate(file, flags);
        assert!(ran.status != 0 && ran.stderr.contains(why), "{file} {flags:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{file}");
    }
    let missing = cli.run(&["daemon", "--validate", "--config-file", "/none.json"]);
    assert!(missing.status != 0 && missing.stderr.contains("/none.json"), "{missing:?}");
}

#[test]
fn what_the_node_has_is_told() {
    let flags = "--node-generic-resource gpu=one --node-generic-resource ssd=2 --label tier=db \
                 --swarm-default-advertise-addr 127.0.0.1 --experimental --shutdown-timeout 20 \
                 --http-proxy http://u:p@proxy:1 --https-proxy http://proxy:2 --no-proxy local -D \
                 --cdi-spec-dir /tmp/cdi --cdi-spec-dir /etc/cdi";
    let Some(told) = told(flags) else { return };
    let cli = &told.cli;
    let info = |format: &str| cli.ok(&["info", "--format", format]);
    assert_eq!(info("{{.Debug}} {{.ExperimentalBuild}}"), "true true");
    let proxies = info("{{.HttpProxy}} {{.HttpsProxy}} {{.NoProxy}}");
    assert_eq!(proxies, "http://xxxxx:xxxxx@proxy:1 http://proxy:2 local");
    assert_eq!(info("{{.CDISpecDirs}}"), "[/tmp/cdi /etc/cdi]");
    let kinds = "{{range .GenericResources}}{{json .}} {{end}}";
    let generic = info(kinds);
    assert!(generic.contains(r#""Kind":"gpu","Value":"one""#), "{generic}");
    assert!(generic.contains(r#""Kind":"ssd","Value":2"#), "{generic}");
    cli.ok(&["swarm", "init"]);
    assert_eq!(info("{{.Swarm.NodeAddr}}"), "127.0.0.1");
    let labels = ["node", "inspect", "self", "--format", "{{json .Description.Engine.Labels}}"];
    assert_eq!(cli.ok(&labels), r#"{"tier":"db"}"#);
}
