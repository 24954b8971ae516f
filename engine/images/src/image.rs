//! Images as others see them: found by name or id, listed, tagged.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::SystemTime;

use time::OffsetDateTime;

use crate::config::{ConfigFile, History, ImageConfig};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::index::{Index, LayerRecord, Record};
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Inner, Pins, Store};

/// One image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest.
    pub digest: Digest,
    /// All its names, by tag and by digest.
    pub references: Vec<Reference>,
    pub config: ImageConfig,
    pub platform: Platform,
    pub author: String,
    pub created: Option<OffsetDateTime>,
    /// Bytes of the files of all its layers.
    pub size: u64,
    /// Diff ids, the lowest layer first.
    pub layers: Vec<Digest>,
    /// Bytes of each layer's files, in the same order.
    pub layer_sizes: Vec<u64>,
    pub history: Vec<History>,
}

impl Image {
    /// `nginx:1.27`, as Docker lists them.
    pub fn repo_tags(&self) -> Vec<String> {
        self.references.iter().filter(|r| r.digest().is_none()).map(Reference::familiar).collect()
    }

    /// `nginx@sha256:…`, as Docker lists them.
    pub fn repo_digests(&self) -> Vec<String> {
        self.references.iter().filter(|r| r.digest().is_some()).map(Reference::familiar).collect()
    }
}

/// What is to become an image; its content is in the store and pinned.
pub(crate) struct NewImage {
    pub config: Vec<u8>,
    /// Bytes of the manifest that it came with; None makes one.
    pub manifest: Option<Vec<u8>>,
    pub layers: Vec<LayerRecord>,
    pub extra: BTreeSet<Digest>,
}

impl Inner {
    /// Names what is whole on disk: from here on it is an image.
    pub(crate) fn register(
        &self,
        new: NewImage,
        references: &[Reference],
        pins: &Pins,
    ) -> Result<Digest> {
        let config = ConfigFile::parse(&new.config)?;
        let diff_ids: Vec<Digest> = new.layers.iter().map(|layer| layer.diff_id).collect();
        if config.rootfs.diff_ids != diff_ids {
            return Err(Error::RootfsMismatch);
        }
        let id = Digest::of(&new.config);
        let manifest = new.manifest.unwrap_or_else(|| {
            let layers = new
                .layers
                .iter()
                .map(|layer| Descriptor::new(&layer.media_type, layer.blob, layer.blob_bytes));
            let config = Descriptor::new(OCI_CONFIG, id, new.config.len() as u64);
            Manifest::of(config, layers.collect()).to_bytes()
        });
        for bytes in [&new.config, &manifest] {
            pins.hold(Digest::of(bytes));
            self.keep_bytes(bytes)?;
        }
        self.note_use(id)?;
        let record =
            Record { manifest: Digest::of(&manifest), layers: new.layers, extra: new.extra };
        let mut state = self.state();
        let replaced = state.index.images.get(&id).map(|old| old.blobs(id)).unwrap_or_default();
        self.commit(&mut state, |index| {
            index.images.insert(id, record);
            index.references.extend(references.iter().map(|name| (name.clone(), id)));
            Ok(())
        })?;
        // The same image packed otherwise: what the old record alone named is nobody's now.
        let removed = self.sweep(&state, replaced)?;
        drop(state);
        drop(removed);
        Ok(id)
    }

    /// The id that a user's word for an image means: a reference, an id, or the start of one.
    pub(crate) fn find(&self, index: &Index, name: &str) -> Result<Digest> {
        let unknown = || Error::NoSuchImage(name.to_owned());
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        if let Ok(id) = Digest::from_hex(digits) {
            return index.images.contains_key(&id).then_some(id).ok_or_else(unknown);
        }
        if let Ok(reference) = name.parse::<Reference>() {
            let key = match reference.digest() {
                // A digest says more than a tag beside it.
                Some(digest) => reference.with_digest(digest),
                None => reference.tag_or_latest(),
            };
            if let Some(id) = index.references.get(&key) {
                return Ok(*id);
            }
            // By a manifest's digest, whatever its name was when it came.
            let by_manifest = key.digest().and_then(|digest| {
                let named = |id: &Digest| {
                    index.references_to(*id).iter().any(|other| other.name() == key.name())
                };
                let mut of = index.images.iter().filter(|(_, record)| record.manifest == digest);
                of.find(|(id, _)| named(id)).map(|(id, _)| *id)
            });
            if let Some(id) = by_manifest {
                return Ok(id);
            }
        }
        if digits.is_empty() || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(unknown());
        }
        let mut starting = index.images.keys().filter(|id| id.hex().starts_with(digits));
        match (starting.next(), starting.next()) {
            (Some(id), None) => Ok(*id),
            (Some(_), Some(_)) => Err(Error::Ambiguous(name.to_owned())),
            _ => Err(unknown()),
        }
    }

    pub(crate) fn image(&self, index: &Index, id: Digest) -> Result<Image> {
        let record = index.images.get(&id).ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        let file = ConfigFile::parse(&self.small_blob(id)?)?;
        let layers: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
        let layer_sizes =
            layers.iter().map(|layer| self.layer_size(*layer)).collect::<Result<Vec<u64>>>()?;
        Ok(Image {
            id,
            digest: record.manifest,
            references: index.references_to(id),
            config: file.config,
            platform: file.platform,
            author: file.author,
            created: file.created,
            size: layer_sizes.iter().sum(),
            layers,
            layer_sizes,
            history: file.history,
        })
    }

    /// Notes that an image is used now: its configuration's blob is as old as its last use.
    pub(crate) fn note_use(&self, id: Digest) -> Result<()> {
        let path = self.blob_path(id);
        File::options()
            .append(true)
            .open(&path)
            .and_then(|blob| blob.set_modified(SystemTime::now()))
            .context(|| format!("note the use of image {id}"))
    }
}

impl Store {
    /// When an image came, or a container was last made from it or removed, whichever was last. It
    /// reads no more than a file's time.
    pub fn last_use(&self, id: Digest) -> Result<SystemTime> {
        let found = std::fs::metadata(self.inner.blob_path(id)).and_then(|blob| blob.modified());
        found.context(|| format!("see when image {id} was used"))
    }

    /// All images, the newest first.
    pub async fn list(&self) -> Result<Vec<Image>> {
        self.blocking(|inner| {
            // Under the lock, so that none is removed while it is read; images are small to read.
            let state = inner.state();
            let ids = state.index.images.keys();
            let mut images =
                ids.map(|id| inner.image(&state.index, *id)).collect::<Result<Vec<Image>>>()?;
            images.sort_by_key(|image| std::cmp::Reverse(image.created));
            Ok(images)
        })
        .await
    }

    /// One image, by reference, id, or the start of an id.
    pub async fn inspect(&self, name: &str) -> Result<Image> {
        let name = name.to_owned();
        self.blocking(move |inner| {
            let state = inner.state();
            let id = inner.find(&state.index, &name)?;
            inner.image(&state.index, id)
        })
        .await
    }

    /// Gives an image another name, taking it from the image that had it.
    pub async fn tag(&self, name: &str, target: &Reference) -> Result<()> {
        if target.digest().is_some() {
            return Err(Error::Invalid {
                what: format!("tag {}", target.familiar()),
                reason: "refusing to create a tag with a digest reference".to_owned(),
            });
        }
        let (name, target) = (name.to_owned(), target.clone().tag_or_latest());
        self.blocking(move |inner| {
            let mut state = inner.state();
            let id = inner.find(&state.index, &name)?;
            inner.commit(&mut state, |index| {
                index.references.insert(target, id);
                Ok(())
            })
        })
        .await
    }

    /// The manifest of an image as it stands in the store, with its media type.
    pub async fn manifest(&self, name: &str) -> Result<(String, Vec<u8>)> {
        let name = name.to_owned();
        self.blocking(move |inner| {
            let state = inner.state();
            let id = inner.find(&state.index, &name)?;
            let record = &state.index.images[&id];
            let bytes = inner.small_blob(record.manifest)?;
            let manifest: Manifest = serde_json::from_slice(&bytes)
                .map_err(|error| Error::Damaged(format!("manifest of {name}: {error}")))?;
            let media_type = match manifest.media_type {
                empty if empty.is_empty() => OCI_MANIFEST.to_owned(),
                media_type => media_type,
            };
            Ok((media_type, bytes))
        })
        .await
    }
}
