//! A container's root filesystem: the image's layers below, what it writes above.
//!
//! ```text
//! rootfs/CONTAINER/image.json   which image and layers
//!                  diff         what the container writes
//!                  work         overlayfs' own
//!                  merged       where it is mounted
//! ```
//!
//! **Invariant:** as long as this directory is there, so are the layers that it names, even if the
//! image is deleted.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::layers::own;
use crate::limits::LAYERS_MAX;
use crate::mount::{is_mounted, mount_overlay, unmount};
use crate::store::{Inner, Store};

/// Docker's ids have 64 digits; names are allowed as well.
const CONTAINER_ID_BYTES_MAX: usize = 128;

/// What overlayfs stacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlaySpec {
    /// The directory that the paths below are relative to; [`mount_overlay`] goes there, so that
    /// many layers fit the kernel's page of options.
    pub base: PathBuf,
    /// The topmost layer first, as the kernel wants it.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// A container's root filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    pub container: String,
    /// The image it was made from.
    pub image: Digest,
    pub overlay: OverlaySpec,
    /// Where it is, or will be, mounted.
    pub merged: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Recipe {
    image: Digest,
    /// Diff ids, the lowest first.
    layers: Vec<Digest>,
}

impl Store {
    /// Makes a root filesystem for a container from an image (a reference or an id). It is not
    /// mounted yet.
    pub async fn create_rootfs(&self, container: &str, image: &str) -> Result<Rootfs> {
        check_id(container)?;
        let (container, image) = (container.to_owned(), image.to_owned());
        self.blocking(move |inner| inner.create_rootfs(&container, &image)).await
    }

    /// The root filesystem of a container that has one.
    pub async fn rootfs(&self, container: &str) -> Result<Rootfs> {
        check_id(container)?;
        let container = container.to_owned();
        self.blocking(move |inner| inner.rootfs(&container)).await
    }

    /// Mounts a container's root filesystem, unless it is mounted already, and says where.
    pub async fn mount_rootfs(&self, container: &str) -> Result<PathBuf> {
        let rootfs = self.rootfs(container).await?;
        self.blocking(move |_| {
            if !is_mounted(&rootfs.merged)? {
                mount_overlay(&rootfs.overlay, &rootfs.merged)?;
            }
            Ok(rootfs.merged)
        })
        .await
    }

    /// Unmounts it; what is not mounted is left as it is.
    pub async fn unmount_rootfs(&self, container: &str) -> Result<()> {
        let rootfs = self.rootfs(container).await?;
        self.blocking(move |_| unmount(&rootfs.merged)).await
    }

    /// Mounts a container's root filesystem for as long as the result lives. Several may look into
    /// one at once: the last that goes unmounts it.
    pub async fn open_rootfs(&self, container: &str) -> Result<OpenRootfs> {
        let rootfs = self.rootfs(container).await?;
        self.blocking(move |inner| {
            let mut open = inner.open_rootfs.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_mounted(&rootfs.merged)? {
                mount_overlay(&rootfs.overlay, &rootfs.merged)?;
            }
            *open.entry(rootfs.merged.clone()).or_default() += 1;
            drop(open);
            Ok(OpenRootfs { open: Arc::clone(&inner.open_rootfs), merged: rootfs.merged })
        })
        .await
    }

    /// Unmounts it and removes what the container wrote; one that is not there is no error.
    pub async fn remove_rootfs(&self, container: &str) -> Result<()> {
        check_id(container)?;
        let container = container.to_owned();
        self.blocking(move |inner| {
            let dir = inner.rootfs_path(&container);
            if !dir.exists() {
                return Ok(());
            }
            unmount(&dir.join("merged"))?;
            let Recipe { layers, image } = inner.read_recipe(&container)?;
            let state = inner.state();
            if state.index.images.contains_key(&image) {
                inner.note_use(image)?;
            }
            let mut removed = vec![inner.scratch.discard(&dir)?];
            // It may have been the last that kept layers of a deleted image.
            removed.extend(inner.sweep(&state, layers)?);
            drop(state);
            drop(removed);
            Ok(())
        })
        .await
    }

    /// The containers that have root filesystems here, with the image of each.
    pub async fn rootfs_users(&self) -> Result<Vec<(String, Digest)>> {
        self.blocking(|inner| {
            let containers = inner.containers()?;
            let users = containers.into_iter().map(|container| {
                let recipe = inner.read_recipe(&container)?;
                Ok((container, recipe.image))
            });
            users.collect()
        })
        .await
    }
}

/// A root filesystem that is mounted as long as this lives.
#[derive(Debug)]
pub struct OpenRootfs {
    open: Arc<Mutex<HashMap<PathBuf, usize>>>,
    merged: PathBuf,
}

impl OpenRootfs {
    pub fn path(&self) -> &Path {
        &self.merged
    }
}

impl Drop for OpenRootfs {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = open.get_mut(&self.merged) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        open.remove(&self.merged);
        // Lazily: what was opened stays readable, and this waits for nothing.
        if let Err(error) = unmount(&self.merged) {
            tracing::warn!(path = %self.merged.display(), %error, "a root filesystem stays mounted");
        }
    }
}

impl Inner {
    fn rootfs_path(&self, container: &str) -> PathBuf {
        self.root.join("rootfs").join(container)
    }

    fn containers(&self) -> Result<Vec<String>> {
        let dir = self.root.join("rootfs");
        let entries = fs::read_dir(&dir).context(|| format!("list {}", dir.display()))?;
        let mut containers = Vec::new();
        for entry in entries {
            let name = entry.context(|| format!("list {}", dir.display()))?.file_name();
            match name.to_str().map(|name| (name, check_id(name))) {
                Some((name, Ok(()))) => containers.push(name.to_owned()),
                _ => {
                    return Err(Error::Damaged(format!(
                        "rootfs/{} is no container",
                        name.display()
                    )));
                }
            }
        }
        Ok(containers)
    }

    /// Layers that some container stands on.
    pub(crate) fn layers_of_containers(&self) -> Result<BTreeSet<Digest>> {
        let mut layers = BTreeSet::new();
        for container in self.containers()? {
            layers.extend(self.read_recipe(&container)?.layers);
        }
        Ok(layers)
    }

    /// The layers that one container stands on, the lowest first.
    pub(crate) fn layers_of(&self, container: &str) -> Result<Vec<Digest>> {
        Ok(self.read_recipe(container)?.layers)
    }

    /// The images that containers were made from.
    pub(crate) fn images_of_containers(&self) -> Result<BTreeSet<Digest>> {
        let containers = self.containers()?;
        containers.iter().map(|container| Ok(self.read_recipe(container)?.image)).collect()
    }

    fn read_recipe(&self, container: &str) -> Result<Recipe> {
        let path = self.rootfs_path(container).join("image.json");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoSuchRootfs(container.to_owned()));
            }
            result => result.context(|| format!("read {}", path.display()))?,
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Damaged(format!("{}: {error}", path.display())))
    }

    fn create_rootfs(&self, container: &str, image: &str) -> Result<Rootfs> {
        // Under the lock until it has its place: from then on it keeps its layers itself.
        let state = self.state();
        let id = self.find(&state.index, image)?;
        self.note_use(id)?;
        let layers: Vec<Digest> =
            state.index.images[&id].layers.iter().map(|layer| layer.diff_id).collect();
        if layers.len() > LAYERS_MAX {
            return Err(Error::TooManyLayers);
        }
        let place = self.rootfs_path(container);
        if place.exists() {
            return Err(Error::RootfsExists(container.to_owned()));
        }
        let temporary = self.scratch.dir()?;
        for name in ["diff", "work", "merged"] {
            let dir = temporary.path().join(name);
            fs::create_dir(&dir)
                .and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)))
                .context(|| format!("make {}", dir.display()))?;
        }
        let upper = temporary.path().join("diff");
        own(&upper, self.ids.root()).context(|| format!("own {}", upper.display()))?;
        // The merged root shows the upper directory's owner and mode: those of the image's root.
        if let Some(top) = layers.last() {
            let root = self.layer_path(*top).join("diff");
            fs::metadata(&root)
                .and_then(|root| {
                    own(&upper, (root.uid(), root.gid()))?;
                    fs::set_permissions(&upper, fs::Permissions::from_mode(root.mode() & 0o7777))
                })
                .context(|| format!("copy the mode of {}", root.display()))?;
        }
        let recipe =
            serde_json::to_vec(&Recipe { image: id, layers }).expect("a recipe is plain data");
        let path = temporary.path().join("image.json");
        fs::write(&path, recipe)
            .and_then(|()| File::open(&path)?.sync_all())
            .context(|| format!("write {}", path.display()))?;
        // Not synced: who makes a container writes down and syncs a record of it after this, and a
        // journal keeps their order.
        temporary.move_to(&place)?;
        drop(state);
        self.rootfs(container)
    }

    fn rootfs(&self, container: &str) -> Result<Rootfs> {
        let recipe = self.read_recipe(container)?;
        // The kernel refuses the same directory twice, and images do have a layer twice: an empty
        // one, mostly. The topmost brings and hides all that those below it would.
        let mut seen = BTreeSet::new();
        let topmost = recipe.layers.iter().rev().filter(|layer| seen.insert(**layer));
        let mut lower =
            topmost.map(|layer| self.short_link(*layer)).collect::<Result<Vec<PathBuf>>>()?;
        lower.push(self.base_layer());
        let own = Path::new("rootfs").join(container);
        Ok(Rootfs {
            container: container.to_owned(),
            image: recipe.image,
            overlay: OverlaySpec {
                base: self.root.clone(),
                lower,
                upper: own.join("diff"),
                work: own.join("work"),
            },
            merged: self.root.join(own).join("merged"),
        })
    }
}

/// Containers' ids become names of directories and mount options.
fn check_id(container: &str) -> Result<()> {
    let first = container.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = container.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if first && rest && container.len() <= CONTAINER_ID_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Invalid {
        what: format!("container id {container:?}"),
        reason: "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed".to_owned(),
    })
}
