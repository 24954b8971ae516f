//! Devices of the host, and those that drivers would choose.

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
