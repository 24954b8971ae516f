//! Brings an image from a registry into the store.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use crate::blobs::{Spool, Spooled};
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::NewImage;
use crate::index::LayerRecord;
use crate::manifest::{Descriptor, Document, Manifest};
use crate::platform::Platform;
use crate::progress::{Reporter, Step};
use crate::reference::Reference;
use crate::registry::{Fetched, Rest, Session};
use crate::store::{Pins, Store, blocking};
use crate::trust::{Auth, RegistryConfig};

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    pub registries: RegistryConfig,
    pub auth: Option<Auth>,
    /// None takes the host's where there is a choice.
    pub platform: Option<Platform>,
    pub progress: Reporter,
}

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub id: Digest,
    /// What the reference stands for in the registry: the index's digest, if there is one.
    pub digest: Digest,
    /// Whether the store has something that it had not: `Downloaded newer image` rather than
    /// `Image is up to date`.
    pub newer: bool,
}

/// What a registry says of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub digest: Digest,
    pub media_type: String,
    pub size: u64,
    /// What the image can run on; of one without an index, what its configuration says.
    pub platforms: Vec<Platform>,
}

/// Asks the registry what a reference stands for, without pulling it. The platform in the options
/// does not matter.
pub async fn resolve(reference: &Reference, options: &PullOptions) -> Result<Resolved> {
    let reference = reference.clone().tag_or_latest();
    let (session, fetched) =
        Session::open(&reference, &options.registries, options.auth.as_ref()).await?;
    let (media_type, platforms) = match &fetched.document {
        Document::Index(index) => {
            let platforms = index.manifests.iter().filter_map(|entry| entry.platform.clone());
            // Attestations stand in an index as images of an unknown platform.
            (&index.media_type, platforms.filter(|platform| platform.os != "unknown").collect())
        }
        Document::Manifest(manifest) => {
            let config = ConfigFile::parse(&session.small_blob(&manifest.config).await?)?;
            (&manifest.media_type, vec![config.platform])
        }
    };
    Ok(Resolved {
        digest: fetched.digest,
        media_type: media_type.clone(),
        size: fetched.bytes.len() as u64,
        platforms,
    })
}

impl Store {
    /// Pulls what a reference stands for in its registry. When it fails, or is dropped, nothing of
    /// it stays.
    pub async fn pull(&self, reference: &Reference, options: &PullOptions) -> Result<Pulled> {
        let reference = reference.clone().tag_or_latest();
        let (session, top) =
            Session::open(&reference, &options.registries, options.auth.as_ref()).await?;
        let digest = top.digest;
        let (top, chosen) = choose(&session, top, options.platform.as_ref()).await?;
        let Document::Manifest(manifest) = &chosen.document else {
            return Err(Error::Invalid {
                what: "image manifest".to_owned(),
                reason: "the index names another index for this platform".to_owned(),
            });
        };
        let config = session.small_blob(&manifest.config).await?;
        let file = ConfigFile::parse(&config)?;
        if let Some(wanted) = options.platform.as_ref().filter(|w| !file.platform.suits(w)) {
            return Err(Error::WrongPlatform {
                reference: reference.familiar(),
                wanted: wanted.to_string(),
                actual: file.platform.to_string(),
            });
        }
        if file.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(Error::RootfsMismatch);
        }
        let pins = Arc::new(self.pins());
        self.pull_layers(&session, manifest, &file.rootfs.diff_ids, &pins, options).await?;

        let layers = manifest.layers.iter().zip(&file.rootfs.diff_ids);
        let new = NewImage {
            config,
            layers: layers.map(|(layer, diff_id)| record(layer, *diff_id)).collect(),
            manifest: Some(chosen.bytes.clone()),
            extra: top.iter().map(|index| index.digest).collect::<BTreeSet<_>>(),
        };
        let names = [reference.tagged(), Some(reference.with_digest(digest))];
        let names: Vec<Reference> = names.into_iter().flatten().collect();
        self.blocking(move |inner| {
            if let Some(index) = top {
                pins.hold(index.digest);
                inner.keep_bytes(&index.bytes)?;
            }
            let id = Digest::of(&new.config);
            let known = {
                let state = inner.state();
                names.iter().all(|name| state.index.references.get(name) == Some(&id))
            };
            inner.register(new, &names, &pins)?;
            Ok(Pulled { id, digest, newer: !known })
        })
        .await
    }

    /// Brings all layers, some at a time; the first failure ends the others.
    async fn pull_layers(
        &self,
        session: &Session,
        manifest: &Manifest,
        diff_ids: &[Digest],
        pins: &Arc<Pins>,
        options: &PullOptions,
    ) -> Result<()> {
        let layers = manifest.layers.iter().zip(diff_ids);
        for (layer, diff_id) in layers.clone() {
            pins.hold(layer.digest);
            pins.hold(*diff_id);
            options.progress.tell(layer.digest, Step::Waiting);
        }
        // Made first: a closure in the stream would keep callers from being `Send`.
        let pulls: Vec<_> = layers
            .map(|(layer, diff_id)| self.pull_layer(session, layer, *diff_id, pins, options))
            .collect();
        futures::stream::iter(pulls)
            .buffer_unordered(options.registries.transfers.downloads)
            .try_collect()
            .await
    }

    async fn pull_layer(
        &self,
        session: &Session,
        layer: &Descriptor,
        diff_id: Digest,
        pins: &Arc<Pins>,
        options: &PullOptions,
    ) -> Result<()> {
        let progress = &options.progress;
        let lock = self.inner.unpacking(diff_id);
        let _alone = lock.lock().await;
        let place = self.inner.blob_path(layer.digest);
        let have_blob = tokio::fs::try_exists(&place).await.unwrap_or(false);
        if have_blob && self.inner.has_layer(diff_id) {
            self.settle_layer(layer.digest, diff_id, pins).await?;
            progress.tell(layer.digest, Step::AlreadyExists);
            return Ok(());
        }
        if !have_blob {
            self.download(session, layer, pins, options).await?;
            progress.tell(layer.digest, Step::DownloadComplete);
        }
        progress.tell(layer.digest, Step::Extracting);
        self.settle_layer(layer.digest, diff_id, pins).await?;
        progress.tell(layer.digest, Step::Complete);
        Ok(())
    }

    async fn download(
        &self,
        session: &Session,
        layer: &Descriptor,
        pins: &Arc<Pins>,
        options: &PullOptions,
    ) -> Result<()> {
        let progress = &options.progress;
        let mut attempt = 1;
        let mut begun = None;
        let spooled = loop {
            let error = match self.download_once(session, layer, &mut begun, progress).await {
                Ok(spooled) => break spooled,
                Err(error) => error,
            };
            // The registry's own refusal, and content that is not what it should be, stay so.
            if !is_passing(&error) || attempt >= options.registries.transfers.attempts {
                return Err(error);
            }
            let patience = &options.registries.patience;
            let wanted = match &error {
                Error::Busy { wait: Some(wait), .. } => *wait,
                _ => Duration::ZERO,
            };
            let pause = (patience.step * attempt).max(wanted).min(patience.pause_max);
            tracing::warn!(layer = %layer.digest, %error, "failed to download, will try again");
            progress.tell(layer.digest, Step::Retrying { seconds: pause.as_secs() });
            tokio::time::sleep(pause).await;
            attempt += 1;
        };
        let pins = pins.clone();
        self.blocking(move |inner| {
            let kept = inner.keep(spooled);
            drop(pins);
            kept
        })
        .await
    }

    /// One attempt. It goes on from what was begun, and leaves there what it brought itself before
    /// the connection broke.
    async fn download_once(
        &self,
        session: &Session,
        layer: &Descriptor,
        begun: &mut Option<Spool>,
        progress: &Reporter,
    ) -> Result<Spooled> {
        let total = layer.size;
        let resumed = begun.take().filter(|spool| spool.bytes() > 0);
        let mut rest = None;
        if let Some(spool) = resumed {
            match session.rest_of_blob(layer.digest, spool.bytes()).await {
                Ok(Rest::Rest(stream)) => rest = Some((spool, stream, true)),
                Ok(Rest::Whole(stream)) => {
                    rest = Some((self.empty_spool(total).await?, stream, false))
                }
                Err(error) if is_passing(&error) => {
                    *begun = Some(spool);
                    return Err(error);
                }
                // It may still give the whole.
                Err(error) => tracing::debug!(layer = %layer.digest, %error, "no rest"),
            }
        }
        let (spool, stream, resumed) = match rest {
            Some(rest) => rest,
            None => {
                let stream = session.blob(layer.digest).await?;
                (self.empty_spool(total).await?, stream, false)
            }
        };
        let told = |bytes| progress.tell(layer.digest, Step::Downloading { bytes, total });
        let (spool, read) = self.fill(spool, stream, told).await?;
        if let Err(error) = read {
            *begun = Some(spool);
            return Err(error);
        }
        if spool.bytes() < total {
            // A body without a length may just end.
            let got = spool.bytes();
            *begun = Some(spool);
            let short = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{got} of {total} bytes came"),
            );
            return Err(Error::Interrupted { source: short });
        }
        let spooled = blocking(move || spool.finish()).await?;
        if spooled.digest == layer.digest {
            return Ok(spooled);
        }
        let mismatch = Error::Mismatch { expected: layer.digest, got: spooled.digest };
        // Which of the two parts was wrong nobody knows: it is begun anew.
        if resumed {
            Err(Error::Interrupted { source: io::Error::other(mismatch) })
        } else {
            Err(mismatch)
        }
    }

    async fn empty_spool(&self, bytes: u64) -> Result<Spool> {
        self.blocking(move |inner| inner.spool(bytes.min(inner.limits.archive_bytes))).await
    }
}

/// Whether it may go better the next time.
fn is_passing(error: &Error) -> bool {
    matches!(
        error,
        Error::Interrupted { .. } | Error::Unreachable { .. } | Error::Busy { .. }
    )
}

fn record(layer: &Descriptor, diff_id: Digest) -> LayerRecord {
    LayerRecord {
        diff_id,
        blob: layer.digest,
        blob_bytes: layer.size,
        media_type: layer.media_type.clone(),
    }
}

/// The index, if there is one, and the manifest of the platform.
async fn choose(
    session: &Session,
    top: Fetched,
    platform: Option<&Platform>,
) -> Result<(Option<Fetched>, Fetched)> {
    let Document::Index(index) = &top.document else { return Ok((None, top)) };
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let digest = index.choose(&wanted)?.digest;
    let chosen = session.document(Some(digest)).await?;
    Ok((Some(top), chosen))
}
