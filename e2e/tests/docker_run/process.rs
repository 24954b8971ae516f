//! What is said of a container and its process beside its command: annotations, labels, groups, the
//! runtime, when it is started again.

use skep_e2e::{IMAGE, both};

#[test]
fn annotations_and_labels_are_kept() {
    both(|cli| {
        let file = cli.file("labels", "# a comment\ntier=web\n\nzone=a=b\nbare\n");
        let name = cli.name("noted");
        let flags = [
            "--annotation",
            "org.example.one=1",
            "--annotation",
            "two",
            "--label-file",
            &file,
            "-l",
            "tier=db",
        ];
        cli.ok(&[&["create", "--name", &name], &flags[..], &[IMAGE]].concat());
        let annotations = cli.inspect(&name, "{{json .HostConfig.Annotations}}");
        assert_eq!(annotations, r#"{"org.example.one":"1","two":""}"#);
        let labels = cli.inspect(&name, "{{json .Config.Labels}}");
        assert_eq!(labels, r#"{"tier":"db","zone":"a=b"}"#);
        cli.refuses(&["--label-file", "/nowhere/labels"], "no such file or directory");
        cli.refuses(&["--annotation", "=x"], "nnotation")
    });
}

#[test]
fn groups_are_joined() {
    both(|cli| {
        let groups = ["--group-add", "wax", "--group-add", "4321"];
        let seen = cli.script(&groups, "id -G");
        for group in ["1002", "4321"] {
            assert!(seen.split(' ').any(|it| it == group), "{group} is not in {seen}");
        }
        let bee = [&groups[..], &["-u", "bee"]].concat();
        assert_eq!(cli.script(&bee, "id -u; id -G"), "1000\n1001 1002 4321");
        cli.refuses(&["--group-add", "nosuch"], "nosuch")
    });
}

#[test]
fn there_is_one_runtime() {
    both(|cli| {
        for runtime in ["runc", "io.containerd.runc.v2"] {
            let name = cli.idle("run", &["--runtime", runtime]);
            assert_eq!(cli.inspect(&name, "{{.HostConfig.Runtime}}"), runtime);
            cli.ok(&["rm", "-f", &name]);
        }
        cli.refuses(&["--runtime", "nosuch"], "unknown or invalid runtime name: nosuch");
        let name = cli.name("apart");
        cli.ok(&["create", "--name", &name, "--isolation", "default", IMAGE]);
        cli.refuses(&["--isolation", "hyperv"], "invalid isolation")
    });
}

#[test]
fn a_failure_is_tried_again_so_often() {
    both(|cli| {
        let name = cli.name("fails");
        cli.ok(&[
            "run",
            "-d",
            "--name",
            &name,
            "--restart",
            "on-failure:1",
            IMAGE,
            "sh",
            "-c",
            "exit 3",
        ]);
        let words =
            ["inspect", "-f", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", &name];
        cli.wait_for(&words, |text| text == "1 exited 3");
        let policy =
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
        assert_eq!(cli.inspect(&name, policy), "on-failure 1");
        let name = cli.name("succeeds");
        cli.ok(&["run", "-d", "--name", &name, "--restart", "on-failure:5", IMAGE, "true"]);
        cli.wait_state(&name, "exited");
        assert_eq!(cli.inspect(&name, "{{.RestartCount}}"), "0");
        let name = cli.idle("unless", &["--restart", "unless-stopped"]);
        cli.ok(&["stop", "-t", "0", &name]);
        assert_eq!(cli.inspect(&name, "{{.State.Status}}"), "exited");
        cli.fails(&["create", "--restart", "always:3", IMAGE], "aximum retry count");
        cli.fails(
            &["create", "--restart", "on-failure:x", IMAGE],
            "aximum retry count must be an integer",
        )
    });
}

#[test]
fn an_init_is_seen_for_what_it_is() {
    both(|cli| {
        for user in ["root", "bee"] {
            let name = cli.idle(user, &["--init", "-u", user]);
            let first = "tr '\\0' ' ' < /proc/1/cmdline; echo; cat /proc/1/comm; \
                         tr '\\0' ' ' < /proc/2/cmdline";
            assert_eq!(cli.inside(&name, first), "skep-init \nskep-init\nsleep 1000 ");
            cli.inside(&name, "echo by the side > /proc/1/fd/1");
            cli.wait_for(&["logs", &name], |text| text == "by the side");
            cli.ok(&["stop", &name]);
            assert_eq!(cli.inspect(&name, "{{.State.ExitCode}}"), "143");
        }
    });
}
