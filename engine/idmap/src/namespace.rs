//! Makes user namespaces: the kernel's door.
//!
//! A process with several threads can neither make nor enter one, so a process of its own does,
//! which does nothing else and is ended as soon as the namespaces are held by descriptors.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use serde::{Deserialize, Serialize};

use crate::maps::{IdMaps, table};

/// `NS_GET_USERNS` of `linux/nsfs.h`.
const GET_OWNER: libc::c_ulong = 0xb701;

/// Whose a namespace is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// The user namespace of this process.
    #[default]
    Host,
    /// A new one.
    New(IdMaps),
    /// The one at this path.
    Of(PathBuf),
}

/// A network namespace and the user namespace that it belongs to.
#[derive(Debug)]
pub struct Made {
    pub user: OwnedFd,
    pub network: OwnedFd,
}

/// Makes a network namespace for an owner that is not this process's own; this process stays where
/// it is.
pub fn make(owner: &Owner) -> io::Result<Made> {
    let (flags, entered) = match owner {
        Owner::Host => {
            let text = "a namespace of this process's own needs no other process";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Owner::New(_) => (libc::CLONE_NEWUSER | libc::CLONE_NEWNET, None),
        Owner::Of(path) => (0, Some(File::open(path)?)),
    };
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let holder = Holder::begin(flags, entered.as_ref().map(AsRawFd::as_raw_fd), &writer)?;
    drop(writer);
    let mut code = [0; 4];
    File::from(reader).read_exact(&mut code)?;
    match i32::from_ne_bytes(code) {
        0 => {}
        code => return Err(io::Error::from_raw_os_error(code)),
    }
    let own = |name: &str| format!("/proc/{}/{name}", holder.0);
    if let Owner::New(maps) = owner {
        fs::write(own("uid_map"), table(&maps.uids))?;
        fs::write(own("gid_map"), table(&maps.gids))?;
    }
    Ok(Made {
        user: File::open(own("ns/user"))?.into(),
        network: File::open(own("ns/net"))?.into(),
    })
}

/// The process that is in the namespaces until they are held. Ended and reaped with this value.
struct Holder(Pid);

impl Holder {
    /// It says through the pipe how it went: zero, or the kernel's code.
    fn begin(flags: libc::c_int, enter: Option<RawFd>, said: &OwnedFd) -> io::Result<Holder> {
        let flags = (flags | libc::SIGCHLD) as libc::c_long;
        let said = said.as_raw_fd();
        // SAFETY: without a stack and without shared memory this is a fork; the child below uses
        // nothing but system calls, for another thread may have held any lock.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        if pid == 0 {
            // SAFETY: as above; the descriptors were inherited, the integer outlives the call, and
            // nothing comes after the loop.
            unsafe {
                let mut code = 0;
                if let Some(user) = enter {
                    let entered = libc::setns(user, libc::CLONE_NEWUSER) == 0
                        && libc::unshare(libc::CLONE_NEWNET) == 0;
                    code = if entered { 0 } else { Errno::last_raw() };
                }
                // After what would clear it: whoever started this may be killed meanwhile.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::write(said, (&raw const code).cast(), size_of_val(&code));
                loop {
                    libc::pause();
                }
            }
        }
        let pid = Errno::result(pid)?;
        Ok(Holder(Pid::from_raw(pid as i32)))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It is our child until we have waited for it, so the id is nobody else's.
        let _ = kill(self.0, Signal::SIGKILL);
        while waitpid(self.0, None) == Err(Errno::EINTR) {}
    }
}

/// The user namespace that a namespace belongs to.
pub fn owner_of(namespace: &impl AsFd) -> io::Result<OwnedFd> {
    let namespace = namespace.as_fd().as_raw_fd();
    // SAFETY: takes an open descriptor and no argument; a non-negative result is a new descriptor.
    let owner = Errno::result(unsafe { libc::ioctl(namespace, GET_OWNER) })?;
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// Whether a user namespace is that of this process.
pub fn is_own(user: &OwnedFd) -> io::Result<bool> {
    let (this, own) =
        (File::from(user.try_clone()?).metadata()?, fs::metadata("/proc/self/ns/user")?);
    Ok((this.dev(), this.ino()) == (own.dev(), own.ino()))
}
