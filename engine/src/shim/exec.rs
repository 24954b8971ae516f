//! A command run beside the one of a running container (a health check, `docker exec`): a process
//! of its own, that goes into the container's cgroups and namespaces, takes the same privileges and no
//! more, and waits for the command. Its streams go to who has asked for it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use libcontainer::apparmor;
use libcontainer::capabilities::{drop_privileges, reset_effective};
use libcontainer::oci_spec::runtime::Process;
use libcontainer::syscall::syscall::create_syscall;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fchown, fork, pipe2,
    read, setgroups, setresgid, setresuid, setsid,
};

use super::executor::Command;
use super::filter::Filter;
use super::rooted::Root;
use super::user::Identity;
use super::{spec, terminal, user, userns};
use crate::capabilities;
use crate::cgroup::Hierarchies;
use crate::defaults::{CONFIG_BYTES_MAX, EXIT_CODE_CANNOT_RUN, MESSAGE_BYTES_MAX};
use crate::protocol::{ExecReport, ExecRequest, ExecStreams, Failure};
use crate::{lock, process};

/// Runs the command and reports its begin and its exit code, or why it could not be run.
pub fn main(input: File, control: &OwnedFd) -> io::Result<()> {
    let told = match run(input, control) {
        Ok(told) => told,
        Err(error) => {
            let message = format!("failed to enter the container: {error}");
            ExecReport::Failed(Failure { message, exit_code: None })
        }
    };
    tell(control, &told, &[]);
    Ok(())
}

/// Who has asked may be gone, and the command goes on.
fn tell(control: &OwnedFd, report: &ExecReport, descriptors: &[OwnedFd]) {
    if let Ok(message) = serde_json::to_vec(report) {
        let _ = terminal::send(control, &message, descriptors);
    }
}

fn run(input: File, control: &OwnedFd) -> io::Result<ExecReport> {
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
    let ids = config.id_maps.clone().unwrap_or_default();
    let identity = user::resolve(&config.user, &config.groups, &passwd, &group)
        .and_then(|identity| userns::check(&identity, &ids).map(|()| identity));
    let identity = match identity {
        Ok(identity) => identity,
        Err(message) => {
            let exit_code = Some(EXIT_CODE_CANNOT_RUN);
            return Ok(ExecReport::Failed(Failure { message, exit_code }));
        }
    };
    // A privileged command has all capabilities, but the container's filter, as in Docker.
    let filter = request.filter;
    config.privileged |= request.privileged;
    config.tty = matches!(request.streams, ExecStreams::Terminal(_));
    let set = capabilities::of(&config).map_err(io::Error::other)?;
    let wanted: Process = serde_json::from_value(spec::process(&config, &identity, &set))?;

    let hierarchies = Hierarchies::find()?;
    let doors = hierarchies.doors(&request.cgroup)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    if !request.bound {
        // What ends the daemon's group or session does not end this.
        hierarchies.join_shims(&request.shims_parent)?;
        let _ = setsid();
        let mut blocked = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
            blocked.add(signal);
        }
        blocked.thread_block()?;
    }
    let mut namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    if config.id_maps.is_some() {
        namespaces |= CloneFlags::CLONE_NEWUSER;
        // What only the host's root may do, and the command inherits.
        set_score(&wanted)?;
        userns::raise_limits(wanted.rlimits().as_deref().unwrap_or_default())?;
    }
    setns(&container, namespaces)?;
    drop((container, root));
    if config.id_maps.is_some() {
        // Until now this is nobody in there, whose files cannot be given to others.
        setgroups(&[])?;
        let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
    }
    let streams = Streams::make(request.streams, null.into(), &identity)?;
    let (failures, failures_writer) = pipe2(OFlag::O_CLOEXEC)?;

    // The process id namespace is that of children only.
    // SAFETY: this process has a single thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop((failures_writer, streams.commands, doors));
            let mut told = Vec::new();
            // Ends with the execve, which closes the other end.
            File::from(failures).take(MESSAGE_BYTES_MAX as u64).read_to_end(&mut told)?;
            if !told.is_empty() {
                waitpid(child, None)?;
                return Ok(ExecReport::Failed(serde_json::from_slice(&told)?));
            }
            tell(control, &ExecReport::Begun { begun: child.as_raw() }, &streams.others);
            drop(streams.others);
            let bound = request.bound;
            keep(child, control, Outputs { waiting: streams.outputs, taken: false, bound })?;
            loop {
                match waitpid(child, None) {
                    Ok(WaitStatus::Exited(_, ended)) => return Ok(ExecReport::Ended { ended }),
                    Ok(WaitStatus::Signaled(_, signal, _)) => {
                        return Ok(ExecReport::Ended { ended: 128 + signal as i32 });
                    }
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        ForkResult::Child => {
            // Only its parent hears of failures, and is gone if nobody does.
            drop(failures);
            let env = wanted.env().clone().unwrap_or_default();
            let mapped = config.id_maps.is_some();
            let command = Command::new(config.args, env, false, failures_writer.as_raw_fd());
            let member =
                Member { wanted: &wanted, filter: filter.as_deref(), mapped, bound: request.bound };
            let entered = become_member(&member, &streams, &doors);
            // A parent that was ended before its end became a signal gave none.
            let entered =
                entered.and_then(|()| match request.bound && unheard(&failures_writer)? {
                    true => Err(io::Error::other("it was given up")),
                    false => Ok(()),
                });
            let error = match entered {
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

/// A command's streams, both ends.
struct Streams {
    /// Input, output, errors.
    commands: [OwnedFd; 3],
    terminal: bool,
    /// What goes to who has asked.
    others: Vec<OwnedFd>,
    /// The same as go to who has asked, to be read when nobody does.
    outputs: Vec<OwnedFd>,
}

impl Streams {
    fn make(wanted: ExecStreams, null: OwnedFd, identity: &Identity) -> io::Result<Streams> {
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        let pipe = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
            fchown(&writer, Some(uid), Some(gid))?;
            Ok((reader, writer))
        };
        let (mut others, mut outputs) = (Vec::new(), Vec::new());
        let mut output = |wanted: bool| -> io::Result<OwnedFd> {
            if !wanted {
                return null.try_clone();
            }
            let (reader, writer) = pipe()?;
            outputs.push(reader.try_clone()?);
            others.push(reader);
            Ok(writer)
        };
        let (commands, terminal) = match wanted {
            ExecStreams::Merged => {
                let writer = output(true)?;
                ([null.try_clone()?, writer.try_clone()?, writer], false)
            }
            ExecStreams::Pipes(wanted) => {
                let (stdout, stderr) = (output(wanted.stdout)?, output(wanted.stderr)?);
                let stdin = match wanted.stdin {
                    true => {
                        let (reader, writer) = pipe()?;
                        others.insert(0, writer);
                        reader
                    }
                    false => null.try_clone()?,
                };
                ([stdin, stdout, stderr], false)
            }
            ExecStreams::Terminal(size) => {
                let (master, slave) = terminal::open()?;
                if let Some((rows, columns)) = size {
                    terminal::resize(&master, rows, columns)?;
                }
                fchown(&slave, Some(uid), None)?;
                outputs.push(master.try_clone()?);
                others.push(master);
                ([slave.try_clone()?, slave.try_clone()?, slave], true)
            }
        };
        Ok(Streams { commands, terminal, others, outputs })
    }
}

/// What the command says, once nobody else reads it.
struct Outputs {
    waiting: Vec<OwnedFd>,
    /// To be read here and thrown away: the command must neither wait for a reader nor be killed for
    /// want of one.
    taken: bool,
    bound: bool,
}

/// Until the command has ended, whoever leaves meanwhile.
fn keep(child: Pid, control: &OwnedFd, mut outputs: Outputs) -> io::Result<()> {
    let Some(command) = process::open(child.as_raw())? else { return Ok(()) };
    let mut asker = true;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let mut polled = vec![PollFd::new(command.as_fd(), PollFlags::POLLIN)];
        if asker {
            polled.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        }
        if outputs.taken {
            polled.extend(
                outputs.waiting.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)),
            );
        }
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if ready[0] {
            return Ok(());
        }
        if asker && ready[1] {
            // A byte means that nobody reads any more, the end that nobody waits either.
            match read(control, &mut buffer) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Ok(length) if length > 0 => outputs.taken = true,
                Ok(_) | Err(_) => {
                    (asker, outputs.taken) = (false, true);
                    if outputs.bound {
                        process::kill(&command, libc::SIGKILL)?;
                    }
                }
            }
            continue;
        }
        if outputs.taken {
            let ready = &ready[1 + usize::from(asker)..];
            let mut place = 0;
            outputs.waiting.retain(|output| {
                place += 1;
                if !ready.get(place - 1).is_some_and(|ready| *ready) {
                    return true;
                }
                match read(output, &mut buffer) {
                    Ok(length) => length > 0,
                    Err(Errno::EAGAIN | Errno::EINTR) => true,
                    Err(_) => false,
                }
            });
        }
    }
}

/// What a command is to be.
struct Member<'a> {
    wanted: &'a Process,
    filter: Option<&'a Filter>,
    /// It is in a user namespace of the container's.
    mapped: bool,
    /// It ends with who waits for it.
    bound: bool,
}

/// The same steps in the same order as for a container's first process.
fn become_member(member: &Member<'_>, streams: &Streams, doors: &[File]) -> io::Result<()> {
    let &Member { wanted, filter, mapped, bound } = member;
    // Only the command: who waits for it must outlive the container's cgroup.
    for mut door in doors {
        door.write_all(b"0")?;
    }
    setsid()?;
    let [stdin, stdout, stderr] = &streams.commands;
    if streams.terminal {
        // SAFETY: takes two integers.
        Errno::result(unsafe { libc::ioctl(stdin.as_raw_fd(), libc::TIOCSCTTY, 0) })?;
    }
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    let syscall = create_syscall();
    for limit in wanted.rlimits().iter().flatten() {
        syscall.set_rlimit(limit).map_err(io::Error::other)?;
    }
    if !mapped {
        set_score(wanted)?;
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
    // Where no privilege can be gained any more the filter needs none, and comes last: what it
    // forbids is then forbidden to the command alone.
    let last = wanted.no_new_privileges() == Some(true);
    let filtered = || filter.map_or(Ok(()), Filter::install);
    if !last {
        filtered()?;
    }
    if let Some(capabilities) = wanted.capabilities() {
        drop_privileges(capabilities, syscall.as_ref()).map_err(io::Error::other)?;
    }
    if last {
        filtered()?;
    }
    // The daemon ends a command that takes too long by ending its parent. After the change of
    // user, which would clear it.
    if bound {
        prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)?;
    }
    Ok(())
}

/// How readily the kernel ends it for want of memory.
fn set_score(wanted: &Process) -> io::Result<()> {
    match wanted.oom_score_adj() {
        Some(score) => fs::write("/proc/self/oom_score_adj", score.to_string()),
        None => Ok(()),
    }
}

/// Whether a pipe has no reader.
fn unheard(writer: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO)?;
    Ok(polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)))
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
