//! The rarer flags of the commands that work on containers that are there: how they are stopped,
//! copied from, watched and entered.

use skep_e2e::{CommandLine, IMAGE, Single, both};

/// A container that ends with a status of its own at each of two signals, and tells when it is
/// ready for them.
fn listener(cli: &CommandLine, base: &str) -> String {
    let name = cli.name(base);
    let script = "trap 'exit 5' USR1; trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done";
    cli.ok(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", script]);
    cli.wait_for(&["logs", &name], |text| text.ends_with("ready"));
    name
}

#[test]
fn is_stopped_by_a_signal_and_after_a_time() {
    both(|cli| {
        let name = listener(cli, "asked");
        let exit = || cli.inspect(&name, "{{.State.Status}} {{.State.ExitCode}}");
        cli.ok(&["stop", &name]);
        assert_eq!(exit(), "exited 6");
        cli.ok(&["start", &name]);
        cli.wait_for(&["logs", &name], |text| text.matches("ready").count() == 2);
        cli.ok(&["stop", "-s", "USR1", "-t", "60", &name]);
        assert_eq!(exit(), "exited 5");
        cli.ok(&["start", &name]);
        cli.wait_for(&["logs", &name], |text| text.matches("ready").count() == 3);
        // A signal that it does not act on: it is killed when the time is over.
        cli.ok(&["stop", "--signal", "WINCH", "--timeout", "1", &name]);
        assert_eq!(exit(), "exited 137");
        cli.fails(&["stop", "-s", "NOSUCH", &name], "");
        cli.ok(&["rm", &name]);
        cli.fails(&["stop", &name], "No such container")
    });
}

#[test]
fn is_restarted_by_a_signal() {
    both(|cli| {
        let name = listener(cli, "again");
        let started = cli.inspect(&name, "{{.State.StartedAt}}");
        cli.ok(&["restart", "-s", "USR1", "-t", "60", &name]);
        assert_ne!(cli.inspect(&name, "{{.State.StartedAt}}"), started);
        assert_eq!(cli.inspect(&name, "{{.State.Running}} {{.RestartCount}}"), "true 0");
        let filter = format!("container={name}");
        let words = ["events", "--since", "10m", "--until", "0s", "--filter", &filter];
        cli.wait_for(&words, |said| said.contains("exitCode=5") && said.contains(" restart "));
        cli.ok(&["rm", "-f", &name]);
    });
}

#[test]
fn commands_inside_have_flags_of_their_own() {
    both(|cli| {
        let name = cli.idle("inside", &["-e", "ONE=1"]);
        let file = cli.file("env", "# none\nTWO=two words\nTHREE=3\n");
        let said = cli.ok(&[
            "exec",
            "--env-file",
            &file,
            "-e",
            "THREE=three",
            &name,
            "sh",
            "-c",
            "echo $ONE $TWO $THREE",
        ]);
        assert_eq!(said, "1 two words three");
        let caps = |flags: &[&str]| {
            cli.ok(&[&["exec"], flags, &[name.as_str(), "grep", "CapEff", "/proc/self/status"]]
                .concat())
        };
        let of_all = cli.said(&["--privileged"], &["grep", "CapEff", "/proc/self/status"]);
        assert_ne!(caps(&[]), of_all);
        assert_eq!(caps(&["--privileged"]), of_all);
        // A terminal without input.
        assert_eq!(
            cli.ok(&["exec", "-t", &name, "sh", "-c", "test -t 1 && echo terminal"]).trim_end(),
            "terminal"
        );
        let mut shell = cli.on_terminal(&["exec", "-it", &name, "sh"]);
        let at = shell.expect("#", 0).unwrap();
        shell.send("stty size\n").unwrap();
        let at = shell.expect("24 80", at).unwrap();
        shell.resize(40, 100).unwrap();
        shell
            .send("while [ \"$(stty size)\" != '40 100' ]; do sleep 0.05; done; echo re''sized\n")
            .unwrap();
        shell.expect("resized", at).unwrap();
        shell.send("exit\n").unwrap();
        assert_eq!(shell.wait().unwrap(), 0);
        cli.fails(
            &["exec", "--env-file", "/nowhere/env", &name, "true"],
            "no such file or directory",
        );
        cli.ok(&["rm", "-f", &name]);
    });
}

#[test]
fn is_paused_while_it_is_committed_or_not() {
    both(|cli| {
        let name = cli.idle("committed", &[]);
        let actions = |since: &str| {
            let filter = format!("container={name}");
            let words = [
                "events",
                "--since",
                since,
                "--until",
                "0s",
                "--filter",
                &filter,
                "--format",
                "{{.Action}}",
            ];
            // The end of a moment that is named in seconds is the beginning of this one.
            cli.wait_for(&words, |said| said.contains("commit"))
        };
        let image = format!("{}:one", cli.name("image"));
        cli.ok(&["commit", "--pause=false", &name, &image]);
        let said = actions("10m");
        assert!(!said.lines().any(|line| line == "pause"), "{said}");
        cli.ok(&["commit", &name, &image]);
        cli.ok(&["commit", "-p", &name, &image]);
        assert_eq!(cli.inspect(&name, "{{.State.Paused}}"), "false");
        cli.ok(&["rm", "-f", &name]);
        cli.ok(&["rmi", &image]);
    });
}

#[test]
fn files_keep_their_owners_and_links_their_ends() {
    both(|cli| {
        let name = cli.idle("copied", &["-u", "1000:1001"]);
        let file = cli.file("own/file", "mine\n");
        cli.shell(&format!("chown 1234:4321 {file} && chmod 640 {file} && ln -s file {file}.link"));
        let show = |path: &str| cli.inside(&name, &format!("stat -c '%u:%g %a %F' {path}"));
        // Owners are the archive's; with -a they are the container's user.
        cli.ok(&["cp", &file, &format!("{name}:/tmp/kept")]);
        assert_eq!(show("/tmp/kept"), "1234:4321 640 regular file");
        cli.ok(&["cp", "-a", &file, &format!("{name}:/tmp/given")]);
        assert_eq!(show("/tmp/given"), "1000:1001 640 regular file");
        let link = format!("{file}.link");
        cli.ok(&["cp", "-L", &link, &format!("{name}:/tmp/followed")]);
        assert_eq!(show("/tmp/followed"), "1234:4321 640 regular file");
        cli.ok(&["cp", &link, &format!("{name}:/tmp/link")]);
        assert!(show("/tmp/link").ends_with("symbolic link"));
        // The other way: a link in the container, by itself and to its end.
        cli.inside(&name, "echo far > /tmp/far && ln -s /tmp/far /tmp/near");
        let folder = file.strip_suffix("/file").unwrap();
        cli.ok(&["cp", &format!("{name}:/tmp/near"), &format!("{folder}/itself")]);
        assert_eq!(cli.shell(&format!("readlink {folder}/itself")), "/tmp/far");
        cli.ok(&["cp", "--follow-link", &format!("{name}:/tmp/near"), &format!("{folder}/end")]);
        assert_eq!(cli.shell(&format!("cat {folder}/end")), "far");
        cli.ok(&["cp", "--archive", &format!("{name}:/tmp/far"), &format!("{folder}/far")]);
        let owner = cli.shell(&format!("stat -c %u:%g {folder}/far"));
        let quiet = cli.run(&["cp", "-q", &file, &format!("{name}:/tmp/quiet")]);
        assert_eq!((quiet.status, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
        cli.ok(&["rm", "-f", &name]);
        owner
    });
}

#[test]
fn all_are_counted_where_asked() {
    both(|cli| {
        let (up, down) = (cli.idle("up", &[]), cli.name("down"));
        cli.ok(&["create", "--name", &down, IMAGE]);
        let id = cli.inspect(&up, "{{.Id}}");
        let shown = |flags: &[&str]| {
            let words = ["stats", "--no-stream", "--format", "{{.ID}} {{.Name}} {{.PIDs}}"];
            cli.ok(&[&words[..], flags].concat())
        };
        let running = shown(&[]);
        assert!(
            running.contains(&format!("{} {up} 1", &id[..12])) && !running.contains(&down),
            "{running}"
        );
        let all = shown(&["-a"]);
        assert!(all.contains(&up) && all.contains(&down), "{all}");
        assert!(shown(&["--no-trunc"]).contains(&format!("{id} {up} 1")));
        cli.ok(&["rm", "-f", &up, &down]);
    });
}

#[test]
fn is_started_with_its_streams() {
    both(|cli| {
        let name = cli.name("started");
        cli.ok(&[
            "create",
            "-i",
            "--name",
            &name,
            IMAGE,
            "sh",
            "-c",
            "read x; echo got $x; exit 3",
        ]);
        let ran = cli.run_with_input(&["start", "-i", &name], b"fed\n");
        assert_eq!((ran.status, ran.stdout.as_str()), (3, "got fed\n"));
        let ran = cli.run_with_input(&["start", "--attach", "--interactive", &name], b"again\n");
        assert_eq!((ran.status, ran.stdout.as_str()), (3, "got again\n"));
        cli.ok(&["rm", &name]);
    });
}

#[test]
fn terminals_are_resized_by_the_api() {
    let Some(single) = Single::shared() else { return };
    let cli = single.command_line(skep_e2e::Program::Skep);
    let name = cli.idle("sized", &["-t"]);
    let body = r#"{ "Tty": true, "AttachStdout": true, "Cmd": ["sh", "-c", "while [ \"$(stty size)\" != '33 77' ]; do sleep 0.05; done; touch /tmp/sized; exec sleep 1000"] }"#;
    let made = single.api("POST", &format!("/containers/{name}/exec"), body);
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["Id"].as_str().unwrap().to_owned();
    let resize = |path: String| single.api("POST", &path, "");
    let early = resize(format!("/exec/{id}/resize?h=33&w=77"));
    assert_eq!(early.status, 409, "{}", early.text());
    assert_eq!(
        single
            .api("POST", &format!("/exec/{id}/start"), r#"{ "Detach": true, "Tty": true }"#)
            .status,
        200
    );
    let sized = resize(format!("/exec/{id}/resize?h=33&w=77"));
    assert!(matches!(sized.status, 200 | 201), "{}", sized.text());
    cli.wait_for(&["exec", &name, "ls", "/tmp"], |text| text.contains("sized"));
    for (query, why) in [
        ("h=x&w=1", "invalid resize height"),
        ("h=1&w=99999999", "invalid resize width"),
        ("", "invalid resize"),
    ] {
        let refused = resize(format!("/exec/{id}/resize?{query}"));
        assert_eq!(refused.status, 400);
        assert!(refused.message().contains(why), "{query}: {}", refused.text());
    }
    assert_eq!(resize("/exec/nobody/resize?h=1&w=1".into()).status, 404);
    let of_container = resize(format!("/containers/{name}/resize?h=44&w=99"));
    assert_eq!(of_container.status, 200, "{}", of_container.text());
    cli.wait_for(&["exec", &name, "sh", "-c", "stty size < /proc/1/fd/0"], |text| text == "44 99");
    cli.ok(&["rm", "-f", &name]);
}
