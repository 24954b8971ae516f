//! One small command for many containers each: stop, restart, kill, pause, unpause, wait, rm; and rename.
//!
//! Each name that was dealt with is printed, in the order given; what failed is told at the end.

use clap::Args;
use futures::StreamExt;
use futures::stream;
use skep_docker_api::json::{RemoveOptions, StopOptions, WaitCondition};

use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};
use crate::values::integer;

#[derive(Debug, Args)]
pub struct Names {
    #[arg(required = true, hide = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    signal: String,
    /// Seconds to wait before killing the container
    #[arg(short, long, visible_alias = "time", value_name = "int", value_parser = integer::signed)]
    timeout: Option<i64>,
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
pub struct KillArgs {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    signal: String,
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
pub struct RenameArgs {
    #[arg(hide = true, value_name = "CONTAINER")]
    container: String,
    #[arg(hide = true, value_name = "NEW_NAME")]
    name: String,
}

/// How many are under way at once (Docker's number).
const PARALLEL: usize = 50;

/// Does one thing to each, many at once, and tells in order.
async fn each<'a, F, D, E>(names: &'a [String], act: F) -> Outcome
where
    F: Fn(&'a str) -> D,
    D: Future<Output = Result<(), E>> + 'a,
    E: Into<Failure>,
{
    let mut done = stream::iter(names)
        .map(|name| {
            let act = act(name);
            async move { (name, act.await) }
        })
        .buffered(PARALLEL);
    let mut failures = Vec::new();
    while let Some((name, result)) = done.next().await {
        match result {
            Ok(()) => line(name)?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}

impl StopArgs {
    fn options(&self) -> StopOptions {
        StopOptions { signal: self.signal.clone(), timeout: self.timeout }
    }
}

pub async fn stop(session: &Session, args: StopArgs) -> Outcome {
    let options = &args.options();
    let stop = async |name: &str| session.client.container_stop(name, options).await.map(drop);
    each(&args.names.containers, stop).await
}

pub async fn restart(session: &Session, args: StopArgs) -> Outcome {
    let options = &args.options();
    let restart =
        async |name: &str| session.client.container_restart(name, options).await.map(drop);
    each(&args.names.containers, restart).await
}

pub async fn kill(session: &Session, args: KillArgs) -> Outcome {
    let signal = &args.signal;
    each(&args.names.containers, |name| session.client.container_kill(name, signal)).await
}

pub async fn pause(session: &Session, args: Names) -> Outcome {
    each(&args.containers, |name| session.client.container_pause(name)).await
}

pub async fn unpause(session: &Session, args: Names) -> Outcome {
    each(&args.containers, |name| session.client.container_unpause(name)).await
}

pub async fn wait(session: &Session, args: Names) -> Outcome {
    let mut failures = Vec::new();
    for name in &args.containers {
        let ended =
            async { session.client.container_wait(name, WaitCondition::NotRunning).await?.await };
        match ended.await {
            Ok(answer) => line(answer.status_code.to_string())?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}

pub async fn remove(session: &Session, args: RmArgs) -> Outcome {
    let options = &RemoveOptions { force: args.force, volumes: args.volumes, link: args.link };
    let remove = async |given: &str| {
        let name = given.trim_matches('/');
        if name.is_empty() {
            return Err(Failure::new("container name cannot be empty"));
        }
        match session.client.container_remove(name, options).await {
            Err(error) if args.force && error.is_not_found() => {
                warn(Failure::from(error).message);
                Ok(false)
            }
            done => done.map(|()| true).map_err(Failure::from),
        }
    };
    let mut done = stream::iter(&args.names.containers)
        .map(|name| {
            let removed = remove(name);
            async move { (name, removed.await) }
        })
        .buffered(PARALLEL);
    let mut failures = Vec::new();
    while let Some((name, result)) = done.next().await {
        match result {
            Ok(true) => line(name)?,
            Ok(false) => {}
            Err(failure) => failures.push(failure),
        }
    }
    Failure::join(failures)
}

pub async fn rename(session: &Session, args: RenameArgs) -> Outcome {
    let (old, new) = (args.container.trim(), args.name.trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::new("Error: Neither old nor new names may be empty"));
    }
    session.client.container_rename(old, new).await.map_err(|error| {
        warn(Failure::from(error).message);
        Failure::new(format!("Error: failed to rename container named {old}"))
    })
}
