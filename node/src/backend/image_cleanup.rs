//! Images that nothing has used for a while go by themselves, where the operator says so.
//!
//! **Invariant:** an image that a container stands on stays, and so does one that no registry can
//! give again.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use skep_images::{Digest, Image, PruneScope};
use skep_types::error_chain;
use tokio_util::sync::CancellationToken;

use super::{Answer, DaemonBackend, engine_error};
use crate::config_file::ImageCleanup;

/// What has just come is about to be used, and stays however full the disk is.
const FRESH: Duration = Duration::from_secs(60);
/// Without a policy it is looked this often whether there is one now.
const IDLE: Duration = Duration::from_secs(60);

/// The image that goes next.
fn next<'a>(
    images: impl Iterator<Item = (&'a Image, SystemTime)>,
    policy: &ImageCleanup,
    disk_full: bool,
    now: SystemTime,
) -> Option<(&'a Image, SystemTime)> {
    let again = images.filter(|(image, _)| !image.repo_digests().is_empty());
    let oldest = again.min_by_key(|(_, used)| *used)?;
    let age = now.duration_since(oldest.1).unwrap_or_default();
    let old = policy.unused_for.is_some_and(|most| age > most);
    (old || (disk_full && age > FRESH)).then_some(oldest)
}

impl DaemonBackend {
    /// Looks after images until it is told to stop.
    pub async fn clean_images(&self, stop: CancellationToken) {
        loop {
            let policy = self.live.settings().image_cleanup.clone();
            if let Some(policy) = &policy
                && let Err(error) = self.clean_images_once(policy).await
            {
                tracing::warn!(error = error_chain(&error), "failed to clean up images");
            }
            if let Err(error) = self.engine.images().remove_old_downloads().await {
                tracing::warn!(error = error_chain(&error), "failed to clean up downloads");
            }
            let pause = policy.map_or(IDLE, |policy| policy.every);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn clean_images_once(&self, policy: &ImageCleanup) -> Answer<()> {
        let store = self.engine.images();
        let mut full = false;
        loop {
            if let Some(marks) = policy.disk {
                let percent = store.disk_percent().await.map_err(engine_error::image)?;
                // Once begun it goes on to the lower mark.
                full = percent > if full { marks.low } else { marks.high };
            }
            let images = store.list().await.map_err(engine_error::image)?;
            let uses = self.image_uses().await?;
            let unused = |image: &&Image| !uses.iter().any(|usage| usage.image == image.id);
            let candidates = images.iter().filter(unused);
            // One without a time has gone meanwhile.
            let candidates =
                candidates.filter_map(|image| Some((image, store.last_use(image.id).ok()?)));
            let Some((image, used)) = next(candidates, policy, full, SystemTime::now()) else {
                return Ok(());
            };
            let Ok(_alone) = super::prune::alone(&self.prunes.images) else { return Ok(()) };
            let (id, again) = (image.id, store.clone());
            // Looked at again under the store's lock: somebody may have used it meanwhile.
            let wanted = move |image: &Image| {
                image.id == id && again.last_use(id).is_ok_and(|last| last == used)
            };
            let kept = uses.into_iter().map(|usage| usage.image).collect();
            let pruned = store.prune(PruneScope::Unused, kept, wanted).await;
            let pruned = pruned.map_err(engine_error::image)?;
            if pruned.removed.is_empty() {
                return Ok(());
            }
            let (names, bytes) = (image.repo_tags(), pruned.bytes);
            tracing::info!(image = %id, ?names, bytes, "removed an image that nothing used");
            let labels: BTreeMap<Digest, _> = [(id, image.config.labels.clone())].into();
            self.tell_images_gone(&pruned, &labels);
        }
    }
}
