//! A container that writes as fast as it can: its log loses nothing.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use skep_docker_api::Client;
use skep_docker_api::json::WaitCondition;
use skep_docker_api::logs::LogOptions;

use super::{remove, request};
use crate::bench::figures::{Figure, median};
use crate::bench::side::{Side, block_on};

const LINES: u64 = 1_000_000;
const ROUNDS: usize = 3;

/// Writes all numbers up to [`LINES`], one a line; the container's id, and the seconds until it has
/// ended, which is when its log is whole.
async fn write(side: &Side, client: &Client) -> Result<(String, f64)> {
    let last = LINES.to_string();
    let request = request(side, &["/bin/busybox", "seq", "1", &last], "none");
    let id = client.container_create(None, "", &request).await?.id;
    let end = client.container_wait(&id, WaitCondition::NextExit).await?;
    let begin = Instant::now();
    client.container_start(&id).await?;
    let code = end.await?.status_code;
    ensure!(code == 0, "the writer ended with {code}");
    Ok((id, begin.elapsed().as_secs_f64()))
}

/// Reads the log and looks at each line; the seconds.
async fn read(client: &Client, id: &str) -> Result<f64> {
    let begin = Instant::now();
    let mut frames = client.container_logs(id, &LogOptions::default()).await?;
    let (mut rest, mut lines) = (Vec::new(), 0);
    while let Some(frame) = frames.try_next().await? {
        rest.extend_from_slice(&frame.text);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = std::str::from_utf8(&rest[..whole]).context("a line is no text")?;
        for line in text.lines() {
            lines += 1;
            ensure!(line.parse() == Ok(lines), "line {lines} says {line:?}");
        }
        rest.drain(..whole);
    }
    ensure!(lines == LINES && rest.is_empty(), "the log has {lines} of {LINES} lines");
    Ok(begin.elapsed().as_secs_f64())
}

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        let client = side.client(&side.fleet.host(1)).await?;
        let (mut written, mut seen) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (id, seconds) = write(side, &client).await?;
            written.push(seconds);
            seen.push(read(&client, &id).await?);
            remove(&client, &id).await?;
        }
        Ok(vec![
            Figure::seconds("1,000,000 lines logged, median", median(written)),
            Figure::seconds("logs of 1,000,000 lines, median", median(seen)),
        ])
    })
}
