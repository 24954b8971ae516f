//! Makes an image of what a container wrote, as `docker commit` does: its image's layers, and one
//! more.
//!
//! Whoever calls this pauses the container first, or takes what a file was like while it was read.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::{fs, io};

use nix::sys::stat::{FileStat, fstat};
use time::OffsetDateTime;

use crate::blobs::Spooled;
use crate::config::{ConfigFile, History, ImageConfig, Rootfs as LayerList};
use crate::diff::is_opaque;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::{Image, NewImage};
use crate::index::LayerRecord;
use crate::limits::LAYERS_MAX;
use crate::pack::Packer;
use crate::reference::Reference;
use crate::rootfs::Rootfs;
use crate::store::{Inner, Pins, Store};
use crate::unpack::tree::is_whiteout;
use crate::unpack::{OPAQUE_MARKER, WHITEOUT};
use crate::walk::{Next, walk};

/// What the container's files do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOptions {
    /// The image's name; None leaves it without.
    pub reference: Option<Reference>,
    /// What the image's containers are like: the container's own, with changes, mostly.
    pub config: ImageConfig,
    pub author: String,
    /// The comment in the image's history.
    pub comment: String,
    /// The command in the image's history: what the container ran.
    pub created_by: String,
    /// When the image was made; the caller has the clock.
    pub created: OffsetDateTime,
}

/// The image below.
struct Parent {
    file: ConfigFile,
    layers: Vec<LayerRecord>,
}

impl Store {
    /// Makes an image of a container's root filesystem. A container that changed nothing brings no
    /// layer. Fails with [`Error::NoSuchImage`] if the container's image was removed since.
    pub async fn commit(&self, container: &str, options: CommitOptions) -> Result<Image> {
        if let Some(reference) = options.reference.iter().find(|name| name.digest().is_some()) {
            return Err(Error::Invalid {
                what: format!("name {}", reference.familiar()),
                reason: "cannot commit to digest reference".to_owned(),
            });
        }
        let rootfs = self.rootfs(container).await?;
        let pins = Arc::new(self.pins());
        let held = pins.clone();
        let (parent, packed) = self
            .blocking(move |inner| {
                let parent = inner.parent(rootfs.image, &held)?;
                Ok((parent, inner.pack_upper(&rootfs)?))
            })
            .await?;
        let Parent { file, mut layers } = parent;
        let empty_layer = packed.is_none();
        let packed = match packed {
            None => None,
            Some(spooled) => {
                let path = spooled.path().to_owned();
                let (unpacked, compression) = self.unpack_archive(path, None, &pins).await?;
                layers.push(LayerRecord {
                    diff_id: unpacked.diff_id,
                    blob: spooled.digest,
                    blob_bytes: spooled.bytes,
                    media_type: compression.layer_media_type().to_owned(),
                });
                Some(spooled)
            }
        };
        self.blocking(move |inner| {
            if let Some(spooled) = packed {
                pins.hold(spooled.digest);
                inner.keep(spooled)?;
            }
            let mut history = file.history;
            history.push(History {
                created: Some(options.created),
                created_by: options.created_by,
                author: options.author.clone(),
                comment: options.comment,
                empty_layer,
            });
            let file = ConfigFile {
                platform: file.platform,
                created: Some(options.created),
                author: options.author,
                config: options.config,
                rootfs: LayerList::of(layers.iter().map(|layer| layer.diff_id).collect()),
                history,
            };
            let new = NewImage {
                config: file.to_bytes(),
                manifest: None,
                layers,
                extra: Default::default(),
            };
            let names: Vec<Reference> =
                options.reference.into_iter().map(Reference::tag_or_latest).collect();
            let id = inner.register(new, &names, &pins)?;
            let state = inner.state();
            inner.image(&state.index, id)
        })
        .await
    }
}

impl Inner {
    /// The image that a container was made from, kept until the new one stands on it.
    fn parent(&self, id: Digest, pins: &Pins) -> Result<Parent> {
        let mut state = self.state();
        let record = state.index.images.get(&id).cloned();
        let record = record.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        let layers = record.layers.iter().map(|layer| layer.diff_id);
        record.blobs(id).into_iter().chain(layers).for_each(|it| pins.hold_in(&mut state, it));
        drop(state);
        let file = ConfigFile::parse(&self.small_blob(id)?)?;
        Ok(Parent { file, layers: record.layers })
    }

    /// The layer of what a container wrote, with what it deleted marked as the OCI's specification
    /// has it; None, if there is nothing.
    fn pack_upper(&self, rootfs: &Rootfs) -> Result<Option<Spooled>> {
        let context = || format!("pack the files of container {}", rootfs.container);
        let upper = self.open_upper(rootfs)?;
        let root = fstat(&upper).context(context)?;
        let spool = self.spool(self.limits.archive_bytes)?;
        // The packing that every registry and engine reads.
        let gzip = flate2::write::GzEncoder::new(spool, flate2::Compression::fast());
        let mut packer = Packer::new(gzip, &self.ids);
        let mut count = 0u64;
        // The owner and mode of the root, which nothing else in the layer would say.
        packer.add(&upper, OsStr::new("."), &root, b".".to_vec()).context(context)?;
        let from = upper.try_clone().context(context)?;
        walk(from, &mut |found| {
            count += 1;
            let path = found.path.to_vec();
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            if name.starts_with(WHITEOUT) {
                let reason = "a layer cannot hold a file of this name: it would delete another";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            if is_whiteout(found.stat) {
                let dir = &path[..path.len() - name.len()];
                packer.mark([dir, WHITEOUT, name].concat())?;
                return Ok(Next::Pass);
            }
            packer.add(found.parent, found.name, found.stat, path.clone())?;
            if found.dir.is_some() && is_opaque(found)? {
                packer.mark([&path, b"/".as_slice(), OPAQUE_MARKER].concat())?;
            }
            Ok(Next::Descend)
        })
        .context(context)?;
        if count == 0 && self.is_root_of_image(rootfs, &root)? {
            return Ok(None);
        }
        let layers = self.layers_of(&rootfs.container)?;
        if layers.len() >= LAYERS_MAX {
            return Err(Error::TooManyLayers);
        }
        let spool = packer.finish().and_then(|gzip| gzip.finish()).context(context)?;
        spool.finish().map(Some)
    }
    /// Whether the root is still as the image has it; a container may have changed its mode.
    fn is_root_of_image(&self, rootfs: &Rootfs, root: &FileStat) -> Result<bool> {
        let Some(top) = self.layers_of(&rootfs.container)?.pop() else { return Ok(true) };
        let dir = self.layer_path(top).join("diff");
        let below = fs::metadata(&dir).context(|| format!("look at {}", dir.display()))?;
        Ok((root.st_mode, root.st_uid, root.st_gid) == (below.mode(), below.uid(), below.gid()))
    }
}
