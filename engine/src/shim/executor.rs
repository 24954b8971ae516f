//! The last step into a container: find its command, and become it.
//!
//! Runs in the container's first process, after libcontainer has put it into its namespaces and
//! taken its privileges. What goes wrong is told to the shim through a pipe that the execve closes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use libcontainer::capabilities::drop_privileges;
use libcontainer::oci_spec::runtime::{LinuxCapabilities, Spec};
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::{AccessFlags, access, execve};
use serde_json::Value;

use super::filter::Filter;
use super::init;
use crate::defaults::{EXIT_CODE_CANNOT_RUN, EXIT_CODE_NOT_FOUND};
use crate::protocol::Failure;

/// What is left of its privileges once a container's first process has no more use for the others.
///
/// libcontainer would take them itself, after it had libseccomp make the filter anew. The order is the
/// same here: without a promise not to gain any, a filter needs a privilege that goes with the rest;
/// with one it comes last, so that what it forbids is forbidden to the command alone.
#[derive(Clone)]
pub struct Privileges {
    capabilities: LinuxCapabilities,
    filter: Option<Arc<Filter>>,
    no_new: bool,
}

impl Privileges {
    /// Takes them out of a specification.
    pub fn take(spec: &mut Value, filter: Option<Arc<Filter>>) -> io::Result<Privileges> {
        let process = spec["process"].as_object_mut().ok_or(io::ErrorKind::InvalidData)?;
        let capabilities = process.remove("capabilities").ok_or(io::ErrorKind::InvalidData)?;
        let capabilities = serde_json::from_value(capabilities)?;
        let no_new = process.get("noNewPrivileges") == Some(&Value::Bool(true));
        Ok(Privileges { capabilities, filter, no_new })
    }

    fn drop(&self) -> io::Result<()> {
        let syscall = create_syscall();
        let filtered = || self.filter.as_deref().map_or(Ok(()), Filter::install);
        if !self.no_new {
            filtered()?;
        }
        drop_privileges(&self.capabilities, syscall.as_ref()).map_err(io::Error::other)?;
        if self.no_new {
            filtered()?;
        }
        Ok(())
    }
}

#[derive(Clone)]
pub struct Command {
    args: Vec<String>,
    env: Vec<String>,
    /// Stay as the command's parent.
    init: bool,
    /// The pipe's writing end. A number, since libcontainer clones and drops this on both sides of
    /// its forks; the shim owns the descriptor.
    failures: RawFd,
    /// None: whoever runs it has seen to that.
    privileges: Option<Privileges>,
}

impl Command {
    pub fn new(args: Vec<String>, env: Vec<String>, init: bool, failures: RawFd) -> Command {
        Command { args, env, init, failures, privileges: None }
    }

    /// With no more than these privileges.
    pub fn of(self, privileges: Privileges) -> Command {
        Command { privileges: Some(privileges), ..self }
    }

    /// Tells the other end of the pipe.
    pub fn fail(&self, failure: &Failure) -> String {
        // SAFETY: the descriptor was inherited from the shim, which keeps it open until this
        // process runs its command or has failed.
        let pipe = unsafe { BorrowedFd::borrow_raw(self.failures) };
        if let (Ok(line), Ok(pipe)) = (serde_json::to_vec(failure), pipe.try_clone_to_owned()) {
            // The shim has a message from libcontainer too, if this one is lost.
            let _ = fs::File::from(pipe).write_all(&line);
        }
        failure.message.clone()
    }

    /// Comes back only if it fails.
    pub fn run_or_explain(&self) -> Failure {
        if let Err(failure) = find(&self.args[0], path_variable(&self.env)) {
            return failure;
        }
        let error = match self.run() {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let reason = match error.raw_os_error() {
            Some(code) => Errno::from_raw(code).desc().to_lowercase(),
            None => error.to_string(),
        };
        let exit_code = match error.kind() {
            io::ErrorKind::NotFound => EXIT_CODE_NOT_FOUND,
            _ => EXIT_CODE_CANNOT_RUN,
        };
        let message = format!("exec {}: {reason}", self.args[0]);
        Failure { message, exit_code: Some(exit_code) }
    }

    fn run(&self) -> io::Result<Infallible> {
        default_signals();
        if self.init {
            init::split()?;
        }
        SigSet::empty().thread_set_mask()?;
        let path = find(&self.args[0], path_variable(&self.env))
            .map_err(|f| io::Error::other(f.message))?;
        let strings = |all: &[String]| -> io::Result<Vec<CString>> {
            all.iter().map(|text| Ok(CString::new(text.as_str())?)).collect()
        };
        let never = execve(&CString::new(path)?, &strings(&self.args)?, &strings(&self.env)?)?;
        Ok(never)
    }
}

impl Executor for Command {
    /// Called as the last step before the first process waits for its start.
    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        if let Some(privileges) = &self.privileges
            && let Err(error) = privileges.drop()
        {
            let message = format!("failed to drop privileges: {error}");
            let failure = Failure { message, exit_code: None };
            return Err(ExecutorValidationError::ArgValidationError(self.fail(&failure)));
        }
        match find(&self.args[0], path_variable(&self.env)) {
            Ok(_) => Ok(()),
            Err(failure) => Err(ExecutorValidationError::ArgValidationError(self.fail(&failure))),
        }
    }

    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment is given to execve; this process keeps its own.
        Ok(())
    }

    fn exec(&self, _spec: &Spec) -> Result<(), ExecutorError> {
        let failure = self.run_or_explain();
        self.fail(&failure);
        // Nothing of the shim's may run on in the container.
        // SAFETY: ends this process; there is nothing to clean up in it.
        unsafe { libc::_exit(failure.exit_code.unwrap_or(EXIT_CODE_CANNOT_RUN)) }
    }
}

/// Undoes what this process or whoever started the daemon ignores: it would stay so over the execve.
fn default_signals() {
    // The kernel's own structure, larger than on any architecture; all zeros is the default.
    let default = [0u64; 4];
    let none = std::ptr::null::<u64>();
    for signal in 1..=64 {
        // SAFETY: the pointer is valid for the kernel's structure and for the call. Not by way of
        // the C library, which keeps two signals to itself. Two others cannot be ignored anyway.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8) };
    }
}

fn path_variable(env: &[String]) -> &str {
    env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or("")
}

/// Looks a command up as a shell would. The words and codes are Docker's.
fn find(command: &str, path: &str) -> Result<String, Failure> {
    if command.contains('/') {
        return match check(Path::new(command)) {
            Ok(()) => Ok(command.to_owned()),
            Err(errno) => Err(unfit(command, errno)),
        };
    }
    let mut denied = false;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{directory}/{command}");
        match check(Path::new(&candidate)) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => denied = true,
            Err(_) => {}
        }
    }
    if denied {
        return Err(unfit(command, Errno::EACCES));
    }
    Err(Failure {
        message: format!("exec: \"{command}\": executable file not found in $PATH"),
        exit_code: Some(EXIT_CODE_NOT_FOUND),
    })
}

fn unfit(command: &str, errno: Errno) -> Failure {
    let (reason, exit_code) = match errno {
        Errno::ENOENT | Errno::ENOTDIR => ("no such file or directory", EXIT_CODE_NOT_FOUND),
        Errno::EISDIR => ("is a directory", EXIT_CODE_CANNOT_RUN),
        Errno::EACCES => ("permission denied", EXIT_CODE_CANNOT_RUN),
        other => (other.desc(), EXIT_CODE_CANNOT_RUN),
    };
    let message = match errno {
        Errno::ENOENT | Errno::ENOTDIR => format!("exec: \"{command}\": stat {command}: {reason}"),
        _ => format!("exec: \"{command}\": {reason}"),
    };
    Failure { message, exit_code: Some(exit_code) }
}

fn check(path: &Path) -> Result<(), Errno> {
    let code = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let found = fs::metadata(path).map_err(code)?;
    if found.is_dir() {
        return Err(Errno::EISDIR);
    }
    // Root may pass access(2) on a file that nobody may execute.
    if found.mode() & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    access(path, AccessFlags::X_OK)
}
