//! The daemon's figures for Prometheus.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skep_e2e::{CommandLine, Program, Session, Single, eventually_blocking};

const SOON: Duration = Duration::from_secs(60);

/// A second daemon on the host, with its own state and in its own places.
const SECOND: &str = "echo $$ > /tmp/second.pid; exec skep daemon --data-root /tmp/second \
    --exec-root /tmp/second-run --cgroup-parent /skep-second -b none -H unix:///tmp/second.sock \
    --metrics-addr 127.0.0.1:9323";

/// A port that is published and has no task behind it.
const NOBODY_CAME: &str =
    "skep_published_connections_total{protocol=\"tcp\",port=\"8099\",service=\"waits\"}";

fn scrape(cli: &CommandLine) -> Result<String> {
    let text = cli.shell("curl -s --max-time 5 http://127.0.0.1:9323/metrics || true");
    ensure!(text.trim_end().ends_with("# EOF"), "no whole answer: {text:?}");
    Ok(text)
}

/// The value of a figure, named as it stands in the text.
fn value(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.with_context(|| format!("no {name} in:\n{text}"))?;
    line.parse().with_context(|| format!("{name} is {line:?}"))
}

#[test]
fn figures_are_served() {
    let Some(single) = Single::own() else { return };
    let cli = single.command_line(Program::Skep);
    let command = single.host().command(&["sh", "-c", SECOND]).unwrap();
    let mut daemon = Session::on_pipes(command).unwrap();

    let text = eventually_blocking(SOON, || scrape(&cli));
    assert_eq!(value(&text, "skep_manager").unwrap(), 0.0);
    assert!(value(&text, "skep_raft_term").is_err(), "{text}");
    assert_eq!(value(&text, "skep_engine_containers{state=\"running\"}").unwrap(), 0.0);

    let second = ["-H", "unix:///tmp/second.sock"];
    let init =
        ["swarm", "init", "--listen-addr", "127.0.0.1:2399", "--advertise-addr", "127.0.0.1"];
    cli.ok(&[&second[..], &init].concat());
    let nowhere = ["--constraint", "node.hostname == nowhere", "busybox", "sleep", "9"];
    let create = ["service", "create", "--detach", "--name", "waits", "-p", "8099:80"];
    let nowhere = [&["--replicas", "2"], &nowhere[..]].concat();
    cli.ok(&[&second[..], &create, &nowhere].concat());
    eventually_blocking(SOON, || {
        let text = scrape(&cli)?;
        for (name, expected) in [
            ("skep_manager", 1.0),
            ("skep_raft_leader", 1.0),
            ("skep_raft_has_leader", 1.0),
            ("skep_raft_members", 1.0),
            ("skep_dispatcher_sessions_open", 1.0),
            ("skep_nodes{state=\"ready\"}", 1.0),
            ("skep_services", 1.0),
            ("skep_tasks{state=\"pending\"}", 2.0),
            ("skep_tasks{state=\"running\"}", 0.0),
            (NOBODY_CAME, 0.0),
            // The ingress network's.
            ("skep_pool_used{network=\"\",subnet=\"10.0.0.0/8\"}", 1.0),
            ("skep_pool_size{network=\"\",subnet=\"10.0.0.0/8\"}", 65536.0),
            ("skep_pool_size{network=\"ingress\",subnet=\"10.0.0.0/24\"}", 253.0),
        ] {
            let now = value(&text, name)?;
            ensure!(now == expected, "{name} is {now}, not {expected}");
        }
        for name in [
            "skep_raft_term",
            "skep_raft_last_log_index",
            "skep_raft_applied_index",
            "skep_proposals_total{result=\"applied\"}",
            "skep_proposal_seconds_count",
            "skep_reconcile_seconds_count",
            "skep_schedule_seconds_count",
            "skep_scheduler_decisions_total{result=\"pending\"}",
            "skep_dispatcher_sessions_total",
            "skep_dispatcher_assignments_total",
        ] {
            ensure!(value(&text, name)? >= 1.0, "{name} is not counted");
        }
        Ok(())
    });

    cli.shell("kill -TERM $(cat /tmp/second.pid)");
    assert_eq!(daemon.wait().unwrap(), 0);
}
