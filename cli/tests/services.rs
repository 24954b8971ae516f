//! `skep service`, `secret`, `config` and `network` beside Docker's own command line: the same words, and the same changes asked for.

mod support;

use expect_test::{Expect, expect};
use skep_docker_api::json::{ContainerStatus, Task, Timestamp, UpdateStatus};
use support::busy::task;
use support::fake::{Fake, LEADER, WORKER};
use support::{Daemon, none};

fn check(daemon: &Daemon, line: &str, expected: Expect) {
    let arguments: Vec<_> = line.split('|').collect();
    let mut text = daemon.skep(&arguments);
    let calls = daemon.calls();
    if !calls.is_empty() {
        text.push_str(&format!("-> {calls}\n"));
    }
    expected.assert_eq(&text);
}

#[test]
fn both_show_the_same() {
    let daemon = Daemon::start(Fake::busy());
    let unlike = [
        "service ls",
        "service ls -q",
        "service ls --filter name=nope",
        "service ps web",
        "service ps web --no-trunc",
        "service ps web -q",
        "service ps web nope",
        "service ps nope",
        "service ps web --no-resolve --format {{.Name}}:{{.Node}}:{{.Error}}",
        "service inspect --pretty web",
        "service inspect nope",
        "service inspect --format {{.Spec.Name}} web",
        "service inspect",
        "service rm",
        "service rm nope",
        "service scale web",
        "service scale web=x",
        "service scale nope=3",
        "service rollback",
        "service update",
        "node ps",
        "node ps host2 nope",
        "secret ls",
        "secret ls -q",
        "secret inspect --pretty key",
        "secret inspect nope",
        "secret create x /nonexistent",
        "secret create x",
        "secret create",
        "config ls",
        "config inspect --pretty conf",
        "config create x",
        "network ls",
        "network ls --no-trunc --format {{.Name}}:{{.ID}}:{{.IPv6}}:{{.CreatedAt}}",
        "network ls -q",
        "network inspect nope",
        "network inspect --format {{.Driver}} front",
        "network rm nope",
        "network create",
        "network create --subnet 10.0.0.0/24 --gateway 10.1.0.1 x",
    ]
    .into_iter()
    .filter_map(|line| daemon.unlike(line));
    none(unlike);
}

#[test]
fn both_create_the_same_service() {
    let mut unlike = Vec::new();
    for line in [
        "nginx",
        "--name|web2|--replicas|3|-p|8080:80|nginx:1.25|sh|-c|sleep 1",
        "--mode|global|-l|a=b|--label|c|--container-label|d=e|nginx",
        "--mode|replicated-job|--replicas|5|--max-concurrent|2|nginx",
        "--mode|global-job|--restart-condition|none|nginx",
        "--env|A=1|--env|B|--env|A=2|nginx",
        "--limit-cpu|0.5|--limit-memory|64m|--limit-pids|9|--reserve-cpu|.25|--reserve-memory|32MiB|nginx",
        "--restart-condition|on-failure|--restart-max-attempts|3|nginx",
        "--restart-delay|1m30s|--restart-window|2h|nginx",
        "--update-parallelism|2|--update-delay|10s|--update-failure-action|rollback|--update-max-failure-ratio|0.5|--update-order|start-first|--update-monitor|1s|nginx",
        "--rollback-parallelism|0|--rollback-order|start-first|nginx",
        "--generic-resource|ssd=2|nginx",
        "--generic-resource|gpu=UUID1|nginx",
        "--generic-resource|gpu|nginx",
        "--constraint|node.role==worker|--placement-pref|spread=node.labels.zone|--replicas-max-per-node|2|nginx",
        "--mount|type=bind,src=/a,dst=/b,ro|--mount|src=v,dst=/v,volume-driver=x,volume-opt=k=w|--mount|type=tmpfs,dst=/t,tmpfs-size=1m|nginx",
        "--network|front|--network|name=back,alias=x,alias=y,driver-opt=k=v|nginx",
        "--secret|source=key,target=other,mode=0400,uid=5|--config|conf|nginx",
        "--publish|published=53,target=53,protocol=udp,mode=host|nginx",
        "--publish|80|nginx",
        "--dns|1.1.1.1|--dns-search|x.org|--dns-option|ndots:1|--host|db:10.0.0.9|nginx",
        "--health-cmd|curl x|--health-interval|5s|--health-retries|3|--health-timeout|1s|--health-start-period|2s|nginx",
        "--no-healthcheck|nginx",
        "--entrypoint|sh -c 'a b'|--hostname|h-{{.Task.Slot}}|--user|1:2|--workdir|/w|--group|g|nginx|x",
        "--cap-add|net_admin|--cap-drop|ALL|--sysctl|a.b=1|--ulimit|nofile=1024:2048|nginx",
        "--init|--read-only|-t|--stop-signal|SIGINT|--stop-grace-period|1m|--oom-score-adj|-5|nginx",
        "--log-driver|json-file|--log-opt|max-size=1m|--endpoint-mode|dnsrr|nginx",
        "--env-file|/nonexistent|nginx",
        "--rollback-delay|3s|--rollback-failure-action|continue|--rollback-max-failure-ratio|.25|--rollback-monitor|1m|nginx",
        "--network|nope|nginx",
        "--secret|nope|nginx",
        "--secret|key|--secret|source=key2,target=key|nginx",
        "--mode|global|--replicas|2|nginx",
        "--max-concurrent|2|nginx",
        "--replicas|x|nginx",
        "--no-healthcheck|--health-cmd|x|nginx",
        "--mount|type=bind,volume-nocopy,dst=/b|nginx",
        "--placement-pref|binpack=x|nginx",
        "--limit-cpu|0.1234567891|nginx",
        "--dns|nope|nginx",
        "--env|=x|nginx",
        "",
    ] {
        let line = format!("service|create|--detach|--no-resolve-image|{line}");
        unlike.extend(Daemon::changes_unlike(Fake::busy, line.trim_end_matches('|')));
    }
    none(unlike);
}

#[test]
fn both_update_the_same_service() {
    let mut unlike = Vec::new();
    for line in [
        "--image|nginx:1.26",
        "--replicas|7",
        "--force",
        "--label-add|x=y|--label-rm|tier|--container-label-add|k=v",
        "--env-add|A=9|--env-rm|B",
        "--limit-memory|128m",
        "--reserve-cpu|1",
        "--update-delay|5s",
        "--rollback-monitor|9s",
        "--restart-max-attempts|4",
        "--constraint-add|node.labels.a==b|--constraint-rm|node.role==worker",
        "--placement-pref-add|spread=node.labels.zone",
        "--mount-add|type=volume,src=logs,dst=/logs|--mount-rm|/data",
        "--publish-add|9090:90|--publish-rm|80",
        "--publish-rm|8080:80",
        "--publish-add|8080:80",
        "--network-add|back|--network-rm|front",
        "--network-add|front",
        "--secret-rm|key|--secret-add|key2",
        "--config-add|source=conf,target=/etc/conf",
        "--dns-add|9.9.9.9|--host-add|x:10.0.0.1|--host-rm|db",
        "--host-rm|cache:10.0.0.9",
        "--health-interval|9s",
        "--no-healthcheck",
        "--args|one 'two three'",
        "--cap-drop|chown|--ulimit-add|core=0|--sysctl-add|a=b|--group-add|g",
        "--init=false|--read-only|--tty",
        "--endpoint-mode|dnsrr",
        "--generic-resource-add|gpu=2",
        "--generic-resource-rm|gpu",
        "--rollback",
        "--network-rm|nope",
        "--cap-add|sys_time|--cap-add|ALL",
        "--config-rm|conf|--config-add|conf",
        "--container-label-add|k=v|--container-label-rm|k",
        "--dns-option-add|ndots:2|--dns-option-rm|ndots:1|--dns-search-add|x.org|--dns-search-rm|y.org|--dns-rm|1.1.1.1",
        "--entrypoint|sh -c 'a b'",
        "--group-add|b|--group-add|a|--group-rm|c",
        "--health-cmd|curl x|--health-retries|7|--health-start-period|2s|--health-timeout|3s",
        "--hostname|h-{{.Task.Slot}}|--user|1:2|--workdir|/w",
        "--limit-cpu|1.5|--limit-pids|12|--reserve-memory|16m",
        "--log-driver|json-file|--log-opt|max-size=1m",
        "--oom-score-adj|-7",
        "--placement-pref-add|spread=node.labels.rack|--placement-pref-rm|spread=node.labels.rack",
        "--placement-pref-rm|spread=node.labels.zone",
        "--replicas-max-per-node|3",
        "--restart-condition|on-failure|--restart-delay|7s|--restart-window|1h",
        "--rollback-delay|3s|--rollback-failure-action|continue|--rollback-max-failure-ratio|.25",
        "--rollback-order|start-first|--rollback-parallelism|4",
        "--stop-grace-period|1m|--stop-signal|SIGINT",
        "--sysctl-add|a=b|--sysctl-rm|a",
        "--sysctl-rm|c",
        "--ulimit-add|nofile=1024:2048|--ulimit-rm|core",
        "--update-failure-action|pause|--update-max-failure-ratio|.5|--update-monitor|9s",
        "--update-order|stop-first|--update-parallelism|0",
    ] {
        let line = format!("service|update|--detach|--no-resolve-image|{line}|web");
        let line = match line.contains("--rollback|") {
            true => line.replace("--no-resolve-image|", ""),
            false => line,
        };
        unlike.extend(Daemon::changes_unlike(Fake::busy, &line));
    }
    none(unlike);
}

#[test]
fn both_ask_for_the_same_changes() {
    let mut unlike = Vec::new();
    for line in [
        "service|rm|web|nope",
        "service|scale|--detach|web=5|nope=1",
        "service|rollback|-d|web",
        "secret|create|-l|a=b|x|/proc/sys/kernel/ostype",
        "secret|create|-d|vault|x",
        "secret|rm|key|nope",
        "config|create|x|/proc/sys/kernel/ostype",
        "config|create|--template-driver|golang|x|/proc/sys/kernel/ostype",
        "secret|create|--template-driver|golang|x|/proc/sys/kernel/ostype",
        "service|logs|--since|2024-01-02T03:04:05Z|-n|5|web",
        "service|logs|--tail|all|web",
        "service|logs|--tail|0|--since|1700000000|web",
        "config|rm|conf|nope",
        "network|create|-d|overlay|--attachable|--label|a=b|-o|encrypted|net",
        "network|create|--driver|overlay|--subnet|10.9.0.0/16|--gateway|10.9.0.1|--ip-range|10.9.1.0/24|--ipv6|--internal|net",
        "network|rm|back|nope",
    ] {
        unlike.extend(Daemon::changes_unlike(Fake::busy, line));
    }
    none(unlike);
}

#[test]
fn both_read_variables_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("env");
    std::fs::write(&file, "# said\nA=1\nB=2\nPATH\nNOT_SET_HERE\nC=\n\n A=3\n").unwrap();
    let file = file.to_str().unwrap();
    let line = format!("service|create|-d|--no-resolve-image|--env-file|{file}|--env|B=9|nginx");
    let unlike = Daemon::changes_unlike(Fake::busy, &line);
    std::fs::write(file, "A b=1\n").unwrap();
    none(unlike.into_iter().chain(Daemon::changes_unlike(Fake::busy, &line)));
}

#[test]
fn what_docker_forgets_in_an_update_is_sent() {
    let daemon = Daemon::start(Fake::busy());
    daemon.skep(&["service", "update", "-d", "--health-start-interval", "7s", "web"]);
    let calls = daemon.calls();
    assert!(calls.contains(r#""StartInterval":7000000000"#), "{calls}");
}

#[test]
fn a_login_goes_with_a_service_where_it_is_asked_for() {
    let asks = |program: fn(&Daemon, &[&str]) -> Option<String>, line: &str| {
        let daemon = Daemon::start(Fake::busy());
        daemon.log_in();
        program(&daemon, &line.split(' ').collect::<Vec<_>>())?;
        Some(daemon.calls())
    };
    let image = "reg.example:5000/a:1";
    for (line, sent) in [
        (format!("service create -d --with-registry-auth --no-resolve-image {image}"), true),
        (format!("service create -d --no-resolve-image {image}"), false),
        (
            format!(
                "service update -d --with-registry-auth --no-resolve-image --image {image} web"
            ),
            true,
        ),
        (format!("service update -d --no-resolve-image --image {image} web"), false),
        ("service create -d --with-registry-auth --no-resolve-image nginx".into(), false),
    ] {
        let ours = asks(|daemon, words| Some(daemon.skep(words)), &line).unwrap();
        assert_eq!(ours.ends_with(" as me:secret"), sent, "{line}: {ours}");
        if let Some(theirs) = asks(Daemon::docker, &line) {
            assert_eq!(ours, theirs.trim_end_matches(" as :"), "{line}");
        }
    }
}

#[test]
fn creation_waits_until_all_runs() {
    let fake = Fake::busy();
    let mut created = [
        task("one", 1, WORKER, "running", "running", ""),
        task("two", 2, LEADER, "running", "running", ""),
    ];
    created.iter_mut().for_each(|t| t.service_id = "newserviceidnewserviceid1".into());
    fake.tasks.lock().unwrap().extend(created);
    let daemon = Daemon::start(fake);
    let text = daemon.skep(&[
        "service",
        "create",
        "--replicas",
        "2",
        "--name",
        "new",
        "--update-monitor",
        "1ms",
        "nginx",
    ]);
    expect![[r#"
        newserviceidnewserviceid1
        overall progress: 2 out of 2 tasks
        1/2: running   [==================>]
        2/2: running   [==================>]
        verify: Waiting 1 seconds to verify that tasks are stable...
        verify: Service newserviceidnewserviceid1 converged
        image nginx:latest could not be accessed on a registry to record
        its digest. Each node will access nginx:latest independently,
        possibly leading to different nodes running different
        versions of the image.

    "#]]
    .assert_eq(&text);
}

#[test]
fn a_paused_update_fails_the_command() {
    let fake = Fake::busy();
    fake.services.lock().unwrap()[0].update_status = Some(skep_docker_api::json::UpdateStatus {
        state: "paused".into(),
        message: "update paused due to failure".into(),
        ..Default::default()
    });
    let daemon = Daemon::start(fake);
    check(
        &daemon,
        "service|rollback|-q|web",
        expect![[r#"
            web
            service update paused: update paused due to failure
            [1]
            -> update web456789012345678901234w 42 back=true {"Name":"web","Labels":{"tier":"front"},"TaskTemplate":{"ContainerSpec":{"Image":"nginx:1.25@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Args":["-g","daemon off;"],"Env":["A=1","B=2"],"Dir":"/srv","User":"www","Init":true,"Mounts":[{"Type":"volume","Source":"data","Target":"/data"}],"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":3},"Hosts":["10.0.0.9 db cache"],"Secrets":[{"File":{"Name":"key","UID":"","GID":"","Mode":0},"SecretID":"secret-key","SecretName":"key"}]},"Resources":{"Limits":{"NanoCPUs":500000000,"MemoryBytes":67108864,"Pids":9}},"Placement":{"Constraints":["node.role==worker"],"MaxReplicas":2},"Networks":[{"Target":"network-front"}],"ForceUpdate":0},"Mode":{"Replicated":{"Replicas":2}},"UpdateConfig":{"Parallelism":1,"Delay":90000000000,"FailureAction":"rollback","Monitor":1,"MaxFailureRatio":0.25,"Order":"start-first"},"EndpointSpec":{"Mode":"vip","Ports":[{"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,"PublishMode":"ingress"}]}}
        "#]],
    );
}

/// Four of a service's slots wait for memory, and a fifth fails again and again.
#[test]
fn why_a_service_is_not_what_it_shall_be() {
    let fake = Fake::busy();
    let lacks = "no suitable node: 2 nodes lack memory (need 2 GiB, most free 1.5 GiB)";
    let pending = |slot: u64| task(&format!("p{slot}"), slot, "", "pending", "running", lacks);
    let mut tasks: Vec<Task> = (3..=6).map(pending).collect();
    tasks.push(task("r1", 1, LEADER, "running", "running", ""));
    tasks.push(task("s2", 2, WORKER, "preparing", "running", ""));
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
    // Between two hours, so that what is said of them does not hang on how fast this is.
    let ago = |hours: i128| Timestamp::from_unix_nanos(now - hours * 3_600_000_000_000);
    for (id, node, exit_code, hours) in
        [("f1", LEADER, 3, 5), ("f2", WORKER, 3, 4), ("f3", WORKER, 137, 7)]
    {
        let error = format!("task: non-zero exit ({exit_code})");
        let mut failed = task(id, 2, node, "failed", "shutdown", &error);
        failed.status.timestamp = ago(hours);
        failed.status.container_status = Some(ContainerStatus { exit_code, ..Default::default() });
        tasks.push(failed);
    }
    *fake.tasks.lock().unwrap() = tasks;
    fake.services.lock().unwrap()[0].update_status = Some(UpdateStatus {
        state: "paused".into(),
        message: "update paused due to failure or early termination of task f2".into(),
        started_at: Some(ago(4)),
        completed_at: None,
    });
    let daemon = Daemon::start(fake);
    check(
        &daemon,
        "service|why|web",
        expect![[r#"
        web: 1 of 2 running
        update: paused, update paused due to failure or early termination of task f2, 4 hours ago
        4 tasks: no suitable node: 2 nodes lack memory (need 2 GiB, most free 1.5 GiB)
          web.3, web.4, web.5 and 1 more
        1 task: preparing
          web.2
        2 tasks failed: task: non-zero exit (3)
          last web.2 on host2, 4 hours ago
        1 task failed: task: non-zero exit (137)
          last web.2 on host2, 7 hours ago
    "#]],
    );
    check(
        &daemon,
        "service|why|nope|web",
        expect![[r#"
        web: 1 of 2 running
        update: paused, update paused due to failure or early termination of task f2, 4 hours ago
        4 tasks: no suitable node: 2 nodes lack memory (need 2 GiB, most free 1.5 GiB)
          web.3, web.4, web.5 and 1 more
        1 task: preparing
          web.2
        2 tasks failed: task: non-zero exit (3)
          last web.2 on host2, 4 hours ago
        1 task failed: task: non-zero exit (137)
          last web.2 on host2, 7 hours ago
        no such service: nope
        [1]
    "#]],
    );
    check(
        &daemon,
        "service|why",
        expect![[r#"
        skep: 'skep service why' requires at least 1 argument

        Usage:  skep service why SERVICE [SERVICE...]

        See 'skep service why --help' for more information
        [1]
    "#]],
    );
}

#[test]
fn a_service_is_spread_anew_and_what_would_move_is_told() {
    let daemon = Daemon::start(Fake::busy());
    let said = daemon.skep(&["service", "rebalance", "--dry-run", "web", "nope"]);
    let moves = "web: 1 of 6 tasks would move\n  web.3: host2 -> host1\n";
    assert!(said.starts_with(moves), "{said}");
    assert!(said.contains("nope: ") && said.contains("service nope not found"), "{said}");
    assert!(said.trim_end().ends_with("[1]"), "{said}");
    assert_eq!(daemon.calls(), "rebalance web456789012345678901234w dry=true");
    let said = daemon.skep(&["service", "rebalance", "--detach", "web"]);
    assert_eq!(said.trim_end(), "web: 1 of 6 tasks move");
    assert_eq!(daemon.calls(), "rebalance web456789012345678901234w dry=false");
    let said = daemon.skep(&["service", "rebalance"]);
    assert!(said.contains("'skep service rebalance' requires at least 1 argument"), "{said}");

    let fake = Fake::busy();
    fake.services.lock().unwrap()[0].spec.labels.insert("even".into(), String::new());
    let said = Daemon::start(fake).skep(&["service", "rebalance", "web"]);
    assert_eq!(said.trim_end(), "web: no task is to move");
}
