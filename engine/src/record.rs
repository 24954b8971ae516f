//! Small JSON files that are whole or absent: written aside, synced, renamed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::error::{Error, Result};

/// What the shim tells about the container's process while it lives.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Live {
    pub pid: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
}

/// The configuration as it is kept, with when the container was made.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Stored {
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    pub config: crate::config::ContainerConfig,
}

/// How far a record reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It outlives a power cut.
    Synced,
    /// It outlives the process; what it tells ends with the machine.
    Cached,
}

pub fn write<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<()> {
    let bytes = serde_json::to_vec(value)
        .map_err(|source| Error::Record { path: path.to_owned(), source })?;
    // A name of its own: two may write the same record at once, and the last one wins.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let aside = path.with_extension(format!("{}-{number}.new", std::process::id()));
    let mut file = File::create(&aside).map_err(Error::io("create", &aside))?;
    file.write_all(&bytes).map_err(Error::io("write", &aside))?;
    if durability == Durability::Synced {
        file.sync_all().map_err(Error::io("sync", &aside))?;
    }
    fs::rename(&aside, path).map_err(Error::io("write", path))?;
    if durability == Durability::Synced
        && let Some(parent) = path.parent()
    {
        let directory = File::open(parent).map_err(Error::io("open", parent))?;
        directory.sync_all().map_err(Error::io("sync", parent))?;
    }
    Ok(())
}

/// None if there is no such record.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let record = serde_json::from_slice(&bytes);
    record.map(Some).map_err(|source| Error::Record { path: path.to_owned(), source })
}
