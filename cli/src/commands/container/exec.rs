//! `skep exec`: one more process in a container that runs.

use clap::Args;
use skep_docker_api::json::{ExecCreateRequest, ExecStartRequest};

use super::attach::DETACHED;
use super::resize::{self, Of};
use super::status;
use super::wiring::{End, Wiring, check_terminal};
use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::terminal::raw;
use crate::values::pairs;

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    detach_keys: String,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = pairs::variable)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    user: String,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    workdir: String,
    #[arg(required = true, hide = true, value_name = "CONTAINER")]
    container: String,
    #[arg(
        required = true,
        hide = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

impl ExecArgs {
    fn request(&self, session: &Session) -> Outcome<ExecCreateRequest> {
        let attached = !self.detach;
        let mut env = pairs::environment_of_files(&self.env_file)?;
        env.extend(self.env.iter().map(|pair| pairs::resolved(pair)));
        let size = raw::size().unwrap_or_default();
        Ok(ExecCreateRequest {
            user: self.user.clone(),
            privileged: self.privileged,
            tty: self.tty,
            console_size: self.tty.then(|| [size.0.into(), size.1.into()]),
            attach_stdin: attached && self.interactive,
            attach_stdout: attached,
            attach_stderr: attached,
            detach_keys: session.config.detach_keys(&self.detach_keys),
            env,
            working_dir: self.workdir.clone(),
            cmd: self.command.clone(),
            detach: self.detach,
        })
    }
}

pub async fn run(session: &Session, args: ExecArgs) -> Outcome {
    let client = &session.client;
    let request = args.request(session)?;
    // A container that is not there is the better error than a terminal that is not.
    client.container(&args.container, false).await?;
    if !args.detach {
        check_terminal(request.attach_stdin, request.tty)?;
    }
    let id = client.exec_create(&args.container, &request).await?.id;
    let start = ExecStartRequest {
        detach: args.detach,
        tty: request.tty,
        console_size: request.console_size,
    };
    if args.detach {
        return Ok(client.exec_start_detached(&id, &start).await?);
    }
    let stream = client.exec_start(&id, &start).await?;
    let _following = request.tty.then(|| resize::follow(client, Of::Exec(id.clone()))).flatten();
    let wiring = Wiring {
        stdin: request.attach_stdin,
        stdout: true,
        stderr: true,
        tty: request.tty,
        detach_keys: request.detach_keys,
    };
    match wiring.join(stream).await? {
        End::Detached => Err(Failure::new(DETACHED)),
        End::Finished => status::exit(client.exec(&id).await?.exit_code.unwrap_or(0)),
    }
}
