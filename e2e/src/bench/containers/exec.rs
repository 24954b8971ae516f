//! `exec` of a command that does nothing, up to its exit code.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use skep_docker_api::Client;
use skep_docker_api::json::{ExecCreateRequest, ExecStartRequest};
use tokio::io::AsyncReadExt;

use super::{IDLE, NOTHING, remove, request, start};
use crate::bench::figures::{Figure, median};
use crate::bench::side::{Side, block_on};

const ROUNDS: usize = 20;

async fn one(client: &Client, container: &str) -> Result<f64> {
    let request = ExecCreateRequest {
        attach_stdout: true,
        attach_stderr: true,
        cmd: NOTHING.iter().copied().map(str::to_owned).collect(),
        ..Default::default()
    };
    let begin = Instant::now();
    let id = client.exec_create(container, &request).await?.id;
    let mut streams = client.exec_start(&id, &ExecStartRequest::default()).await?;
    let mut said = Vec::new();
    streams.read_to_end(&mut said).await.context("failed to read what a command says")?;
    let ended = client.exec(&id).await?;
    let code = ended.exit_code;
    ensure!(code == Some(0), "it ended with {code:?}: {}", String::from_utf8_lossy(&said));
    Ok(begin.elapsed().as_secs_f64())
}

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        let client = side.client(&side.fleet.host(1)).await?;
        let container = start(&client, &request(side, IDLE, "default")).await?;
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            took.push(one(&client, &container).await?);
        }
        remove(&client, &container).await?;
        Ok(vec![Figure::seconds("exec of a no-op, median", median(took))])
    })
}
