//! Gives an image of the store to a registry.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::import::pieces;
use crate::index::Index;
use crate::progress::{Reporter, Step};
use crate::reference::Reference;
use crate::registry::{Purpose, Session};
use crate::store::Store;
use crate::trust::{Auth, RegistryConfig};

/// How to push.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    pub registries: RegistryConfig,
    pub auth: Option<Auth>,
    pub progress: Reporter,
}

/// What a tag stands for in the registry now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub digest: Digest,
    /// Bytes of the manifest.
    pub size: u64,
}

impl Store {
    /// Pushes one tag. Layers that the registry has are not sent again; the manifest comes last, so
    /// that the tag stands for a whole image or for what it stood for before.
    pub async fn push(&self, reference: &Reference, options: &PushOptions) -> Result<Pushed> {
        if reference.digest().is_some() {
            return Err(Error::Invalid {
                what: format!("push of {}", reference.familiar()),
                reason: "cannot push a digest reference".to_owned(),
            });
        }
        let reference = reference.clone().tag_or_latest();
        let pins = self.pins();
        let wanted = reference.clone();
        let (id, record, pins) = self
            .blocking(move |inner| {
                let mut state = inner.state();
                let id = tagged(&state.index, &wanted)?;
                let record = state.index.images[&id].clone();
                record.blobs(id).into_iter().for_each(|blob| pins.hold_in(&mut state, blob));
                drop(state);
                Ok((id, record, pins))
            })
            .await?;
        let (media_type, manifest) = self.manifest(&reference.to_string()).await?;
        // Told before anybody is asked: what the registry says then comes behind it, as with Docker.
        for layer in &record.layers {
            options.progress.tell(layer.blob, Step::Preparing);
        }
        let auth = options.auth.as_ref();
        let session =
            Session::connect(&reference, &options.registries, auth, Purpose::Push).await?;
        let told = |blob| (blob, options.progress.clone());
        let mut blobs: Vec<(Digest, Reporter)> =
            record.layers.iter().map(|layer| told(layer.blob)).collect();
        // Docker says nothing of the configuration.
        blobs.push((id, Reporter::default()));
        let session = &session;
        let uploads: Vec<BoxFuture<'_, Result<()>>> = blobs
            .into_iter()
            .map(|(blob, progress)| self.push_blob(session, blob, progress).boxed())
            .collect();
        futures::stream::iter(uploads)
            .buffer_unordered(options.registries.transfers.uploads)
            .try_collect::<()>()
            .await?;
        let pushed = Pushed { digest: record.manifest, size: manifest.len() as u64 };
        session.put_manifest(&media_type, manifest).await?;
        drop(pins);
        Ok(pushed)
    }

    async fn push_blob(&self, session: &Session, blob: Digest, progress: Reporter) -> Result<()> {
        if session.has_blob(blob).await? {
            progress.tell(blob, Step::LayerExists);
            return Ok(());
        }
        let path = self.inner.blob_path(blob);
        let context = || format!("read blob {blob}");
        let file = tokio::fs::File::open(&path).await.context(context)?;
        let total = file.metadata().await.context(context)?.len();
        let progressing = progress.clone();
        let mut bytes = 0;
        let content = pieces(file).inspect_ok(move |piece| {
            bytes += piece.len() as u64;
            progressing.tell(blob, Step::Pushing { bytes, total });
        });
        session.put_blob(blob, total, content).await?;
        progress.tell(blob, Step::Pushed);
        Ok(())
    }
}

/// The image of a tag; the wording is Docker's.
fn tagged(index: &Index, reference: &Reference) -> Result<Digest> {
    if let Some(id) = index.references.get(reference) {
        return Ok(*id);
    }
    let name = reference.name();
    let mut tags = index.references.keys().filter(|tag| tag.digest().is_none());
    Err(Error::Registry(if tags.any(|tag| tag.name() == name) {
        format!("tag does not exist: {}", reference.familiar())
    } else {
        let name = reference.familiar_name();
        format!("An image does not exist locally with the tag: {name}")
    }))
}
