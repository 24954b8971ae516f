//! Mounts and unmounts overlays: the kernel's door.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::fchdir;

use crate::error::{Context, Error, Result};
use crate::rootfs::OverlaySpec;

/// The kernel copies one page of options.
const OPTIONS_BYTES_MAX: usize = 4096 - 1;

impl OverlaySpec {
    /// The options as mount(2) takes them, with paths relative to [`OverlaySpec::base`].
    pub fn options(&self) -> Result<String> {
        let mut options = String::from("lowerdir=");
        for (index, layer) in self.lower.iter().enumerate() {
            if index > 0 {
                options.push(':');
            }
            options.push_str(plain(layer)?);
        }
        options.push_str(&format!(
            ",upperdir={},workdir={}",
            plain(&self.upper)?,
            plain(&self.work)?
        ));
        // Docker's setting where the kernel knows it: an index would refuse an upper directory
        // that another kernel or mount namespace seems to hold still.
        if Path::new("/sys/module/overlay/parameters/index").exists() {
            options.push_str(",index=off");
        }
        // With these an upper directory would not say by itself what a container changed: a moved
        // directory would only point to its old place, and a file could lack its content.
        for (parameter, option) in [
            ("/sys/module/overlay/parameters/redirect_dir", ",redirect_dir=off"),
            ("/sys/module/overlay/parameters/metacopy", ",metacopy=off"),
        ] {
            if Path::new(parameter).exists() {
                options.push_str(option);
            }
        }
        if options.len() > OPTIONS_BYTES_MAX {
            return Err(Error::TooManyLayers);
        }
        Ok(options)
    }
}

/// A path that needs no escaping among mount options.
fn plain(path: &Path) -> Result<&str> {
    let text = path.to_str().filter(|text| !text.contains([',', ':', '\\']));
    text.ok_or_else(|| Error::Invalid {
        what: format!("overlay path {}", path.display()),
        reason: "it cannot stand among mount options".to_owned(),
    })
}

/// Mounts an overlay on a directory.
pub fn mount_overlay(spec: &OverlaySpec, target: &Path) -> Result<()> {
    let options = spec.options()?;
    let base = File::open(&spec.base).context(|| format!("open {}", spec.base.display()))?;
    let action = || format!("mount overlay on {}", target.display());
    // Relative paths want a working directory, which all threads of a process share; a thread of
    // its own that has left that sharing may go where it likes.
    std::thread::scope(|scope| {
        let mounting = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS)?;
            fchdir(&base)?;
            let kind = Some("overlay");
            mount(Some("overlay"), target, kind, MsFlags::empty(), Some(options.as_str()))
        });
        mounting.join().unwrap_or(Err(Errno::EFAULT))
    })
    .context(action)
}

/// Unmounts a directory; what is not mounted is left as it is.
///
/// Lazily, as Docker does: a process that still stands in it must not keep a container from being
/// removed.
pub fn unmount(target: &Path) -> Result<()> {
    match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Not a mount point, or not there.
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        result => result.context(|| format!("unmount {}", target.display())),
    }
}

/// Whether something is mounted on a directory, in this mount namespace.
pub fn is_mounted(target: &Path) -> Result<bool> {
    let target = fs::canonicalize(target).context(|| format!("find {}", target.display()))?;
    Ok(mount_points()?.contains(&target))
}

/// Unmounts all that is mounted below a directory, the last first.
pub(crate) fn unmount_below(dir: &Path) -> Result<()> {
    let below = mount_points()?.into_iter().filter(|point| point.starts_with(dir));
    below.rev().try_for_each(|point| unmount(&point))
}

fn mount_points() -> Result<Vec<PathBuf>> {
    let table = fs::read("/proc/self/mountinfo").context(|| "read the mount table".to_owned())?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(mount_point).collect())
}

/// The fifth field of a line of mountinfo; blanks are written in octal.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        path.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read() {
        let line = br"36 35 98:0 /mnt1 /mnt\040two\134x rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/mnt two\x")));
        assert_eq!(mount_point(b""), None);
    }

    #[test]
    fn paths_that_would_become_options_are_refused() {
        for bad in ["a,b", "a:b", r"a\b"] {
            assert!(plain(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
