//! A command run beside the one of a running container (a health check): a short-lived process of
//! its own, that goes into the container's cgroups and namespaces, takes the same privileges and no
//! more, and waits for the command.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use libcontainer::apparmor;
use libcontainer::capabilities::{drop_privileges, reset_effective};
use libcontainer::oci_spec::runtime::{LinuxSeccomp, Process};
use libcontainer::seccomp::initialize_seccomp;
use libcontainer::syscall::syscall::create_syscall;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Gid, Uid, chdir, dup2_stderr, dup2_stdout, fork, setgroups, setresgid, setresuid,
    setsid,
};

use super::executor::Command;
use super::rooted::Root;
use super::{seccomp, spec, user};
use crate::capabilities;
use crate::cgroup::Hierarchies;
use crate::defaults::{CONFIG_BYTES_MAX, EXIT_CODE_CANNOT_RUN};
use crate::protocol::{ExecReport, ExecRequest, Failure};
use crate::{lock, process};

/// Runs the command and reports its exit code, or why it could not be run.
pub fn main(input: OwnedFd, output: OwnedFd, report: OwnedFd) -> io::Result<()> {
    let told = match run(File::from(input), output, &report) {
        Ok(ended) => ExecReport::Ended { ended },
        Err(error) => {
            let message = format!("failed to enter the container: {error}");
            ExecReport::Failed(Failure { message, exit_code: None })
        }
    };
    File::from(report).write_all(&serde_json::to_vec(&told)?)
}

fn run(input: File, output: OwnedFd, report: &OwnedFd) -> io::Result<i32> {
    let mut bytes = Vec::new();
    input.take(CONFIG_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    let request: ExecRequest = serde_json::from_slice(&bytes)?;
    let container = process::open(request.pid)?.ok_or(io::ErrorKind::NotFound)?;
    // Is it still the container's, and not a later process of the same id?
    if lock::holder(&request.lock)? != Some(parent_of(request.pid)?) {
        return Err(io::Error::other("it has just ended"));
    }

    let mut config = request.config;
    if let Some(user) = request.user {
        config.user = user;
        config.groups.clear();
    }
    config.args = request.args;
    config.env.extend(request.env);
    if let Some(cwd) = request.cwd {
        config.cwd = cwd;
    }
    let root = Root::open(Path::new(&format!("/proc/{}/root", request.pid)))?;
    let (passwd, group) =
        (root.read(Path::new("/etc/passwd"))?, root.read(Path::new("/etc/group"))?);
    let identity = user::resolve(&config.user, &config.groups, &passwd, &group);
    let identity = identity.map_err(io::Error::other)?;
    let set = capabilities::of(&config).map_err(io::Error::other)?;
    let wanted: Process = serde_json::from_value(spec::process(&config, &identity, &set))?;
    let filter = seccomp::filter(&config, &set).map_err(io::Error::other)?;
    let filter: Option<LinuxSeccomp> = filter.map(serde_json::from_value).transpose()?;

    let hierarchies = Hierarchies::find()?;
    let doors = hierarchies.doors(&request.cgroup)?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    setns(&container, namespaces)?;
    drop((container, root));

    // The process id namespace is that of children only.
    // SAFETY: this process has a single thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(output);
            loop {
                match waitpid(child, None) {
                    Ok(WaitStatus::Exited(_, code)) => return Ok(code),
                    Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        ForkResult::Child => {
            let env = wanted.env().clone().unwrap_or_default();
            let command = Command::new(config.args, env, false, report.as_raw_fd());
            let error = match become_member(&wanted, filter.as_ref(), &output, &doors) {
                Ok(()) => command.run_or_explain(),
                Err(error) => Failure {
                    message: format!("failed to enter the container: {error}"),
                    exit_code: Some(EXIT_CODE_CANNOT_RUN),
                },
            };
            command.fail(&error);
            // SAFETY: ends this process; there is nothing to clean up in it.
            unsafe { libc::_exit(error.exit_code.unwrap_or(EXIT_CODE_CANNOT_RUN)) }
        }
    }
}

/// The same steps in the same order as for a container's first process.
fn become_member(
    wanted: &Process,
    filter: Option<&LinuxSeccomp>,
    output: &OwnedFd,
    doors: &[File],
) -> io::Result<()> {
    // Only the command: who waits for it must outlive the container's cgroup.
    for mut door in doors {
        door.write_all(b"0")?;
    }
    setsid()?;
    dup2_stdout(output)?;
    dup2_stderr(output)?;
    let syscall = create_syscall();
    for limit in wanted.rlimits().iter().flatten() {
        syscall.set_rlimit(limit).map_err(io::Error::other)?;
    }
    if let Some(score) = wanted.oom_score_adj() {
        fs::write("/proc/self/oom_score_adj", score.to_string())?;
    }
    if wanted.no_new_privileges() == Some(true) {
        prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    }
    if let Some(profile) = wanted.apparmor_profile() {
        apparmor::apply_profile(profile).map_err(io::Error::other)?;
    }
    chdir(wanted.cwd())?;
    let user = wanted.user();
    let groups = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid));
    setgroups(&groups.collect::<Vec<_>>())?;
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    // The filter below needs a privilege that a change of user would take.
    prctl(libc::PR_SET_KEEPCAPS, 1)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    prctl(libc::PR_SET_KEEPCAPS, 0)?;
    reset_effective(syscall.as_ref()).map_err(io::Error::other)?;
    if let Some(filter) = filter {
        initialize_seccomp(filter).map_err(io::Error::other)?;
    }
    if let Some(capabilities) = wanted.capabilities() {
        drop_privileges(capabilities, syscall.as_ref()).map_err(io::Error::other)?;
    }
    // The daemon ends a command that takes too long by ending its parent. After the change of
    // user, which would clear it.
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)
}

fn prctl(option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let (value, none) = (libc::c_ulong::from(value as u32), 0 as libc::c_ulong);
    // SAFETY: the options used here take one integer, and some insist on zeros after it.
    let done = unsafe { libc::prctl(option, value, none, none, none) };
    nix::errno::Errno::result(done)?;
    Ok(())
}

fn parent_of(pid: i32) -> io::Result<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let parent = line.and_then(|line| line.trim().parse().ok());
    parent.ok_or_else(|| io::Error::other("no parent in /proc"))
}
