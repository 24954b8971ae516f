//! Loads images from an archive: what `docker save` writes, or an OCI image layout.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::archive::Archive;
use crate::compression::Compression;
use crate::config::{ConfigFile, nullable};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::files::pipe;
use crate::image::NewImage;
use crate::import::pieces;
use crate::index::LayerRecord;
use crate::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX, UNPACKS_MAX};
use crate::manifest::{Descriptor, Document, Manifest};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Inner, Pins, Store};

/// Where containerd writes an image's full name, and where the OCI puts a name or a tag.
const FULL_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image that was loaded. `docker load` shows its names, or its id if there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub id: Digest,
    pub references: Vec<Reference>,
}

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default, deserialize_with = "nullable")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    layers: Vec<String>,
}

/// One image as the archive has it: everything is named, nothing is kept yet.
struct Candidate {
    config: Vec<u8>,
    /// None, if the archive has no manifest that fits.
    manifest: Option<Vec<u8>>,
    /// Each layer's archive and its media type, where a manifest says it.
    layers: Vec<(Digest, Option<String>)>,
    diff_ids: Vec<Digest>,
    references: Vec<Reference>,
}

impl Store {
    /// Loads all images of an archive, plain or packed by gzip or zstd; of an index, the one for
    /// this host. If one of them is bad, none is loaded.
    pub async fn load(&self, archive: impl AsyncRead + Send) -> Result<Vec<Loaded>> {
        let limit = self.inner.limits.archive_bytes;
        let pins = Arc::new(self.pins());
        let pinning = pins.clone();
        let (sender, receiving) = pipe::channel();
        let reading = self.blocking(move |inner| {
            let mut archive = inner.read_archive(receiving)?;
            let candidates = candidates(&archive)?;
            for candidate in &candidates {
                for (blob, _) in &candidate.layers {
                    pinning.hold(*blob);
                    match archive.take(*blob) {
                        Some(spooled) => inner.keep(spooled)?,
                        // Another image of the archive has it as well.
                        None if inner.blob_path(*blob).exists() => {}
                        None => return Err(Error::Archive(format!("layer {blob} is missing"))),
                    }
                }
            }
            Ok(candidates)
        });
        let (candidates, fed) = futures::join!(reading, feed(pieces(archive), sender, limit));
        let candidates = candidates?;
        // A reader that has all it wants does not see what is wrong behind it.
        fed?;
        let layers = candidates.iter().flat_map(|candidate| {
            candidate.layers.iter().map(|(blob, _)| *blob).zip(candidate.diff_ids.iter().copied())
        });
        // Made first: a closure in the stream would keep callers from being `Send`.
        let settled: Vec<_> =
            layers.map(|(blob, diff_id)| self.settle_loaded(blob, diff_id, &pins)).collect();
        futures::stream::iter(settled).buffer_unordered(UNPACKS_MAX).try_collect::<()>().await?;
        self.blocking(move |inner| {
            let mut loaded = Vec::new();
            for candidate in candidates {
                let references = candidate.references.clone();
                let new = inner.new_image(candidate)?;
                let id = inner.register(new, &references, &pins)?;
                loaded.push(Loaded { id, references });
            }
            Ok(loaded)
        })
        .await
    }
}

impl Store {
    async fn settle_loaded(&self, blob: Digest, diff_id: Digest, pins: &Arc<Pins>) -> Result<()> {
        let lock = self.inner.unpacking(diff_id);
        let _alone = lock.lock().await;
        pins.hold(diff_id);
        self.settle_layer(blob, diff_id, pins).await
    }
}

/// Hands an archive on to the thread that reads it, as long as that wants more of it.
async fn feed(
    stream: impl Stream<Item = Result<Bytes>>,
    sender: mpsc::Sender<io::Result<Bytes>>,
    bytes_max: u64,
) -> Result<()> {
    let mut stream = std::pin::pin!(stream);
    let mut bytes = 0;
    while let Some(piece) = stream.next().await {
        let error = match piece {
            Ok(piece) => {
                bytes += piece.len() as u64;
                if bytes <= bytes_max {
                    // A reader that has given up says why itself.
                    if sender.send(Ok(piece)).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                Error::Archive(format!("larger than {bytes_max} bytes"))
            }
            Err(error) => error,
        };
        let _ = sender.send(Err(io::Error::other(error.to_string()))).await;
        return Err(error);
    }
    Ok(())
}

impl Inner {
    fn new_image(&self, candidate: Candidate) -> Result<NewImage> {
        let mut layers = Vec::new();
        for ((blob, media_type), diff_id) in candidate.layers.into_iter().zip(candidate.diff_ids) {
            let path = self.blob_path(blob);
            let context = || format!("read layer {blob}");
            let blob_bytes = std::fs::metadata(&path).context(context)?.len();
            let media_type = match media_type {
                Some(media_type) => media_type,
                None => {
                    let mut start = Vec::new();
                    let file = std::fs::File::open(&path).context(context)?;
                    std::io::Read::read_to_end(&mut std::io::Read::take(file, 8), &mut start)
                        .context(context)?;
                    Compression::of(&start).context(context)?.layer_media_type().to_owned()
                }
            };
            layers.push(LayerRecord { diff_id, blob, blob_bytes, media_type });
        }
        Ok(NewImage {
            config: candidate.config,
            manifest: candidate.manifest,
            layers,
            extra: BTreeSet::new(),
        })
    }
}

fn candidates(archive: &Archive) -> Result<Vec<Candidate>> {
    let layout = layout(archive)?;
    let candidates = match archive.find("manifest.json")? {
        Some(list) => {
            let bytes = archive.read(list, MANIFEST_BYTES_MAX)?;
            let items: Vec<Item> = serde_json::from_slice(&bytes)
                .map_err(|error| Error::Archive(format!("manifest.json: {error}")))?;
            items
                .into_iter()
                .map(|item| candidate_of_item(archive, item, &layout))
                .collect::<Result<Vec<_>>>()?
        }
        None => layout
            .iter()
            .map(|found| candidate_of_manifest(archive, found))
            .collect::<Result<Vec<_>>>()?,
    };
    if candidates.is_empty() {
        let text = "it holds no image: neither manifest.json nor an OCI image layout";
        return Err(Error::Archive(text.to_owned()));
    }
    Ok(candidates)
}

/// A manifest of an image layout.
struct Found {
    bytes: Vec<u8>,
    manifest: Manifest,
    references: Vec<Reference>,
}

/// The manifests of an image layout whose content is in the archive, one for each entry.
fn layout(archive: &Archive) -> Result<Vec<Found>> {
    let Some(index) = archive.find("index.json")? else { return Ok(Vec::new()) };
    let Document::Index(index) = Document::parse(&archive.read(index, MANIFEST_BYTES_MAX)?)? else {
        return Err(Error::Archive("index.json is no index".to_owned()));
    };
    let mut found: Vec<Found> = Vec::new();
    for entry in &index.manifests {
        // An index of several platforms may come with the content of some of them.
        if !archive.has(entry.digest) {
            continue;
        }
        let mut bytes = archive.read(entry.digest, MANIFEST_BYTES_MAX)?;
        let mut document = Document::parse(&bytes)?;
        if let Document::Index(inner) = &document {
            let chosen = inner.choose(&Platform::host())?;
            bytes = archive.read(chosen.digest, MANIFEST_BYTES_MAX)?;
            document = Document::parse(&bytes)?;
        }
        let Document::Manifest(manifest) = document else {
            return Err(Error::Archive("an index names an index that names an index".to_owned()));
        };
        let references: Vec<Reference> = name_of(entry).into_iter().collect();
        // The same image has an entry for each of its names.
        match found.iter_mut().find(|other| other.bytes == bytes) {
            Some(other) => other.references.extend(references),
            None => found.push(Found { bytes, manifest: *manifest, references }),
        }
    }
    Ok(found)
}

fn name_of(entry: &Descriptor) -> Option<Reference> {
    let annotation = |key: &str| entry.annotations.get(key).and_then(|value| value.as_str());
    let full = annotation(FULL_NAME).and_then(|name| name.parse::<Reference>().ok());
    // A bare tag says nothing about the repository.
    let short = || annotation(REF_NAME).filter(|name| name.contains(['/', ':']))?.parse().ok();
    full.or_else(short).map(Reference::tag_or_latest).and_then(|name| name.tagged())
}

fn candidate_of_item(archive: &Archive, item: Item, layout: &[Found]) -> Result<Candidate> {
    let id = archive.expect(&item.config)?;
    let config = archive.read(id, CONFIG_BYTES_MAX)?;
    let diff_ids = ConfigFile::parse(&config)?.rootfs.diff_ids;
    let blobs =
        item.layers.iter().map(|layer| archive.expect(layer)).collect::<Result<Vec<Digest>>>()?;
    if blobs.len() != diff_ids.len() {
        return Err(Error::RootfsMismatch);
    }
    let mut references = Vec::new();
    for tag in item.repo_tags {
        let reference = tag.parse::<Reference>()?.tag_or_latest();
        references.push(
            reference.tagged().ok_or_else(|| {
                Error::Archive(format!("{tag} is a digest where a tag is expected"))
            })?,
        );
    }
    // The manifest keeps its digest, if the archive has one of the very same content.
    let same = layout.iter().find(|found| {
        found.manifest.config.digest == id
            && found.manifest.layers.iter().map(|layer| layer.digest).eq(blobs.iter().copied())
    });
    let media_type =
        |index: usize| same.map(|found| found.manifest.layers[index].media_type.clone());
    let layers = blobs.iter().enumerate().map(|(index, blob)| (*blob, media_type(index)));
    Ok(Candidate {
        config,
        manifest: same.map(|found| found.bytes.clone()),
        layers: layers.collect(),
        diff_ids,
        references,
    })
}

fn candidate_of_manifest(archive: &Archive, found: &Found) -> Result<Candidate> {
    let config = archive.read(found.manifest.config.digest, CONFIG_BYTES_MAX)?;
    let diff_ids = ConfigFile::parse(&config)?.rootfs.diff_ids;
    if found.manifest.layers.len() != diff_ids.len() {
        return Err(Error::RootfsMismatch);
    }
    let layers = found.manifest.layers.iter();
    Ok(Candidate {
        config,
        manifest: Some(found.bytes.clone()),
        layers: layers.map(|layer| (layer.digest, Some(layer.media_type.clone()))).collect(),
        diff_ids,
        references: found.references.clone(),
    })
}
