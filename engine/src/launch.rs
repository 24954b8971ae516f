//! Starts a shim and hears whether its container could be made.

use std::fs::File;
use std::os::fd::OwnedFd;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::config::ContainerConfig;
use crate::defaults::{CONFIG_BYTES_MAX, CREATE_TIMEOUT, MESSAGE_BYTES_MAX};
use crate::error::{Error, Result};
use crate::layout::Places;
use crate::process;
use crate::protocol::{Launch, Reply, Role};
use crate::runtime::Shared;
use crate::sealed;

/// Puts a launch into memory that only the shim gets.
pub fn message(launch: &Launch) -> Result<OwnedFd> {
    let head = serde_json::to_vec(launch)
        .map_err(|source| Error::Record { path: launch.state.clone(), source })?;
    if head.len() > CONFIG_BYTES_MAX {
        return Err(Error::Invalid(format!("the configuration has {} bytes", head.len())));
    }
    let length = (head.len() as u64).to_le_bytes();
    let mut parts: Vec<&[u8]> = vec![&length, &head];
    parts.extend(launch.config.files.iter().map(|file| file.content.bytes()));
    sealed::message(&parts).map_err(failed("pass the configuration", &launch.config))
}

/// Runs a shim until it has made the container, or could not. On failure the shim is gone.
pub async fn launch(shared: &Shared, launch: &Launch, places: &Places) -> Result<()> {
    let config = &launch.config;
    let input = message(launch)?;
    let (report, writer) = std::io::pipe().map_err(failed("make a pipe", config))?;
    let errors =
        File::create(places.shim_errors()).map_err(Error::io("create", places.shim_errors()))?;
    let streams = [input, writer.into(), errors.into()];
    let shim = shared.fork(Role::Keep, streams).await.map_err(failed("start the shim", config))?;
    let watched = shim.try_clone().map_err(failed("watch the shim", config))?;
    let report = pipe::Receiver::from_owned_fd(report.into())
        .map_err(failed("hear from the shim", config))?;

    let mut line = String::new();
    let mut report = BufReader::new(report.take(MESSAGE_BYTES_MAX as u64));
    let answered = tokio::select! {
        read = report.read_line(&mut line) => read.map(|length| length > 0),
        // It may have answered and gone at once.
        _ = process::ended(watched) => report.read_line(&mut line).await.map(|length| length > 0),
        () = tokio::time::sleep(CREATE_TIMEOUT) => {
            end(shim).await;
            return Err(Error::Timeout { what: "the creation", id: config.id.clone() });
        }
    };
    let reply = answered
        .map_err(failed("hear from the shim", config))
        .map(|_| serde_json::from_str::<Reply>(&line));
    let error = match reply {
        // The shim goes on by itself.
        Ok(Ok(Reply::Done)) => return Ok(()),
        Ok(Ok(Reply::Failed { message, exit_code })) => Error::Failed { message, exit_code },
        Ok(_) => {
            let said = std::fs::read_to_string(places.shim_errors()).unwrap_or_default();
            let message = format!("the shim broke: {}", said.trim());
            Error::Failed { message, exit_code: None }
        }
        Err(error) => error,
    };
    end(shim).await;
    Err(error)
}

/// It may be gone by itself, and that may have been seen.
async fn end(shim: OwnedFd) {
    let _ = process::kill(&shim, libc::SIGKILL);
    let _ = process::ended(shim).await;
}

fn failed(
    operation: &'static str,
    config: &ContainerConfig,
) -> impl FnOnce(std::io::Error) -> Error {
    let id = config.id.clone();
    move |source| Error::Container { operation, id, source }
}
