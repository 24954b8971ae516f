//! What every container has even if its image has not: places where an engine mounts things.
//!
//! It lies below all of an image's layers, so that what the image has counts; and since the places
//! are there already, making them is no change that `docker diff` or `docker commit` would show.
//! The list is Docker's own.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::layers::own;
use crate::store::Inner;

/// Relative to the store's root, as short as names in mount options should be.
const PLACE: &str = "base";

const DIRECTORIES: &[&str] = &["dev", "dev/pts", "dev/shm", "etc", "proc", "sys"];

/// Empty ones; by the first, programs see that they are in a container.
const FILES: &[&str] =
    &[".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"];

const LINK: (&str, &str) = ("etc/mtab", "/proc/mounts");

impl Inner {
    /// The layer's directory, relative to the store's root.
    pub(crate) fn base_layer(&self) -> PathBuf {
        PathBuf::from(PLACE)
    }

    /// Makes the layer, unless it is there. Its place holds the whole or nothing.
    pub(crate) fn make_base_layer(&self) -> Result<()> {
        let place = self.root.join(PLACE);
        if place.exists() {
            return Ok(());
        }
        let temporary = self.scratch.dir()?;
        let root = temporary.path();
        build(root, self.ids.root()).context(|| format!("make {}", root.display()))?;
        File::open(root)
            .and_then(|dir| nix::unistd::syncfs(dir).map_err(Into::into))
            .context(|| format!("sync {}", root.display()))?;
        temporary.settle(&place)
    }
}

fn build(root: &Path, owner: (u32, u32)) -> std::io::Result<()> {
    // Whatever the mask of this process is.
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    mode(root, 0o755)?;
    own(root, owner)?;
    for name in DIRECTORIES {
        fs::create_dir(root.join(name))?;
        mode(&root.join(name), 0o755)?;
        own(&root.join(name), owner)?;
    }
    for name in FILES {
        File::create_new(root.join(name))?;
        mode(&root.join(name), 0o755)?;
        own(&root.join(name), owner)?;
    }
    symlink(LINK.1, root.join(LINK.0))?;
    own(&root.join(LINK.0), owner)
}
