//! Devices of the host, those that a vendor describes, and those that drivers would choose.

use skep_e2e::{IMAGE, both};

#[test]
fn devices_are_given_and_ruled() {
    both(|cli| {
        let device = ["--device", "/dev/zero:/dev/own:r"];
        assert_eq!(cli.script(&device, "head -c 2 /dev/own | wc -c"), "2");
        let folder = cli.script(
            &["--device", "/dev/null:/dev/deep/null"],
            "echo x > /dev/deep/null && echo wrote",
        );
        assert_eq!(folder, "wrote");
        cli.refuses(&["--device", "/dev/nosuch"], "/dev/nosuch");
        cli.refuses(&["--device", "/dev/null:/dev/x:q"], "bad mode specified: q");
        // A loop device is nobody's by default: its node may be made, and not be opened.
        let open = "mknod /tmp/loop b 7 0; head -c 0 /tmp/loop 2>&1 && echo opened";
        assert!(
            !cli.said(&["--cap-add", "MKNOD"], &["sh", "-c", &format!("{open}; :")])
                .contains("opened")
        );
        for rule in ["b 7:* rwm", "b 7:0 r", "a 7:0 rwm"] {
            let flags = ["--cap-add", "MKNOD", "--device-cgroup-rule", rule];
            assert_eq!(cli.script(&flags, open), "opened", "{rule}");
        }
        let name = cli.name("ruled");
        cli.ok(&["create", "--name", &name, "--device-cgroup-rule", "c 10:200 rw", IMAGE]);
        assert_eq!(cli.inspect(&name, "{{.HostConfig.DeviceCgroupRules}}"), "[c 10:200 rw]");
        cli.refuses(
            &["--device-cgroup-rule", "nonsense"],
            "invalid device cgroup format 'nonsense'",
        )
    });
}

#[test]
fn drivers_of_devices_are_told_to_be_missing() {
    both(|cli| {
        let name = cli.name("gpu");
        let words = ["run", "--name", &name, "--gpus", "all", IMAGE, "true"];
        let status =
            cli.fails(&words, "could not select device driver \"\" with capabilities: [[gpu]]");
        // It is made, and its start fails.
        assert_eq!(cli.inspect(&name, "{{.State.Status}}"), "created");
        let format = "{{range .HostConfig.DeviceRequests}}{{.Count}} {{.Capabilities}}{{end}}";
        assert_eq!(cli.inspect(&name, format), "-1 [[gpu]]");
        status
    });
}

/// What a driver would write, but for devices that do no harm. `@DIR@` is a directory of the host.
const DESCRIBED: &str = r#"{
    "cdiVersion": "0.8.0", "kind": "vendor.com/@CLASS@",
    "containerEdits": { "env": ["EVERY=one"] },
    "devices": [
        { "name": "one", "containerEdits": {
            "env": ["DEVICE=one", "OWN=the vendor's"],
            "deviceNodes": [{ "path": "/dev/vendor/one", "hostPath": "/dev/null", "fileMode": 416 }],
            "mounts": [{ "hostPath": "@DIR@/library", "containerPath": "/lib/vendor.so",
                         "options": ["ro", "nosuid", "nodev", "rbind"] }],
            "hooks": [{ "hookName": "createContainer", "path": "/bin/sh",
                        "args": ["sh", "-c", "echo $WHO > @DIR@/hooked"], "env": ["WHO=vendor"] }],
            "additionalGids": [4242] } },
        { "name": "two", "containerEdits": {
            "deviceNodes": [{ "path": "/dev/vendor/two", "type": "c", "major": 1, "minor": 5 }] } }
    ] }"#;

const TELL: &str = "echo $EVERY $DEVICE $OWN; stat -c '%t:%T %a %g' /dev/vendor/*; \
    echo x > /dev/vendor/one && cat /lib/vendor.so; id -G; touch /lib/vendor.so";

#[test]
fn devices_that_a_vendor_describes_are_given_by_name() {
    both(|cli| {
        let (class, dir) = (cli.name("class"), cli.dir());
        let spec = DESCRIBED.replace("@CLASS@", &class).replace("@DIR@", &dir);
        let file = cli.file("spec.json", &spec);
        cli.shell(&format!(
            "mkdir -p /run/cdi && cp {file} /run/cdi/{class}.json && echo of the host > {dir}/library"
        ));
        let device = |name: &str| format!("vendor.com/{class}={name}");
        let (one, two) = (device("one"), device("two"));
        let flags = ["--device", &one, "--device", &two, "-e", "OWN=mine", "--user", "7:8"];
        let ran = cli.run(&[&["run", "--rm"], &flags[..], &[IMAGE, "sh", "-c", TELL]].concat());
        assert_eq!(
            ran.stdout, "one one the vendor's\n1:3 640 8\n1:5 666 8\nof the host\n8 4242\n",
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("Read-only file system"), "{}", ran.stderr);
        assert_eq!(cli.shell(&format!("cat {dir}/hooked")).trim(), "vendor");
        // Made again at each start: what the vendor says then counts.
        let name = cli.name("kept");
        cli.ok(&["run", "--name", &name, "--device", &two, IMAGE, "ls", "/dev/vendor"]);
        let format = "{{range .HostConfig.DeviceRequests}}{{.Driver}} {{.DeviceIDs}}{{end}}";
        assert_eq!(cli.inspect(&name, format), format!("cdi [{two}]"));
        cli.shell(&format!("rm /run/cdi/{class}.json"));
        let why = format!("CDI device injection failed: unresolvable CDI devices {two}");
        cli.fails(&["start", "-a", &name], &why);
        cli.refuses(&["--device", &one], &why.replace("=two", "=one"))
    });
}
