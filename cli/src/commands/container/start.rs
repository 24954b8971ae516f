//! `skep start`: containers that stand already, in the background or attached to.

use clap::Args;
use skep_docker_api::json::{AttachOptions, WaitCondition};

use super::resize::{self, Of};
use super::wiring::{End, Wiring};
use super::{signals, status};
use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};

#[derive(Debug, Args)]
pub struct StartArgs {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Restore from this checkpoint
    #[arg(long, value_name = "string", hide = true)]
    checkpoint: Option<String>,
    /// Use a custom checkpoint storage directory
    #[arg(long, value_name = "string", hide = true)]
    checkpoint_dir: Option<String>,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    detach_keys: String,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    #[arg(required = true, hide = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub async fn run(session: &Session, args: StartArgs) -> Outcome {
    if args.checkpoint.is_some() || args.checkpoint_dir.is_some() {
        return Err(Failure::new("checkpoints are not supported"));
    }
    if !args.attach && !args.interactive {
        return detached(session, &args.containers).await;
    }
    let [name] = args.containers.as_slice() else {
        return Err(Failure::new("you cannot start and attach multiple containers at once"));
    };
    attached(session, name, &args).await
}

async fn detached(session: &Session, containers: &[String]) -> Outcome {
    let mut failed = Vec::new();
    for name in containers {
        match session.client.container_start(name).await {
            Ok(_) => line(name)?,
            Err(error) => {
                warn(Failure::from(error).message);
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("Error: failed to start containers: {}", failed.join(", "))))
}

async fn attached(session: &Session, name: &str, args: &StartArgs) -> Outcome {
    let client = &session.client;
    let container = client.container(name, false).await?;
    let (id, config) = (container.id, container.config);
    let wiring = Wiring {
        stdin: args.interactive && config.open_stdin,
        stdout: true,
        stderr: true,
        tty: config.tty,
        detach_keys: session.config.detach_keys(&args.detach_keys),
    };
    let _proxy = (!config.tty).then(|| signals::proxy(client, &id));
    let options = AttachOptions {
        stream: true,
        stdin: wiring.stdin,
        stdout: true,
        stderr: true,
        detach_keys: wiring.detach_keys.clone(),
        ..Default::default()
    };
    let stream = client.container_attach(&id, &options).await?;
    let removed = container.host_config.auto_remove;
    let condition = if removed { WaitCondition::Removed } else { WaitCondition::NextExit };
    let ended = client.container_wait(&id, condition).await?;
    if let Err(error) = client.container_start(&id).await {
        drop(stream);
        if removed {
            let _ = ended.await;
        }
        return Err(error.into());
    }
    let _following = config.tty.then(|| resize::follow(client, Of::Container(id))).flatten();
    match wiring.join(stream).await? {
        End::Detached => Ok(()),
        End::Finished => status::of(ended.await),
    }
}
