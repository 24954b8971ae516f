//! Containers and the daemon do not depend on each other: what a new runtime finds after the old one
//! was dropped or killed, after a shim was killed, after the machine was restarted.

mod common;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Fixture, output, patiently, root_or_skip, until};
use skep_engine::signal::Signal;
use skep_engine::{Error, Runtime, RuntimeConfig, Status};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_runtime_finds_the_containers_of_the_old() {
    if !root_or_skip("a_new_runtime_finds_the_containers_of_the_old") {
        return;
    }
    let mut fixture = Fixture::new().await;
    let (id, pid) = {
        let mut config = fixture.config("one", &["sleep", "1000"]);
        config.annotations.insert("task".into(), "t1".into());
        let container = fixture.start(config).await;
        let again = Runtime::open(fixture.config.clone()).await;
        assert!(matches!(again, Err(Error::InUse(_))), "one daemon at a time");
        (container.id().to_owned(), container.pid().await.unwrap())
    };
    fixture.reopen().await;
    let found = fixture.runtime().get(&id).await.unwrap();
    assert_eq!(found.config().annotations["task"], "t1");
    let state = found.state().await.unwrap();
    assert_eq!((state.status, state.pid), (Status::Running, pid));
    assert!(state.started_at.unwrap() >= found.created_at());
    patiently(found.stop(Some(Signal::KILL), Duration::ZERO)).await.unwrap();
    found.delete().await.unwrap();
    fixture.assert_clean().await;
}

/// The daemon of the next test, run in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of another test"]
async fn daemon_to_be_killed() {
    let Ok(config) = std::env::var("SKEP_ENGINE_TEST_DAEMON") else { return };
    let [state, run, parent, image] = config.split('|').collect::<Vec<_>>()[..] else { panic!() };
    let mut config = RuntimeConfig::new(state, run, parent);
    config.shim_exe = env!("CARGO_BIN_EXE_skep-shim").into();
    let runtime = Runtime::open(config).await.unwrap();
    let shell = |id: &str, script: &str| {
        skep_engine::ContainerConfig::new(
            id,
            skep_engine::config::Rootfs::Directory(image.into()),
            ["sh", "-c", script].map(str::to_owned).into(),
        )
    };
    let loops = "while ! [ -e /tmp/go ]; do sleep 0.02; done";
    runtime.create(shell("waits", "true")).await.unwrap();
    for (id, script) in [
        ("runs", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done".to_owned()),
        ("ends", format!("{loops}; echo gone; exit 5")),
        ("dies", format!("{loops}; kill -9 $$; exec /bin/false")),
    ] {
        runtime.create(shell(id, &script)).await.unwrap().start().await.unwrap();
    }
    println!("all is running");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_outlive_a_killed_daemon() {
    if !root_or_skip("containers_outlive_a_killed_daemon") {
        return;
    }
    let mut fixture = Fixture::new().await;
    fixture.runtime = None;
    let config = [
        fixture.config.state_dir.to_str().unwrap(),
        fixture.config.run_dir.to_str().unwrap(),
        fixture.config.cgroup_parent.to_str().unwrap(),
        fixture.path("image").to_str().unwrap(),
    ]
    .join("|");
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "daemon_to_be_killed", "--ignored", "--nocapture"])
        .env("SKEP_ENGINE_TEST_DAEMON", config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(daemon.stdout.take().unwrap());
    let ready = said.lines().map_while(Result::ok).any(|line| line.contains("all is running"));
    assert!(ready, "the daemon came up");
    let group = i32::try_from(daemon.id()).unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    // Two end while nobody is there to see it.
    std::fs::write(fixture.path("image/tmp/go"), "").unwrap();
    for id in ["ends", "dies"] {
        let exit: PathBuf = fixture.path("state/containers").join(id).join("exit.json");
        until("its end is written", async || exit.exists()).await;
    }
    fixture.reopen().await;
    assert_eq!(fixture.runtime().list().await.unwrap().len(), 4);
    let get = async |id: &str| fixture.runtime().get(id).await.unwrap();

    let ended = get("ends").await;
    assert_eq!(patiently(ended.wait()).await.unwrap().code, 5);
    assert_eq!(output(&ended).await, "gone\n");
    let waits = get("waits").await;
    assert_eq!(waits.state().await.unwrap().status, Status::Created);
    waits.start().await.unwrap();
    assert_eq!(patiently(waits.wait()).await.unwrap().code, 0);

    let runs = get("runs").await;
    assert_eq!(runs.state().await.unwrap().status, Status::Running);
    let pid = runs.pid().await.unwrap().unwrap();
    let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(parent_of(pid)))).unwrap();
    assert_ne!(session.as_raw(), group, "the shim has left the daemon's session");
    let before = output(&runs).await;
    until("it still writes", async || output(&runs).await.len() > before.len()).await;
    let exit = patiently(runs.stop(None, Duration::from_millis(10))).await.unwrap();
    assert_eq!(exit.signal, Some(9));
    for container in fixture.runtime().list().await.unwrap() {
        container.delete().await.unwrap();
    }
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_does_not_outlive_its_shim() {
    if !root_or_skip("a_container_does_not_outlive_its_shim") {
        return;
    }
    let fixture = Fixture::new().await;
    let container = fixture.start(fixture.config("one", &["sleep", "1000"])).await;
    let pid = container.pid().await.unwrap().unwrap();
    let waiting = tokio::spawn({
        let container = container.clone();
        async move { container.wait().await }
    });
    let shim = nix::unistd::Pid::from_raw(parent_of(pid));
    nix::sys::signal::kill(shim, nix::sys::signal::SIGKILL).unwrap();
    let exit = patiently(waiting).await.unwrap().unwrap();
    assert_eq!(exit.code, 255);
    assert!(exit.error.is_some());
    let gone = PathBuf::from(format!("/proc/{pid}"));
    until("the process is gone", async || !gone.exists()).await;
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_machine_is_survived_by_what_is_on_disk() {
    if !root_or_skip("a_restart_of_the_machine_is_survived_by_what_is_on_disk") {
        return;
    }
    let mut fixture = Fixture::new().await;
    let container = fixture.start(fixture.shell("one", "echo hello; exec sleep 1000")).await;
    until("it has written", async || output(&container).await == "hello\n").await;
    let pid = container.pid().await.unwrap().unwrap();
    drop(container);
    fixture.runtime = None;
    let shim = nix::unistd::Pid::from_raw(parent_of(pid));
    nix::sys::signal::kill(shim, nix::sys::signal::SIGKILL).unwrap();
    until("the shim is gone", async || !PathBuf::from(format!("/proc/{shim}/exe")).exists()).await;
    std::fs::remove_dir_all(fixture.path("run")).unwrap();
    // What creations and deletions leave that were cut short.
    for left in ["state/containers/half", "run/containers/other"] {
        std::fs::create_dir_all(fixture.path(left)).unwrap();
        std::fs::write(fixture.path(left).join("something"), "x").unwrap();
    }
    std::fs::create_dir(fixture.path("state/containers/torn")).unwrap();
    std::fs::write(fixture.path("state/containers/torn/config.json"), "{\"config").unwrap();

    fixture.reopen().await;
    let found = fixture.runtime().list().await.unwrap();
    assert_eq!(found.iter().map(|c| c.id()).collect::<Vec<_>>(), ["one"]);
    let state = found[0].state().await.unwrap();
    assert_eq!((state.status, state.exit.unwrap().code), (Status::Exited, 255));
    assert_eq!(output(&found[0]).await, "hello\n");
    found[0].delete().await.unwrap();
    fixture.assert_clean().await;
}

/// A daemon may be killed after it has started a shim and before that has taken its lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_comes_too_late_gives_way() {
    if !root_or_skip("a_shim_that_comes_too_late_gives_way") {
        return;
    }
    let fixture = Fixture::new().await;
    let config = fixture.config("one", &["true"]);
    let container = fixture.runtime().create(config.clone()).await.unwrap();
    let shim = nix::unistd::Pid::from_raw(parent_of(container.pid().await.unwrap().unwrap()));
    nix::sys::signal::kill(shim, nix::sys::signal::SIGKILL).unwrap();
    // All who look at once see the same end.
    let looks = (0..8).map(|_| container.wait());
    let ends: Vec<_> = patiently(futures::future::join_all(looks)).await;
    assert!(ends.iter().all(|end| end.as_ref().unwrap().code == 255));

    let places = |dir: &str| fixture.path(dir).join("containers/one");
    let launch = serde_json::json!({
        "config": config,
        "file_bytes": [],
        "state": places("state"),
        "run": places("run"),
        "cgroup_parent": fixture.config.cgroup_parent,
    });
    let launch = launch.to_string();
    let bytes = [&(launch.len() as u64).to_le_bytes(), launch.as_bytes()].concat();
    let late = async || {
        std::fs::write(fixture.path("launch"), &bytes).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_skep-shim"))
            .arg("alone")
            .stdin(std::fs::File::open(fixture.path("launch")).unwrap())
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(late().await.contains("taken or gone"));
    assert_eq!(container.state().await.unwrap().status, Status::Exited);
    container.delete().await.unwrap();
    assert!(late().await.contains("No such file"));
    fixture.assert_clean().await;
}

fn parent_of(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    line.trim().parse().unwrap()
}
