//! The shim: one small process for each container, which makes it through libcontainer, keeps its
//! output, reaps it and writes down how it ended.
//!
//! It is forked from a process that was started from a sealed copy of the multi-call binary, has the
//! launch file as standard input and a pipe for its one report as standard output, and goes on
//! without whoever started it.
//!
//! **Invariant:** it has a single thread, always: libcontainer forks, changes the working directory
//! and the process's own attributes.

mod cgroup_mounts;
mod client;
mod create;
mod devices;
mod exec;
mod executor;
mod files;
pub(crate) mod filter;
mod hooks;
mod init;
mod netns;
mod nursery;
mod profile;
mod rooted;
mod rootfs;
pub(crate) mod seccomp;
mod serve;
mod spec;
mod streams;
pub(crate) mod terminal;
mod thermal;
mod trees;
mod user;
mod userns;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::unistd::{chdir, dup2_stdin, dup2_stdout, setsid};

use crate::defaults::{ALONE_NAME, CONFIG_BYTES_MAX};
use crate::layout::Places;
use crate::lock;
use crate::protocol::{Failure, Launch, Reply, Role};
use create::Contents;

/// The whole life of the process, and of those that are forked from it. `args` are those of the
/// process, its name among them.
pub fn main(args: &[OsString]) -> ExitCode {
    let alone = args.last().is_some_and(|argument| argument == ALONE_NAME);
    let role = match alone {
        true => Ok(Some(Role::Keep)),
        false => stdio().and_then(|[input, socket]| nursery::main(input.into(), socket)),
    };
    let ended = role.and_then(|role| {
        let Some(role) = role else { return Ok(()) };
        let [input, output] = stdio()?;
        match role {
            Role::Keep => keep(input.into(), output.into()),
            Role::Exec => exec::main(input.into(), &output),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Duplicates that no program of the container inherits; 0 and 1 become /dev/null.
fn stdio() -> io::Result<[OwnedFd; 2]> {
    let duplicates =
        [io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?];
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    Ok(duplicates)
}

fn keep(mut input: File, mut report: File) -> io::Result<()> {
    let (launch, contents) = read_launch(&mut input)?;
    drop(input);
    let places = Places::of(launch.state.clone(), launch.run.clone());
    // A daemon that cleans up takes this lock first: whoever comes second gives way.
    let held = lock::take(&places.lock())?.filter(|held| lock::still_at(held, &places.lock()));
    let Some(held) = held.filter(|_| !places.exit().exists()) else {
        return Err(io::Error::other("the container's directory is taken or gone"));
    };
    // Fails where the process leads a group already, which is as good.
    let _ = setsid();
    chdir("/")?;

    let made = create::create(&launch, contents, &places);
    let taken = made.and_then(|created| {
        let (hierarchies, cgroup) = (created.hierarchies.clone(), created.cgroup.clone());
        serve::take(created, &launch, &places, held).map_err(|error| {
            // The command has not run yet: ending it loses nothing.
            let _ = hierarchies.destroy(&cgroup);
            Failure { message: format!("failed to take charge: {error}"), exit_code: None }
        })
    });
    match taken {
        Ok(shim) => {
            answer(&mut report, &Reply::Done);
            drop(report);
            shim.serve()
        }
        Err(Failure { message, exit_code }) => {
            answer(&mut report, &Reply::Failed { message, exit_code });
            Ok(())
        }
    }
}

/// A daemon that is gone hears nothing, and finds the container when it is back.
fn answer(report: &mut File, reply: &Reply) {
    if let Ok(mut line) = serde_json::to_vec(reply) {
        line.push(b'\n');
        let _ = report.write_all(&line);
    }
}

fn read_launch(input: &mut File) -> io::Result<(Launch, Contents)> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > CONFIG_BYTES_MAX {
        return Err(io::Error::other("the launch file's head is too long"));
    }
    let mut head = vec![0; length];
    input.read_exact(&mut head)?;
    let launch: Launch = serde_json::from_slice(&head)?;
    let mut contents = Contents::new(vec![0; launch.file_bytes.iter().sum()]);
    input.read_exact(&mut contents)?;
    Ok((launch, contents))
}
