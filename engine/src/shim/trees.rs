//! Mounts taken from another mount namespace: those of the host whose changes a container is to
//! share, and the shared memory of another container.
//!
//! A tree is cloned where it is, which keeps its ties, and mounted below the bundle, from where
//! libcontainer binds it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use crate::config::{Mount, MountSource, Propagation};

/// A clone of a mount that is mounted nowhere yet.
pub struct Tree {
    mount: OwnedFd,
    directory: bool,
}

/// How the root of a container's mounts relates to the host's: as close as its closest mount.
pub fn root_propagation(mounts: &[Mount]) -> &'static str {
    let any = |kind| mounts.iter().any(|mount| mount.propagation() == Some(kind));
    match (any(Propagation::Shared), any(Propagation::Slave)) {
        (true, _) => "shared",
        (false, true) => "slave",
        (false, false) => "private",
    }
}

/// Clones the sources of all binds, if one of them shares changes with the host: the others must be
/// kept from that then. Must run in the host's mount namespace.
pub fn clone_binds(mounts: &[Mount]) -> io::Result<Vec<Option<Tree>>> {
    if root_propagation(mounts) == "private" {
        return Ok(mounts.iter().map(|_| None).collect());
    }
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let tree = |mount: &Mount| match &mount.source {
        MountSource::Tmpfs { .. } => Ok(None),
        MountSource::Bind(source) => clone_bind(mount, source, &table).map(Some),
    };
    mounts.iter().map(tree).collect()
}

/// Clones a mount, or all from there on down, without its ties to others.
pub fn clone_private(source: &Path, recursive: bool) -> io::Result<Tree> {
    let source = fs::canonicalize(source)?;
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    let tree = Tree { mount: open_tree(&source, flags)?, directory: source.is_dir() };
    set_propagation(&tree.mount, libc::MS_PRIVATE)?;
    Ok(tree)
}

/// With Docker's words where the host does not share the mount itself.
fn clone_bind(mount: &Mount, source: &Path, table: &str) -> io::Result<Tree> {
    let source = fs::canonicalize(source)?;
    let propagation = mount.propagation().unwrap_or(Propagation::Private);
    let (point, ties) = ties(&source, table);
    let has = |kind: &str| ties.split(' ').any(|field| field.starts_with(kind));
    let lacks = match propagation {
        Propagation::Shared if !has("shared:") => Some("a shared mount"),
        Propagation::Slave if !has("shared:") && !has("master:") => Some("a shared or slave mount"),
        _ => None,
    };
    if let Some(lacks) = lacks {
        let (source, point) = (source.display(), point.display());
        let message = format!("path {source} is mounted on {point} but it is not {lacks}");
        return Err(io::Error::other(message));
    }
    let recursive = if mount.non_recursive { 0 } else { libc::AT_RECURSIVE };
    let tree = Tree { mount: open_tree(&source, recursive)?, directory: source.is_dir() };
    match propagation {
        Propagation::Private => set_propagation(&tree.mount, libc::MS_PRIVATE)?,
        Propagation::Slave => set_propagation(&tree.mount, libc::MS_SLAVE)?,
        // A clone belongs to the group of its original.
        Propagation::Shared => {}
    }
    Ok(tree)
}

/// The mount that a path is on, and its ties to others (`shared:1 master:2`), of a table like
/// /proc/self/mountinfo. The last of several mounts at one place is the one that is seen.
fn ties(path: &Path, table: &str) -> (PathBuf, String) {
    let mut found = (PathBuf::from("/"), String::new());
    for line in table.lines() {
        let mut fields = line.split(' ').skip(4);
        let Some(point) = fields.next().map(|text| PathBuf::from(unescape(text))) else { continue };
        if path.starts_with(&point) && point.as_os_str().len() >= found.0.as_os_str().len() {
            let ties: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
            found = (point, ties.join(" "));
        }
    }
    found
}

/// The table writes what would part its fields as `\040`.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The /dev/shm that a process sees.
pub fn clone_shared_memory(pid: i32) -> io::Result<Tree> {
    let theirs = File::open(format!("/proc/{pid}/ns/mnt"))?;
    let own = File::open("/proc/self/ns/mnt")?;
    // A tree can only be cloned from inside its namespace. Paths are the other container's there,
    // so no symbolic link of its leads to a place of the host.
    setns(&theirs, CloneFlags::CLONE_NEWNS)?;
    let mount = open_tree(Path::new("/dev/shm"), libc::AT_SYMLINK_NOFOLLOW);
    setns(&own, CloneFlags::CLONE_NEWNS)?;
    std::env::set_current_dir("/")?;
    Ok(Tree { mount: mount?, directory: true })
}

impl Tree {
    /// Mounts it at a place that is made for it.
    pub fn attach(&self, at: &Path) -> io::Result<()> {
        if self.directory {
            fs::create_dir_all(at)?;
        } else {
            if let Some(parent) = at.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create(at)?;
        }
        let at = CString::new(at.as_os_str().as_bytes())?;
        // SAFETY: the descriptor is open and both paths are NUL-terminated.
        let moved = unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                self.mount.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_FDCWD,
                at.as_ptr(),
                libc::MOVE_MOUNT_F_EMPTY_PATH,
            )
        };
        Errno::result(moved)?;
        Ok(())
    }
}

fn open_tree(path: &Path, flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = flags as libc::c_uint | libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is NUL-terminated; the other arguments are integers.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Of the whole tree. Docker's `slave` and `rslave` come to the same, for what is below a bind is
/// as the root of the container's mounts.
fn set_propagation(tree: &OwnedFd, propagation: libc::c_ulong) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation, userns_fd: 0 };
    // SAFETY: the descriptor is open, the path NUL-terminated, the structure of the size given.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(set)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_the_deepest_mount_above_it() {
        let table = "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                     22 21 0:5 / /a\\040b rw,nosuid shared:2 master:1 - tmpfs x rw\n\
                     23 21 0:6 / /srv rw - tmpfs x rw\n";
        let of = |path: &str| ties(Path::new(path), table);
        assert_eq!(of("/etc"), ("/".into(), "shared:1".into()));
        assert_eq!(of("/a b/c"), ("/a b".into(), "shared:2 master:1".into()));
        assert_eq!(of("/srv"), ("/srv".into(), String::new()));
        assert_eq!(of("/srvx"), ("/".into(), "shared:1".into()));
    }
}
