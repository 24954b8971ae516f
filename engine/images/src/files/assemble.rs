//! The root of a container that does not run, with its volumes where they would be.
//!
//! They are mounted in a mount namespace that nobody else sees and that lasts as long as the root
//! is held; a killed process leaves nothing mounted.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchdir, fchownat, pivot_root};
use skep_idmap::IdMaps;

use super::path::Asked;
use super::resolve::open_in;
use super::{FileError, RootDir, blocking};
use crate::unpack::tree::kind;

/// A volume, or a directory or file of the host, in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// A path of the host.
    pub source: PathBuf,
    /// An absolute path in the container; it is made if it is not there, as Docker does.
    pub target: String,
    pub read_only: bool,
}

impl RootDir {
    /// Opens a directory of the host, such as a mounted root filesystem, as a root in which these
    /// are mounted, in this order. `ids` says how containers' ids stand on disk.
    pub async fn assemble(root: &Path, binds: Vec<Bind>, ids: &IdMaps) -> Result<Self, FileError> {
        let (root, ids) = (root.to_owned(), ids.clone());
        blocking(move || {
            if binds.is_empty() {
                return Ok(Self::open(&root)?.with_ids(&ids));
            }
            // A mount namespace is a thread's own, and this thread is the runtime's.
            std::thread::scope(|scope| {
                let made = scope.spawn(|| assemble(&root, &binds, &ids)).join();
                made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
        .await
    }
}

const NONE: Option<&str> = None;

fn assemble(root: &Path, binds: &[Bind], ids: &IdMaps) -> Result<RootDir, FileError> {
    let shown = root.display().to_string();
    let refused = |error: Errno| FileError::of(&shown, "mount volumes in", error);
    // It leaves the other threads' working directory as well.
    unshare(CloneFlags::CLONE_NEWNS).map_err(refused)?;
    // What is mounted here is not to be seen outside, and what is unmounted there stays here.
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).map_err(refused)?;
    let namespace = File::open("/proc/thread-self/ns/mnt")
        .map_err(|error| FileError::of(&shown, "keep the mounts of", error))?;
    mount(Some(root), root, NONE, MsFlags::MS_BIND, NONE).map_err(refused)?;
    let opened = RootDir::open(root)?.with_ids(ids);
    for bind in binds {
        attach(&opened, bind)?;
    }
    forget_others(&opened).map_err(refused)?;
    Ok(RootDir { _namespace: Some(std::sync::Arc::new(namespace.into())), ..opened })
}

/// Lets go of all of the host's mounts, which would otherwise last as long as this root.
fn forget_others(root: &RootDir) -> nix::Result<()> {
    fchdir(&root.dir)?;
    match pivot_root(".", ".") {
        Ok(()) => umount2(".", MntFlags::MNT_DETACH),
        // The root that the kernel itself unpacked cannot be taken away; then they do last.
        Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn attach(root: &RootDir, bind: &Bind) -> Result<(), FileError> {
    let refused = |error: Errno| FileError::of(&bind.target, "mount a volume on", error);
    let source = nix::fcntl::open(&bind.source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|error| {
            FileError::of(&bind.source.display().to_string(), "open the volume", error)
        })?;
    let stat = fstat(&source).map_err(refused)?;
    let asked = Asked::parse(&bind.target)?;
    let target = place(root, &asked, &stat).map_err(refused)?;
    // By descriptors, for names in the container could lead elsewhere by now.
    let path = |file: &OwnedFd| format!("/proc/self/fd/{}", file.as_raw_fd());
    let (from, to) = (path(&source), path(&target));
    mount(Some(from.as_str()), to.as_str(), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .map_err(refused)?;
    if bind.read_only {
        // The mount now lies on the place, which has to be found again to be changed.
        let mounted = open_in(&root.dir, asked.relative().as_str(), OFlag::O_PATH);
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let mounted = mounted.map_err(refused)?;
        mount(NONE, path(&mounted).as_str(), NONE, flags, NONE).map_err(refused)?;
    }
    Ok(())
}

/// The place for a mount; what is missing on the way is made.
fn place(root: &RootDir, asked: &Asked, source: &FileStat) -> nix::Result<OwnedFd> {
    let components = asked.components();
    let is_dir = kind(source) == SFlag::S_IFDIR;
    let mut at = open_in(&root.dir, ".", OFlag::O_PATH)?;
    for (index, name) in components.iter().enumerate() {
        let path = components[..=index].join("/");
        at = match open_in(&root.dir, path.as_str(), OFlag::O_PATH) {
            Err(Errno::ENOENT) => {
                let name = name.as_str();
                if is_dir || index + 1 < components.len() {
                    mkdirat(&at, name, Mode::from_bits_truncate(0o755))?;
                } else {
                    mknodat(&at, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0)?;
                }
                let (uid, gid) = root.ids.root();
                let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                fchownat(&at, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                open_in(&root.dir, path.as_str(), OFlag::O_PATH)?
            }
            result => result?,
        };
    }
    Ok(at)
}
