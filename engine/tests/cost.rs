//! What a container costs: `cargo test -p skep-engine --test cost -- --ignored --nocapture`.

mod common;

use std::time::{Duration, Instant};

use common::{Fixture, root_or_skip};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn time_and_memory_of_containers() {
    if !root_or_skip("time_and_memory_of_containers") {
        return;
    }
    const COUNT: u32 = 50;
    let fixture = Fixture::new().await;
    let (mut create, mut start, mut pss, mut anonymous) = (Vec::new(), Vec::new(), 0, 0);
    let mut containers = Vec::new();
    for number in 0..COUNT {
        let config = fixture.config(&format!("c{number}"), &["sleep", "1000"]);
        let began = Instant::now();
        let container = fixture.runtime().create(config).await.unwrap();
        create.push(began.elapsed());
        let began = Instant::now();
        container.start().await.unwrap();
        start.push(began.elapsed());
        containers.push(container);
    }
    for container in &containers {
        let status = format!("/proc/{}/status", container.pid().await.unwrap().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
        let rollup = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
        let kib = |name: &str| -> u32 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        pss += kib("Pss:");
        anonymous += kib("Anonymous:");
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!("create, median: {:?}", median(&mut create));
    println!("start, median: {:?}", median(&mut start));
    println!("an idle shim: {} KiB, {} KiB of it its own", pss / COUNT, anonymous / COUNT);
    let began = Instant::now();
    let ends = containers.iter().map(|container| async {
        container.stop(Some(skep_engine::signal::Signal::KILL), Duration::ZERO).await.unwrap();
        container.delete().await.unwrap();
    });
    futures::future::join_all(ends).await;
    println!("all {COUNT} killed and deleted: {:?}", began.elapsed());
}
