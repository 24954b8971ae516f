//! What a node remembers of its membership: where it stands on disk, and in which form.
//!
//! The record is written last when a swarm is made or joined, so a record says that everything
//! else is there; it is removed first when the node leaves.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The form of the record.
const FORMAT: u32 = 1;

/// A node's part in a swarm, as far as it has to be known before the swarm can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    pub listen_addr: SocketAddr,
    pub advertise_addr: SocketAddr,
    pub data_path_addr: IpAddr,
    /// Managers as they were known last.
    pub managers: Vec<String>,
    /// Set while this node is in the managers' group.
    pub raft_id: Option<u64>,
}

impl Record {
    pub fn new(listen_addr: SocketAddr, advertise_addr: SocketAddr, data_path: IpAddr) -> Self {
        Self {
            format: FORMAT,
            listen_addr,
            advertise_addr,
            data_path_addr: data_path,
            managers: Vec::new(),
            raft_id: None,
        }
    }
}

/// Why the record or what goes with it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("failed to {action} {path}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("malformed swarm record {path}")]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("swarm record {path} has a newer form: expected {FORMAT}, got {got}")]
    Newer { path: PathBuf, got: u32 },
}

/// The directory of a node's membership.
#[derive(Debug, Clone)]
pub struct SwarmDir(PathBuf);

impl SwarmDir {
    pub fn new(data_root: &Path) -> Self {
        Self(data_root.join("swarm"))
    }

    pub fn credentials(&self) -> PathBuf {
        self.0.join("node.pem")
    }

    pub fn keyring(&self) -> PathBuf {
        self.0.join("keyring")
    }

    pub fn raft(&self) -> PathBuf {
        self.0.join("raft")
    }

    fn record(&self) -> PathBuf {
        self.0.join("swarm.json")
    }

    /// An empty directory for a new membership; what an interrupted attempt left is removed.
    pub fn begin(&self) -> Result<(), RecordError> {
        self.clear()?;
        std::fs::create_dir_all(&self.0).map_err(|source| self.io("make", source))?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&self.0, private).map_err(|source| self.io("protect", source))
    }

    /// The record, if the node is in a swarm.
    pub fn load(&self) -> Result<Option<Record>, RecordError> {
        let path = self.record();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Io { action: "read", path, source }),
        };
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|source| RecordError::Malformed { path: path.clone(), source })?;
        if record.format > FORMAT {
            return Err(RecordError::Newer { path, got: record.format });
        }
        Ok(Some(record))
    }

    /// Writes the record in one durable step.
    pub fn save(&self, record: &Record) -> Result<(), RecordError> {
        let path = self.record();
        let bytes = serde_json::to_vec_pretty(record).expect("a record is plain data");
        let write = || {
            let next = self.0.join("swarm.json.next");
            let file = std::fs::File::create(&next)?;
            io::Write::write_all(&mut &file, &bytes)?;
            file.sync_all()?;
            std::fs::rename(&next, &path)?;
            std::fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(|source| RecordError::Io { action: "write", path: path.clone(), source })
    }

    /// Removes the log of a manager that is none any more.
    pub fn clear_raft(&self) -> Result<(), RecordError> {
        remove_tree(&self.raft())?;
        remove_tree(&self.keyring())
    }

    /// Removes the membership: the record first, so that a crash leaves no half of it in use.
    pub fn clear(&self) -> Result<(), RecordError> {
        remove_tree(&self.record())?;
        remove_tree(&self.0)
    }

    fn io(&self, action: &'static str, source: io::Error) -> RecordError {
        RecordError::Io { action, path: self.0.clone(), source }
    }
}

fn remove_tree(path: &Path) -> Result<(), RecordError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RecordError::Io { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_goes_with_everything() {
        let root = tempfile::tempdir().unwrap();
        let dir = SwarmDir::new(root.path());
        assert_eq!(dir.load().unwrap(), None);
        dir.begin().unwrap();
        assert_eq!(dir.load().unwrap(), None, "begun is not made");
        let addr = "10.0.0.1:2377".parse().unwrap();
        let mut record = Record::new(addr, addr, addr.ip());
        record.raft_id = Some(7);
        dir.save(&record).unwrap();
        assert_eq!(dir.load().unwrap(), Some(record));
        std::fs::write(dir.record(), "{").unwrap();
        assert!(matches!(dir.load(), Err(RecordError::Malformed { .. })));
        dir.clear().unwrap();
        dir.clear().unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
