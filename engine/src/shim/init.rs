//! A tiny init, for containers that ask for one: the command's parent, as process 1. It hands
//! signals on and reaps what is orphaned. What it is not: a supervisor; it ends with the command.

use std::convert::Infallible;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, setpgid, tcsetpgrp};

/// Forks. Returns in the child, which is to run the command; the parent never comes back.
pub fn split() -> io::Result<()> {
    // Blocked before the fork: a signal that comes in between waits to be handed on.
    let all = SigSet::all();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&all), None)?;
    // SAFETY: this process has a single thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            // Fails for no reason that matters to the command.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            // With a terminal it is the one in the foreground; without, this fails too. All signals
            // are blocked, among them the one that would stop it here.
            let _ = tcsetpgrp(io::stdin(), getpid());
            Ok(())
        }
        ForkResult::Parent { child } => {
            close_all_but_stdio();
            let code = match serve(child) {
                Ok(never) => match never {},
                Err(code) => code,
            };
            // SAFETY: ends this process; there is nothing to clean up in it.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Until the command ends; then its exit code.
fn serve(command: Pid) -> Result<Infallible, i32> {
    loop {
        let mut signal = 0;
        let all = SigSet::all();
        // SAFETY: both pointers are valid for the call.
        if unsafe { libc::sigwait(all.as_ref(), &mut signal) } != 0 {
            continue;
        }
        if signal == Signal::SIGCHLD as i32 {
            reap(command)?;
        } else {
            // SAFETY: kill(2) takes two integers. Gone already is as good: SIGCHLD is on its way.
            unsafe { libc::kill(command.as_raw(), signal) };
        }
    }
}

fn reap(command: Pid) -> Result<(), i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == command => return Err(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                return Err(128 + signal as i32);
            }
            Ok(WaitStatus::StillAlive) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            // Without children there is no command either, and nothing to wait for.
            Err(_) => {
                let _ = kill(command, Signal::SIGKILL);
                return Err(crate::defaults::EXIT_CODE_UNKNOWN);
            }
        }
    }
}

/// The shim waits for the pipe that tells of failures to close, which the command does by running.
fn close_all_but_stdio() {
    // SAFETY: takes three integers; nothing of this process uses those descriptors any more.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}
