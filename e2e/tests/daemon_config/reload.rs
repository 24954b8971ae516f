//! SIGHUP: the file is read again while the daemon runs.

use skep_e2e::IMAGE;

use super::{Told, told_by_file};

fn shown(told: &Told) -> String {
    let format = "{{.Debug}} {{json .Labels}} {{json .RegistryConfig.Mirrors}}";
    told.cli.ok(&["info", "--format", format])
}

/// Writes the file anew and lets the daemon read it; waits until it says so.
fn reload(told: &Told, file: &str, said: &str) {
    let from = told.daemon.text().len();
    told.cli.file("daemon.json", file);
    told.signal("HUP");
    told.daemon.expect(said, from).unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn what_may_change_changes_at_once() {
    let file = r#"{"labels": ["tier=db"], "init": false}"#;
    let Some(told) = told_by_file("", file) else { return };
    assert_eq!(shown(&told), r#"false ["tier=db"] []"#);
    let new = r#"{"labels": ["tier=web"], "debug": true, "registry-mirrors": ["http://127.0.0.1:9"],
        "insecure-registries": ["10.0.0.0/8"], "shutdown-timeout": 7, "init": true,
        "max-concurrent-downloads": 2, "default-shm-size": "1m", "live-restore": true}"#;
    reload(&told, new, "reloaded");
    let now = r#"true ["tier=web"] ["http://127.0.0.1:9/"]"#;
    assert_eq!(shown(&told), now);
    let name = told.cli.name("new");
    told.cli.ok(&["create", "--name", &name, IMAGE]);
    assert_eq!(told.cli.inspect(&name, "{{.HostConfig.ShmSize}}"), "1048576");
    // This one waits for the next start.
    let first = ["run", "--rm", IMAGE, "cat", "/proc/1/comm"];
    assert_eq!(told.cli.ok(&first), "cat");

    let until = told.cli.shell("date +%s.%N");
    let words = ["events", "--since", "10m", "--until", &until, "--filter", "type=daemon"];
    let events = told.cli.ok(&[&words[..], &["--format", "{{.Action}} {{json .Actor}}"]].concat());
    let id = told.cli.ok(&["info", "--format", "{{.ID}}"]);
    for wanted in [
        "reload ",
        &format!(r#""ID":"{id}""#),
        r#""debug":"true""#,
        r#""max-concurrent-downloads":"2""#,
        r#""shutdown-timeout":"7""#,
        r#""labels":"[\"tier=web\"]""#,
        r#""name":"host1""#,
    ] {
        assert!(events.contains(wanted), "{wanted}: {events}");
    }

    // A bad one changes nothing, and the daemon goes on.
    for bad in [r#"{"labels": ["bee"]}"#, "{", r#"{"bees": 1}"#, r#"{"metrics-addr": ":1"}"#] {
        reload(&told, bad, "failed to reload the configuration");
        assert_eq!(shown(&told), now, "{bad}");
    }
    reload(&told, "{}", "reloaded");
    assert_eq!(shown(&told), "false [] []");
}
