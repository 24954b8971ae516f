//! Shares of memory, CPUs and processes, as the container's own cgroup has them.

use skep_e2e::{CommandLine, IMAGE, both};

/// A limit in a container's cgroup: version 1's file and its value, and those of version 2.
struct Limit {
    legacy: (&'static str, &'static str),
    unified: (&'static str, &'static str),
}

fn limit(legacy: (&'static str, &'static str), unified: (&'static str, &'static str)) -> Limit {
    Limit { legacy, unified }
}

#[track_caller]
fn check(cli: &CommandLine, name: &str, limits: &[Limit]) {
    for Limit { legacy, unified } in limits {
        let script = format!(
            "cd /sys/fs/cgroup; if [ -e cgroup.controllers ]; then echo 2; cat {}; \
             else echo 1; cat {}; fi",
            unified.0, legacy.0
        );
        let said = cli.inside(name, &script);
        let (version, found) = said.split_once('\n').unwrap_or((&said, ""));
        let (file, wanted) = if version == "1" { legacy } else { unified };
        assert_eq!(found, *wanted, "{file}");
    }
}

#[test]
fn memory_is_held() {
    both(|cli| {
        let name = cli
            .idle("memory", &["-m", "64m", "--memory-reservation", "32m", "--memory-swap", "128m"]);
        let held = |memory, both, swap, soft| {
            [
                limit(("memory/memory.limit_in_bytes", memory), ("memory.max", memory)),
                limit(("memory/memory.memsw.limit_in_bytes", both), ("memory.swap.max", swap)),
                limit(("memory/memory.soft_limit_in_bytes", soft), ("memory.low", soft)),
            ]
        };
        check(cli, &name, &held("67108864", "134217728", "67108864", "33554432"));
        let format =
            "{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.MemorySwap}}";
        assert_eq!(cli.inspect(&name, format), "67108864 33554432 134217728");
        cli.ok(&[
            "update",
            "-m",
            "32m",
            "--memory-reservation",
            "16m",
            "--memory-swap",
            "48m",
            &name,
        ]);
        check(cli, &name, &held("33554432", "50331648", "16777216", "16777216"));
        assert_eq!(cli.inspect(&name, format), "33554432 16777216 50331648");
        cli.ok(&["rm", "-f", &name]);
        cli.refuses(&["-m", "64m", "--memory-swap", "32m"], "Minimum memoryswap limit should be");
        cli.refuses(&["--memory-swap", "32m"], "You should always set the Memory limit");
        cli.refuses(&["-m", "32m", "--memory-reservation", "64m"], "can not be less than memory");
        // Without a word of swap there is as much of it as memory.
        let name = cli.idle("swap", &["-m", "64m"]);
        assert_eq!(cli.inspect(&name, "{{.HostConfig.MemorySwap}}"), "134217728");
    });
}

#[test]
fn swappiness_is_version_ones_alone() {
    both(|cli| {
        let name = cli.name("swappy");
        let words =
            ["run", "-d", "--name", &name, "--memory-swappiness", "10", IMAGE, "sleep", "1000"];
        let ran = cli.run(&words);
        assert_eq!(ran.status, 0, "{ran:?}");
        let text = cli.inside(&name, "cat /sys/fs/cgroup/memory/memory.swappiness || :");
        match text.as_str() {
            "" => assert!(ran.stderr.contains("does not support memory swappiness"), "{ran:?}"),
            text => assert_eq!(
                (text, cli.inspect(&name, "{{.HostConfig.MemorySwappiness}}")),
                ("10", "10".into())
            ),
        }
        cli.ok(&["rm", "-f", &name]);
        cli.refuses(&["--memory-swappiness", "101"], "emory swappiness range is 0-100")
    });
}

#[test]
fn who_is_killed_first_is_told() {
    both(|cli| {
        let score = ["--oom-score-adj", "500"];
        assert_eq!(cli.said(&score, &["cat", "/proc/self/oom_score_adj"]), "500");
        cli.refuses(&["--oom-score-adj", "1001"], "range for oom score adj is [-1000, 1000]");
        let name = cli.name("spared");
        let words = [
            "run",
            "-d",
            "--name",
            &name,
            "-m",
            "64m",
            "--oom-kill-disable",
            IMAGE,
            "sleep",
            "1000",
        ];
        let ran = cli.run(&words);
        assert_eq!(ran.status, 0, "{ran:?}");
        let text = cli.inside(&name, "cat /sys/fs/cgroup/memory/memory.oom_control || :");
        match text.as_str() {
            "" => assert!(ran.stderr.contains("OomKillDisable discarded"), "{ran:?}"),
            text => assert!(text.contains("oom_kill_disable 1"), "{text}"),
        }
        cli.ok(&["rm", "-f", &name]);
    });
}

#[test]
fn what_takes_too_much_memory_is_killed() {
    both(|cli| {
        let name = cli.name("greedy");
        let greedy = "x=x; while :; do x=$x$x$x$x; done";
        let words =
            ["run", "--name", &name, "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c"];
        assert_eq!(cli.run(&[&words[..], &[greedy]].concat()).status, 137);
        cli.wait_state(&name, "exited");
        assert_eq!(cli.inspect(&name, "{{.State.OOMKilled}}"), "true");
    });
}

#[test]
fn cpus_are_shared_and_chosen() {
    both(|cli| {
        let name = cli.idle(
            "cpus",
            &[
                "--cpu-period",
                "50000",
                "--cpu-quota",
                "25000",
                "-c",
                "512",
                "--cpuset-cpus",
                "0",
                "--cpuset-mems",
                "0",
            ],
        );
        check(
            cli,
            &name,
            &[
                limit(("cpu/cpu.cfs_period_us", "50000"), ("cpu.max", "25000 50000")),
                limit(("cpu/cpu.cfs_quota_us", "25000"), ("cpu.max", "25000 50000")),
                limit(("cpu/cpu.shares", "512"), ("cpu.weight", "20")),
                limit(("cpuset/cpuset.cpus", "0"), ("cpuset.cpus", "0")),
                limit(("cpuset/cpuset.mems", "0"), ("cpuset.mems", "0")),
            ],
        );
        let places = "grep -E 's_allowed_list' /proc/self/status";
        assert_eq!(cli.inside(&name, places), "Cpus_allowed_list:\t0\nMems_allowed_list:\t0");
        let format = "{{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuShares}} \
                      {{.HostConfig.CpusetCpus}} {{.HostConfig.CpusetMems}}";
        assert_eq!(cli.inspect(&name, format), "50000 25000 512 0 0");
        cli.ok(&[
            "update",
            "--cpu-period",
            "20000",
            "--cpu-quota",
            "5000",
            "--cpu-shares",
            "256",
            "--cpuset-cpus",
            "0",
            "--cpuset-mems",
            "0",
            "--pids-limit",
            "40",
            &name,
        ]);
        check(
            cli,
            &name,
            &[
                limit(("cpu/cpu.cfs_period_us", "20000"), ("cpu.max", "5000 20000")),
                limit(("cpu/cpu.cfs_quota_us", "5000"), ("cpu.max", "5000 20000")),
                limit(("cpu/cpu.shares", "256"), ("cpu.weight", "10")),
                limit(("pids/pids.max", "40"), ("pids.max", "40")),
            ],
        );
        assert_eq!(cli.inspect(&name, format), "20000 5000 256 0 0");
        cli.ok(&["rm", "-f", &name]);
        cli.refuses(&["--cpu-period", "10"], "CPU cfs period can not be less than 1ms");
        cli.refuses(&["--cpu-quota", "10"], "CPU cfs quota can not be less than 1ms");
        cli.refuses(&["--cpuset-cpus", "4095"], "Requested CPUs are not available");
        cli.refuses(&["--cpuset-mems", "63"], "Requested memory nodes are not available");
        cli.refuses(&["--cpus", "0.5", "--cpu-quota", "5000"], "cannot both be set");
        let name = cli.idle("half", &[]);
        cli.ok(&["update", "--cpus", "0.5", &name]);
        let half = [
            limit(("cpu/cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
            limit(("cpu/cpu.cfs_period_us", "100000"), ("cpu.max", "50000 100000")),
        ];
        check(cli, &name, &half);
        cli.fails(&["update", &name], "you must provide one or more flags")
    });
}

#[test]
fn realtime_wants_a_kernel_and_sense() {
    both(|cli| {
        let more = ["--cpu-rt-period", "100000", "--cpu-rt-runtime", "200000"];
        let ran = cli.run(&[&["run", "--rm"], &more[..], &[IMAGE, "true"]].concat());
        let known = ["cannot be higher than", "does not support CPU real-time scheduler"];
        assert!(known.iter().any(|words| ran.stderr.contains(words)), "{ran:?}");
        ran.status
    });
}

#[test]
fn ulimits_in_every_form() {
    both(|cli| {
        let flags = [
            "--ulimit",
            "nofile=100:200",
            "--ulimit",
            "core=-1",
            "--ulimit",
            "stack=1048576",
            "--ulimit",
            "nproc=500",
            "--ulimit",
            "memlock=4096:65536",
        ];
        let script = "ulimit -Sn; ulimit -Hn; ulimit -Hc; ulimit -s; ulimit -u; \
                      grep 'Max locked' /proc/self/limits | tr -s ' '";
        let seen = cli.script(&flags, script);
        assert_eq!(seen, "100\n200\nunlimited\n1024\n500\nMax locked memory 4096 65536 bytes ");
        let name = cli.name("limited");
        cli.ok(&["create", "--name", &name, "--ulimit", "nofile=5:6", IMAGE]);
        let format = "{{range .HostConfig.Ulimits}}{{.Name}} {{.Soft}} {{.Hard}}{{end}}";
        assert_eq!(cli.inspect(&name, format), "nofile 5 6");
        cli.refuses(
            &["--ulimit", "nofile=6:5"],
            "soft limit must be less than or equal to hard limit",
        );
        cli.refuses(&["--ulimit", "nosuch=5"], "invalid ulimit type: nosuch")
    });
}
