//! Local volumes: a directory each, made when a container first wants it, filled from the image.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
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

/// The volumes of this node.
#[derive(Clone)]
pub struct Volumes {
    dir: PathBuf,
    /// Who gets new ones: user and group.
    owner: (u32, u32),
    /// One at a time is made or removed.
    change: Arc<Mutex<()>>,
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
        Self { dir, owner: (0, 0), change: Arc::default() }
    }

    /// With new volumes going to a user and a group of the host.
    pub fn with_owner(self, owner: (u32, u32)) -> Self {
        Self { owner, ..self }
    }

    /// Where a volume's content stands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).join("_data")
    }

    fn record(&self, name: &str) -> PathBuf {
        self.dir.join(name).join("volume.json")
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
        // The record is written last: a directory without one was not finished.
        std::fs::write(self.record(&volume.name), record).map_err(failed("record"))?;
        Ok(path)
    }

    /// Fills a volume that is empty with what the image has at its place.
    pub async fn fill(&self, name: &str, from: &Path) -> Result<(), VolumeError> {
        let to = self.path(name);
        let failed = |action| {
            let name = name.to_owned();
            move |source| VolumeError::Io { action, name, source }
        };
        let empty = std::fs::read_dir(&to).map_err(failed("read"))?.next().is_none();
        if !empty || !from.is_dir() {
            return Ok(());
        }
        // `cp -a` keeps owners, modes, links, devices and extended attributes.
        let copy = tokio::process::Command::new("cp")
            .arg("-a")
            .arg(from.join("."))
            .arg(&to)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(failed("fill"))?;
        if !copy.status.success() {
            let text = String::from_utf8_lossy(&copy.stderr).trim().to_owned();
            return Err(failed("fill")(io::Error::other(text)));
        }
        let like = std::fs::metadata(from).map_err(failed("fill"))?;
        std::fs::set_permissions(&to, like.permissions()).map_err(failed("fill"))?;
        let (uid, gid) = (
            std::os::unix::fs::MetadataExt::uid(&like),
            std::os::unix::fs::MetadataExt::gid(&like),
        );
        chown(&to, Some(uid), Some(gid)).map_err(failed("fill"))
    }

    /// Removes a volume and its content; one that is not there is no error.
    pub async fn remove(&self, name: &str) -> Result<(), VolumeError> {
        check(name)?;
        let _one = self.change.lock().await;
        match std::fs::remove_dir_all(self.dir.join(name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(VolumeError::Io { action: "remove", name: name.to_owned(), source })
            }
            _ => Ok(()),
        }
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

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<Volume>, VolumeError> {
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
        let found = names.iter().map(|name| self.inspect(name));
        found.filter(|it| !matches!(it, Err(VolumeError::Absent(_)))).collect()
    }
}

/// Makes a directory of the host, and those above it where they are missing, for a user and a group.
pub(crate) fn make_directories(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.exists()).collect();
    std::fs::create_dir_all(path)?;
    missing.into_iter().try_for_each(|dir| chown(dir, Some(uid), Some(gid)))
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
    async fn names_that_lead_elsewhere_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path().to_owned());
        for bad in ["..", "a/b", "", "a", ".hidden", "/etc"] {
            assert!(volumes.ensure(volume(bad)).await.is_err(), "{bad}");
            assert!(volumes.remove(bad).await.is_err(), "{bad}");
        }
    }
}
