//! Opens paths with a container's root as `/`: the kernel's door.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{self, FsType, fstatfs};

use crate::limits::LINK_HOPS_MAX;
use crate::unpack::tree::kind;

/// The kernel gives up, and says so, when names are changed while it looks at `..`; a container
/// that does nothing else all the time is told no.
const ATTEMPTS: u32 = 64;

/// Opens a path relative to the root. No link leads out of it, nor does `..`, nor do the magic links
/// of `/proc`.
pub(super) fn open_in<P: ?Sized + NixPath>(
    root: impl AsFd,
    path: &P,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    for _ in 1..ATTEMPTS {
        match openat2(root.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
    openat2(root.as_fd(), path, how)
}

/// Opens a directory, so that it can be listed.
pub(super) fn open_dir_in<P: ?Sized + NixPath>(root: impl AsFd, path: &P) -> nix::Result<OwnedFd> {
    open_in(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

/// Where a path leads when all links on it are followed, as an absolute path in the container. What
/// is not there is left as it is named. It is for showing: what is opened the kernel resolves.
pub(super) fn follow(root: impl AsFd, components: &[String]) -> nix::Result<String> {
    let mut at: Vec<String> = Vec::new();
    let mut rest: VecDeque<String> = components.iter().cloned().collect();
    let mut hops = 0;
    while let Some(name) = rest.pop_front() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                at.pop();
                continue;
            }
            _ => at.push(name),
        }
        let path = at.join("/");
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let found = match open_in(root.as_fd(), path.as_str(), flags) {
            Ok(found) => found,
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            Err(errno) => return Err(errno),
        };
        if kind(&fstat(&found)?) != SFlag::S_IFLNK {
            continue;
        }
        hops += 1;
        if hops > LINK_HOPS_MAX {
            return Err(Errno::ELOOP);
        }
        // An empty name means the link itself.
        let target = readlinkat(&found, "")?;
        let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
        if target.starts_with('/') {
            at.clear();
        } else {
            at.pop();
        }
        for step in target.split('/').rev() {
            rest.push_front(step.to_owned());
        }
    }
    Ok(format!("/{}", at.join("/")))
}

/// Whether this stands on a file system in which the kernel shows itself.
pub(super) fn is_kernels(file: impl AsFd) -> nix::Result<bool> {
    const KERNELS: &[FsType] = &[
        statfs::PROC_SUPER_MAGIC,
        statfs::SYSFS_MAGIC,
        statfs::CGROUP_SUPER_MAGIC,
        statfs::CGROUP2_SUPER_MAGIC,
        statfs::DEVPTS_SUPER_MAGIC,
        statfs::DEBUGFS_MAGIC,
        statfs::TRACEFS_MAGIC,
        statfs::SECURITYFS_MAGIC,
        statfs::BPF_FS_MAGIC,
        // POSIX message queues; the kernel has no public name for it.
        FsType(0x1980_0202),
    ];
    Ok(KERNELS.contains(&fstatfs(file)?.filesystem_type()))
}
