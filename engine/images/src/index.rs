//! Which images there are and what they are called: one small file, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::reference::Reference;

/// The form of the file; another one is refused rather than misread.
pub(crate) const VERSION: u32 = 1;

/// One image; its key is the digest of its configuration, which is what engines call its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The manifest that names configuration and layers.
    pub manifest: Digest,
    pub layers: Vec<LayerRecord>,
    /// Other content that is kept with it: indexes by which it was found.
    pub extra: BTreeSet<Digest>,
}

/// One layer of an image, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// The digest of the archive uncompressed; unpacked layers go by it.
    pub diff_id: Digest,
    /// The archive as it came.
    pub blob: Digest,
    pub blob_bytes: u64,
    pub media_type: String,
}

/// All images and references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub version: u32,
    pub images: BTreeMap<Digest, Record>,
    /// Each holds a tag or a digest, not both.
    pub references: BTreeMap<Reference, Digest>,
}

impl Default for Index {
    fn default() -> Self {
        Self { version: VERSION, images: BTreeMap::new(), references: BTreeMap::new() }
    }
}

impl Index {
    /// All references to one image.
    pub(crate) fn references_to(&self, id: Digest) -> Vec<Reference> {
        self.references.iter().filter(|(_, of)| **of == id).map(|(name, _)| name.clone()).collect()
    }

    /// All content that some image needs, by its digest as a blob.
    pub(crate) fn blobs(&self) -> BTreeSet<Digest> {
        self.images.iter().flat_map(|(id, record)| record.blobs(*id)).collect()
    }

    /// All layers that some image needs, by diff id.
    pub(crate) fn layers(&self) -> BTreeSet<Digest> {
        let layers = self.images.values().flat_map(|record| &record.layers);
        layers.map(|layer| layer.diff_id).collect()
    }
}

impl Record {
    pub(crate) fn blobs(&self, id: Digest) -> BTreeSet<Digest> {
        let mut blobs = self.extra.clone();
        blobs.extend([id, self.manifest]);
        blobs.extend(self.layers.iter().map(|layer| layer.blob));
        blobs
    }
}
