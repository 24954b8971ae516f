//! The store: where things are on disk, who holds it, and what is needed by whom.
//!
//! ```text
//! lock               held while a process has the store open
//! index.json         images and references
//! blobs/sha256/HEX   content as it came: manifests, configurations, archives
//! downloads/HEX      what has come of a blob so far
//! layers/HEX/diff    an archive unpacked, by diff id; `size` beside it
//! l/NAME             short links to the above, for mount options
//! base/              what containers have that images have not
//! rootfs/CONTAINER   what a container writes, and which layers are below it
//! tmp/               things in the making
//! ```
//!
//! **Invariant:** `index.json` only names what is whole on disk, and nothing that an image, a
//! container or an operation under way needs is removed: all three are looked at under one lock.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use skep_idmap::IdMaps;
use tokio::sync::Semaphore;

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::index::{Index, VERSION};
use crate::limits::{FOLLOWS_MAX, Limits, UNPACKS_MAX};
use crate::mount::unmount_below;
use crate::scratch::{Scratch, Temporary, sync_dir};

/// Settings of a store.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    pub limits: Limits,
    /// How containers' ids stand on disk. Always the same for a store.
    pub ids: IdMaps,
}

/// The images of one host; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) ids: IdMaps,
    pub(crate) scratch: Scratch,
    state: Mutex<State>,
    /// One at a time unpacks a given layer.
    unpacking: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) unpacks: Semaphore,
    /// Of layers that are unpacked while they come.
    pub(crate) follows: Arc<Semaphore>,
    /// How many look into which root filesystem, by where it is mounted.
    pub(crate) open_rootfs: Arc<Mutex<HashMap<PathBuf, usize>>>,
    _lock: Flock<File>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub index: Index,
    /// Content that operations under way need, with how many of them.
    pins: HashMap<Digest, usize>,
}

impl Store {
    /// Opens the store under a directory, which is made if it is not there, and clears what a
    /// killed process left. Fails with [`Error::Locked`] while another process has it open.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(root, StoreOptions::default()).await
    }

    /// The same with settings of one's own.
    pub async fn open_with(root: impl Into<PathBuf>, options: StoreOptions) -> Result<Self> {
        let root = root.into();
        blocking(move || Self::open_now(root, options)).await
    }

    fn open_now(root: PathBuf, options: StoreOptions) -> Result<Self> {
        let make = |dir: &Path| {
            fs::create_dir_all(dir).context(|| format!("make directory {}", dir.display()))
        };
        make(&root)?;
        let root = fs::canonicalize(&root).context(|| format!("find {}", root.display()))?;
        let lock_path = root.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .context(|| format!("open {}", lock_path.display()))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| Error::Locked(root.clone()))?;
        for dir in ["blobs/sha256", "downloads", "layers", "l", "rootfs"] {
            make(&root.join(dir))?;
        }
        // Before anything is cleared: what is looked into is mounted, and a killed process leaves
        // it so. Containers that run have mounts of their own.
        unmount_below(&root.join("rootfs"))?;
        let scratch = Scratch::open(root.join("tmp"))?;
        let index = read_index(&root.join("index.json"))?;
        let inner = Inner {
            limits: options.limits,
            ids: options.ids,
            scratch,
            state: Mutex::new(State { index, pins: HashMap::new() }),
            unpacking: Mutex::default(),
            unpacks: Semaphore::new(UNPACKS_MAX),
            follows: Arc::new(Semaphore::new(FOLLOWS_MAX)),
            open_rootfs: Arc::default(),
            _lock: lock,
            root,
        };
        inner.sweep_all()?;
        inner.remove_old_downloads(std::time::SystemTime::now())?;
        inner.make_base_layer()?;
        sync_dir(&inner.root)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How containers' ids stand on disk.
    pub fn ids(&self) -> &IdMaps {
        &self.inner.ids
    }

    /// Runs what blocks on the disk where it may.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        blocking(move || work(&inner)).await
    }

    /// Keeps content from being removed until the result is dropped.
    pub(crate) fn pins(&self) -> Pins {
        Pins { inner: self.inner.clone(), held: Mutex::default() }
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(std::io::Error::other(error))
                .context(|| "finish: the runtime is shutting down".to_owned()),
        },
    }
}

fn read_index(path: &Path) -> Result<Index> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Index::default()),
        Err(error) => return Err(error).context(|| format!("read {}", path.display())),
    };
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Damaged(format!("{}: {error}", path.display())))?;
    if index.version != VERSION {
        let got = index.version;
        return Err(Error::Damaged(format!("index.json: expected version {VERSION}, got {got}")));
    }
    Ok(index)
}

impl Inner {
    /// The state; a panic while it was held left it as it was, for it changes by whole values.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes images and references: on disk first, then in memory.
    pub(crate) fn commit<T>(
        &self,
        state: &mut State,
        change: impl FnOnce(&mut Index) -> Result<T>,
    ) -> Result<T> {
        let mut index = state.index.clone();
        let result = change(&mut index)?;
        if index != state.index {
            let bytes = serde_json::to_vec(&index).expect("an index is plain data");
            self.scratch.write(&self.root.join("index.json"), &bytes)?;
            state.index = index;
        }
        Ok(result)
    }

    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn layer_path(&self, diff_id: Digest) -> PathBuf {
        self.root.join("layers").join(diff_id.hex())
    }

    /// The lock of one layer's unpacking.
    pub(crate) fn unpacking(&self, diff_id: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.unpacking.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever still waits holds a clone; the rest has ended.
        all.retain(|_, lock| Arc::strong_count(lock) > 1);
        all.entry(diff_id).or_default().clone()
    }

    /// Takes out of their places all of these that nobody needs; their space comes back when the
    /// result is dropped, which is best done without the lock.
    pub(crate) fn sweep(
        &self,
        state: &State,
        candidates: impl IntoIterator<Item = Digest>,
    ) -> Result<Vec<Temporary>> {
        let (blobs, mut layers) = (state.index.blobs(), state.index.layers());
        layers.extend(self.layers_of_containers()?);
        let mut removed = Vec::new();
        for digest in candidates {
            if state.pins.contains_key(&digest) {
                continue;
            }
            let blob = self.blob_path(digest);
            if !blobs.contains(&digest) && blob.exists() {
                removed.push(self.scratch.discard(&blob)?);
            }
            let layer = self.layer_path(digest);
            if !layers.contains(&digest) && layer.exists() {
                removed.push(self.scratch.discard(&layer)?);
                self.remove_short_link(digest)?;
            }
        }
        Ok(removed)
    }

    /// At opening: what an operation brought that a kill ended before it was named.
    fn sweep_all(&self) -> Result<()> {
        let mut all = BTreeSet::new();
        for dir in [self.root.join("blobs/sha256"), self.root.join("layers")] {
            let entries = fs::read_dir(&dir).context(|| format!("list {}", dir.display()))?;
            for entry in entries {
                let entry = entry.context(|| format!("list {}", dir.display()))?;
                let name = entry.file_name();
                match name.to_str().map(Digest::from_hex) {
                    Some(Ok(digest)) => drop(all.insert(digest)),
                    _ => tracing::warn!(path = %entry.path().display(), "not of this store"),
                }
            }
        }
        let state = self.state();
        drop(self.sweep(&state, all)?);
        self.remove_dead_links()
    }
}

/// Content that an operation under way needs. What of it is nobody's when the operation ends, it
/// having failed, is removed.
#[derive(Debug)]
pub(crate) struct Pins {
    inner: Arc<Inner>,
    held: Mutex<Vec<Digest>>,
}

impl Pins {
    /// To be called before looking whether the content is there.
    pub(crate) fn hold(&self, digest: Digest) {
        self.hold_in(&mut self.inner.state(), digest);
    }

    /// The same while the state is held.
    pub(crate) fn hold_in(&self, state: &mut State, digest: Digest) {
        *state.pins.entry(digest).or_default() += 1;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(digest);
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let inner = self.inner.clone();
        let release = move || {
            let mut state = inner.state();
            for digest in &held {
                if let Some(count) = state.pins.get_mut(digest) {
                    *count -= 1;
                    if *count == 0 {
                        state.pins.remove(digest);
                    }
                }
            }
            let removed = inner.sweep(&state, held);
            drop(state);
            if let Err(error) = removed {
                tracing::warn!(%error, "failed to remove what nobody needs");
            }
        };
        // A drop may happen on a thread of the runtime, which must not wait for the disk.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(release)),
            Err(_) => release(),
        }
    }
}
