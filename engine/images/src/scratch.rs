//! Things in the making: they live under `tmp/` and come into their place by one rename.
//!
//! **Invariant:** a name outside `tmp/` holds a whole thing that is on disk, or nothing. Whatever a
//! killed process left under `tmp/` is removed when the store is opened.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Context, Result};

/// The directory of things in the making.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: PathBuf,
    next: AtomicU64,
}

/// A path that is removed, with all below it, unless it was moved into place.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Scratch {
    /// Takes the directory over and removes what is in it. The store's lock must be held.
    pub(crate) fn open(dir: PathBuf) -> Result<Self> {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(|| format!("clear {}", dir.display()));
            }
            _ => {}
        }
        fs::create_dir(&dir).context(|| format!("make {}", dir.display()))?;
        Ok(Self { dir, next: AtomicU64::new(0) })
    }

    /// A path that nobody else uses; nothing is there yet.
    pub(crate) fn path(&self) -> Temporary {
        // One process at a time holds the store, so a counter is unique.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Temporary { path: self.dir.join(number.to_string()) }
    }

    /// A new empty directory.
    pub(crate) fn dir(&self) -> Result<Temporary> {
        let temporary = self.path();
        fs::create_dir(&temporary.path).context(|| format!("make {}", temporary.path.display()))?;
        Ok(temporary)
    }

    /// Takes a thing out of its place at once; the space comes back when the result is dropped.
    pub(crate) fn discard(&self, path: &Path) -> Result<Temporary> {
        let temporary = self.path();
        fs::rename(path, &temporary.path).context(|| format!("remove {}", path.display()))?;
        Ok(temporary)
    }

    /// Replaces a small file as a whole.
    pub(crate) fn write(&self, place: &Path, bytes: &[u8]) -> Result<()> {
        let temporary = self.path();
        let mut file = File::create_new(&temporary.path)
            .context(|| format!("make {}", temporary.path.display()))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .context(|| format!("write {}", temporary.path.display()))?;
        temporary.settle(place)
    }
}

impl Temporary {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it into its place. What it holds must be synced already; the move is when this
    /// returns.
    pub(crate) fn settle(self, place: &Path) -> Result<()> {
        self.move_to(place)?;
        sync_dir(place.parent().unwrap_or(Path::new("/")))
    }

    /// A path outside `tmp/` that is to be removed unless it is moved or left.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Lets it stay where it is.
    pub(crate) fn leave(mut self) {
        self.path = PathBuf::new();
    }

    /// As [`Self::settle`], but that a power cut may undo the move.
    pub(crate) fn move_to(mut self, place: &Path) -> Result<()> {
        fs::rename(&self.path, place).context(|| format!("move into {}", place.display()))?;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        let result = match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&self.path),
            Ok(_) => fs::remove_file(&self.path),
            // It was never made.
            Err(_) => Ok(()),
        };
        if let Err(error) = result {
            // It goes when the store is opened next.
            tracing::warn!(path = %self.path.display(), %error, "failed to remove");
        }
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .context(|| format!("sync directory {}", dir.display()))
}
