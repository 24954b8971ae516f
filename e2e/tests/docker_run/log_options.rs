//! Options of logs, and what of them can be read back.

use skep_e2e::{IMAGE, both};

#[test]
fn logs_are_bounded_and_told_of() {
    both(|cli| {
        let name = cli.name("bounded");
        let flags = ["--log-opt", "max-size=20k", "--log-opt", "max-file=2"];
        let script =
            "i=0; while [ $i -lt 1000 ]; do echo line number $i of a thousand; i=$((i+1)); done";
        cli.ok(&[&["run", "--name", &name], &flags[..], &[IMAGE, "sh", "-c", script]].concat());
        let text = cli.ok(&["logs", &name]);
        let count = text.lines().count();
        assert!(count > 100 && count < 900, "{count} lines are left");
        assert!(text.ends_with("line number 999 of a thousand"), "{text}");
        let format = "{{.HostConfig.LogConfig.Type}} {{json .HostConfig.LogConfig.Config}}";
        assert_eq!(cli.inspect(&name, format), r#"json-file {"max-file":"2","max-size":"20k"}"#);
        cli.refuses(
            &["--log-opt", "colour=red"],
            "unknown log opt 'colour' for json-file log driver",
        );
        cli.refuses(
            &["--log-driver", "none", "--log-opt", "max-size=1m"],
            "invalid logging opts for driver none",
        );
        cli.refuses(&["--log-driver", "nosuch"], "nosuch")
    });
}

#[test]
fn details_are_what_options_name() {
    both(|cli| {
        let name = cli.name("detailed");
        let flags = [
            "--log-opt",
            "labels=tier,absent",
            "--log-opt",
            "env=COLOUR",
            "-l",
            "tier=web",
            "-l",
            "other=x",
            "-e",
            "COLOUR=red",
            "-e",
            "SHAPE=round",
        ];
        cli.ok(&[&["run", "--name", &name], &flags[..], &[IMAGE, "echo", "said"]].concat());
        assert_eq!(cli.ok(&["logs", &name]), "said");
        assert_eq!(cli.ok(&["logs", "--details", &name]), "COLOUR=red,tier=web said");
        let plain = cli.name("plain");
        cli.ok(&["run", "--name", &plain, IMAGE, "echo", "said"]);
        cli.ok(&["logs", "--details", &plain])
    });
}
