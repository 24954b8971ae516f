//! A name of another container, asked as a container asks: one question after the other, from inside
//! its network namespace to `127.0.0.11`, and the answer.

use std::fs::File;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use skep_docker_api::json::NetworkCreateRequest;

use super::{IDLE, remove, request, start};
use crate::bench::figures::{Figure, percentile};
use crate::bench::side::{Side, block_on};

const QUESTIONS: usize = 20_000;
/// Asked before what counts: the first answers find nothing in any cache.
const WARMING: usize = 1_000;
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const NETWORK: &str = "bench-names";
/// The container that asks, as it is called on its network.
const ALIAS: &str = "asked";

/// For its `A` record.
fn question() -> Vec<u8> {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ALIAS.len() as u8];
    question.extend_from_slice(ALIAS.as_bytes());
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    question
}

/// Microseconds of each question; for a thread that ends after.
fn ask(place: &Path) -> Result<Vec<f64>> {
    let place = File::open(place).with_context(|| format!("failed to open {}", place.display()))?;
    setns(&place, CloneFlags::CLONE_NEWNET).context("failed to enter a container's network")?;
    let socket = UdpSocket::bind("0.0.0.0:0").context("failed to bind")?;
    socket.connect("127.0.0.11:53").context("failed to connect")?;
    socket.set_read_timeout(Some(ANSWERED_WITHIN)).context("failed to set a time-out")?;
    let (question, mut answer) = (question(), [0; 512]);
    let mut took = Vec::with_capacity(QUESTIONS);
    for number in 0..WARMING + QUESTIONS {
        let begin = Instant::now();
        socket.send(&question).context("failed to ask")?;
        let length = socket.recv(&mut answer).context("no answer came")?;
        let microseconds = begin.elapsed().as_secs_f64() * 1e6;
        // One record at least, and no error.
        ensure!(length > 12 && answer[3] & 0xf == 0 && answer[7] > 0, "no address was told");
        if number >= WARMING {
            took.push(microseconds);
        }
    }
    Ok(took)
}

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    let host = side.fleet.host(1);
    let container = block_on(async {
        let client = side.client(&host).await?;
        let network = NetworkCreateRequest { name: NETWORK.into(), ..Default::default() };
        client.network_create(&network).await?;
        let mut request = request(side, IDLE, NETWORK);
        let settings = serde_json::json!({"EndpointsConfig": {NETWORK: {"Aliases": [ALIAS]}}});
        request.networking_config = serde_json::from_value(settings)?;
        start(&client, &request).await
    })?;
    let place = side.network_of(&host, &format!("^{}$", IDLE.join(" ")))?;
    let asking = std::thread::spawn(move || ask(&place));
    let took = asking.join().map_err(|_| anyhow::anyhow!("the asking thread died"))??;
    block_on(async {
        let client = side.client(&host).await?;
        remove(&client, &container).await?;
        Ok(client.network_remove(NETWORK).await?)
    })?;
    Ok(vec![
        Figure::microseconds("a name of another container, p50", percentile(took.clone(), 50)),
        Figure::microseconds("a name of another container, p99", percentile(took, 99)),
    ])
}
