//! `skep attach`: our streams on a container that runs.

use clap::Args;
use skep_docker_api::json::{AttachOptions, ContainerInspect, WaitCondition};

use super::resize::{self, Of};
use super::wiring::{End, Wiring, check_terminal};
use super::{signals, status};
use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::values::integer;

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    detach_keys: String,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = integer::truth)]
    sig_proxy: bool,
    #[arg(hide = true, value_name = "CONTAINER")]
    container: String,
}

/// What Docker says when the user typed the keys that detach.
pub const DETACHED: &str = "read escape sequence";

async fn running(session: &Session, name: &str) -> Outcome<ContainerInspect> {
    let container = session.client.container(name, false).await?;
    let state = &container.state;
    let refusal = match () {
        () if !state.running => "You cannot attach to a stopped container, start it first",
        () if state.paused => "You cannot attach to a paused container, unpause it first",
        () if state.restarting => {
            "You cannot attach to a restarting container, wait until it is running"
        }
        () => return Ok(container),
    };
    Err(Failure::new(refusal))
}

pub async fn run(session: &Session, args: AttachArgs) -> Outcome {
    let client = &session.client;
    let id = args.container;
    // Before all: an end that comes while we look is not missed.
    let ended = client.container_wait(&id, WaitCondition::NotRunning).await?;
    let config = running(session, &id).await?.config;
    check_terminal(!args.no_stdin, config.tty)?;
    let wiring = Wiring {
        stdin: !args.no_stdin && config.open_stdin,
        stdout: true,
        stderr: true,
        tty: config.tty,
        detach_keys: session.config.detach_keys(&args.detach_keys),
    };
    let _proxy = (args.sig_proxy && !config.tty).then(|| signals::proxy(client, &id));
    let options = AttachOptions {
        stream: true,
        stdin: wiring.stdin,
        stdout: true,
        stderr: true,
        detach_keys: wiring.detach_keys.clone(),
        ..Default::default()
    };
    let stream = client.container_attach(&id, &options).await?;
    // It may have ended between the question and the attaching, and would then never say so.
    running(session, &id).await?;
    let _following = if config.tty {
        let of = Of::Container(id);
        resize::nudge(client, &of).await;
        resize::follow(client, of)
    } else {
        None
    };
    match wiring.join(stream).await? {
        End::Detached => Err(Failure::new(DETACHED)),
        End::Finished => match ended.await? {
            answer if answer.error.is_some() => {
                Err(Failure::new(answer.error.unwrap_or_default().message))
            }
            answer => status::exit(answer.status_code),
        },
    }
}
