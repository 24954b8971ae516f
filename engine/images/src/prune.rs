//! Removes all images that nobody needs, as `docker image prune` does.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::error::Result;
use crate::image::Image;
use crate::index::Index;
use crate::remove::{Removed, chains_gone};
use crate::store::Store;

/// Which images may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneScope {
    /// Those without a tag.
    Dangling,
    /// All that no container was made from.
    Unused,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    /// Bytes of the files of layers that are gone.
    pub bytes: u64,
}

impl Store {
    /// Removes the images in scope that are wanted gone. Images in `used`, and those that a root
    /// filesystem here was made from, stay in any case.
    pub async fn prune(
        &self,
        scope: PruneScope,
        used: BTreeSet<Digest>,
        wanted: impl Fn(&Image) -> bool + Send + 'static,
    ) -> Result<Pruned> {
        self.blocking(move |inner| {
            let mut state = inner.state();
            let mut kept = inner.images_of_containers()?;
            kept.extend(used);
            let mut going = Vec::new();
            for id in state.index.images.keys().filter(|id| !kept.contains(id)) {
                let tagged = || state.index.references_to(*id).iter().any(|n| n.digest().is_none());
                if scope == PruneScope::Dangling && tagged() {
                    continue;
                }
                let image = inner.image(&state.index, *id)?;
                if wanted(&image) {
                    going.push((*id, state.index.images[id].clone()));
                }
            }
            let mut pruned = Pruned::default();
            inner.commit(&mut state, |index| {
                for (id, _) in &going {
                    forget(index, *id, &mut pruned.removed);
                }
                Ok(())
            })?;
            let mut candidates = BTreeSet::new();
            let mut chains = BTreeSet::new();
            for (id, record) in &going {
                let gone = chains_gone(record, &state.index).into_iter();
                pruned.removed.extend(gone.filter(|removed| match removed {
                    // Two of the images may have shared it.
                    Removed::Deleted(chain) => chains.insert(*chain),
                    Removed::Untagged(_) => true,
                }));
                candidates.extend(record.blobs(*id));
                candidates.extend(record.layers.iter().map(|layer| layer.diff_id));
            }
            let layers: Vec<Digest> =
                candidates.iter().copied().filter(|layer| inner.has_layer(*layer)).collect();
            let sizes: Vec<(Digest, u64)> = layers
                .into_iter()
                .map(|layer| Ok((layer, inner.layer_size(layer)?)))
                .collect::<Result<_>>()?;
            let discarded = inner.sweep(&state, candidates)?;
            // What a container or an operation under way needs is still there.
            let gone = sizes.iter().filter(|(layer, _)| !inner.has_layer(*layer));
            pruned.bytes = gone.map(|(_, bytes)| bytes).sum();
            drop(state);
            // Deleting many files takes its time, which nobody needs to wait for.
            drop(discarded);
            Ok(pruned)
        })
        .await
    }
}

fn forget(index: &mut Index, id: Digest, removed: &mut Vec<Removed>) {
    for name in index.references_to(id) {
        index.references.remove(&name);
        removed.push(Removed::Untagged(name));
    }
    index.images.remove(&id);
    removed.push(Removed::Deleted(id));
}
