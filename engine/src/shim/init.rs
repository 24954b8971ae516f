//! A tiny init, for containers that ask for one: the command's parent, as process 1. It hands
//! signals on and reaps what is orphaned. What it is not: a supervisor; it ends with the command.

use std::convert::Infallible;
use std::fs;
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
            be_seen();
            if let Err(error) = confine() {
                eprintln!("skep-init: failed to enter the AppArmor profile: {error}");
                // SAFETY: ends this process, and with it all others of its namespace.
                unsafe { libc::_exit(crate::defaults::EXIT_CODE_CANNOT_RUN) }
            }
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

/// Shows itself to the container as what it is: by a name of its own, and open to those who may look
/// at the container's other processes (`/proc/1/fd/1` is where some write to the log). The change of
/// user has hidden it; what it holds of the shim is the container's own configuration.
fn be_seen() {
    // SAFETY: the options take one integer, or a name of at most 15 bytes that ends with a zero.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_NAME, c"skep-init".as_ptr());
    }
    let Some((start, length)) = command_line() else { return };
    let name = b"skep-init";
    for at in 0..length {
        let byte = name.get(at).copied().unwrap_or(0);
        // SAFETY: the kernel says that this process's arguments are there; it is its own memory,
        // writable, and nobody reads them any more.
        unsafe { std::ptr::write_volatile((start + at) as *mut u8, byte) };
    }
}

/// Enters the AppArmor profile that the command enters by its execve: this process makes none.
fn confine() -> io::Result<()> {
    // The kernel's own place since 5.8, and the one that it shares with other modules.
    const PLACES: [&str; 2] = ["/proc/self/attr/apparmor", "/proc/self/attr"];
    let read =
        |place: &&'static str| Some((*place, fs::read_to_string(format!("{place}/exec")).ok()?));
    let Some((place, label)) = PLACES.iter().find_map(read) else { return Ok(()) };
    // `NAME (MODE)`, and nothing where there is none.
    let label = label.trim_end_matches(['\0', '\n']);
    let name = label.rsplit_once(" (").map_or(label, |(name, _)| name);
    match name {
        "" => Ok(()),
        name => fs::write(format!("{place}/current"), format!("changeprofile {name}")),
    }
}

/// Where this process's arguments are, and their length; by proc(5)'s `stat`.
fn command_line() -> Option<(usize, usize)> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // What is before the last bracket is a name that may hold anything.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<usize>().ok();
    let (start, end) = (number(48)?, number(49)?);
    (start > 0).then(|| (start, end.saturating_sub(start)))
}

/// The shim waits for the pipe that tells of failures to close, which the command does by running.
fn close_all_but_stdio() {
    // SAFETY: takes three integers; nothing of this process uses those descriptors any more.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}
