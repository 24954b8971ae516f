//! Local volumes: a directory each, made when a container first wants it, filled from the image.
//!
//! ```text
//! NAME/_data         its content
//!      volume.json   what is known of it: the last thing that is made, the first that goes
//!      _filling      the image's files on their way
//!      _filled       all of them, to be moved in
//! ```
//!
//! **Invariant:** a directory without `volume.json` is no volume, and a first filling is seen whole
//! or not at all, whenever the daemon is killed: [`Volumes::recover`] ends what was begun.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skep_images::{RootDir, WriteOptions};
use time::OffsetDateTime;
use tokio::sync::Mutex;

/// What is known of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Made for one container, and removed with it.
    pub anonymous: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Why a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Docker's words.
    #[error(
        "\"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Name(String),
    #[error("get {0}: no such volume")]
    Absent(String),
    #[error("failed to {action} volume {name}")]
    Io { action: &'static str, name: String, source: io::Error },
    #[error("record of volume {name} is malformed")]
    Malformed { name: String, source: serde_json::Error },
}

const CONTENT: &str = "_data";
const RECORD: &str = "volume.json";
/// A first filling in the making, and one that is whole.
const FILLING: &str = "_filling";
const FILLED: &str = "_filled";

/// The volumes of this node.
#[derive(Clone)]
pub struct Volumes {
    dir: PathBuf,
    /// Who gets new ones: user and group.
    owner: (u32, u32),
    /// One at a time is made or removed.
    change: Arc<Mutex<()>>,
    /// One at a time is filled.
    filling: Arc<Mutex<()>>,
}

fn check(name: &str) -> Result<(), VolumeError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && name.len() > 1 && name.len() <= 255 && name.chars().all(allowed) {
        return Ok(());
    }
    Err(VolumeError::Name(name.to_owned()))
}

impl Volumes {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, owner: (0, 0), change: Arc::default(), filling: Arc::default() }
    }

    /// With new volumes going to a user and a group of the host.
    pub fn with_owner(self, owner: (u32, u32)) -> Self {
        Self { owner, ..self }
    }

    /// Where a volume's content stands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).join(CONTENT)
    }

    fn record(&self, name: &str) -> PathBuf {
        self.dir.join(name).join(RECORD)
    }

    /// Makes a volume unless it is there; gives its content's directory.
    pub async fn ensure(&self, volume: Volume) -> Result<PathBuf, VolumeError> {
        check(&volume.name)?;
        let _one = self.change.lock().await;
        let path = self.path(&volume.name);
        let failed = |action| {
            let name = volume.name.clone();
            move |source| VolumeError::Io { action, name, source }
        };
        if self.record(&volume.name).exists() {
            return Ok(path);
        }
        std::fs::create_dir_all(&path).map_err(failed("make"))?;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, open).map_err(failed("make"))?;
        let (uid, gid) = self.owner;
        chown(&path, Some(uid), Some(gid)).map_err(failed("make"))?;
        let record = serde_json::to_vec(&volume).expect("a record is plain data");
        let (place, settled) = (self.dir.join(&volume.name), self.record(&volume.name));
        // Written last, in one step, and to the disk before anybody writes to the volume: a directory
        // without a record was not finished, and is taken away.
        let write = move || -> io::Result<()> {
            let aside = place.join("volume.new");
            let mut file = File::create(&aside)?;
            file.write_all(&record)?;
            file.sync_all()?;
            std::fs::rename(&aside, &settled)?;
            File::open(&place)?.sync_all()
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        written.map_err(failed("record"))?;
        Ok(path)
    }

    /// After a start of the daemon: what a killed one had not finished is ended or taken away.
    pub async fn recover(&self) -> Result<(), VolumeError> {
        let _one = self.change.lock().await;
        for name in self.names()? {
            let place = self.dir.join(&name);
            let recovered = match place.join(RECORD).exists() {
                true => remove_tree(&place.join(FILLING)).and_then(|()| move_in(&place)),
                false => remove_tree(&place),
            };
            recovered.map_err(|source| VolumeError::Io { action: "recover", name, source })?;
        }
        Ok(())
    }

    /// Fills a volume that is empty with what the image has at its place.
    pub async fn fill(&self, name: &str, from: &Path) -> Result<(), VolumeError> {
        let to = self.path(name);
        let failed = |action| {
            let name = name.to_owned();
            move |source| VolumeError::Io { action, name, source }
        };
        let _one = self.filling.lock().await;
        let empty = std::fs::read_dir(&to).map_err(failed("read"))?.next().is_none();
        if !empty || !from.is_dir() {
            return Ok(());
        }
        // Aside first: a volume that a killed daemon had filled in part would never be filled
        // again, for it is not empty.
        let place = self.dir.join(name);
        let filling = place.join(FILLING);
        let copied = copy(from, &filling).await;
        let moved = copied.and_then(|()| {
            std::fs::rename(&filling, place.join(FILLED))?;
            move_in(&place)
        });
        if moved.is_err() {
            // What went wrong is told; what is left of this goes at the next start.
            let _ = remove_tree(&filling);
        }
        moved.map_err(failed("fill"))
    }

    /// Removes a volume and its content; one that is not there is no error.
    pub async fn remove(&self, name: &str) -> Result<(), VolumeError> {
        check(name)?;
        let _one = self.change.lock().await;
        // Without its record it is no volume any more: one that is removed in part is not listed.
        let removed = match std::fs::remove_file(self.record(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => remove_tree(&self.dir.join(name)),
        };
        removed.map_err(|source| VolumeError::Io {
            action: "remove",
            name: name.to_owned(),
            source,
        })
    }

    /// One volume.
    pub fn inspect(&self, name: &str) -> Result<Volume, VolumeError> {
        check(name).map_err(|_| VolumeError::Absent(name.to_owned()))?;
        match std::fs::read(self.record(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| VolumeError::Malformed { name: name.to_owned(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(VolumeError::Absent(name.to_owned()))
            }
            Err(source) => Err(VolumeError::Io { action: "read", name: name.to_owned(), source }),
        }
    }

    /// All volumes, by name. One whose record cannot be read is left out, and said.
    pub fn list(&self) -> Result<Vec<Volume>, VolumeError> {
        let mut volumes = Vec::new();
        for name in self.names()? {
            match self.inspect(&name) {
                Ok(volume) => volumes.push(volume),
                Err(VolumeError::Absent(_)) => {}
                Err(error @ VolumeError::Malformed { .. }) => {
                    tracing::error!(volume = name, %error, "a volume is left as it is");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(volumes)
    }

    /// What there are directories for.
    fn names(&self) -> Result<Vec<String>, VolumeError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(VolumeError::Io { action: "list", name: String::new(), source });
            }
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }
}

/// Makes a directory of the host, and those above it where they are missing, for a user and a group.
pub(crate) fn make_directories(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.exists()).collect();
    std::fs::create_dir_all(path)?;
    missing.into_iter().try_for_each(|dir| chown(dir, Some(uid), Some(gid)))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A directory with all that is in it, to a place of its own.
async fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let failed = |error| io::Error::other(skep_types::error_chain(&error));
    remove_tree(to)?;
    std::fs::create_dir(to)?;
    // By an archive within this process: a child would go on writing when the daemon is killed.
    let files = RootDir::open(from).map_err(failed)?.export();
    let place = RootDir::open(to).map_err(failed)?;
    place.write("/", files, WriteOptions::default()).await.map_err(failed)?;
    dress_like(to, &std::fs::metadata(from)?)
}

fn dress_like(path: &Path, like: &Metadata) -> io::Result<()> {
    chown(path, Some(like.uid()), Some(like.gid()))?;
    std::fs::set_permissions(path, like.permissions())
}

/// Moves a whole filling into the content, name by name; what is there by now stays.
fn move_in(place: &Path) -> io::Result<()> {
    let (filled, content) = (place.join(FILLED), place.join(CONTENT));
    let like = match std::fs::metadata(&filled) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        like => like?,
    };
    dress_like(&content, &like)?;
    for entry in std::fs::read_dir(&filled)? {
        let name = entry?.file_name();
        if std::fs::symlink_metadata(content.join(&name)).is_err() {
            std::fs::rename(filled.join(&name), content.join(&name))?;
        }
    }
    remove_tree(&filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str) -> Volume {
        Volume {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            anonymous: false,
            created_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_volume_is_filled_once_and_keeps_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path().join("volumes"));
        let image = dir.path().join("image");
        std::fs::create_dir(&image).unwrap();
        std::fs::write(image.join("seed"), "1").unwrap();
        let path = volumes.ensure(volume("data")).await.unwrap();
        volumes.fill("data", &image).await.unwrap();
        assert_eq!(std::fs::read_to_string(path.join("seed")).unwrap(), "1");
        std::fs::write(path.join("seed"), "2").unwrap();
        assert_eq!(volumes.ensure(volume("data")).await.unwrap(), path);
        volumes.fill("data", &image).await.unwrap();
        assert_eq!(std::fs::read_to_string(path.join("seed")).unwrap(), "2");
        assert_eq!(volumes.list().unwrap(), [volume("data")]);
        volumes.remove("data").await.unwrap();
        volumes.remove("data").await.unwrap();
        assert!(matches!(volumes.inspect("data"), Err(VolumeError::Absent(_))));
    }

    #[tokio::test]
    async fn what_a_killed_daemon_left_is_ended_or_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path().to_owned());
        let path = volumes.ensure(volume("data")).await.unwrap();
        let place = |name: &str, file: &str| {
            let place = dir.path().join(name);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join(file), "").unwrap();
        };
        place("data/_filling", "half");
        volumes.recover().await.unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "a half filling is none");
        place("data/_filled", "one");
        place("data/_filled", "two");
        place("data/_data", "one");
        place("begun/_data", "x");
        std::fs::write(dir.path().join("begun/volume.new"), "{").unwrap();
        volumes.recover().await.unwrap();
        assert!(path.join("one").exists() && path.join("two").exists());
        let left: Vec<_> = std::fs::read_dir(dir.path().join("data")).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(!dir.path().join("begun").exists());
        std::fs::write(dir.path().join("data/volume.json"), "{").unwrap();
        assert_eq!(volumes.list().unwrap(), [], "a record that is torn hides no other volume");
    }

    #[tokio::test]
    async fn names_that_lead_elsewhere_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path().to_owned());
        for bad in ["..", "a/b", "", "a", ".hidden", "/etc"] {
            assert!(volumes.ensure(volume(bad)).await.is_err(), "{bad}");
            assert!(volumes.remove(bad).await.is_err(), "{bad}");
        }
    }
}
