//! Containers by hand through the docker command line and skep's own: run, looked at, stopped,
//! changed, copied and taken away.

use skep_e2e::{IMAGE, both};

#[test]
fn runs_a_command_to_its_end() {
    both(|cli| {
        assert_eq!(cli.said(&[], &["echo", "hello"]), "hello");
        assert_eq!(cli.run(&["run", "--rm", IMAGE, "sh", "-c", "exit 7"]).status, 7);
        let input = ["run", "-i", "--rm", IMAGE, "cat"];
        assert_eq!(cli.ok_with_input(&input, b"in\nand out\n"), "in\nand out");
        let apart = cli.run(&["run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2"]);
        assert_eq!((apart.stdout.as_str(), apart.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(cli.fails(&["run", "--rm", IMAGE, "nosuch"], "executable file not found"), 127);
        assert_eq!(cli.fails(&["run", "--rm", IMAGE, "/etc"], "/etc"), 126);
        let name = cli.name("left");
        cli.ok(&["run", "--name", &name, IMAGE, "true"]);
        cli.wait_state(&name, "exited");
        let id = cli.inspect(&name, "{{.Id}}");
        assert_eq!(cli.ok(&["rm", &name]), name);
        cli.fails(&["inspect", &name], "No such object");
        id.len()
    });
}

#[test]
fn is_what_its_flags_say() {
    both(|cli| {
        let file = cli.file("env", "FROM_FILE=yes\n");
        let flags =
            ["-e", "A=b c", "--env-file", &file, "-w", "/tmp", "-u", "1000:1001", "-h", "box"];
        let seen =
            cli.said(&flags, &["sh", "-c", "echo $A $FROM_FILE; pwd; id -u; id -g; hostname"]);
        assert_eq!(seen, "b c yes\n/tmp\n1000\n1001\nbox");
        assert_eq!(cli.said(&["--entrypoint", "echo"], &["first"]), "first");
        let cid = format!("{}/cid", cli.dir());
        let name = cli.name("flags");
        cli.ok(&[
            "create",
            "--name",
            &name,
            "--cidfile",
            &cid,
            "-l",
            "tier=web",
            "--stop-signal",
            "INT",
            "--stop-timeout",
            "3",
            "--init",
            "--add-host",
            "db:10.9.8.7",
            "--dns",
            "192.0.2.1",
            "--dns-search",
            "example.org",
            "--dns-option",
            "ndots:2",
            IMAGE,
            "cat",
            "/etc/hosts",
            "/etc/resolv.conf",
        ]);
        assert_eq!(cli.shell(&format!("cat {cid}")), cli.inspect(&name, "{{.Id}}"));
        let format = "{{.State.Status}} {{.Config.Labels.tier}} {{.Config.StopSignal}} {{.Config.StopTimeout}} {{.HostConfig.Init}}";
        assert_eq!(cli.inspect(&name, format), "created web INT 3 true");
        let text = cli.ok(&["start", "-a", &name]);
        for line in ["10.9.8.7\tdb", "nameserver 192.0.2.1", "search example.org", "ndots:2"] {
            assert!(text.contains(line), "{line:?} is not in {text}");
        }
        cli.ok(&["rm", &name]);
        cli.fails(&["create", "--restart", "sometimes", IMAGE], "invalid restart policy")
    });
}

#[test]
fn stops_starts_and_is_renamed() {
    both(|cli| {
        let name = cli.idle("life", &["--stop-timeout", "0"]);
        cli.fails(&["rm", &name], "container is running: stop the container before removing");
        cli.fails(&["run", "--name", &name, IMAGE], "is already in use by container");
        assert_eq!(cli.ok(&["stop", &name]), name);
        assert_eq!(cli.inspect(&name, "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
        // To stop what does not run is no error, nor to start what does.
        cli.ok(&["stop", &name]);
        cli.ok(&["start", &name]);
        cli.ok(&["start", &name]);
        cli.ok(&["restart", "-t", "0", &name]);
        assert_eq!(cli.inspect(&name, "{{.State.Running}}"), "true");
        let other = cli.name("renamed");
        cli.ok(&["rename", &name, &other]);
        cli.fails(&["inspect", &name], "No such object");
        cli.ok(&["kill", "-s", "KILL", &other]);
        cli.wait_state(&other, "exited");
        cli.fails(&["kill", &other], "is not running");
        let listed =
            ["ps", "-a", "--filter", &format!("name={other}"), "--format", "{{.Names}} {{.State}}"];
        assert_eq!(cli.ok(&listed), format!("{other} exited"));
        assert_eq!(cli.ok(&["ps", "-q", "--filter", &format!("name={other}")]), "");
        cli.ok(&["rm", &other]);
    });
}

#[test]
fn waits_for_its_end() {
    both(|cli| {
        let name = cli.name("waited");
        cli.ok(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", "sleep 0.3; exit 9"]);
        assert_eq!(cli.ok(&["wait", &name]), "9");
        assert_eq!(cli.ok(&["wait", &name]), "9");
        cli.ok(&["rm", &name]);
    });
}

#[test]
fn pauses_and_goes_on() {
    both(|cli| {
        let name = cli.idle("paused", &[]);
        cli.ok(&["pause", &name]);
        assert_eq!(cli.inspect(&name, "{{.State.Status}} {{.State.Paused}}"), "paused true");
        cli.fails(&["exec", &name, "true"], "is paused, unpause the container before exec");
        cli.fails(&["pause", &name], "paused");
        cli.ok(&["unpause", &name]);
        assert_eq!(cli.inspect(&name, "{{.State.Status}}"), "running");
        cli.ok(&["rm", "-f", &name]);
    });
}

#[test]
fn limits_hold_and_change() {
    both(|cli| {
        let name = cli.idle("limited", &["-m", "64m", "--cpus", "0.5", "--pids-limit", "50"]);
        let format = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}";
        assert_eq!(cli.inspect(&name, format), "67108864 500000000 50");
        cli.ok(&["update", "-m", "128m", "--memory-swap", "256m", &name]);
        assert_eq!(cli.inspect(&name, "{{.HostConfig.Memory}}"), "134217728");
        cli.ok(&["update", "--restart", "on-failure:3", &name]);
        assert_eq!(cli.inspect(&name, "{{.HostConfig.RestartPolicy.Name}}"), "on-failure");
        cli.ok(&["rm", "-f", &name]);
        cli.fails(&["run", "--rm", "-m", "1m", IMAGE], "Minimum memory limit allowed is 6MB");
        let script = "ulimit -n; grep -c . /proc/self/status; touch /x; touch /t/y && echo wrote";
        let flags = ["--read-only", "--tmpfs", "/t", "--ulimit", "nofile=77", "--cap-drop", "ALL"];
        let seen = cli.said(&flags, &["sh", "-c", script]);
        assert!(seen.starts_with("77\n") && seen.ends_with("\nwrote"), "{seen}");
    });
}

#[test]
fn is_as_apart_as_it_is_told_to_be() {
    both(|cli| {
        let caps = |flags: &[&str]| cli.said(flags, &["grep", "CapEff", "/proc/self/status"]);
        let (usual, all) = (caps(&[]), caps(&["--privileged"]));
        assert_ne!(usual, all);
        assert_ne!(usual, caps(&["--cap-add", "NET_ADMIN"]));
        assert_eq!(caps(&["--cap-drop", "ALL"]), "CapEff:\t0000000000000000");
        let other = cli.said(&["--device", "/dev/null:/dev/other:r"], &["ls", "/dev/other"]);
        assert_eq!(other, "/dev/other");
        let of_host = cli.said(&["--pid", "host"], &["sh", "-c", "test $$ -gt 1 && echo many"]);
        assert_eq!(of_host, "many");
        let shm = cli.said(&["--shm-size", "8m"], &["sh", "-c", "df -k /dev/shm | tail -1"]);
        assert!(shm.contains("8192"), "{shm}");
        assert_eq!(
            cli.said(
                &["--sysctl", "net.ipv4.ip_forward=0"],
                &["cat", "/proc/sys/net/ipv4/ip_forward"]
            ),
            "0"
        );
        let shareable = cli.idle("shareable", &["--ipc", "shareable"]);
        assert_eq!(cli.inspect(&shareable, "{{.HostConfig.IpcMode}}"), "shareable");
        cli.ok(&["rm", "-f", &shareable]);
    });
}

#[test]
fn keeps_files_in_volumes_and_binds() {
    both(|cli| {
        let (volume, host) = (cli.name("data"), cli.file("shared/from-host", "host\n"));
        let host = host.strip_suffix("/from-host").unwrap().to_owned();
        let bind = format!("{host}:/b");
        let named = format!("{volume}:/data");
        cli.said(
            &["-v", &named, "-v", &bind],
            &["sh", "-c", "cat /b/from-host; echo kept > /data/f; echo x > /b/back"],
        );
        assert_eq!(cli.shell(&format!("cat {host}/back")), "x");
        let long = format!("type=volume,source={volume},target=/d,readonly");
        assert_eq!(cli.said(&["--mount", &long], &["cat", "/d/f"]), "kept");
        cli.fails(&["run", "--rm", "--mount", &long, IMAGE, "touch", "/d/g"], "Read-only");
        cli.fails(&["run", "--rm", "-v", "relative/x:/y", IMAGE], "invalid");
        let missing = "type=bind,source=/nowhere/at/all,target=/x";
        cli.fails(&["run", "--rm", "--mount", missing, IMAGE], "does not exist");
        let first = cli.name("owner");
        cli.ok(&["create", "--name", &first, "-v", &named, "-v", "/anonymous", IMAGE]);
        let from = ["--volumes-from", first.as_str()];
        assert_eq!(cli.said(&from, &["cat", "/data/f"]), "kept");
        cli.fails(&["volume", "rm", &volume], "volume is in use");
        cli.ok(&["rm", "-v", &first]);
        cli.ok(&["volume", "rm", &volume]);
        assert_eq!(cli.ok(&["volume", "ls", "-q", "-f", &format!("name={volume}")]), "");
    });
}

#[test]
fn logs_are_read_from_either_end() {
    both(|cli| {
        let name = cli.name("talker");
        let script = "for i in 1 2 3 4 5; do echo line $i; done; echo wrong >&2";
        cli.ok(&["run", "--name", &name, IMAGE, "sh", "-c", script]);
        assert_eq!(cli.ok(&["logs", "--tail", "2", &name]).lines().last(), Some("line 5"));
        let all = cli.run(&["logs", "-f", &name]);
        assert_eq!((all.stdout.lines().count(), all.stderr.as_str()), (5, "wrong\n"));
        let stamped = cli.ok(&["logs", "-t", "-n", "1", &name]);
        assert!(stamped.is_empty() || stamped.contains('T'), "{stamped}");
        assert_eq!(cli.ok(&["logs", "--until", "2001-01-01T00:00:00", &name]), "");
        assert_eq!(cli.ok(&["logs", "--since", "2001-01-01T00:00:00", &name]).lines().count(), 5);
        cli.ok(&["rm", &name]);
        let quiet = cli.name("quiet");
        cli.ok(&["run", "--name", &quiet, "--log-driver", "none", IMAGE, "echo", "x"]);
        cli.fails(&["logs", &quiet], "does not support reading");
        cli.ok(&["rm", &quiet]);
    });
}

#[test]
fn files_go_in_and_out() {
    both(|cli| {
        let name = cli.idle("files", &[]);
        let file = cli.file("sent/one", "1\n");
        let folder = file.strip_suffix("/one").unwrap().to_owned();
        cli.ok(&["cp", &file, &format!("{name}:/tmp/two")]);
        cli.ok(&["cp", &folder, &format!("{name}:/srv")]);
        cli.ok(&["cp", &format!("{name}:/tmp/two"), &format!("{folder}/back")]);
        assert_eq!(cli.shell(&format!("cat {folder}/back")), "1");
        cli.fails(&["cp", &format!("{name}:/nowhere"), "-"], "Could not find the file /nowhere");
        let changed = cli.ok(&["diff", &name]);
        for line in ["A /srv", "A /srv/one", "A /tmp/two"] {
            assert!(changed.lines().any(|it| it == line), "{line} is not in {changed}");
        }
        let tag = format!("{}:new", cli.name("made"));
        let id = cli.ok(&["commit", "-m", "why", "-a", "me", "-c", "ENV K=v", &name, &tag]);
        assert!(id.starts_with("sha256:"), "{id}");
        assert_eq!(cli.ok(&["run", "--rm", &tag, "sh", "-c", "cat /tmp/two; echo $K"]), "1\nv");
        let history = cli.ok(&["history", "--format", "{{.Comment}}", &tag]);
        assert_eq!(history.lines().next(), Some("why"));
        let archive = format!("{folder}/all.tar");
        cli.ok(&["export", "-o", &archive, &name]);
        assert_eq!(cli.shell(&format!("tar -xOf {archive} tmp/two")), "1");
        cli.ok(&["rm", "-f", &name]);
        cli.ok(&["rmi", &tag]);
        changed.lines().count()
    });
}

#[test]
fn ports_are_published_and_networks_have_names() {
    both(|cli| {
        let (net, name) = (cli.name("net"), cli.name("web"));
        cli.ok(&["network", "create", &net]);
        let script = "mkdir /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w";
        cli.ok(&[
            "run",
            "-d",
            "--name",
            &name,
            "--network",
            &net,
            "--network-alias",
            "front",
            "-p",
            "127.0.0.1::80",
            IMAGE,
            "sh",
            "-c",
            script,
        ]);
        let at = cli.ok(&["port", &name, "80"]);
        let fetch = format!("for i in $(seq 50); do curl -s {at} && exit; sleep 0.1; done");
        assert_eq!(cli.shell(&fetch), "hello");
        let from = |flags: &[&str], host: &str| {
            let url = format!("http://{host}/");
            cli.said(flags, &["wget", "-q", "-O", "-", &url])
        };
        assert_eq!(from(&["--network", &net], "front"), "hello");
        assert_eq!(from(&["--network", &net], &name), "hello");
        let other = cli.idle("other", &[]);
        cli.ok(&["network", "connect", "--alias", "late", &net, &other]);
        assert_eq!(
            cli.said(&["--network", &net], &["ping", "-c1", "-q", "late"])
                .lines()
                .next()
                .map(|it| it.starts_with("PING late")),
            Some(true)
        );
        cli.fails(&["network", "rm", &net], "has active endpoints");
        cli.ok(&["network", "disconnect", &net, &other]);
        cli.fails(&["network", "disconnect", &net, &other], "is not connected");
        let shared = format!("container:{name}");
        assert_eq!(from(&["--network", &shared], "127.0.0.1"), "hello");
        let none = cli.said(&["--network", "none"], &["ls", "/sys/class/net"]);
        assert_eq!(none, "lo");
        cli.ok(&["rm", "-f", &name, &other]);
        cli.ok(&["network", "rm", &net]);
    });
}

#[test]
fn policies_start_it_again() {
    both(|cli| {
        let name = cli.name("again");
        cli.ok(&["run", "-d", "--name", &name, "--restart", "on-failure:2", IMAGE, "false"]);
        let words =
            ["inspect", "-f", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", &name];
        cli.wait_for(&words, |text| text == "2 exited 1");
        cli.ok(&["rm", &name]);
        let name = cli.name("always");
        cli.ok(&["run", "-d", "--name", &name, "--restart", "always", IMAGE, "true"]);
        let words = ["inspect", "-f", "{{gt .RestartCount 1}}", &name];
        cli.wait_for(&words, |text| text == "true");
        cli.ok(&["stop", &name]);
        assert_eq!(cli.inspect(&name, "{{.State.Status}}"), "exited");
        cli.ok(&["rm", &name]);
        cli.fails(&["run", "--rm", "--restart", "always", IMAGE], "onflicting options").min(125)
    });
}

#[test]
fn is_watched_from_outside() {
    both(|cli| {
        let name = cli.idle("watched", &["--health-cmd", "true", "--health-interval", "100ms"]);
        cli.wait_for(&["inspect", "-f", "{{.State.Health.Status}}", &name], |it| it == "healthy");
        assert!(cli.ok(&["top", &name]).contains("sleep 1000"));
        let shown = cli.ok(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", &name]);
        assert!(shown.starts_with(&name), "{shown}");
        assert!(
            cli.ok(&["ps", "-f", &format!("name={name}"), "--format", "{{.Status}}"])
                .contains("(healthy)")
        );
        cli.ok(&["rm", "-f", &name]);
        let filter = format!("container={name}");
        let words = [
            "events",
            "--since",
            "10m",
            "--until",
            "0s",
            "--filter",
            &filter,
            "--format",
            "{{.Action}}",
        ];
        // The end of a moment that is named in seconds is the beginning of this one.
        let said = cli.wait_for(&words, |said| said.contains("destroy"));
        for action in ["create", "start", "health_status: healthy", "die", "destroy"] {
            assert!(said.lines().any(|line| line == action), "{action} is not in {said}");
        }
    });
}

#[test]
fn what_has_ended_is_pruned() {
    both(|cli| {
        let name = cli.name("old");
        let label = format!("case={name}");
        cli.ok(&["run", "--name", &name, "-l", &label, IMAGE, "true"]);
        cli.wait_state(&name, "exited");
        let said = cli.ok(&["container", "prune", "-f", "--filter", &format!("label={label}")]);
        assert!(said.starts_with("Deleted Containers:"), "{said}");
        cli.fails(&["inspect", &name], "No such object");
    });
}

#[test]
fn clients_attach_and_leave() {
    both(|cli| {
        let name = cli.name("attached");
        cli.ok(&[
            "run",
            "-d",
            "-i",
            "--name",
            &name,
            IMAGE,
            "sh",
            "-c",
            "(while sleep 0.1; do echo tick; done) & while read x; do echo got $x; done",
        ]);
        let mut first = cli.on_pipes(&["attach", &name]);
        let mut second = cli.on_pipes(&["attach", "--no-stdin", &name]);
        first.send("one\n").unwrap();
        first.expect("got one", 0).unwrap();
        second.expect("tick", 0).unwrap();
        first.close_input();
        cli.ok(&["kill", &name]);
        first.wait().unwrap();
        second.wait().unwrap();
        cli.ok(&["rm", "-f", &name]);
        let name = cli.name("terminal");
        let mut shell = cli.on_terminal(&["run", "-it", "--name", &name, IMAGE, "sh"]);
        shell.expect("#", 0).unwrap();
        shell.send("tty\n").unwrap();
        let at = shell.expect("/dev/pts/0", 0).unwrap();
        shell.send("stty size\n").unwrap();
        shell.expect("24 80", at).unwrap();
        shell.send("\u{10}\u{11}").unwrap();
        assert_eq!(shell.wait().unwrap(), 0);
        assert_eq!(cli.inspect(&name, "{{.State.Status}}"), "running");
        cli.ok(&["rm", "-f", &name]);
    });
}

#[test]
fn commands_run_inside() {
    both(|cli| {
        let name = cli.idle("inside", &[]);
        let flags = ["-e", "A=b", "-w", "/tmp", "-u", "1000"];
        let words = [&["exec"], &flags[..], &[&name, "sh", "-c", "echo $A; pwd; id -u"]].concat();
        assert_eq!(cli.ok(&words), "b\n/tmp\n1000");
        assert_eq!(cli.ok_with_input(&["exec", "-i", &name, "cat"], b"through\n"), "through");
        for code in [0, 5] {
            // Many, for an end that is seen only mostly is not seen.
            for _ in 0..8 {
                let ran = cli.run(&["exec", &name, "sh", "-c", &format!("echo said; exit {code}")]);
                assert_eq!((ran.status, ran.stdout.as_str()), (code, "said\n"));
            }
        }
        assert_eq!(cli.fails(&["exec", &name, "nosuch"], ""), 127);
        cli.ok(&["exec", "-d", &name, "sh", "-c", "sleep 0.2; touch /tmp/late"]);
        cli.wait_for(&["exec", &name, "ls", "/tmp"], |text| text.contains("late"));
        let mut shell = cli.on_terminal(&["exec", "-it", &name, "sh"]);
        shell.expect("#", 0).unwrap();
        shell.send("tty; exit 3\n").unwrap();
        shell.expect("/dev/pts/", 0).unwrap();
        assert_eq!(shell.wait().unwrap(), 3);
        cli.ok(&["rm", "-f", &name]);
        cli.fails(&["exec", &name, "true"], "No such container")
    });
}
