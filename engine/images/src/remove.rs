//! Takes names from images, and deletes images that have none left, by Docker's rules.
//!
//! Whether a container uses an image its caller says; what a container's root filesystem stands on
//! is kept in any case.

use std::collections::BTreeSet;
use std::fmt;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::index::{Index, Record};
use crate::reference::Reference;
use crate::store::Store;

/// A container made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    pub container: String,
    pub image: Digest,
    pub running: bool,
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    #[default]
    No,
    /// Also images with several names, or of containers that do not run.
    Yes,
}

/// One thing that was done; it shows itself as `docker rmi` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Untagged(Reference),
    /// An image's id, or the chain id of a layer.
    Deleted(Digest),
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged(reference) => write!(f, "Untagged: {}", reference.familiar()),
            Self::Deleted(digest) => write!(f, "Deleted: {digest}"),
        }
    }
}

impl Store {
    /// Removes a name, or an image by its id, as `docker rmi` does. What is refused changes
    /// nothing.
    pub async fn remove(
        &self,
        name: &str,
        force: Force,
        uses: Vec<ImageUse>,
    ) -> Result<Vec<Removed>> {
        let name = name.to_owned();
        self.blocking(move |inner| {
            let mut state = inner.state();
            let id = inner.find(&state.index, &name)?;
            let content = state.index.images[&id].clone();
            let mut removed = inner.commit(&mut state, |index| {
                Removal { id, force, uses: &uses, removed: Vec::new() }.run(index, &name)
            })?;
            if !state.index.images.contains_key(&id) {
                removed.extend(chains_gone(&content, &state.index));
                let layers = content.layers.iter().map(|layer| layer.diff_id);
                let candidates: Vec<Digest> = content.blobs(id).into_iter().chain(layers).collect();
                let discarded = inner.sweep(&state, candidates)?;
                drop(state);
                // Deleting many files takes its time, which nobody needs to wait for.
                drop(discarded);
            }
            Ok(removed)
        })
        .await
    }
}

struct Removal<'a> {
    id: Digest,
    force: Force,
    uses: &'a [ImageUse],
    removed: Vec<Removed>,
}

impl Removal<'_> {
    fn run(mut self, index: &mut Index, name: &str) -> Result<Vec<Removed>> {
        let references = index.references_to(self.id);
        let used = self.uses.iter().find(|usage| usage.image == self.id);
        if self.is_id(name) {
            if is_single(&references) {
                self.check_containers()?;
                self.untag_all(index);
            }
        } else {
            if let Some(usage) = used.filter(|_| self.force == Force::No && is_single(&references))
            {
                return Err(Error::Conflict(format!(
                    "unable to remove repository reference {name:?} (must force) - container {} is using its referenced image {}",
                    short(&usage.container),
                    self.id.short()
                )));
            }
            self.untag(index, name)?;
            // Other names keep the image; a container does too, which has its name taken only.
            if !index.references_to(self.id).is_empty() || self.check_containers().is_err() {
                return Ok(self.removed);
            }
        }
        self.check_containers()?;
        if self.force == Force::No && !index.references_to(self.id).is_empty() {
            return Err(
                self.conflict("must be forced", "image is referenced in multiple repositories")
            );
        }
        self.untag_all(index);
        index.images.remove(&self.id);
        self.removed.push(Removed::Deleted(self.id));
        Ok(self.removed)
    }

    fn is_id(&self, name: &str) -> bool {
        self.id.to_string().starts_with(name) || self.id.hex().starts_with(name)
    }

    /// Takes one name, and with the last tag of a repository its digests too.
    fn untag(&mut self, index: &mut Index, name: &str) -> Result<()> {
        let reference: Reference = name.parse()?;
        let key = match reference.digest() {
            Some(digest) => reference.with_digest(digest),
            None => reference.tag_or_latest(),
        };
        if index.references.remove(&key).is_none() {
            return Err(Error::NoSuchImage(name.to_owned()));
        }
        let by_digest = key.digest().is_some();
        let repository = key.name();
        self.removed.push(Removed::Untagged(key));
        let rest = index.references_to(self.id);
        let mut of_repository = rest.iter().filter(|other| other.name() == repository);
        if by_digest || of_repository.any(|other| other.digest().is_none()) {
            return Ok(());
        }
        for reference in rest.into_iter().filter(|other| other.name() == repository) {
            index.references.remove(&reference);
            self.removed.push(Removed::Untagged(reference));
        }
        Ok(())
    }

    fn untag_all(&mut self, index: &mut Index) {
        for reference in index.references_to(self.id) {
            index.references.remove(&reference);
            self.removed.push(Removed::Untagged(reference));
        }
    }

    fn check_containers(&self) -> Result<()> {
        let mut uses = self.uses.iter().filter(|usage| usage.image == self.id);
        let all: Vec<&ImageUse> = uses.by_ref().collect();
        if let Some(usage) = all.iter().find(|usage| usage.running) {
            let reason =
                format!("image is being used by running container {}", short(&usage.container));
            return Err(self.conflict("cannot be forced", &reason));
        }
        if let Some(usage) = all.first().filter(|_| self.force == Force::No) {
            let reason =
                format!("image is being used by stopped container {}", short(&usage.container));
            return Err(self.conflict("must be forced", &reason));
        }
        Ok(())
    }

    fn conflict(&self, remedy: &str, reason: &str) -> Error {
        let id = self.id.short();
        Error::Conflict(format!("unable to delete {id} ({remedy}) - {reason}"))
    }
}

/// At most one tag, and digests of the same repository only.
fn is_single(references: &[Reference]) -> bool {
    let tags = references.iter().filter(|reference| reference.digest().is_none()).count();
    let repositories: BTreeSet<String> = references.iter().map(Reference::name).collect();
    tags <= 1 && repositories.len() <= 1
}

/// Containers' ids are shown as images' are.
fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}

/// Chain ids of an image's layers, the lowest first: each names a layer with all below it.
fn chain_ids(record: &Record) -> Vec<Digest> {
    let mut chain = None;
    let step = |layer: Digest| {
        let next = match chain {
            None => layer,
            Some(below) => Digest::of(format!("{below} {layer}").as_bytes()),
        };
        chain = Some(next);
        next
    };
    record.layers.iter().map(|layer| layer.diff_id).map(step).collect()
}

/// What Docker says of the layers that go with an image, the topmost first.
pub(crate) fn chains_gone(content: &Record, index: &Index) -> Vec<Removed> {
    let kept: BTreeSet<Digest> = index.images.values().flat_map(chain_ids).collect();
    let gone = chain_ids(content).into_iter().rev().filter(|chain| !kept.contains(chain));
    gone.map(Removed::Deleted).collect()
}
