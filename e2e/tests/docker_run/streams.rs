//! Which streams a client is joined to, the keys that leave, and the signals that are handed on.

use skep_e2e::{CommandLine, IMAGE, both};

#[test]
fn only_the_streams_that_are_named() {
    both(|cli| {
        let speak = ["sh", "-c", "echo out; echo err >&2"];
        let of = |stream: &str| {
            let ran = cli.run(&[&["run", "--rm", "-a", stream, IMAGE], &speak[..]].concat());
            (ran.status, ran.stdout, ran.stderr)
        };
        assert_eq!(of("stdout"), (0, "out\n".into(), String::new()));
        assert_eq!(of("STDERR"), (0, String::new(), "err\n".into()));
        let name = cli.name("fed");
        let words =
            ["run", "-i", "-a", "stdin", "--name", &name, IMAGE, "sh", "-c", "cat > /tmp/got"];
        let said = cli.ok_with_input(&words, b"fed\n");
        cli.ok(&["wait", &name]);
        let out = format!("{}/got", cli.dir());
        cli.file("place", "");
        cli.ok(&["cp", &format!("{name}:/tmp/got"), &out]);
        assert_eq!(cli.shell(&format!("cat {out}")), "fed");
        let format = "{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}}";
        assert_eq!(cli.inspect(&name, format), "true false false");
        cli.refuses(&["-a", "nowhere"], "valid streams are STDIN, STDOUT and STDERR");
        let both = cli.run(&["run", "-d", "-a", "stdout", IMAGE, "true"]);
        assert!(both.stderr.contains("cannot specify both --attach and --detach"), "{both:?}");
        said.is_empty()
    });
}

#[test]
fn keys_of_ones_own_leave_it() {
    both(|cli| {
        let name = cli.name("left");
        let words = ["run", "-it", "--detach-keys", "ctrl-x,q", "--name", &name, IMAGE, "sh"];
        let mut shell = cli.on_terminal(&words);
        let at = shell.expect("#", 0).unwrap();
        // Docker's own keys mean nothing then.
        shell.send("\u{10}\u{11}echo a''b\n").unwrap();
        shell.expect("ab", at).unwrap();
        shell.send("\u{18}q").unwrap();
        shell.wait().unwrap();
        assert_eq!(cli.inspect(&name, "{{.State.Status}}"), "running");
        let mut again = cli.on_terminal(&["attach", "--detach-keys", "a,b,c", &name]);
        again.send("echo c''d\n").unwrap();
        again.expect("cd", 0).unwrap();
        again.send("abc").unwrap();
        again.wait().unwrap();
        let mut inside = cli.on_terminal(&["exec", "-it", "--detach-keys", "ctrl-e", &name, "sh"]);
        let at = inside.expect("#", 0).unwrap();
        inside.send("echo e''f\n").unwrap();
        inside.expect("ef", at).unwrap();
        inside.send("\u{5}").unwrap();
        inside.wait().unwrap();
        assert_eq!(cli.inspect(&name, "{{.State.Status}}"), "running");
        // The command inside goes on too.
        cli.wait_for(&["top", &name], |text| text.matches(" sh").count() >= 2);
        cli.ok(&["kill", &name]);
        cli.wait_state(&name, "exited");
        let mut third = cli.on_terminal(&["start", "-ai", "--detach-keys", "ctrl-k,k", &name]);
        third.expect("#", 0).unwrap();
        third.send("\u{b}k").unwrap();
        third.wait().unwrap();
        assert_eq!(cli.inspect(&name, "{{.State.Status}}"), "running");
        cli.ok(&["rm", "-f", &name]);
        cli.fails(&["run", "--rm", "-it", "--detach-keys", "nonsense", IMAGE, "true"], "").min(125)
    });
}

/// Sends a signal to the command line that runs with these words.
fn signal(cli: &CommandLine, signal: &str, words: &str) {
    // Not to the shell that looks for it, whose own words are others.
    let (first, rest) = words.split_at(1);
    cli.shell(&format!("pkill -{signal} -f -- '[{first}]{rest}'"));
}

#[test]
fn signals_are_handed_on_unless_told_not_to() {
    both(|cli| {
        let script = "trap 'echo asked; exit 8' TERM; trap 'echo told; exit 9' USR1; echo ready; \
                      while :; do sleep 0.1; done";
        let begin = |base: &str, flags: &[&str]| {
            let name = cli.name(base);
            let words = [&["run"], flags, &["--name", &name, IMAGE, "sh", "-c", script]].concat();
            let run = cli.on_pipes(&words);
            run.expect("ready", 0).unwrap();
            (name, run)
        };
        let (name, mut run) = begin("signalled", &[]);
        signal(cli, "USR1", &format!("run --name {name}"));
        run.expect("told", 0).unwrap();
        assert_eq!(run.wait().unwrap(), 9);
        let (name, mut run) = begin("deaf", &["--sig-proxy=false"]);
        signal(cli, "TERM", &format!("--sig-proxy=false --name {name}"));
        // It runs still, and hears what is told to itself.
        let attached = cli.on_pipes(&["attach", "--sig-proxy=false", &name]);
        cli.inside(
            &name,
            "(while sleep 0.1; do echo tick > /proc/1/fd/1; done) > /dev/null 2>&1 &",
        );
        attached.expect("tick", 0).unwrap();
        signal(cli, "TERM", &format!("attach --sig-proxy=false {name}"));
        let mut third = cli.on_pipes(&["attach", &name]);
        third.expect("tick", 0).unwrap();
        signal(cli, "USR1", &format!("attach {name}"));
        third.expect("told", 0).unwrap();
        third.wait().unwrap();
        run.wait().unwrap();
        assert!(!cli.ok(&["logs", &name]).contains("asked"));
        cli.inspect(&name, "{{.State.ExitCode}}")
    });
}
