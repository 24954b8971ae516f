//! The shim's own mount namespace and the container's root in it.
//!
//! **Invariant:** nothing is mounted where the host could see it, so nothing has to be unmounted:
//! all of it ends with the shim and the container.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::config::Rootfs;

/// What mount(2) takes as options: one page.
const MOUNT_DATA_BYTES_MAX: usize = 4095;

/// Enters a mount namespace of its own. Unmounts on the host still come through, so that no shim
/// keeps a host's device busy.
pub fn enter_namespace() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    Ok(())
}

/// A memory filesystem for all that the shim prepares: the specification, the files with secrets,
/// libcontainer's state. Kept from swap where the kernel can (6.4).
pub fn mount_bundle(bundle: &Path) -> io::Result<()> {
    fs::create_dir_all(bundle)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let tmpfs = |options| mount(Some("skep"), bundle, Some("tmpfs"), flags, Some(options));
    match tmpfs("mode=0700,noswap") {
        Err(Errno::EINVAL) => tmpfs("mode=0700")?,
        mounted => mounted?,
    }
    Ok(())
}

/// Mounts the root filesystem at `target`, or says where it is.
pub fn prepare(rootfs: &Rootfs, target: &Path) -> io::Result<PathBuf> {
    match rootfs {
        Rootfs::Directory(path) => fs::canonicalize(path),
        Rootfs::Overlay { lower, upper, work } => {
            fs::create_dir_all(target)?;
            let options = overlay_options(lower, upper, work);
            if options.len() <= MOUNT_DATA_BYTES_MAX {
                let none = MsFlags::empty();
                mount(Some("overlay"), target, Some("overlay"), none, Some(options.as_slice()))?;
            } else {
                mount_many_layers(lower, upper, work, target)?;
            }
            Ok(target.to_owned())
        }
    }
}

fn overlay_options(lower: &[PathBuf], upper: &Path, work: &Path) -> Vec<u8> {
    let mut options = b"lowerdir=".to_vec();
    for (position, layer) in lower.iter().enumerate() {
        if position > 0 {
            options.push(b':');
        }
        escape(layer, &mut options);
    }
    options.extend(b",upperdir=");
    escape(upper, &mut options);
    options.extend(b",workdir=");
    escape(work, &mut options);
    options
}

/// Overlay takes options apart at commas and layers at colons.
fn escape(path: &Path, into: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if b",:\\".contains(byte) {
            into.push(b'\\');
        }
        into.push(*byte);
    }
}

/// More layers than fit a page: each by itself, through the newer mount calls (Linux 6.5).
fn mount_many_layers(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    target: &Path,
) -> io::Result<()> {
    const FSCONFIG_SET_STRING: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

    // SAFETY: the name is NUL-terminated; a non-negative result is a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_fsopen, c"overlay".as_ptr(), 1) };
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    let context = unsafe { OwnedFd::from_raw_fd(Errno::result(fd)? as i32) };
    let set = |key: &std::ffi::CStr, path: &Path| -> io::Result<()> {
        let value = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the descriptor is open, both strings are NUL-terminated.
        let done = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        };
        Errno::result(done)?;
        Ok(())
    };
    for layer in lower {
        set(c"lowerdir+", layer)?;
    }
    set(c"upperdir", upper)?;
    set(c"workdir", work)?;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: the descriptor is open; this command takes no key and no value.
    let made = unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0)
    };
    Errno::result(made)?;
    // SAFETY: the descriptor is a complete configuration; a non-negative result is a descriptor.
    let mounted = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, 0) };
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    let mounted = unsafe { OwnedFd::from_raw_fd(Errno::result(mounted)? as i32) };
    let target = CString::new(target.as_os_str().as_bytes())?;
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
    // SAFETY: the descriptor is open, both strings are NUL-terminated.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mounted.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    Errno::result(moved)?;
    Ok(())
}
