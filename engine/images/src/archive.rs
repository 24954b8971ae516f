//! The files of an archive of images, each on disk by its digest, found by its name.
//!
//! Neither names nor links in the archive reach the disk: they are keys here and nothing more.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use crate::blobs::Spooled;
use crate::compression;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::limits::{ARCHIVE_FILES_MAX, LINK_HOPS_MAX};
use crate::store::Inner;
use crate::tar_reader::{Kind, TarReader};

/// What is read from the archive at once.
const PIECE_BYTES: usize = 64 << 10;

/// The files of an archive.
pub(crate) struct Archive {
    names: BTreeMap<String, Digest>,
    /// Old archives write a layer that occurs twice as a link.
    links: BTreeMap<String, String>,
    files: HashMap<Digest, Spooled>,
}

impl Inner {
    /// Reads a whole archive, plain or packed.
    pub(crate) fn read_archive(&self, archive: impl Read + Send) -> Result<Archive> {
        let refused = |error: std::io::Error| Error::Archive(error.to_string());
        let (_, stream) = compression::open(archive).map_err(refused)?;
        let mut reader = TarReader::new(stream);
        let mut archive =
            Archive { names: BTreeMap::new(), links: BTreeMap::new(), files: HashMap::new() };
        let mut left = self.limits.archive_bytes;
        let mut count = 0;
        let mut piece = vec![0; PIECE_BYTES];
        while let Some(entry) = reader.next_entry().map_err(refused)? {
            count += 1;
            if count > ARCHIVE_FILES_MAX {
                return Err(Error::Archive(format!("more than {ARCHIVE_FILES_MAX} files")));
            }
            let name = normal("", &entry.path)?;
            match entry.kind {
                Kind::File => {
                    let mut spool = self.spool(left)?;
                    loop {
                        match reader.read(&mut piece).map_err(refused)? {
                            0 => break,
                            read => spool.write(&piece[..read])?,
                        }
                    }
                    let spooled = spool.finish()?;
                    left -= spooled.bytes;
                    archive.names.insert(name, spooled.digest);
                    archive.files.insert(spooled.digest, spooled);
                }
                Kind::Symlink => {
                    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                    let target = normal(dir, &entry.link)?;
                    archive.links.insert(name, target);
                }
                Kind::HardLink => {
                    archive.links.insert(name, normal("", &entry.link)?);
                }
                Kind::Directory => {}
                Kind::Character | Kind::Block | Kind::Fifo => {
                    let reason = "an archive of images holds files only".to_owned();
                    return Err(Error::Entry { entry: name, reason });
                }
            }
        }
        // What is behind the end means nothing, but whoever sends it waits until it is taken.
        let _ = reader.drain();
        Ok(archive)
    }
}

impl Archive {
    /// The digest of a file, links followed.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Digest>> {
        let mut name = normal("", name.as_bytes())?;
        for _ in 0..=LINK_HOPS_MAX {
            if let Some(digest) = self.names.get(&name) {
                return Ok(Some(*digest));
            }
            match self.links.get(&name) {
                Some(target) => name = target.clone(),
                None => return Ok(None),
            }
        }
        Err(Error::Entry { entry: name, reason: "too many links".to_owned() })
    }

    /// The digest of a file that must be there.
    pub(crate) fn expect(&self, name: &str) -> Result<Digest> {
        self.find(name)?.ok_or_else(|| Error::Archive(format!("{name} is missing")))
    }

    /// A small file as a whole.
    pub(crate) fn read(&self, digest: Digest, limit: u64) -> Result<Vec<u8>> {
        let file = self
            .files
            .get(&digest)
            .ok_or_else(|| Error::Archive(format!("{digest} is missing")))?;
        if file.bytes > limit {
            return Err(Error::Archive(format!("{digest} is larger than {limit} bytes")));
        }
        std::fs::read(file.path()).context(|| format!("read {}", file.path().display()))
    }

    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.files.contains_key(&digest)
    }

    /// The file itself, to be kept; None, if it was taken already.
    pub(crate) fn take(&mut self, digest: Digest) -> Option<Spooled> {
        self.files.remove(&digest)
    }
}

/// A name as a key: from the archive's root, without `.` and `..`.
fn normal(dir: &str, name: &[u8]) -> Result<String> {
    let refused = |reason: &str| Error::Entry {
        entry: String::from_utf8_lossy(name).into_owned(),
        reason: reason.to_owned(),
    };
    let text = std::str::from_utf8(name).map_err(|_| refused("its name is not UTF-8"))?;
    let mut parts: Vec<&str> = Vec::new();
    for part in dir.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(refused("the name leads out of the archive's root"));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_keys_from_the_root() {
        assert_eq!(normal("", b"./a//b/../c").unwrap(), "a/c");
        assert_eq!(normal("a/b", b"../c/layer.tar").unwrap(), "a/c/layer.tar");
        assert!(normal("a", b"../../x").is_err());
        assert!(normal("", b"\xff").is_err());
    }
}
