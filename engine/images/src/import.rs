//! Makes an image of one archive of a root filesystem, as `docker import` does.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::changes::apply_changes;
use crate::config::{ConfigFile, History, ImageConfig, Rootfs};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::NewImage;
use crate::index::LayerRecord;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Store, blocking};

/// What is read from a stream at once.
const READ_BYTES: usize = 64 << 10;

/// What the archive does not say itself.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The image's name; None leaves it without.
    pub reference: Option<Reference>,
    /// Instructions of a Dockerfile, such as `CMD ["/bin/sh"]`.
    pub changes: Vec<String>,
    /// The comment in the image's history.
    pub message: String,
    pub platform: Platform,
    /// When the image was made; the caller has the clock.
    pub created: OffsetDateTime,
}

impl ImportOptions {
    /// Nothing but a name and a time.
    pub fn new(reference: Option<Reference>, created: OffsetDateTime) -> Self {
        Self {
            reference,
            changes: Vec::new(),
            message: String::new(),
            platform: Platform::host(),
            created,
        }
    }
}

impl Store {
    /// Imports a tar archive, plain or packed by gzip or zstd. Returns the image's id.
    pub async fn import(
        &self,
        archive: impl AsyncRead + Send,
        options: ImportOptions,
    ) -> Result<Digest> {
        // Bad words are refused before anything is read.
        let mut config = ImageConfig::default();
        apply_changes(&mut config, &options.changes)?;
        if let Some(reference) = options.reference.iter().find(|name| name.digest().is_some()) {
            return Err(Error::Invalid {
                what: format!("name {}", reference.familiar()),
                reason: "cannot import digest reference".to_owned(),
            });
        }
        let pins = Arc::new(self.pins());
        let limit = self.inner.limits.archive_bytes;
        let spool = self.blocking(move |inner| inner.spool(limit)).await?;
        let behind = self.unpack_behind(&spool)?;
        let (spool, read) = self.fill(spool, pieces(archive), |_| {}).await?;
        read?;
        let spooled = blocking(move || spool.finish()).await?;
        let aside = match behind {
            Some(behind) => behind.end().await?,
            None => None,
        };
        let (unpacked, compression) = match aside {
            Some(aside) => {
                let (said, pins) = ((aside.unpacked, aside.compression), pins.clone());
                self.blocking(move |inner| inner.settle_aside(aside, None, &pins)).await?;
                said
            }
            None => self.unpack_archive(spooled.path().to_owned(), None, &pins).await?,
        };
        self.blocking(move |inner| {
            let layer = LayerRecord {
                diff_id: unpacked.diff_id,
                blob: spooled.digest,
                blob_bytes: spooled.bytes,
                media_type: compression.layer_media_type().to_owned(),
            };
            pins.hold(spooled.digest);
            inner.keep(spooled)?;
            let file = ConfigFile {
                platform: options.platform,
                created: Some(options.created),
                author: String::new(),
                config,
                rootfs: Rootfs::of(vec![unpacked.diff_id]),
                history: vec![History {
                    created: Some(options.created),
                    comment: options.message,
                    ..History::default()
                }],
            };
            let new = NewImage {
                config: file.to_bytes(),
                manifest: None,
                layers: vec![layer],
                extra: Default::default(),
            };
            let names: Vec<Reference> =
                options.reference.into_iter().map(Reference::tag_or_latest).collect();
            inner.register(new, &names, &pins)
        })
        .await
    }
}

/// A reader as a stream of pieces.
pub(crate) fn pieces(reader: impl AsyncRead) -> impl Stream<Item = Result<Bytes>> {
    futures::stream::try_unfold(Box::pin(reader), |mut reader| async move {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let read = reader.read_buf(&mut buffer).await.context(|| "read the archive".to_owned())?;
        Ok((read > 0).then(|| (buffer.freeze(), reader)))
    })
}
