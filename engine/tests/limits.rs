//! Limits as the kernel has them and holds them, their change, and what is counted.

mod common;

use common::{Fixture, output, root_or_skip, until};
use skep_engine::cgroup::Hierarchies;
use skep_engine::config::Resources;
use skep_engine::{Container, Error};

const MB: i64 = 1 << 20;

/// A file of a container's cgroup, by its names under the two versions.
fn read(fixture: &Fixture, id: &str, controller: &str, v1: &str, v2: &str) -> String {
    let below = fixture.config.cgroup_parent.strip_prefix("/").unwrap().join(id);
    let path = match Hierarchies::find().unwrap().unified() {
        true => format!("/sys/fs/cgroup/{}/{v2}", below.display()),
        false => format!("/sys/fs/cgroup/{controller}/{}/{v1}", below.display()),
    };
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().into()
}

fn either(v1: &str, v2: &str) -> String {
    if Hierarchies::find().unwrap().unified() { v2.into() } else { v1.into() }
}

async fn sleeper(fixture: &Fixture, id: &str, resources: Resources) -> Container {
    let mut config = fixture.config(id, &["sleep", "1000"]);
    config.resources = resources;
    fixture.start(config).await
}

fn some() -> Resources {
    Resources {
        memory_bytes: 64 * MB,
        memory_swap_bytes: 96 * MB,
        memory_reservation_bytes: 32 * MB,
        pids: 50,
        cpu_shares: 512,
        cpu_period: 50_000,
        cpu_quota: 25_000,
        cpuset_cpus: "0".into(),
        cpuset_mems: "0".into(),
        ..Resources::default()
    }
}

fn all(fixture: &Fixture, id: &str) -> Vec<String> {
    let read = |controller: &str, v1: &str, v2: &str| read(fixture, id, controller, v1, v2);
    let quota = match Hierarchies::find().unwrap().unified() {
        true => read("cpu", "", "cpu.max"),
        false => {
            let quota = read("cpu", "cpu.cfs_quota_us", "");
            let quota = if quota == "-1" { "max".to_owned() } else { quota };
            format!("{quota} {}", read("cpu", "cpu.cfs_period_us", ""))
        }
    };
    vec![
        read("memory", "memory.limit_in_bytes", "memory.max"),
        read("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
        read("memory", "memory.soft_limit_in_bytes", "memory.low"),
        read("pids", "pids.max", "pids.max"),
        read("cpu", "cpu.shares", "cpu.weight"),
        quota,
        read("cpuset", "cpuset.cpus", "cpuset.cpus.effective"),
        read("cpuset", "cpuset.mems", "cpuset.mems.effective"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_is_set_changed_and_taken_away() {
    if !root_or_skip("every_limit_is_set_changed_and_taken_away") {
        return;
    }
    let fixture = Fixture::new().await;
    let container = sleeper(&fixture, "limited", some()).await;
    let (swap, shares) = (either("100663296", "33554432"), either("512", "20"));
    let wanted = ["67108864", &swap, "33554432", "50", &shares, "25000 50000", "0", "0"];
    assert_eq!(all(&fixture, "limited"), wanted);

    // Up and down again: the kernel keeps memory below memory and swap at every step.
    for megabytes in [512, 16, 128] {
        let changed = Resources {
            memory_bytes: megabytes * MB,
            memory_swap_bytes: 0,
            memory_reservation_bytes: 8 * MB,
            cpu_period: 0,
            cpu_quota: 0,
            nano_cpus: 500_000_000,
            pids: 20,
            ..some()
        };
        container.update(&changed).await.unwrap();
        let memory = (megabytes * MB).to_string();
        let swap = either(&(2 * megabytes * MB).to_string(), &memory);
        let wanted = [&memory, &swap, "8388608", "20", &shares, "50000 100000", "0", "0"];
        assert_eq!(all(&fixture, "limited"), wanted);
    }

    let none = sleeper(&fixture, "free", Resources::default()).await;
    container.update(&Resources::default()).await.unwrap();
    assert_eq!(all(&fixture, "limited"), all(&fixture, "free"));
    none.update(&some()).await.unwrap();
    assert_eq!(all(&fixture, "free")[0], "67108864");

    let refused = container.update(&Resources { memory_bytes: 5, ..some() }).await.unwrap_err();
    assert!(refused.to_string().contains("Minimum memory limit allowed is 6MB"), "{refused}");
    container.kill(skep_engine::signal::Signal::KILL).await.unwrap();
    common::patiently(container.wait()).await.unwrap();
    assert!(matches!(container.update(&some()).await, Err(Error::NotRunning(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_version_one_knows_is_set_there_and_discarded_elsewhere() {
    if !root_or_skip("what_only_version_one_knows_is_set_there_and_discarded_elsewhere") {
        return;
    }
    let fixture = Fixture::new().await;
    let asked = Resources {
        memory_bytes: 64 * MB,
        memory_swappiness: Some(10),
        oom_kill_disable: true,
        ..Resources::default()
    };
    let container = sleeper(&fixture, "old", asked.clone()).await;
    let mut fitted = asked.clone();
    let warnings = fixture.runtime().fit(&mut fitted).unwrap();
    assert_eq!(container.config().resources, fitted);
    if Hierarchies::find().unwrap().unified() {
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        return;
    }
    assert_eq!(warnings, [""; 0]);
    assert_eq!(read(&fixture, "old", "memory", "memory.swappiness", ""), "10");
    let disabled = || read(&fixture, "old", "memory", "memory.oom_control", "");
    assert!(disabled().contains("oom_kill_disable 1"));
    let killing = Resources { oom_kill_disable: false, memory_swappiness: None, ..asked };
    container.update(&killing).await.unwrap();
    assert!(disabled().contains("oom_kill_disable 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn realtime_is_given_where_the_kernel_has_it() {
    if !root_or_skip("realtime_is_given_where_the_kernel_has_it") {
        return;
    }
    let fixture = Fixture::new().await;
    let asked = Resources { cpu_rt_period: 500_000, cpu_rt_runtime: 5_000, ..Resources::default() };
    if let Err(error) = fixture.runtime().fit(&mut asked.clone()) {
        assert!(error.to_string().contains("does not support CPU real-time"), "{error}");
        eprintln!("SKIP: the kernel gives no group realtime");
        return;
    }
    // The group above has none by default: it is given what the containers need.
    let container = sleeper(&fixture, "prompt", asked.clone()).await;
    let read = |id: &str, file: &str| read(&fixture, id, "cpu", file, "");
    let of = |id: &str| (read(id, "cpu.rt_period_us"), read(id, "cpu.rt_runtime_us"));
    assert_eq!(of("prompt"), ("500000".into(), "5000".into()));
    assert_eq!(read("", "cpu.rt_runtime_us"), "10000");
    sleeper(&fixture, "second", asked).await;
    assert_eq!(read("", "cpu.rt_runtime_us"), "20000");
    container.update(&Resources::default()).await.unwrap();
    assert_eq!(of("prompt"), ("1000000".into(), "0".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_limit_is_held() {
    if !root_or_skip("a_changed_limit_is_held") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.05; done; \
                  x=x; while :; do x=$x$x$x$x; done";
    let container = fixture.start(fixture.shell("greedy", script)).await;
    until("it is ready", async || output(&container).await.contains("ready")).await;
    let small = Resources { memory_bytes: 16 * MB, memory_swap_bytes: 16 * MB, ..some() };
    container.update(&Resources { memory_reservation_bytes: 0, ..small }).await.unwrap();
    let pid = container.pid().await.unwrap().unwrap();
    std::fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
    let exit = common::patiently(container.wait()).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (137, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_is_counted() {
    if !root_or_skip("what_is_used_is_counted") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "sleep 1000 & dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null; \
                  i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; wait";
    let mut config = fixture.shell("busy", script);
    config.resources = Resources { memory_bytes: 64 * MB, pids: 40, ..Resources::default() };
    let container = fixture.start(config).await;
    until("it is ready", async || output(&container).await.contains("ready")).await;
    let stats = container.stats().await.unwrap();
    assert_eq!((stats.pids, stats.pids_limit), (2, 40));
    assert!(stats.cpu.total_ns > 1_000_000, "{stats:?}");
    assert!(stats.memory.usage >= 8 << 20, "{stats:?}");
    assert_eq!(stats.memory.limit, 64 << 20);
    let names = ["inactive_file", "pgfault", &either("cache", "file")];
    assert!(names.iter().all(|name| stats.memory.detail.contains_key(*name)), "{stats:?}");
    if !Hierarchies::find().unwrap().unified() {
        assert!(!stats.cpu.per_cpu_ns.is_empty() && stats.memory.max_usage >= 8 << 20);
    }

    let processes = container.processes().await.unwrap();
    assert_eq!(processes.len(), 2);
    assert!(processes.contains(&container.pid().await.unwrap().unwrap()));

    container.kill(skep_engine::signal::Signal::KILL).await.unwrap();
    common::patiently(container.wait()).await.unwrap();
    assert!(matches!(container.stats().await, Err(Error::NotRunning(_))));
    assert!(matches!(container.processes().await, Err(Error::NotRunning(_))));
}
