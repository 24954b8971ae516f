//! Unpacked layers: each once, shared by all images that have it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compression::{self, Compression};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::scratch::Temporary;
use crate::store::{Inner, Pins, Store};
use crate::unpack::{Unpacked, diff_id, unpack};

/// Characters of a short link's name: 130 bits of the diff id, so that none collide, not even on
/// purpose; and 125 of them fit a page of mount options.
const SHORT_NAME_CHARS: usize = 26;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Gives a file of the store's to a user and a group.
pub(crate) fn own(path: &Path, (uid, gid): (u32, u32)) -> std::io::Result<()> {
    lchown(path, Some(uid), Some(gid))
}

/// A layer's name in mount options.
fn short_name(diff_id: Digest) -> String {
    let bit = |index: usize| (diff_id.bytes()[index / 8] >> (7 - index % 8)) & 1;
    (0..SHORT_NAME_CHARS)
        .map(|char| (0..5).fold(0u8, |value, offset| value << 1 | bit(char * 5 + offset)))
        .map(|value| char::from(BASE32[usize::from(value)]))
        .collect()
}

/// A layer that was unpacked and is none yet; dropped, it is gone.
pub(crate) struct Aside {
    temporary: Temporary,
    pub unpacked: Unpacked,
    pub compression: Compression,
}

impl Inner {
    pub(crate) fn has_layer(&self, diff_id: Digest) -> bool {
        self.layer_path(diff_id).exists()
    }

    /// Bytes of a layer's files.
    pub(crate) fn layer_size(&self, diff_id: Digest) -> Result<u64> {
        let path = self.layer_path(diff_id).join("size");
        let text =
            fs::read_to_string(&path).context(|| format!("read the size of layer {diff_id}"))?;
        text.trim()
            .parse()
            .map_err(|_| Error::Damaged(format!("{} holds no number", path.display())))
    }

    /// The layer's short link, relative to the store's root; made if it is not there.
    pub(crate) fn short_link(&self, diff_id: Digest) -> Result<PathBuf> {
        if !self.has_layer(diff_id) {
            return Err(Error::Damaged(format!("layer {diff_id} is missing")));
        }
        let link = Path::new("l").join(short_name(diff_id));
        let target = Path::new("../layers").join(diff_id.hex()).join("diff");
        match symlink(&target, self.root.join(&link)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).context(|| format!("link layer {diff_id}"))
            }
            _ => Ok(link),
        }
    }

    pub(crate) fn remove_short_link(&self, diff_id: Digest) -> Result<()> {
        match fs::remove_file(self.root.join("l").join(short_name(diff_id))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context(|| format!("unlink layer {diff_id}"))
            }
            _ => Ok(()),
        }
    }

    /// Removes links whose layers are gone: a kill may come between the two.
    pub(crate) fn remove_dead_links(&self) -> Result<()> {
        let dir = self.root.join("l");
        let context = || format!("clear {}", dir.display());
        for entry in fs::read_dir(&dir).context(context)? {
            let link = entry.context(context)?.path();
            if !link.exists() {
                fs::remove_file(&link).context(context)?;
            }
        }
        Ok(())
    }

    /// Unpacks an archive into a new layer, which is pinned before it has its place. `expected` is
    /// what its diff id must be, where known.
    fn unpack_layer(
        &self,
        archive: &Path,
        expected: Option<Digest>,
        pins: &Pins,
    ) -> Result<(Unpacked, Compression)> {
        let file = File::open(archive).context(|| format!("open {}", archive.display()))?;
        let aside = self.unpack_aside(file)?;
        let said = (aside.unpacked, aside.compression);
        self.settle_aside(aside, expected, pins)?;
        Ok(said)
    }

    /// Unpacks an archive, for which nobody has vouched yet, where it is no layer.
    pub(crate) fn unpack_aside(&self, archive: impl Read + Send) -> Result<Aside> {
        let (compression, stream) =
            compression::open(archive).map_err(|error| Error::Archive(error.to_string()))?;
        let temporary = self.scratch.dir()?;
        let diff = temporary.path().join("diff");
        fs::create_dir(&diff)
            .and_then(|()| own(&diff, self.ids.root()))
            .and_then(|()| fs::set_permissions(&diff, fs::Permissions::from_mode(0o755)))
            .context(|| format!("make {}", diff.display()))?;
        let unpacked = unpack(stream, &diff, &self.limits, &self.ids)?;
        Ok(Aside { temporary, unpacked, compression })
    }

    /// Makes a layer of what was unpacked; it is pinned before it has its place.
    pub(crate) fn settle_aside(
        &self,
        aside: Aside,
        expected: Option<Digest>,
        pins: &Pins,
    ) -> Result<()> {
        let Aside { temporary, unpacked, .. } = aside;
        if let Some(expected) = expected
            && expected != unpacked.diff_id
        {
            return Err(Error::Mismatch { expected, got: unpacked.diff_id });
        }
        pins.hold(unpacked.diff_id);
        let place = self.layer_path(unpacked.diff_id);
        if place.exists() {
            return Ok(());
        }
        let size = temporary.path().join("size");
        fs::write(&size, unpacked.size.to_string())
            .context(|| format!("write {}", size.display()))?;
        // One call for all the files, which no list of them would make durable as quickly.
        File::open(temporary.path())
            .and_then(|dir| nix::unistd::syncfs(dir).map_err(Into::into))
            .context(|| format!("sync layer {}", unpacked.diff_id))?;
        match temporary.settle(&place) {
            // Somebody else made the same layer meanwhile.
            Err(_) if place.exists() => {}
            result => result?,
        }
        self.short_link(unpacked.diff_id).map(drop)
    }
}

impl Inner {
    /// Whether an image says already that this archive is this layer.
    fn is_known_pair(&self, blob: Digest, diff_id: Digest) -> bool {
        let state = self.state();
        let mut layers = state.index.images.values().flat_map(|record| &record.layers);
        layers.any(|layer| layer.blob == blob && layer.diff_id == diff_id)
    }

    /// Reads an archive through and compares.
    fn check_diff_id(&self, blob: Digest, expected: Digest) -> Result<()> {
        let path = self.blob_path(blob);
        let file = File::open(&path).context(|| format!("open {}", path.display()))?;
        let refused = |error: std::io::Error| Error::Archive(error.to_string());
        let (_, stream) = compression::open(file).map_err(refused)?;
        let got = diff_id(stream, &self.limits).map_err(refused)?;
        if got == expected { Ok(()) } else { Err(Error::Mismatch { expected, got }) }
    }
}

impl Store {
    /// Makes sure that a layer is unpacked and that a blob is its archive. The blob must be there,
    /// both must be pinned, and the layer's [`Inner::unpacking`] held.
    pub(crate) async fn settle_layer(
        &self,
        blob: Digest,
        diff_id: Digest,
        pins: &Arc<Pins>,
    ) -> Result<()> {
        if !self.inner.has_layer(diff_id) {
            let path = self.inner.blob_path(blob);
            return self.unpack_archive(path, Some(diff_id), pins).await.map(drop);
        }
        // The layer came with another archive: that this one is the same is only claimed.
        let pins = pins.clone();
        self.blocking(move |inner| {
            let checked = match inner.is_known_pair(blob, diff_id) {
                true => Ok(()),
                false => inner.check_diff_id(blob, diff_id),
            };
            drop(pins);
            checked
        })
        .await
    }

    /// Unpacks a layer and says what it is. The work goes on if the future is dropped, and so it
    /// holds the pins itself.
    pub(crate) async fn unpack_archive(
        &self,
        archive: PathBuf,
        expected: Option<Digest>,
        pins: &Arc<Pins>,
    ) -> Result<(Unpacked, Compression)> {
        let _turn = self.inner.unpacks.acquire().await.expect("the semaphore is never closed");
        let pins = pins.clone();
        self.blocking(move |inner| inner.unpack_layer(&archive, expected, &pins)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_base32_of_the_digest() {
        let name = short_name(Digest::of(b""));
        assert_eq!(name, "4OYMIQUY7QOBJGX36TEJS35ZEQ");
        assert_eq!(name.len(), SHORT_NAME_CHARS);
    }
}
