//! A container's life: created, started, ended by itself or by a signal, deleted.

mod common;

use std::time::{Duration, Instant};

use common::{Fixture, patiently, root_or_skip, until};
use skep_engine::signal::Signal;
use skep_engine::{Error, Status};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_leaves_nothing() {
    if !root_or_skip("a_container_runs_and_leaves_nothing") {
        return;
    }
    let fixture = Fixture::new().await;
    let mut config = fixture.shell("one", "echo hello; echo oops >&2; exit 7");
    config.labels.insert("a".into(), "b".into());
    config.annotations.insert("task".into(), "t1".into());
    let container = fixture.runtime().create(config).await.unwrap();
    let state = container.state().await.unwrap();
    assert_eq!(state.status, Status::Created);
    assert!(state.pid.is_some());
    container.start().await.unwrap();
    let exit = patiently(container.wait()).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    assert_eq!(common::output(&container).await, "hello\noops\n");

    let found = fixture.runtime().get("one").await.unwrap();
    assert_eq!(found.config().annotations["task"], "t1");
    assert_eq!(found.state().await.unwrap().exit, Some(exit.clone()));
    assert_eq!(patiently(found.wait()).await.unwrap(), exit, "waiting again tells the same");
    assert!(matches!(found.start().await, Err(Error::AlreadyStarted(_))));
    assert!(matches!(found.kill(Signal::KILL).await, Err(Error::NotRunning(_))));
    found.delete().await.unwrap();
    assert!(matches!(fixture.runtime().get("one").await, Err(Error::NoSuchContainer(_))));
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_a_container() {
    if !root_or_skip("signals_end_a_container") {
        return;
    }
    let fixture = Fixture::new().await;
    let container = fixture.start(fixture.config("one", &["sleep", "1000"])).await;
    assert!(matches!(container.delete().await, Err(Error::Running(_))));
    assert!(matches!(container.start().await, Err(Error::AlreadyStarted(_))));
    container.kill(Signal::KILL).await.unwrap();
    let exit = patiently(container.wait()).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));

    // The first process of a namespace ends by a signal only if it handles it.
    let script = "trap 'echo bye; exit 3' USR1; echo ready; while :; do sleep 0.05; done";
    let mut config = fixture.shell("two", script);
    config.stop_signal = "SIGUSR1".into();
    let container = fixture.start(config).await;
    until("it is ready", async || common::output(&container).await.contains("ready")).await;
    let exit = patiently(container.stop(None, Duration::from_secs(30))).await.unwrap();
    assert_eq!(exit.code, 3);
    assert_eq!(common::output(&container).await, "ready\nbye\n");
    let again = patiently(container.stop(None, Duration::from_secs(30))).await.unwrap();
    assert_eq!(again, exit, "stopping what has stopped is fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_kills_when_the_grace_is_over() {
    if !root_or_skip("stop_kills_when_the_grace_is_over") {
        return;
    }
    let fixture = Fixture::new().await;
    let container = fixture.start(fixture.config("deaf", &["sleep", "1000"])).await;
    let grace = Duration::from_millis(300);
    let began = Instant::now();
    let exit = patiently(container.stop(None, grace)).await.unwrap();
    assert!(began.elapsed() >= grace);
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_said_in_dockers_words() {
    if !root_or_skip("what_cannot_be_run_is_said_in_dockers_words") {
        return;
    }
    let fixture = Fixture::new().await;
    std::fs::write(fixture.path("image/bin/garbage"), "\x7fELF but not really").unwrap();
    std::fs::write(fixture.path("image/bin/plain"), "text").unwrap();
    use std::os::unix::fs::PermissionsExt;
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(fixture.path("image/bin/garbage"), executable).unwrap();

    let check = async |id: &str, command: &str| {
        let made = fixture.runtime().create(fixture.config(id, &[command])).await;
        let error = match made {
            Ok(container) => {
                let error = container.start().await.unwrap_err();
                let exit = patiently(container.wait()).await.unwrap();
                assert!(exit.error.is_some(), "{exit:?}");
                container.delete().await.unwrap();
                error
            }
            Err(error) => error,
        };
        match error {
            Error::Failed { message, exit_code } => (message, exit_code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        check("a", "nope").await,
        ("exec: \"nope\": executable file not found in $PATH".into(), Some(127))
    );
    assert_eq!(
        check("b", "/nope").await,
        ("exec: \"/nope\": stat /nope: no such file or directory".into(), Some(127))
    );
    assert_eq!(check("c", "/bin").await, ("exec: \"/bin\": is a directory".into(), Some(126)));
    assert_eq!(check("d", "plain").await, ("exec: \"plain\": permission denied".into(), Some(126)));
    assert_eq!(check("e", "garbage").await, ("exec garbage: exec format error".into(), Some(126)));
    let mut config = fixture.config("f", &["true"]);
    config.user = "nobody".into();
    let error = fixture.runtime().create(config).await.unwrap_err();
    assert_eq!(error.to_string(), "unable to find user nobody: no matching entries in passwd file");
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_never_started_is_deleted() {
    if !root_or_skip("a_container_that_was_never_started_is_deleted") {
        return;
    }
    let fixture = Fixture::new().await;
    let container = fixture.runtime().create(fixture.config("one", &["true"])).await.unwrap();
    assert!(matches!(container.kill(Signal::TERM).await, Err(Error::NotRunning(_))));
    let second = fixture.runtime().create(fixture.config("one", &["true"])).await;
    assert!(matches!(second, Err(Error::Exists(_))));
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_made_at_once() {
    if !root_or_skip("many_are_made_at_once") {
        return;
    }
    let fixture = Fixture::new().await;
    let lives = (0..30).map(|number| {
        let config = fixture.shell(&format!("c{number}"), &format!("echo {number}; exit {number}"));
        let fixture = &fixture;
        async move { (number, fixture.run(config).await) }
    });
    for (number, (exit, output)) in patiently(futures::future::join_all(lives)).await {
        assert_eq!(exit.code, number);
        assert_eq!(output, format!("{number}\n"));
    }
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_reaps_and_hands_signals_on() {
    if !root_or_skip("an_init_reaps_and_hands_signals_on") {
        return;
    }
    let fixture = Fixture::new().await;
    // An orphan ends; its parent is then process 1, which must not leave it a zombie.
    let script = "(sleep 0.05 & echo $! > /tmp/orphan); trap 'echo bye; exit 9' TERM; \
                  while [ -e /proc/$(cat /tmp/orphan) ]; do sleep 0.01; done; \
                  echo pid $$; while :; do sleep 0.02; done";
    let mut config = fixture.shell("one", script);
    config.init = true;
    let container = fixture.start(config).await;
    until("it is ready", async || common::output(&container).await.contains("pid")).await;
    assert_eq!(common::output(&container).await, "pid 2\n");
    let exit = patiently(container.stop(None, Duration::from_secs(30))).await.unwrap();
    assert_eq!((exit.code, exit.signal), (9, None));
    assert_eq!(common::output(&container).await, "pid 2\nbye\n");

    let mut config = fixture.config("two", &["sleep", "1000"]);
    config.init = true;
    let container = fixture.start(config).await;
    // Not process 1 any more, so that it ends by a signal that it does not handle.
    let exit = patiently(container.stop(None, Duration::from_secs(30))).await.unwrap();
    assert_eq!(exit.code, 143);

    let mut config = fixture.config("three", &["nope"]);
    config.init = true;
    let error = fixture.runtime().create(config).await.unwrap_err();
    assert_eq!(error.to_string(), "exec: \"nope\": executable file not found in $PATH");
}
