//! `skep run`: made, attached to, started, and waited for.
//!
//! Order matters: attaching and waiting begin before the start, so that nothing a short life says is missed.

use clap::Args;
use skep_docker_api::json::{AttachOptions, WaitCondition};

use super::create::{MakeFlags, with_help};
use super::flags::ContainerFlags;
use super::resize::{self, Of};
use super::wiring::{End, Wiring, check_terminal};
use super::{signals, status};
use crate::commands::Session;
use crate::failure::{EXIT_USAGE, Failure, Outcome};
use crate::output::line;
use crate::values::integer;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    detach_keys: String,
    /// Proxy received signals to the process
    #[arg(long, value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = integer::truth)]
    sig_proxy: bool,
    #[command(flatten)]
    make: MakeFlags,
    #[command(flatten)]
    container: Box<ContainerFlags>,
}

/// What a program that could not be started exits with in a shell, told by the daemon's words (Docker's rule).
fn told(failure: &Failure) -> Failure {
    let message = &failure.message;
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let status = match () {
        () if says(&["executable file not found", "no such file or directory"]) => 127,
        () if says(&["permission denied", "is a directory"]) => 126,
        () => EXIT_USAGE,
    };
    Failure::with_status(status, with_help(failure, "run"))
}

pub async fn run(session: &Session, args: RunArgs) -> Outcome {
    let wrong = |failure: Failure| Failure::with_status(EXIT_USAGE, with_help(&failure, "run"));
    args.make.check().map_err(wrong)?;
    let mut request = args.container.request().map_err(wrong)?;
    if args.detach {
        if !args.container.process.attach.is_empty() {
            return Err(Failure::new(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        let config = &mut request.config;
        (config.attach_stdin, config.attach_stdout, config.attach_stderr) = (false, false, false);
        config.stdin_once = false;
    } else {
        check_terminal(request.config.attach_stdin, request.config.tty)?;
    }
    let id = args.make.make(session, &mut request).await.map_err(|failure| told(&failure))?;
    let (config, host) = (&request.config, &request.host_config);
    let wiring = Wiring {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        tty: config.tty,
        detach_keys: session.config.detach_keys(&args.detach_keys),
    };
    let client = &session.client;
    let started = |done: Result<_, skep_docker_api::ClientError>| {
        done.map_err(|error| told(&Failure::from(error)))
    };
    if !(wiring.stdin || wiring.stdout || wiring.stderr) {
        started(client.container_start(&id).await.map(drop))?;
        return line(id);
    }
    let _proxy = args.sig_proxy.then(|| signals::proxy(client, &id));
    let options = AttachOptions {
        stream: true,
        stdin: wiring.stdin,
        stdout: wiring.stdout,
        stderr: wiring.stderr,
        detach_keys: wiring.detach_keys.clone(),
        ..Default::default()
    };
    let stream = client.container_attach(&id, &options).await?;
    let condition = if host.auto_remove { WaitCondition::Removed } else { WaitCondition::NextExit };
    let ended = client.container_wait(&id, condition).await?;
    let joined = wiring.join(stream);
    tokio::pin!(joined);
    // Input and output flow already while it starts: it may want them at once.
    let start = client.container_start(&id);
    tokio::pin!(start);
    let mut early = None;
    let begun = loop {
        tokio::select! {
            done = &mut start => break done.map(drop),
            end = &mut joined, if early.is_none() => early = Some(end),
        }
    };
    if let Err(error) = begun {
        if host.auto_remove {
            // What is not there any more is what was waited for.
            let _ = ended.await;
        }
        return Err(told(&Failure::from(error)));
    }
    let _following =
        config.tty.then(|| resize::follow(client, Of::Container(id.clone()))).flatten();
    let mut ended = ended;
    let end = match early {
        Some(end) => end?,
        None if wiring.stdout || wiring.stderr => joined.await?,
        // With no output to end, the container's own end is waited for too.
        None => {
            tokio::select! {
                end = &mut joined => end?,
                answer = &mut ended => return status::of(answer),
            }
        }
    };
    match end {
        End::Detached => Ok(()),
        End::Finished => status::of(ended.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_words_tell_the_status() {
        for (words, status) in [
            ("exec: \"nope\": executable file not found in $PATH", 127),
            ("exec /x: no such file or directory", 127),
            ("exec /etc: permission denied", 126),
            ("exec /etc: is a directory", 126),
            ("the name is in use", 125),
        ] {
            assert_eq!(told(&Failure::new(words)).status, status, "{words}");
        }
    }
}
