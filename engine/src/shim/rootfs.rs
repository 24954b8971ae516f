//! The shim's own mount namespace and the container's root in it.
//!
//! **Invariant:** nothing is mounted where the host could see it, so nothing has to be unmounted:
//! all of it ends with the shim and the container.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
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
/// libcontainer's state. Kept from swap where the kernel can (6.4). It is the container's root's, who
/// has to pass through; nothing of it is left where the container runs.
pub fn mount_bundle(bundle: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    fs::create_dir_all(bundle)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=0700,uid={uid},gid={gid}");
    let tmpfs = |options: &str| mount(Some("skep"), bundle, Some("tmpfs"), flags, Some(options));
    match tmpfs(&format!("{options},noswap")) {
        Err(Errno::EINVAL) => tmpfs(&options)?,
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
            mount_overlay(lower, upper, work, target)?;
            Ok(target.to_owned())
        }
    }
}

fn mount_overlay(lower: &[PathBuf], upper: &Path, work: &Path, target: &Path) -> io::Result<()> {
    let mount = |options: &[u8]| -> io::Result<()> {
        mount(Some("overlay"), target, Some("overlay"), MsFlags::empty(), Some(options))?;
        Ok(())
    };
    let options = overlay_options(lower, upper, work);
    if options.len() <= MOUNT_DATA_BYTES_MAX {
        return mount(&options);
    }
    // Too many layers for their paths: a descriptor's path is short.
    let opened: Vec<File> = lower.iter().map(File::open).collect::<io::Result<_>>()?;
    let short: Vec<PathBuf> =
        opened.iter().map(|file| format!("/proc/self/fd/{}", file.as_raw_fd()).into()).collect();
    let options = overlay_options(&short, upper, work);
    if options.len() > MOUNT_DATA_BYTES_MAX {
        return Err(io::Error::other(format!("{} layers are too many", lower.len())));
    }
    mount(&options)
}

fn overlay_options(lower: &[PathBuf], upper: &Path, work: &Path) -> Vec<u8> {
    // Without an index the kernel lets a container be started again while the mount of its last run
    // is still on its way out.
    let mut options = b"index=off,lowerdir=".to_vec();
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
