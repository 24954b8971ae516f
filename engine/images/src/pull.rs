//! Brings an image from a registry into the store.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use crate::behind::Behind;
use crate::blobs::{Spool, Spooled};
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::downloads::Begun;
use crate::error::{Error, Result};
use crate::image::NewImage;
use crate::index::LayerRecord;
use crate::layers::Aside;
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
    /// The manifest or index as it came.
    pub bytes: Vec<u8>,
}

/// What a registry has of a reference: each manifest as it came, an index first.
///
/// # Errors
/// As of [`resolve`]; more than one index below another is refused.
pub async fn manifests(reference: &Reference, options: &PullOptions) -> Result<Vec<Resolved>> {
    let reference = reference.clone().tag_or_latest();
    let (session, fetched) =
        Session::open(&reference, &options.registries, options.auth.as_ref()).await?;
    let entries = match &fetched.document {
        Document::Index(index) => index.manifests.clone(),
        Document::Manifest(_) => Vec::new(),
    };
    let mut all = vec![resolved(&session, fetched).await?];
    for entry in entries {
        let fetched = session.document(Some(entry.digest)).await?;
        if let Document::Index(_) = fetched.document {
            return Err(Error::Invalid {
                what: format!("manifest {}", entry.digest),
                reason: "an index in an index".to_owned(),
            });
        }
        // An attestation's platform is what its entry says, and its configuration is another's.
        let platforms = entry.platform.into_iter().collect::<Vec<_>>();
        let one = match platforms.is_empty() {
            true => resolved(&session, fetched).await?,
            false => described(fetched, platforms),
        };
        all.push(one);
    }
    Ok(all)
}

/// Asks the registry what a reference stands for, without pulling it. The platform in the options
/// does not matter.
pub async fn resolve(reference: &Reference, options: &PullOptions) -> Result<Resolved> {
    let reference = reference.clone().tag_or_latest();
    let (session, fetched) =
        Session::open(&reference, &options.registries, options.auth.as_ref()).await?;
    resolved(&session, fetched).await
}

async fn resolved(session: &Session, fetched: Fetched) -> Result<Resolved> {
    let platforms = match &fetched.document {
        Document::Index(index) => {
            let platforms = index.manifests.iter().filter_map(|entry| entry.platform.clone());
            // Attestations stand in an index as images of an unknown platform.
            platforms.filter(|platform| platform.os != "unknown").collect()
        }
        Document::Manifest(manifest) => {
            vec![ConfigFile::parse(&session.small_blob(&manifest.config).await?)?.platform]
        }
    };
    Ok(described(fetched, platforms))
}

fn described(fetched: Fetched, platforms: Vec<Platform>) -> Resolved {
    let media_type = match &fetched.document {
        Document::Index(index) => index.media_type.clone(),
        Document::Manifest(manifest) => manifest.media_type.clone(),
    };
    let size = fetched.bytes.len() as u64;
    Resolved { digest: fetched.digest, media_type, size, platforms, bytes: fetched.bytes }
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
        let job = Job { session: &session, pins: &pins, options, begun: self.begun() };
        match self.pull_layers(&job, manifest, &file.rootfs.diff_ids).await {
            Ok(()) => {}
            Err(error) => {
                // The next pull goes on with what came before the registry was lost.
                if is_passing(&error) {
                    job.begun.leave();
                }
                return Err(error);
            }
        }

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
        job: &Job<'_>,
        manifest: &Manifest,
        diff_ids: &[Digest],
    ) -> Result<()> {
        let layers = manifest.layers.iter().zip(diff_ids);
        for (layer, diff_id) in layers.clone() {
            job.pins.hold(layer.digest);
            job.pins.hold(*diff_id);
            job.options.progress.tell(layer.digest, Step::Waiting);
        }
        // Made first: a closure in the stream would keep callers from being `Send`.
        let pulls: Vec<_> =
            layers.map(|(layer, diff_id)| self.pull_layer(job, layer, *diff_id)).collect();
        futures::stream::iter(pulls)
            .buffer_unordered(job.options.registries.transfers.downloads)
            .try_collect()
            .await
    }

    async fn pull_layer(&self, job: &Job<'_>, layer: &Descriptor, diff_id: Digest) -> Result<()> {
        let (pins, progress) = (job.pins, &job.options.progress);
        let lock = self.inner.unpacking(diff_id);
        let _alone = lock.lock().await;
        let place = self.inner.blob_path(layer.digest);
        let have_blob = tokio::fs::try_exists(&place).await.unwrap_or(false);
        let have_layer = self.inner.has_layer(diff_id);
        if have_blob && have_layer {
            self.settle_layer(layer.digest, diff_id, pins).await?;
            progress.tell(layer.digest, Step::AlreadyExists);
            return Ok(());
        }
        let mut aside = None;
        if !have_blob {
            aside = self.download(job, layer, !have_layer).await?;
            progress.tell(layer.digest, Step::DownloadComplete);
        }
        progress.tell(layer.digest, Step::Extracting);
        if let Some(aside) = aside {
            let pins = pins.clone();
            self.blocking(move |inner| inner.settle_aside(aside, Some(diff_id), &pins)).await?;
        }
        self.settle_layer(layer.digest, diff_id, pins).await?;
        progress.tell(layer.digest, Step::Complete);
        Ok(())
    }

    /// Brings a blob, and its files beside it, if they are wanted and there is a turn for it.
    async fn download(
        &self,
        job: &Job<'_>,
        layer: &Descriptor,
        unpack: bool,
    ) -> Result<Option<Aside>> {
        let (options, progress) = (job.options, &job.options.progress);
        let mut attempt = 1;
        let mut download = Download { layer, spool: None, unpack, behind: None };
        let spooled = loop {
            let error = match self.download_once(job, &mut download).await {
                Ok(spooled) => break spooled,
                Err(error) => error,
            };
            // The registry's own refusal, and content that is not what it should be, stay so.
            if !is_passing(&error) {
                return Err(error);
            }
            if attempt >= options.registries.transfers.attempts {
                if let Some(spool) = download.spool.filter(|spool| spool.bytes() > 0) {
                    spool.leave();
                }
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
        let (pins, begun) = (job.pins.clone(), job.begun.clone());
        self.blocking(move |inner| {
            let kept = inner.keep_download(spooled, &begun);
            drop(pins);
            kept
        })
        .await?;
        match download.behind {
            Some(behind) => behind.end().await,
            None => Ok(None),
        }
    }

    /// One attempt. It goes on from what was begun, and leaves there what it brought itself before
    /// the connection broke.
    async fn download_once(&self, job: &Job<'_>, download: &mut Download<'_>) -> Result<Spooled> {
        let (session, layer) = (job.session, download.layer);
        let (digest, total) = (layer.digest, layer.size);
        let limit = total.min(self.inner.limits.archive_bytes);
        let mut spool = match download.spool.take() {
            Some(spool) => spool,
            None => self.blocking(move |inner| inner.begin_download(digest, limit)).await?,
        };
        let mut resumed = spool.bytes() > 0;
        let mut rest = None;
        if resumed && spool.bytes() == total {
            rest = Some(futures::stream::empty().boxed());
        } else if resumed {
            match session.rest_of_blob(digest, spool.bytes()).await {
                Ok(Rest::Rest(stream)) => rest = Some(stream),
                Ok(Rest::Whole(stream)) => {
                    spool = self.anew(spool, digest, limit).await?;
                    (rest, resumed) = (Some(stream), false);
                }
                Err(error) if is_passing(&error) => {
                    download.spool = Some(spool);
                    return Err(error);
                }
                // It may still give the whole.
                Err(error) => {
                    tracing::debug!(layer = %digest, %error, "no rest");
                    spool = self.anew(spool, digest, limit).await?;
                    resumed = false;
                }
            }
        }
        let stream = match rest {
            Some(stream) => stream,
            None => match session.blob(digest).await {
                Ok(stream) => stream,
                Err(error) => {
                    download.spool = is_passing(&error).then_some(spool);
                    return Err(error);
                }
            },
        };
        download.follow(self, &spool)?;
        let progress = &job.options.progress;
        let told = |bytes| progress.tell(digest, Step::Downloading { bytes, total });
        let (spool, read) = self.fill(spool, stream, told).await?;
        if let Err(error) = read {
            download.spool = Some(spool);
            return Err(error);
        }
        if spool.bytes() < total {
            // A body without a length may just end.
            let short = format!("{} of {total} bytes came", spool.bytes());
            download.spool = Some(spool);
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, short);
            return Err(Error::Interrupted { source });
        }
        let spooled = blocking(move || spool.finish()).await?;
        if spooled.digest == digest {
            return Ok(spooled);
        }
        let mismatch = Error::Mismatch { expected: digest, got: spooled.digest };
        // Which of the two parts was wrong nobody knows: it is begun anew.
        if resumed {
            download.behind = None;
            Err(Error::Interrupted { source: io::Error::other(mismatch) })
        } else {
            Err(mismatch)
        }
    }

    /// Begins a download from its beginning.
    async fn anew(&self, spool: Spool, digest: Digest, limit: u64) -> Result<Spool> {
        // Its file goes with it.
        drop(spool);
        self.blocking(move |inner| inner.begin_download(digest, limit)).await
    }

    fn begun(&self) -> Arc<Begun> {
        Arc::new(Begun::new(self.inner.clone()))
    }
}

/// What all layers of one pull have in common.
struct Job<'a> {
    session: &'a Session,
    pins: &'a Arc<Pins>,
    options: &'a PullOptions,
    begun: Arc<Begun>,
}

/// One layer on its way.
struct Download<'a> {
    layer: &'a Descriptor,
    /// What was begun of it.
    spool: Option<Spool>,
    /// Whether its files are wanted as well.
    unpack: bool,
    behind: Option<Behind>,
}

impl Download<'_> {
    /// Begins to unpack what is written, if nobody does and there is a turn for it.
    fn follow(&mut self, store: &Store, spool: &Spool) -> Result<()> {
        // A writer that has gone took what was unpacked with it.
        self.behind = self.behind.take().filter(|behind| !behind.is_broken());
        if self.behind.is_some() || !self.unpack {
            return Ok(());
        }
        self.behind = store.unpack_behind(spool)?;
        Ok(())
    }
}

/// Whether it may go better the next time.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Interrupted { .. } | Error::Unreachable { .. } | Error::Busy { .. })
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
