//! A network namespace, held open by a file and, where it has a path, kept alive by a mount there.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, statfs};
use skep_idmap::Owner;
use tokio::sync::oneshot;

use crate::KernelError;

/// The calling thread's namespace. Not `/proc/self`, which is the first thread's.
const OWN: &str = "/proc/thread-self/ns/net";
/// The type of the file system that namespaces' files are on (`linux/magic.h`).
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// A handle to a network namespace.
#[derive(Clone)]
pub struct Namespace {
    file: Arc<File>,
    name: Arc<str>,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.name).finish()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Namespace {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, KernelError> {
        Self::open_as(Path::new(OWN), "the host's namespace")
    }

    /// The namespace that is mounted at a path.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        Self::open_as(path, &format!("namespace {}", path.display()))
    }

    fn open_as(path: &Path, name: &str) -> Result<Self, KernelError> {
        let file = File::open(path).map_err(KernelError::io(format!("open {name}")))?;
        Ok(Self { file: Arc::new(file), name: name.into() })
    }

    /// The namespace of a descriptor that somebody sent.
    pub fn of_descriptor(descriptor: OwnedFd, name: &str) -> Self {
        Self { file: Arc::new(descriptor.into()), name: name.into() }
    }

    /// Which one it is: the same for every descriptor of it, for as long as it stands.
    pub fn number(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// Whether a namespace is mounted at a path; a plain file there is left over from a crash.
    pub fn stands(path: &Path) -> bool {
        statfs(path).is_ok_and(|it| it.filesystem_type() == NSFS_MAGIC)
    }

    /// A namespace at a path, made unless it stands.
    pub async fn create(path: &Path) -> Result<Self, KernelError> {
        Self::create_for(path, &Owner::Host).await
    }

    /// The same, belonging to a user namespace.
    pub async fn create_for(path: &Path, owner: &Owner) -> Result<Self, KernelError> {
        if Self::stands(path) {
            return Self::open(path);
        }
        let (place, owner): (PathBuf, Owner) = (path.to_owned(), owner.clone());
        let step = format!("create namespace {}", path.display());
        on_own_thread(move || -> io::Result<()> {
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create(&place)?;
            let made = match owner {
                Owner::Host => {
                    unshare(CloneFlags::CLONE_NEWNET)?;
                    File::open(OWN)?.into()
                }
                owner => skep_idmap::make(&owner)?.network,
            };
            let source = format!("/proc/thread-self/fd/{}", made.as_raw_fd());
            mount(Some(source.as_str()), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        })
        .await
        .and_then(|result| result)
        .map_err(KernelError::io(step))?;
        Self::open(path)
    }

    /// Gives a namespace that stands elsewhere one more name.
    pub fn borrow(path: &Path, from: &Path) -> Result<(), KernelError> {
        let step = || format!("name namespace {} {}", from.display(), path.display());
        if !Self::stands(from) {
            let gone = io::Error::from(io::ErrorKind::NotFound);
            return Err(KernelError::io(step())(gone));
        }
        Self::remove(path)?;
        let make = || -> io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create(path)?;
            mount(Some(from), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        };
        make().map_err(KernelError::io(step()))
    }

    /// Takes the name away. The kernel frees the namespace when nobody is in it any more.
    pub fn remove(path: &Path) -> Result<(), KernelError> {
        let step = || format!("remove namespace {}", path.display());
        if Self::stands(path) {
            umount2(path, MntFlags::MNT_DETACH)
                .map_err(|errno| KernelError::io(step())(errno.into()))?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KernelError::io(step())(error))
            }
            _ => Ok(()),
        }
    }

    /// Runs something inside, on a thread of its own. Sockets that it makes and processes that it
    /// starts stay in the namespace.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let file = self.file.clone();
        on_own_thread(move || {
            setns(&*file, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })
        .await
        .and_then(|result| result)
    }

    pub(crate) fn raw_fd(&self) -> i32 {
        self.file.as_raw_fd()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (answer, wait) = oneshot::channel();
    std::thread::Builder::new().name("skep-netns".into()).spawn(move || {
        // Nobody waits any more: the work was done all the same.
        let _ = answer.send(work());
    })?;
    wait.await.map_err(|_| io::Error::other("the thread in the namespace died"))
}
