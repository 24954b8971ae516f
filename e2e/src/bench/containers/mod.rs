//! Containers made by hand: what one takes, many at once, and a crowd that runs.
//!
//! The calls are those that the docker command line makes for `run`, `run --rm`, `run -d` and
//! `exec`, in its order.

mod crowd;
mod exec;
mod log;
mod many;
mod names;
mod run;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use skep_docker_api::Client;
use skep_docker_api::json::{
    AttachOptions, ContainerConfig, ContainerCreateRequest, HostConfig, RemoveOptions,
    WaitCondition,
};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

pub use crowd::{listed, running};
pub use exec::measure as exec;
pub use log::measure as log;
pub use many::measure as many;
pub use names::measure as names;
pub use run::measure as run;

use super::side::Side;

const NOTHING: &[&str] = &["/bin/busybox", "true"];
const IDLE: &[&str] = &["/bin/busybox", "sleep", "86400"];

/// A container of these words on a network of this name.
fn request(side: &Side, words: &[&str], network: &str) -> ContainerCreateRequest {
    ContainerCreateRequest {
        config: ContainerConfig {
            image: side.image.clone(),
            cmd: Some(words.iter().copied().map(str::to_owned).collect()),
            ..Default::default()
        },
        host_config: HostConfig { network_mode: network.to_owned(), ..Default::default() },
        ..Default::default()
    }
}

/// `run --rm`, up to the container's being gone; seconds.
async fn run_to_its_end(client: &Client, mut request: ContainerCreateRequest) -> Result<f64> {
    request.host_config.auto_remove = true;
    (request.config.attach_stdout, request.config.attach_stderr) = (true, true);
    let options = AttachOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
    let begin = Instant::now();
    let id = client.container_create(None, "", &request).await?.id;
    let mut streams = client.container_attach(&id, &options).await?;
    let end = client.container_wait(&id, WaitCondition::Removed).await?;
    client.container_start(&id).await?;
    let mut said = Vec::new();
    streams.read_to_end(&mut said).await.context("failed to read what a container says")?;
    let code = end.await?.status_code;
    ensure!(code == 0, "it ended with {code}: {}", String::from_utf8_lossy(&said));
    Ok(begin.elapsed().as_secs_f64())
}

/// `run -d`; the container's id.
async fn start(client: &Client, request: &ContainerCreateRequest) -> Result<String> {
    let id = client.container_create(None, "", request).await?.id;
    client.container_start(&id).await?;
    Ok(id)
}

/// Removes a container, whatever it does.
async fn remove(client: &Client, id: &str) -> Result<()> {
    let options = RemoveOptions { force: true, ..Default::default() };
    Ok(client.container_remove(id, &options).await?)
}

/// Does something with each, so many at once; what came of it in no order, and the seconds.
async fn each<T, R, F>(all: Vec<T>, at_once: usize, act: impl Fn(T) -> F) -> Result<(Vec<R>, f64)>
where
    R: Send + 'static,
    F: Future<Output = Result<R>> + Send + 'static,
{
    let begin = Instant::now();
    let mut left = all.into_iter();
    let mut acts = JoinSet::new();
    for one in left.by_ref().take(at_once) {
        acts.spawn(act(one));
    }
    let mut came = Vec::new();
    while let Some(done) = acts.join_next().await {
        came.push(done.context("it broke")??);
        if let Some(next) = left.next() {
            acts.spawn(act(next));
        }
    }
    Ok((came, begin.elapsed().as_secs_f64()))
}
