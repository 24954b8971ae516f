//! Attaching to containers: input, output to many, and those who are slow.

mod common;

use std::time::Duration;

use common::{Fixture, Said, output, patiently, root_or_skip, until};
use futures::StreamExt;
use skep_engine::config::ContainerConfig;
use skep_engine::signal::Signal;
use skep_engine::{AttachOptions, Error};
use tokio::io::AsyncWriteExt;

const ALL: AttachOptions = AttachOptions { stdin: true, stdout: true, stderr: true };
const OUT: AttachOptions = AttachOptions { stdin: false, stdout: true, stderr: true };

/// `docker run -i`.
fn interactive(mut config: ContainerConfig) -> ContainerConfig {
    config.open_stdin = true;
    config.stdin_once = true;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn input_goes_in_and_output_comes_out() {
    if !root_or_skip("input_goes_in_and_output_comes_out") {
        return;
    }
    let fixture = Fixture::new().await;
    let config = interactive(fixture.shell("one", "echo first; cat; echo last >&2; exit 3"));
    let container = fixture.runtime().create(config).await.unwrap();
    let mut attached = patiently(container.attach(ALL)).await.unwrap();
    let mut watcher = patiently(container.attach(OUT)).await.unwrap();
    assert!(watcher.input.is_none());
    container.start().await.unwrap();

    let mut input = attached.input.take().unwrap();
    // More than all buffers on the way hold.
    let sent: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    let write = async {
        input.write_all(sent.as_bytes()).await.unwrap();
        input.shutdown().await.unwrap();
    };
    let (said, watched, ()) =
        patiently(async { tokio::join!(Said::all(&mut attached), Said::all(&mut watcher), write) })
            .await;
    for said in [&said, &watched] {
        assert_eq!(said.stdout.len(), "first\n".len() + sent.len());
        assert!(said.stdout == format!("first\n{sent}"));
        assert_eq!(said.stderr, "last\n");
    }
    assert_eq!(patiently(container.wait()).await.unwrap().code, 3);
    assert_eq!(output(&container).await, format!("first\n{sent}last\n"));
    assert!(matches!(container.attach(ALL).await, Err(Error::NotRunning(_))));
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gets_the_streams_it_asks_for() {
    if !root_or_skip("each_gets_the_streams_it_asks_for") {
        return;
    }
    let fixture = Fixture::new().await;
    let config = fixture.shell("one", "cat; echo out; echo err >&2");
    let container = fixture.runtime().create(config).await.unwrap();
    let only = |stdout, stderr| AttachOptions { stdin: false, stdout, stderr };
    let mut all = container.attach(ALL).await.unwrap();
    assert!(all.input.is_none(), "the container takes none");
    let mut out = container.attach(only(true, false)).await.unwrap();
    let mut err = container.attach(only(false, true)).await.unwrap();
    let mut none = container.attach(only(false, false)).await.unwrap();
    container.start().await.unwrap();
    for (attached, stdout, stderr) in [
        (&mut all, "out\n", "err\n"),
        (&mut out, "out\n", ""),
        (&mut err, "", "err\n"),
        (&mut none, "", ""),
    ] {
        let said = patiently(Said::all(attached)).await;
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), (stdout, stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_come_and_go() {
    if !root_or_skip("many_may_come_and_go") {
        return;
    }
    let mut fixture = Fixture::new().await;
    let mut config = fixture.shell("one", "while read line; do echo got $line; done; echo end");
    config.open_stdin = true;
    let container = fixture.start(config).await;
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(container.attach(ALL).await.unwrap());
    }
    for (number, speaker) in crowd.iter_mut().enumerate() {
        let line = format!("line {number}\n");
        speaker.input.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }
    let last = crowd.pop().unwrap();
    for listener in &mut crowd {
        let mut said = Said::default();
        while said.stdout.lines().filter(|line| line.starts_with("got line")).count() < 50 {
            assert!(said.hear(listener).await);
        }
    }
    // The end of some, in either way, is the end of nobody else: not of the container either.
    let mut shut = crowd.pop().unwrap();
    shut.input.as_mut().unwrap().shutdown().await.unwrap();
    drop((crowd, last));
    let mut again = container.attach(ALL).await.unwrap();
    again.input.as_mut().unwrap().write_all(b"again\n").await.unwrap();
    for attached in [&mut shut, &mut again] {
        patiently(Said::until(attached, "got again\n")).await;
    }

    // Nor is the daemon's.
    drop((shut, again, container));
    fixture.reopen().await;
    let container = fixture.runtime().get("one").await.unwrap();
    let mut attached = container.attach(ALL).await.unwrap();
    attached.input.as_mut().unwrap().write_all(b"later\n").await.unwrap();
    patiently(Said::until(&mut attached, "got later\n")).await;
    container.kill(Signal::KILL).await.unwrap();
    assert_eq!(patiently(Said::all(&mut attached)).await.stdout, "");
    patiently(container.wait()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_is_taken_once_ends_with_its_client() {
    if !root_or_skip("input_that_is_taken_once_ends_with_its_client") {
        return;
    }
    let fixture = Fixture::new().await;
    let config = interactive(fixture.shell("one", "cat; echo end"));
    let container = fixture.runtime().create(config).await.unwrap();
    let mut first = container.attach(ALL).await.unwrap();
    // Who is not attached to the input ends nothing.
    drop(container.attach(OUT).await.unwrap());
    container.start().await.unwrap();
    first.input.as_mut().unwrap().write_all(b"all\n").await.unwrap();
    drop(first);
    let exit = patiently(container.wait()).await.unwrap();
    assert_eq!(exit.code, 0);
    assert_eq!(output(&container).await, "all\nend\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_the_container_up_and_misses_nothing() {
    if !root_or_skip("a_slow_reader_holds_the_container_up_and_misses_nothing") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "seq 1 1000000; touch /mark/done; exec sleep 1000";
    let mut config = fixture.shell("one", script);
    std::fs::create_dir(fixture.path("mark")).unwrap();
    config.mounts.push(common::bind(&fixture.path("mark"), "/mark"));
    let log = fixture.path("state/containers/one/json.log");
    let container = fixture.runtime().create(config).await.unwrap();
    let mut slow = container.attach(OUT).await.unwrap();
    container.start().await.unwrap();
    // Held up: the log grows no more, though requests are answered.
    let size = || std::fs::metadata(&log).map_or(0, |file| file.len());
    until("the container is held up", async || {
        let before = size();
        tokio::time::sleep(Duration::from_millis(200)).await;
        before > 0 && size() == before
    })
    .await;
    assert!(!fixture.path("mark/done").exists());
    assert!(container.pid().await.unwrap().is_some());
    container.kill(Signal::parse("CONT").unwrap()).await.unwrap();

    let mut said = String::new();
    while !said.ends_with("\n1000000\n") {
        let (_, bytes) = patiently(slow.output.next()).await.unwrap().unwrap();
        said.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    assert!(said == (1..=1_000_000).map(|n| format!("{n}\n")).collect::<String>());
    until("it goes on", async || fixture.path("mark/done").exists()).await;
    container.kill(Signal::KILL).await.unwrap();
    patiently(container.wait()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_leaves_holds_nobody_up() {
    if !root_or_skip("one_who_leaves_holds_nobody_up") {
        return;
    }
    let fixture = Fixture::new().await;
    let mut config = fixture.shell("one", "seq 1 500000; cat; exit 5");
    config.open_stdin = true;
    config.stdin_once = true;
    let container = fixture.runtime().create(config).await.unwrap();
    let silent = container.attach(OUT).await.unwrap();
    let mut speaker = container.attach(ALL).await.unwrap();
    container.start().await.unwrap();
    drop(silent);
    // Only the input is kept.
    let mut input = speaker.input.take().unwrap();
    drop(speaker);
    input.write_all(b"bye\n").await.unwrap();
    drop(input);
    assert_eq!(patiently(container.wait()).await.unwrap().code, 5);
    let said = output(&container).await;
    assert!(said.ends_with("\n500000\nbye\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_the_end_is_read_after_it() {
    if !root_or_skip("what_was_said_before_the_end_is_read_after_it") {
        return;
    }
    let fixture = Fixture::new().await;
    let config = fixture.shell("one", "seq 1 60000");
    let container = fixture.runtime().create(config).await.unwrap();
    let mut attached = container.attach(OUT).await.unwrap();
    container.start().await.unwrap();
    // Nobody reads: the pipe and the sockets hold it all.
    patiently(container.wait()).await.unwrap();
    container.delete().await.unwrap();
    let said = patiently(Said::all(&mut attached)).await;
    assert!(said.stdout == (1..=60_000).map(|n| format!("{n}\n")).collect::<String>());
}
