//! How a host comes to be: the `fleet` program starts itself again, makes the namespaces, and
//! leaves a first process in them that reaps orphans until it is killed or its owner is gone.
//!
//! The steps need a process with one thread, which a test's is not: hence a program of its own.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, sethostname, setsid,
};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::limits;
use crate::mounts;
use crate::process::Process;

/// What the new process is told, as JSON on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct BootSpec {
    pub(crate) machine: String,
    pub(crate) dir: PathBuf,
    pub(crate) cgroups: Cgroups,
    /// The host ends with this process.
    pub(crate) owner: Option<Process>,
}

const READY: &[u8] = b"ready";

/// Make the host; once it stands, returns the number of its first process, in the caller's process
/// only. For a program with one thread that then ends: its view of `/proc` is the host's.
pub fn boot(spec: &BootSpec) -> Result<i32> {
    let owner = match spec.owner {
        Some(owner) => Some(owner.pidfd()?.context("the fleet's owner is gone")?),
        None => None,
    };
    // The group at this moment becomes the root that the host sees.
    let mut doors = spec.cgroups.doors(&spec.machine, "")?;
    Cgroups::join(&mut doors).context("failed to enter the host's cgroups")?;
    // Opened here: the first process is to live in a leaf, and the paths are about to change.
    let mut leaves = spec.cgroups.doors(&spec.machine, limits::INIT_LEAF)?;
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWCGROUP,
    )
    .context("failed to make namespaces (is this root?)")?;
    let (mut reader, writer) = std::io::pipe().context("failed to make a pipe")?;
    // SAFETY: this program has one thread, as its contract says, so the child may do anything.
    match unsafe { fork() }.context("failed to start the host's first process")? {
        ForkResult::Child => {
            drop(reader);
            std::process::exit(first_process(spec, owner, &mut leaves, writer))
        }
        ForkResult::Parent { child } => {
            drop(writer);
            // Out of the host's root group, which is to have no processes of its own: version 2
            // lets a group with processes hand nothing down.
            Cgroups::join(&mut leaves).context("failed to leave the host's root cgroup")?;
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).context("failed to hear from the host")?;
            if answer != READY {
                // It exits by itself after an error.
                let _ = waitpid(child, None);
                bail!("{}", String::from_utf8_lossy(&answer));
            }
            Ok(child.as_raw())
        }
    }
}

fn first_process(
    spec: &BootSpec,
    owner: Option<OwnedFd>,
    leaves: &mut [std::fs::File],
    mut answer: std::io::PipeWriter,
) -> i32 {
    let ready = prepare(spec, leaves).and_then(|()| watch_children());
    let children = match ready {
        Ok(children) => children,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = answer.write_all(format!("{error:#}").as_bytes());
            return 1;
        }
    };
    if answer.write_all(READY).is_err() {
        return 1;
    }
    drop(answer);
    reap(&children, owner.as_ref())
}

fn prepare(spec: &BootSpec, leaves: &mut [std::fs::File]) -> Result<()> {
    // Away from whoever started the fleet: a terminal that closes ends no host.
    setsid().context("failed to start a session")?;
    Cgroups::join(leaves).context("failed to enter the host's cgroups")?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .context("failed to open /dev/null")?;
    dup2_stdin(&null).context("failed to let go of standard input")?;
    dup2_stdout(&null).context("failed to let go of standard output")?;
    dup2_stderr(&null).context("failed to let go of standard error")?;
    mounts::enter(&spec.dir, spec.cgroups.hierarchies())?;
    sethostname(&spec.machine).context("failed to set the host's name")?;
    std::env::set_current_dir("/").context("failed to go to the root directory")
}

fn watch_children() -> Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().context("failed to block SIGCHLD")?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("failed to watch for children")
}

/// Ends when the owner has gone; the kernel then kills all the rest of the host.
fn reap(children: &SignalFd, owner: Option<&OwnedFd>) -> i32 {
    let mut fds = vec![PollFd::new(children.as_fd(), PollFlags::POLLIN)];
    fds.extend(owner.map(|owner| PollFd::new(owner.as_fd(), PollFlags::POLLIN)));
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 1,
        }
        let gone = fds.get(1).and_then(|fd| fd.revents());
        if gone.is_some_and(|events| !events.is_empty()) {
            return 0;
        }
        while matches!(children.read_signal(), Ok(Some(_))) {}
        let any = Pid::from_raw(-1);
        while !matches!(
            waitpid(any, Some(WaitPidFlag::WNOHANG)),
            Ok(WaitStatus::StillAlive) | Err(_)
        ) {}
    }
}
