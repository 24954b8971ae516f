//! What a container writes is read back, while it runs and after, across rotated files.

mod common;

use std::time::Duration;

use common::{Fixture, lines, patiently, root_or_skip, until};
use futures::StreamExt;
use skep_engine::LogQuery;
use skep_engine::config::LogLimits;
use skep_engine::logs::Stdio;
use skep_engine::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn queries_choose_lines() {
    if !root_or_skip("queries_choose_lines") {
        return;
    }
    let fixture = Fixture::new().await;
    // The two outputs are two pipes: only a pause keeps their order.
    let script = "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; printf end";
    let container = fixture.start(fixture.shell("one", script)).await;
    patiently(container.wait()).await.unwrap();
    let all = LogQuery::default;
    assert_eq!(lines(&container, all()).await, ["one\n", "two\n", "three\n", "end"]);
    assert_eq!(lines(&container, LogQuery { tail: Some(2), ..all() }).await, ["three\n", "end"]);
    assert_eq!(lines(&container, LogQuery { tail: Some(0), ..all() }).await, [""; 0]);
    assert_eq!(lines(&container, LogQuery { stdout: false, ..all() }).await, ["two\n"]);

    let entries = container.logs(all()).await.unwrap();
    let entries: Vec<_> = patiently(entries.map(Result::unwrap).collect()).await;
    assert_eq!(entries[1].stdio, Stdio::Stderr);
    let (second, third) = (entries[1].time, entries[2].time);
    assert!(second < third);
    let since = LogQuery { since: Some(third), ..all() };
    assert_eq!(lines(&container, since).await, ["three\n", "end"]);
    let until = LogQuery { until: Some(second), ..all() };
    assert_eq!(lines(&container, until).await, ["one\n", "two\n"]);

    let stamped = lines(&container, LogQuery { timestamps: true, tail: Some(1), ..all() }).await;
    let (time, text) = stamped[0].split_once(' ').unwrap();
    assert_eq!(text, "end");
    assert!(time.ends_with('Z') && time.len() >= "2026-11-24T12:00:00Z".len(), "{time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lines_come_in_parts() {
    if !root_or_skip("long_lines_come_in_parts") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo short";
    let container = fixture.start(fixture.shell("one", script)).await;
    patiently(container.wait()).await.unwrap();
    let lengths: Vec<usize> =
        lines(&container, LogQuery::default()).await.iter().map(String::len).collect();
    assert_eq!(lengths, [16384, 16384, 40000 - 2 * 16384 + 1, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_lines_as_they_come_and_ends_with_the_container() {
    if !root_or_skip("a_follower_sees_lines_as_they_come_and_ends_with_the_container") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "trap 'echo bye; exit' TERM; echo hello; while :; do sleep 0.05; done";
    let container = fixture.start(fixture.shell("one", script)).await;
    let mut entries =
        container.logs(LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    let first = patiently(entries.next()).await.unwrap().unwrap();
    assert_eq!(&first.line[..], b"hello\n");
    container.kill(Signal::TERM).await.unwrap();
    let second = patiently(entries.next()).await.unwrap().unwrap();
    assert_eq!(&second.line[..], b"bye\n");
    assert!(patiently(entries.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_bounds_the_disk_and_loses_a_follower_nothing() {
    if !root_or_skip("rotation_bounds_the_disk_and_loses_a_follower_nothing") {
        return;
    }
    let fixture = Fixture::new().await;
    // Each line takes some 110 bytes in the file; a hundred are written whenever the test says go.
    let script = "i=0; while [ $i -lt 2000 ]; do while ! [ -e /go/$((i / 100)) ]; do \
                  sleep 0.01; done; echo line $i of many more; i=$((i + 1)); done";
    let mut config = fixture.shell("one", script);
    config.log = LogLimits { file_bytes_max: 16 * 1024, files_max: 3 };
    std::fs::create_dir(fixture.path("go")).unwrap();
    config.mounts.push(common::bind(&fixture.path("go"), "/go"));
    let container = fixture.start(config).await;
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let entries = container.logs(query).await.unwrap();
    let mut entries = entries;
    for round in 0..20 {
        std::fs::write(fixture.path(&format!("go/{round}")), "").unwrap();
        for line in 100 * round..100 * (round + 1) {
            let entry = patiently(entries.next()).await.unwrap().unwrap();
            assert_eq!(entry.line, format!("line {line} of many more\n"));
        }
    }
    assert!(patiently(entries.next()).await.is_none());
    let files = std::fs::read_dir(fixture.path("state/containers/one")).unwrap();
    let log = |f: &std::fs::DirEntry| f.file_name().to_string_lossy().starts_with("json.log");
    let files: Vec<_> = files.map(Result::unwrap).filter(log).collect();
    let size: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
    assert_eq!(files.len(), 3);
    assert!((1..=3 * 16 * 1024).contains(&size), "{size} bytes");

    let wanted: Vec<String> = (0..2000).map(|n| format!("line {n} of many more\n")).collect();
    // What rotation has left is read in order.
    let left = lines(&container, LogQuery::default()).await;
    assert_eq!(left[..], wanted[wanted.len() - left.len()..]);
    let last = lines(&container, LogQuery { tail: Some(150), ..LogQuery::default() }).await;
    assert_eq!(last[..], wanted[wanted.len() - last.len()..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_no_container_up() {
    if !root_or_skip("a_full_disk_holds_no_container_up") {
        return;
    }
    let fixture = Fixture::new().await;
    let config = fixture.shell("one", "seq 1 50000; exit 4");
    let container = fixture.runtime().create(config).await.unwrap();
    let log = fixture.path("state/containers/one/json.log");
    std::os::unix::fs::symlink("/dev/full", log).unwrap();
    container.start().await.unwrap();
    let exit = patiently(container.wait()).await.unwrap();
    assert_eq!((exit.code, exit.log_entries_dropped), (4, 50000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_follower_stops() {
    if !root_or_skip("a_dropped_follower_stops") {
        return;
    }
    let fixture = Fixture::new().await;
    let container = fixture.start(fixture.config("one", &["yes"])).await;
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut entries = container.logs(query).await.unwrap();
    assert!(patiently(entries.next()).await.is_some());
    let running = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    drop(entries);
    until("the reader is gone", async || {
        tokio::runtime::Handle::current().metrics().num_alive_tasks() < running
    })
    .await;
    let stopped = container.stop(Some(Signal::KILL), Duration::from_secs(10));
    patiently(stopped).await.unwrap();
}
